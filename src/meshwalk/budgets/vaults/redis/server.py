"""
Calls to a Redis server: bounded in time and connections, retried at most once, without showing the password.

A retry is safe because every call is idempotent by its id: a reservation that exists is granted and not made twice, a second
settlement or charge is ignored, a repeated claim answers its owner, and the other calls set absolute values.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import anyio
from redis import exceptions
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from meshwalk.budgets.vaults.base import PASSWORD_REMEDY
from meshwalk.budgets.vaults.redis.library import library
from meshwalk.model.problems import SetupError, VaultUnavailable


# More connections do not raise the throughput: a Redis server executes one command at a time.
CONNECTIONS = 32
TIMEOUT_S = 1.0

# In multiples of the timeout: the longest wait for a connection of this process, and the longest call with its retry.  A wait
# for a connection does not mean that the server is unavailable, so it may last longer.
_TURN_TIMEOUTS = 10
_CALL_TIMEOUTS = 3

# So many calls in a row without any answer show that the server is away.  Those who wait for a connection are then refused for
# one timeout, after which somebody finds out whether it is back.
_SILENT_CALLS = 4

_Repair = Callable[[], Awaitable[None]]


class Server:
    """
    The connections to one Redis server.

    Args:
        timeout_s: The limit for connecting and for an answer, each.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self.name, self._secrets = _read_url(url)
        self._timeout_s = timeout_s
        self._connections = anyio.Semaphore(CONNECTIONS, fast_acquire=True)
        pool = ConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        # The type of an answer depends on the command.
        self._redis: Any = Redis.from_pool(pool)
        self._library = library()
        # The calls that had no answer since the last one that had, and until when they tell that there is none.
        self._silent = 0
        self._silent_until = 0.0

    async def fcall(self, function: str, key: str, *args: str | bytes) -> list[Any]:
        """
        Call *function* of the library, which is loaded first if the server lacks it.

        Raises:
            VaultUnavailable: If there is no answer.
        """
        # Names may contain lone surrogates; they are only compared.
        words = [arg if isinstance(arg, bytes) else arg.encode("utf-8", "surrogatepass") for arg in args]
        answer: list[Any] = await self.ask("FCALL", self._library.prefix + function, 1, key, *words)

        return answer

    async def ask(self, *command: str | bytes | int) -> Any:
        """
        Send *command*, and once more if the connection fails.

        Raises:
            VaultUnavailable: If there is no answer.
        """
        return await self._in_turn(lambda: self._asked(*command))

    async def config(self, *names: str) -> Mapping[str, str] | None:
        """
        Ask for settings; None if this user may not.

        Raises:
            VaultUnavailable: If there is no answer.
        """
        try:
            return _pairs(await self.ask("CONFIG", "GET", *names))
        except VaultUnavailable as away:
            # Managed servers disable the command.
            if isinstance(away.__cause__, exceptions.ResponseError):
                return None
            raise

    async def info(self, section: str) -> Mapping[str, str]:
        """
        Ask for a section of INFO.

        Raises:
            VaultUnavailable: If there is no answer.
        """
        found: Mapping[str, Any] = await self.ask("INFO", section)

        return {name: str(value) for name, value in found.items()}

    async def load(self) -> None:
        """
        Load the library unless the server has it.

        Raises:
            VaultUnavailable: If there is no answer, or the server has no functions.
        """
        await self.ask("PING")
        await self._in_turn(self._load)

    async def aclose(self) -> None:
        """
        Close the connections.
        """
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def _in_turn(self, act: Callable[[], Awaitable[Any]]) -> Any:
        try:
            self._connections.acquire_nowait()
        except anyio.WouldBlock:
            await self._turn()
        try:
            with anyio.fail_after(_CALL_TIMEOUTS * self._timeout_s):
                answer = await act()
            self._silent = 0
            return answer  # noqa: TRY300 (the answer is noted first)
        except (exceptions.RedisError, OSError) as error:
            self._silent = 0 if isinstance(error, exceptions.ResponseError) else self._silent + 1
            self._silent_until = anyio.current_time() + self._timeout_s
            away = VaultUnavailable(self._explain(error))
            away.is_full = isinstance(error, exceptions.OutOfMemoryError)
            raise away from error
        finally:
            self._connections.release()

    async def _turn(self) -> None:
        seconds = _TURN_TIMEOUTS * self._timeout_s
        with anyio.move_on_after(seconds):
            await self._connections.acquire()
            if self._silent < _SILENT_CALLS or anyio.current_time() >= self._silent_until:
                return
            self._connections.release()
            raise VaultUnavailable(f"{self.name} has not answered the last {self._silent} calls; is it up, and near enough?")
        raise VaultUnavailable(
            f"{self.name} is asked for more than it answers: a call waited {seconds:g} s for one of {CONNECTIONS} turns"
        )

    async def _asked(self, *command: str | bytes | int) -> Any:
        tried: list[_Repair] = []
        while True:
            try:
                return await self._redis.execute_command(*command)
            except (exceptions.RedisError, OSError) as error:
                repair = self._repair(error)
                # A restarted server may first drop the connection and then lack the library; each repair is tried once.
                if repair is None or repair in tried:
                    raise
                tried.append(repair)
            await repair()

    def _repair(self, error: Exception) -> _Repair | None:
        """
        Return the repair to make before a retry, or None if a retry cannot help.
        """
        match error:
            case exceptions.AuthenticationError() | exceptions.AuthorizationError() | exceptions.BusyLoadingError():
                return None
            # A server that was demoted; its name may lead to the new primary by now.
            case exceptions.ConnectionError() | exceptions.TimeoutError() | OSError() | exceptions.ReadOnlyError():
                return self._disconnect
            case exceptions.ResponseError() if "Function not found" in str(error):
                return self._load
            case _:
                return None

    async def _disconnect(self) -> None:
        # A restart of the server breaks every pooled connection.
        await self._redis.connection_pool.disconnect(inuse_connections=False)

    async def _load(self) -> None:
        try:
            await self._redis.execute_command("FUNCTION", "LOAD", self._library.text)
        except exceptions.ResponseError as error:
            # The name contains the hash of the text, so the text is the same.
            if "already exists" not in str(error):
                raise

    def _explain(self, error: Exception) -> str:
        text = str(error)
        for secret in self._secrets:
            text = text.replace(secret, "…")
        match error:
            case exceptions.AuthenticationError():
                return f"{self.name} refuses this user or its password ({text}); if it has one, {PASSWORD_REMEDY}"
            case exceptions.AuthorizationError() | exceptions.NoPermissionError():
                return (
                    f"{self.name} refuses this user ({text}); give it a user that may FCALL and FUNCTION on keys 'meshwalk:*'"
                )
            case exceptions.BusyLoadingError():
                return f"{self.name} is still loading its data; try again in a moment"
            case exceptions.ReadOnlyError():
                return f"{self.name} is a replica that takes no writes ({text}); name the primary in the vault's URL"
            case exceptions.OutOfMemoryError():
                return f"{self.name} has no memory left ({text}); raise its maxmemory"
            case exceptions.ResponseError() if "unknown command" in text.lower():
                return f"{self.name} lacks a command that meshwalk needs ({text}); it takes Redis 7.0, Valkey 7.2, or newer"
            case exceptions.ResponseError() if "db index" in text.lower():
                return f"{self.name} has no such database ({text}); name one that it has, such as 0, or raise its `databases`"
            case exceptions.ResponseError():
                return f"{self.name} does not do what meshwalk asks ({text})"
            case exceptions.TimeoutError() | TimeoutError():
                return f"{self.name} did not answer within {self._timeout_s:g} s, asked twice; is it up, and near enough?"
            case _:
                return f"{self.name} cannot be reached ({text}); is it up, and is its address right?"


