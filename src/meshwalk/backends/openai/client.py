"""
The calls: one connection pool for all endpoints of a backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import aiohttp
import anyio

from meshwalk.backends.base import ChatRequest, OnPiece
from meshwalk.backends.openai.assembly import Assembly
from meshwalk.backends.openai.body import body_of
from meshwalk.backends.openai.faults import Faults
from meshwalk.backends.openai.plain import plain_reply
from meshwalk.backends.openai.progress import Progress, tracing
from meshwalk.backends.openai.response import EVENT_STREAM, RESPONSE_BYTES, StreamReading, kind_of, too_long, whole_answer
from meshwalk.backends.openai.shape import PLAIN_SHAPE, CallShape
from meshwalk.backends.secrets import Secrets
from meshwalk.model import NETWORK_CONCURRENCY
from meshwalk.model.private_text import joined
from meshwalk.model.problems import RefusedByModel, Unreachable
from meshwalk.model.resource import AsyncResource
from meshwalk.trace import Reply


# A place in the line before a backend is a connection, so nobody waits here.
CONNECTIONS = NETWORK_CONCURRENCY

# The statuses of answers; some gateways say that they created one.
_ANSWERED = frozenset({200, 201, 203})

# A record may say of an answer that it was of one of these types.
_USUAL_TYPES = frozenset({"text/html", "text/plain", "text/xml", "application/xml", "application/octet-stream"})

_ERROR_BODY_BYTES = 64 << 10
# The status is what counts, and the words behind it may never come.
_ERROR_BODY_SECONDS = 1.0

# A stream that has announced its end may take this long to close, so that its connection can be used again.
_LINGER_SECONDS = 0.05


# Servers that promise to keep a connection open and close it after a stream: a call that used it again would often be cut off.
_CLOSING = frozenset({"llama.cpp"})


# A call may meet this many connections that the server has closed meanwhile before it fails.
_STALE_CONNECTIONS = 3
_UNWRITTEN = "Cannot write to closing transport"


class Place(NamedTuple):
    """
    The address and key of one endpoint.

    Args:
        name: The endpoint's, empty where the backend has only one.
        base_url: The address that `/chat/completions` is appended to.
        key: Sent as a bearer token where it is not empty.
        key_env: The variable it came from, for errors.
    """

    name: str
    base_url: str
    key: str = ""
    key_env: str = ""


class _Endpoint:
    """
    The parts that all calls to one endpoint have in common.
    """

    __slots__ = ("faults", "headers", "stream_headers", "url")

    def __init__(self, place: Place, faults: Faults, shape: CallShape) -> None:
        self.faults = faults
        self.url = _called(place.base_url)
        common = {"Content-Type": "application/json", **dict(shape.headers)}
        if place.key and shape.key_header:
            common[shape.key_header] = place.key
        elif place.key:
            common["Authorization"] = f"Bearer {place.key}"
        self.headers = common | {"Accept": "application/json"}
        # Nobody on the way may keep pieces back until enough of them can be compressed.
        self.stream_headers = common | {"Accept": EVENT_STREAM, "Accept-Encoding": "identity"}


def _called(base_url: str) -> str:
    """
    Return the address of chat completions under *base_url*; its own query stays behind the path.
    """
    path, mark, query = base_url.partition("?")

    return f"{path.rstrip('/')}/chat/completions{mark}{query}"


class OpenAIBackend(AsyncResource):
    """
    A backend that calls *model* at an endpoint, or at one of several.

    Args:
        base_url: The address that `/chat/completions` is appended to, for a single endpoint with *key* and *key_env*.
        places: The endpoints, where they have names.
        connections: How many calls may be under way; further ones wait for a connection.
        shape: How its server wants to be called, and how it answers.
        secrets: What no text may hold that goes out; None takes its keys and addresses.
    """

    waits = True

    def __init__(  # noqa: PLR0913 (all that a call needs)
        self,
        name: str,
        model: str,
        base_url: str = "",
        *,
        key: str = "",
        key_env: str = "",
        places: Sequence[Place] = (),
        connections: int = CONNECTIONS,
        shape: CallShape = PLAIN_SHAPE,
        secrets: Secrets | None = None,
    ) -> None:
        self.name = name
        self._shape = shape
        self.model = model
        known = tuple(places) or (Place("", base_url, key, key_env),)
        if secrets is None:
            secrets = Secrets([place.key for place in known], [place.base_url for place in known])
        self.secrets = secrets
        self._endpoints = {
            place.name: _Endpoint(place, Faults(name, place.name, model, secrets=secrets, key_env=place.key_env), shape)
            for place in known
        }
        self._first = self._endpoints[known[0].name]
        self.connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def chat(self, request: ChatRequest) -> Reply:
        """
        Make one call.

        Raises:
            BackendError: With the class of what went wrong.
        """
        return await self._call(request, None)

    async def stream(self, request: ChatRequest, on_piece: OnPiece) -> Reply:
        """
        Make one call, pass each piece of its text to *on_piece* as it comes, and return the whole reply in the end.

        A server that answers all at once is taken at its word, which is then one piece.

        Raises:
            BackendError: With the class of what went wrong; pieces may have been told of before.
        """
        return await self._call(request, on_piece)

    async def aclose(self) -> None:
        """
        Close all connections.
        """
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _call(self, request: ChatRequest, on_piece: OnPiece | None) -> Reply:
        progress = Progress(request.progress)
        endpoint = self._endpoint(request.endpoint)
        if not self._shape.takes_images and any(message.images for message in request.messages):
            progress.stop()
            raise RefusedByModel(f"backend '{self.name}' takes no images; see its 'takes:'", backend=self.name)
        body = body_of(self.name, self.model, request, self._shape, streamed=on_piece is not None)
        stale = _STALE_CONNECTIONS
        while True:
            try:
                return await self._once(endpoint, body, request, on_piece, progress)
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
        self, endpoint: _Endpoint, sent: bytes, request: ChatRequest, on_piece: OnPiece | None, progress: Progress
    ) -> Reply:
        faults, headers = endpoint.faults, endpoint.headers if on_piece is None else endpoint.stream_headers
        async with self._open().post(
            endpoint.url,
            data=sent,
            headers={**headers, "traceparent": request.traceparent} if request.traceparent else headers,
            allow_redirects=False,
            trace_request_ctx=progress,
        ) as response:
            if response.status not in _ANSWERED:
                progress.answered()
                raise faults.refusal(response.status, response.headers, await _words(response))
            assembly = Assembly(
                request,
                progress.progress,
                on_piece,
                backend=self.name,
                model=self.model,
                faults=faults,
                shape=self._shape,
            )
            assembly.read_headers(response.headers)
            try:
                answer = await self._read_answer(response, assembly, progress, faults, streamed=on_piece is not None)
                timing = progress.stop()
                if answer is not None:
                    usual = on_piece is None and self._shape is PLAIN_SHAPE and not assembly.mended
                    if usual and request.samples == 1 and not request.probabilities:
                        reply = plain_reply(answer, self.model, timing)
                    else:
                        reply = None
                    if reply is not None:
                        return reply
                    assembly.take_whole(answer)
                    assembly.tell_whole()
                return assembly.reply(timing)
            except BaseException:
                assembly.account()
                raise

    async def _read_answer(
        self, response: aiohttp.ClientResponse, assembly: Assembly, progress: Progress, faults: Faults, *, streamed: bool
    ) -> object:
        """
        Read an answer, a stream into *assembly*; return a whole one, and None for a stream.
        """
        said = response.content_type
        if not (streamed and said == EVENT_STREAM):
            progress.answered()
        body, kind = bytearray(), ""
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > RESPONSE_BYTES:
                response.close()
                raise too_long(faults)
            kind = kind_of(body, said) or kind
            if kind == "stream":
                if said != EVENT_STREAM:
                    assembly.mend("content_type")
                elif not streamed:
                    assembly.mend("stream")
                await self._streamed(response, bytes(body), assembly, progress, faults)
                return None
        if not kind:
            # An empty body is a stream that broke off, or no JSON.
            kind = kind_of(body, said, ended=True)
        progress.answered()
        if kind == "stream":
            raise faults.cut_off()
        if kind == "other" and not said.endswith("json"):
            wanted = f"{EVENT_STREAM} or JSON" if streamed else "JSON"
            type_words = repr(said) if said in _USUAL_TYPES else faults.quoted(said[:80]) or "none"
            raise faults.malformed(joined("its content type is ", type_words, f" and not {wanted}"))
        if not said.endswith("json"):
            assembly.mend("content_type")
        value = whole_answer(bytes(body), assembly, faults)

        # A body that is null is no answer either, and is told as one that is none.
        return () if value is None else value

    async def _streamed(
        self, response: aiohttp.ClientResponse, head: bytes, assembly: Assembly, progress: Progress, faults: Faults
    ) -> None:
        if response.headers.get("Server") in _CLOSING:
            connection = response.connection
            protocol = None if connection is None else connection.protocol
            if protocol is not None:
                protocol.force_close()
        reading = StreamReading(response, assembly, progress, faults)
        try:
            reading.feed(head)
            ended = False
            while not assembly.done and not ended:
                if assembly.complete:
                    ended = await reading.settle()
                else:
                    ended = await reading.read()
            if ended and not assembly.done:
                reading.end()
        except (aiohttp.ClientError, OSError):
            # Only the usage could have followed the end of the answer, and that can be estimated.
            if not assembly.whole:
                raise
        if assembly.done:
            await _linger(response)
        elif not assembly.whole:
            raise faults.cut_off()

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
                connector=aiohttp.TCPConnector(limit=self.connections),
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
    Read the body of an answer that is no 200, as far as it comes.
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
