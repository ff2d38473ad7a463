"""
The calls: one connection pool for all endpoints of a backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import aiohttp
import anyio

from meshwalk.backends.base import ChatRequest, Tell
from meshwalk.backends.openai.body import body_of
from meshwalk.backends.openai.events import Events
from meshwalk.backends.openai.faults import Faults
from meshwalk.backends.openai.progress import Progress, tracing
from meshwalk.backends.openai.reply import read_reply
from meshwalk.backends.openai.streamed import Assembly
from meshwalk.model.problems import Unreachable
from meshwalk.trace import Reply


CONNECTIONS = 100
RESPONSE_BYTES = 16 << 20

_ERROR_BODY_BYTES = 64 << 10
# The status is what counts, and the words behind it may never come.
_ERROR_BODY_SECONDS = 1.0

# How long a stream that has said that it is at its end may take to close, so that its connection can be used again.
_LINGER_SECONDS = 0.05

_STREAM = "text/event-stream"

# Servers that promise to keep a connection open and close it after a stream: who used it again would often be cut off.
_CLOSING = frozenset({"llama.cpp"})


# How many connections that a server has closed meanwhile a call may come upon before it is broken.
_STALE_CONNECTIONS = 3
_UNWRITTEN = "Cannot write to closing transport"


class Place(NamedTuple):
    """
    Say where a model can be called.

    Args:
        name: The endpoint's, empty where the backend has only one.
        base_url: What `/chat/completions` lies under.
        key: Sent as a bearer token where it is not empty.
        key_env: The variable it came from, for errors.
    """

    name: str
    base_url: str
    key: str = ""
    key_env: str = ""


class _Endpoint:
    """
    Hold what every call to one place has in common.
    """

    __slots__ = ("faults", "headers", "stream_headers", "url")

    def __init__(self, place: Place, faults: Faults) -> None:
        self.faults = faults
        self.url = place.base_url.rstrip("/") + "/chat/completions"
        common = {"Content-Type": "application/json"}
        if place.key:
            common["Authorization"] = f"Bearer {place.key}"
        self.headers = common | {"Accept": "application/json"}
        # Nobody on the way may keep pieces back until enough of them can be compressed.
        self.stream_headers = common | {"Accept": _STREAM, "Accept-Encoding": "identity"}


class OpenAIBackend:
    """
    Call *model* at an endpoint, or at one of several.

    Args:
        base_url: What `/chat/completions` lies under, where there is only one endpoint; *key* and *key_env* are its, too.
        places: The endpoints, where they have names.
        connections: How many calls may be under way; further ones wait for a connection.
    """

    waits = True

    def __init__(
        self,
        name: str,
        model: str,
        base_url: str = "",
        *,
        key: str = "",
        key_env: str = "",
        places: Sequence[Place] = (),
        connections: int = CONNECTIONS,
    ) -> None:
        self.name = name
        self.model = model
        known = tuple(places) or (Place("", base_url, key, key_env),)
        keys, addresses = {place.key for place in known}, {place.base_url for place in known}
        self._endpoints = {
            place.name: _Endpoint(place, Faults(name, place.name, model, keys=keys, key_env=place.key_env, addresses=addresses))
            for place in known
        }
        self._first = self._endpoints[known[0].name]
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def chat(self, request: ChatRequest) -> Reply:
        """
        Make one call.

        Raises:
            BackendError: With the class of what went wrong.
        """
        return await self._call(request, None)

    async def stream(self, request: ChatRequest, tell: Tell) -> Reply:
        """
        Make one call, *tell* of each piece of its text as it comes, and return the whole reply in the end.

        A server that answers all at once is taken at its word, which is then one piece.

        Raises:
            BackendError: With the class of what went wrong; pieces may have been told of before.
        """
        return await self._call(request, tell)

    async def aclose(self) -> None:
        """
        Close all connections.
        """
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _call(self, request: ChatRequest, tell: Tell | None) -> Reply:
        progress = Progress(request.progress)
        endpoint = self._endpoint(request.endpoint)
        body = body_of(self.model, request, streamed=tell is not None)
        stale = _STALE_CONNECTIONS
        while True:
            try:
                return await self._once(endpoint, body, request, tell, progress)
            except (aiohttp.ClientError, OSError, UnicodeError) as error:
                if _is_unwritten(error):
                    progress.progress.sent = False
                    if stale:
                        stale -= 1
                        continue
                raise endpoint.faults.broken(error, sent=progress.progress.sent) from error
            finally:
                progress.stop()

    async def _once(
        self, endpoint: _Endpoint, sent: bytes, request: ChatRequest, tell: Tell | None, progress: Progress
    ) -> Reply:
        faults, headers = endpoint.faults, endpoint.headers if tell is None else endpoint.stream_headers
        async with self._open().post(
            endpoint.url,
            data=sent,
            headers={**headers, "traceparent": request.traceparent} if request.traceparent else headers,
            allow_redirects=False,
            trace_request_ctx=progress,
        ) as response:
            if response.status != 200:
                progress.answered()
                raise faults.refusal(response.status, response.headers, await _words(response))
            if tell is not None and response.content_type == _STREAM:
                return await self._streamed(response, request, tell, progress, faults)
            progress.answered()
            body = await _read(response, RESPONSE_BYTES + 1)
        if len(body) > RESPONSE_BYTES:
            raise _too_long(faults)
        if not response.content_type.endswith("json"):
            wanted = "JSON" if tell is None else f"{_STREAM} or JSON"
            raise faults.malformed(f"its content type is {response.content_type[:80]!r} and not {wanted}")
        reply, piece = read_reply(body, request, self.model, progress.stop(), faults)
        if tell is not None and piece.text:
            tell(piece)

        return reply

    async def _streamed(
        self, response: aiohttp.ClientResponse, request: ChatRequest, tell: Tell, progress: Progress, faults: Faults
    ) -> Reply:
        if response.headers.get("Server") in _CLOSING:
            connection = response.connection
            protocol = None if connection is None else connection.protocol
            if protocol is not None:
                protocol.force_close()
        events, assembly, size = Events(), Assembly(request, tell, self.model, faults), 0
        try:
            async for chunk in response.content.iter_any():
                size += len(chunk)
                if size > RESPONSE_BYTES:
                    raise _too_long(faults)
                for event in events.feed(chunk):
                    progress.answered()
                    assembly.feed(event)
                if assembly.done:
                    break
        except (aiohttp.ClientError, OSError):
            # What came after the end of the answer would have been its usage at most, which can be estimated.
            if not assembly.whole:
                raise
        if assembly.done:
            await _linger(response)
        elif not assembly.whole:
            raise faults.cut_off()

        return assembly.reply(progress.stop())

    def _endpoint(self, name: str) -> _Endpoint:
        if not name:
            return self._first
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            known = ", ".join(filter(None, self._endpoints)) or "none with a name"
            raise Unreachable(f"backend '{self.name}' has no endpoint '{name}'; it has: {known}", backend=self.name)

        return endpoint

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                # The engine's deadline ends a call, by cancelling it.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                trace_configs=[tracing()],
                trust_env=False,
            )

        return self._session


def _is_unwritten(error: Exception) -> bool:
    """
    Tell whether a connection closed before all of a request was written, so that nobody can have worked for it.
    """
    causes = (error, error.__cause__)

    return any(isinstance(cause, aiohttp.ClientConnectionResetError) and str(cause) == _UNWRITTEN for cause in causes)


def _too_long(faults: Faults) -> Exception:
    return faults.malformed(f"it is longer than {RESPONSE_BYTES >> 20} MiB")


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """
    Read at most *most* bytes of a body; the connection is closed if there are more.
    """
    found = bytearray()
    async for chunk in response.content.iter_any():
        found += chunk
        if len(found) >= most:
            response.close()
            break

    return bytes(found[:most])


async def _words(response: aiohttp.ClientResponse) -> bytes:
    """
    Read what stands in an answer that is no 200, as far as it comes.
    """
    try:
        with anyio.move_on_after(_ERROR_BODY_SECONDS):
            return await _read(response, _ERROR_BODY_BYTES)
    except (aiohttp.ClientError, OSError):
        pass
    response.close()

    return b""


async def _linger(response: aiohttp.ClientResponse) -> None:
    """
    Read a stream that is at its end until it closes, or close it.
    """
    if not response.content.at_eof():
        try:
            with anyio.move_on_after(_LINGER_SECONDS):
                await _read(response, _ERROR_BODY_BYTES)
                return
        except (aiohttp.ClientError, OSError):
            pass
        response.close()
