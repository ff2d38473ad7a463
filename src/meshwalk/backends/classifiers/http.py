"""
An HTTP service as a classifier: one POST a request, JSON both ways.

It is sent `{"messages": [{"role", "content"}, …], "attributes": {…}}` and answers with 200 and an object that holds each signal
its node declares, by name.  As with a model's endpoint (`backends.openai`) neither its key nor its address appears in an
error, redirects are not followed, a call that is cancelled closes its connection, and whatever happens ends as signals or as
a `BackendError`: 429 as `rate_limited`, 408 and 5xx as `overloaded`, other statuses as `refused_by_model`, no connection as
`unreachable`, an answer that cannot be read or is not as declared as `malformed`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anyio
import orjson

from meshwalk.backends.classifiers.declared import as_declared
from meshwalk.model import NETWORK_CONCURRENCY, NETWORK_QUEUE_WAIT_US, Attribute, Node, Traffic, Value, environment
from meshwalk.model.problems import BackendError, Malformed, Overloaded, RateLimited, RefusedByModel, SetupError, Unreachable
from meshwalk.model.resource import AsyncResource
from meshwalk.trace import Message


# The calls under way at once, those that wait for a place, and the time that they do; as for models over a network.
CONNECTIONS = NETWORK_CONCURRENCY
QUEUE_LENGTH = Traffic().queue
QUEUE_WAIT_SECONDS = NETWORK_QUEUE_WAIT_US / 1e6
RESPONSE_BYTES = 1 << 20

# By status, the first range that holds it.
_STATUSES: tuple[tuple[range, type[BackendError]], ...] = (
    (range(429, 430), RateLimited),
    (range(408, 409), Overloaded),
    (range(500, 600), Overloaded),
    (range(600), RefusedByModel),
)


class HttpClassifier(AsyncResource):
    """
    A classifier that asks the service at *url*.

    Args:
        key: Sent as a bearer token where it is not empty.
        key_env: The variable it came from, for errors.
    """

    waits = True

    def __init__(self, name: str, url: str, writes: Mapping[str, Attribute], *, key: str = "", key_env: str = "") -> None:
        self.name = name
        self.url = url
        self._writes = writes
        self._key_env = key_env
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._session: aiohttp.ClientSession | None = None
        self._places = anyio.Semaphore(CONNECTIONS, fast_acquire=True)
        self._waiting = 0

    async def classify(
        self, messages: Sequence[Message], attributes: Mapping[str, Value], traceparent: str
    ) -> dict[str, Value]:
        """
        Make one call.

        Raises:
            BackendError: With the class of what went wrong.
        """
        headers = {**self._headers, "traceparent": traceparent} if traceparent else self._headers
        said = [{"role": message.role, "content": message.content} for message in messages]
        body = orjson.dumps({"messages": said, "attributes": dict(attributes)})
        await self._enter()
        try:
            text = await self._post(body, headers)
        finally:
            self._places.release()
        try:
            given: Any = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise self._malformed("it is not JSON") from None

        return as_declared(self.name, given, self._writes)

    async def _enter(self) -> None:
        """
        Wait for a place, which is released after the call.

        Raises:
            Overloaded: If as many wait as may, or none came free in time.
        """
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            if self._waiting >= QUEUE_LENGTH:
                message = f"the classifier '{self.name}' has {CONNECTIONS} calls under way and {self._waiting} waiting"
                raise Overloaded(message, backend=self.name) from None
            self._waiting += 1
            try:
                with anyio.fail_after(QUEUE_WAIT_SECONDS):
                    await self._places.acquire()
            except TimeoutError:
                message = f"the classifier '{self.name}' had no place within {QUEUE_WAIT_SECONDS:g} s"
                raise Overloaded(message, backend=self.name) from None
            finally:
                self._waiting -= 1

    async def _post(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        try:
            async with self._open().post(self.url, data=body, headers=headers, allow_redirects=False) as response:
                if response.status != 200:
                    raise self._refusal(response.status)
                return await self._read(response)
        except aiohttp.ClientPayloadError as error:
            raise self._unreachable("the connection broke in the middle of its answer") from error
        except (aiohttp.InvalidURL, UnicodeError) as error:
            raise self._unreachable("its address is none that can be called") from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise self._unreachable("no connection could be made, or it broke") from error
        except aiohttp.ClientError as error:
            raise self._malformed(f"it does not speak HTTP ({type(error).__name__})") from error

    async def aclose(self) -> None:
        """
        Close all connections.
        """
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                # The node's deadline ends a call, by cancelling it.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                trust_env=False,
            )

        return self._session

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        found = bytearray()
        async for chunk in response.content.iter_any():
            found += chunk
            if len(found) > RESPONSE_BYTES:
                response.close()
                raise self._malformed(f"it is longer than {RESPONSE_BYTES >> 20} MiB")

        return bytes(found)

    def _refusal(self, status: int) -> BackendError:
        kind = next(error for statuses, error in _STATUSES if status in statuses)
        remedy = ""
        if status in {401, 403}:
            remedy = (
                f"; check the key in {self._key_env}" if self._key_env else "; give the node a 'key_env:' that names its key"
            )
        elif status == 404 or 300 <= status < 400:
            remedy = "; check 'url:'"

        # Its own words may repeat the prompt or the key, and are left out.
        return kind(f"the classifier '{self.name}' answered HTTP {status}{remedy}", backend=self.name)

    def _malformed(self, why: str) -> Malformed:
        return Malformed(f"the answer of classifier '{self.name}' cannot be read: {why}", backend=self.name)

    def _unreachable(self, why: str) -> Unreachable:
        return Unreachable(f"the classifier '{self.name}' cannot be reached: {why}", backend=self.name)


def open_http(node: Node) -> HttpClassifier:
    """
    Read the address and the key of *node* from the environment.

    Raises:
        SetupError: If a variable is not set, or what it holds cannot be an address or a key.
    """
    whose = f"classifier '{node.name}'"
    if node.url is None:
        raise SetupError(f"{whose} names no 'url:', which a plan kept in a store does not hold; open the author's graph")
    named = environment.names_in(node.url)
    given = environment.read(dict.fromkeys([*named, node.key_env] if node.key_env else named), whose)
    url = environment.fill(node.url, given)
    if not _is_address(url):
        origin = f"; it is made of {', '.join(named)} from the environment" if named else ""
        raise SetupError(f"{whose}: its url is no http:// or https:// address without a user and a password{origin}")
    key = given[node.key_env] if node.key_env else ""
    if key and not re.fullmatch(r"[!-~]+", key):
        raise SetupError(f"{whose}: what {node.key_env} holds cannot be a key: it has a space or an odd character")

    return HttpClassifier(node.name, url, node.writes, key=key, key_env=node.key_env or "")


def _is_address(url: str) -> bool:
    if not re.fullmatch(r"https?://[^\s/$][^\s$]*", url):
        return False
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")

        return bool(parts.hostname) and parts.port != 0 and parts.username is None and parts.password is None
    except ValueError:
        return False