def _pairs(answer: Any) -> Mapping[str, str]:
    if isinstance(answer, Mapping):
        return {str(name): str(value) for name, value in answer.items()}
    words = [word.decode() for word in answer]

    return dict(zip(words[::2], words[1::2], strict=True))


def _read_url(url: str) -> tuple[str, tuple[str, ...]]:
    """
    Return the public name of the server at *url*, and the secrets to hide in messages.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        # The library's message may contain the password.
        raise SetupError(_BAD_URL) from None
    # A password in the query overrides the other.
    query = dict(parse_qsl(parts.query))
    secrets = _spellings(parts.password or "") | _spellings(query.get("password", ""))
    if parts.scheme == "unix" and parts.path.strip("/") and query.get("db", "0").isdecimal():
        return f"unix://{parts.path}?db={query.get('db', '0')}", tuple(secrets)
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
        raise SetupError(_BAD_URL)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    database = parts.path.strip("/") or "0"
    if not database.isdecimal():
        raise SetupError(_BAD_URL)

    return f"{parts.scheme}://{host}:{port}/{database}", tuple(secrets)


def _spellings(secret: str) -> set[str]:
    return {secret, unquote(secret), quote(secret, safe="")} - {""}


_BAD_URL = (
    "the URL of a vault in Redis is not of the form redis://[user:password@]host[:port][/database], rediss:// for TLS, "
    "or unix:///path[?db=database]"
)
