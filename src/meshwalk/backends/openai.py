"""
Any OpenAI-compatible chat endpoint, over one HTTP call a request.

A thin client: what a walk needs is the text, why it ended, the tokens, the token probabilities and where the time
went.  Laws of this room:

1. The key is read from the environment when the backend opens and appears nowhere else: not in an error, even where the
   provider echoes it, and not on another host, since redirects are not followed.
2. Nor does an address: it may come from the environment, and errors are recorded.
3. Whatever the endpoint does ends as a reply or a `BackendError`.  `billable` is said of everything that happened after
   the request was on its way and that the provider may have worked for; an HTTP error status is an answer without work.
   An address that no call can be made to is refused when the backend opens, and not once a walk.
4. A call that is cancelled closes its connection at once, so that a server which notices stops working.

aiohttp rather than a provider's SDK: about a tenth of the CPU time a call, and its trace hooks give the latency split.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from meshwalk import variables
from meshwalk.backends.base import ChatRequest
from meshwalk.model import OpenAISpec
from meshwalk.problems import BackendError, Malformed, Overloaded, RateLimited, RefusedByModel, SetupError, Unreachable
from meshwalk.trace import Reply, Timing, TokenProbabilities, Usage


DEFAULT_BASE_URL = "${OPENAI_BASE_URL}"
CONNECTIONS = 100
RESPONSE_BYTES = 16 << 20

_ERROR_BODY_BYTES = 64 << 10
_QUOTED_CHARACTERS = 200

# By status, the first range that holds it.
_STATUSES: tuple[tuple[range, type[BackendError]], ...] = (
    (range(429, 430), RateLimited),
    (range(408, 409), Overloaded),
    (range(500, 600), Overloaded),
    (range(600), RefusedByModel),
)

# By what aiohttp raised, the first that fits: the class's words, and whether nothing can have been sent.
_FOREIGN: tuple[tuple[type[Exception], str, bool], ...] = (
    (aiohttp.InvalidURL, "its address is none that can be called", True),
    (UnicodeError, "its address is none that can be called", True),
    (aiohttp.ClientConnectorDNSError, "the name of its host cannot be resolved", True),
    (aiohttp.ClientConnectorCertificateError, "its certificate is not to be trusted", True),
    (aiohttp.ClientSSLError, "no TLS connection could be made", True),
    (aiohttp.ClientConnectorError, "no connection could be made", True),
    (aiohttp.ServerDisconnectedError, "it closed the connection without an answer", False),
    (aiohttp.ClientPayloadError, "the connection broke in the middle of its answer", False),
    (aiohttp.ClientOSError, "the connection broke", False),
    (OSError, "the connection broke", False),
)


class _Clock:
    """
    Note when a call passed each station, in nanoseconds.
    """

    __slots__ = ("connect_ns", "queue_ns", "ready_ns", "sent", "since_ns")

    def __init__(self) -> None:
        self.since_ns = self.ready_ns = time.perf_counter_ns()
        self.queue_ns = self.connect_ns = 0
        self.sent = False

    def lap(self) -> int:
        """
        Return the time since the last station, and start the next.
        """
        before, self.since_ns = self.since_ns, time.perf_counter_ns()

        return self.since_ns - before

    def answered(self) -> Timing:
        """
        Give the split, at the moment when the head of the answer is here.
        """
        first = time.perf_counter_ns() - self.ready_ns

        return Timing(self.queue_ns // 1000, self.connect_ns // 1000, first // 1000)


def _stations() -> aiohttp.TraceConfig:
    config = aiohttp.TraceConfig()

    async def start(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        context.trace_request_ctx.lap()

    async def queued(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        clock: _Clock = context.trace_request_ctx
        clock.queue_ns += clock.lap()

    async def connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        clock: _Clock = context.trace_request_ctx
        clock.connect_ns += clock.lap()
        clock.ready_ns = clock.since_ns

    async def reused(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        clock: _Clock = context.trace_request_ctx
        clock.ready_ns = time.perf_counter_ns()

    async def sent(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        context.trace_request_ctx.sent = True

    config.on_connection_queued_start.append(start)
    config.on_connection_queued_end.append(queued)
    config.on_connection_create_start.append(start)
    config.on_connection_create_end.append(connected)
    config.on_connection_reuseconn.append(reused)
    config.on_request_headers_sent.append(sent)

    return config


class OpenAIBackend:
    """
    Call *model* at the endpoint whose `/chat/completions` lies under *base_url*.

    Args:
        key: Sent as a bearer token where it is not empty.
        key_env: The variable it came from, for errors.
        connections: How many calls may be under way; further ones wait for a slot.
    """

    waits = True

    def __init__(
        self, name: str, model: str, base_url: str, *, key: str = "", key_env: str = "", connections: int = CONNECTIONS
    ) -> None:
        self.name = name
        self.model = model
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._key = key
        self._key_env = key_env
        self._connections = connections
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._session: aiohttp.ClientSession | None = None

    async def chat(self, request: ChatRequest) -> Reply:
        """
        Make one call.

        Raises:
            BackendError: With the class of what went wrong.
        """
        clock = _Clock()
        headers = {**self._headers, "traceparent": request.traceparent} if request.traceparent else self._headers
        try:
            async with self._open().post(
                self._url,
                data=self._body(request),
                headers=headers,
                allow_redirects=False,
                trace_request_ctx=clock,
            ) as response:
                timing = clock.answered()
                if response.status != 200:
                    raise self._refusal(response.status, await _read(response, _ERROR_BODY_BYTES))
                body = await _read(response, RESPONSE_BYTES + 1)
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise self._broken(error, clock) from error
        if len(body) > RESPONSE_BYTES:
            raise self._malformed(f"it is longer than {RESPONSE_BYTES >> 20} MiB")
        if not response.content_type.endswith("json"):
            raise self._malformed(f"its content type is {response.content_type[:80]!r} and not JSON")

        return self._reply(body, timing, probabilities=request.probabilities)

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
                connector=aiohttp.TCPConnector(limit=self._connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                # The engine's deadline ends a call, by cancelling it.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                trace_configs=[_stations()],
                trust_env=False,
            )

        return self._session

    def _body(self, request: ChatRequest) -> bytes:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": said.role, "content": said.content, **({"name": said.name} if said.name else {})}
                for said in request.messages
            ],
        }
        body.update(
            (key, value) for key, value in zip(request.sampling._fields, request.sampling, strict=True) if value is not None
        )
        if request.probabilities:
            body.update(logprobs=True, top_logprobs=2)

        return orjson.dumps(body)

    # ---- what can be wrong, in words --------------------------------------------------------------------------------

    def _broken(self, error: Exception, clock: _Clock) -> BackendError:
        words, unsent = next(((words, unsent) for kind, words, unsent in _FOREIGN if isinstance(error, kind)), ("", False))
        if not words:
            return self._malformed(f"it does not speak HTTP ({type(error).__name__})", billable=clock.sent)
        # The system's words by number, since aiohttp's own texts hold the address.
        number = getattr(getattr(error, "os_error", error), "errno", None)
        detail = f" ({os.strerror(number)})" if isinstance(number, int) and number > 0 else ""
        message = f"backend '{self.name}' cannot be reached: {words}{detail}"

        return Unreachable(message, backend=self.name, billable=clock.sent and not unsent)

    def _refusal(self, status: int, body: bytes) -> BackendError:
        house = next(house for statuses, house in _STATUSES if status in statuses)
        # A provider that rejects a key may quote a part of it, so its words are left out.
        if status in {401, 403}:
            remedy = (
                f"check the key in {self._key_env}" if self._key_env else "give the backend a 'key_env:' that names its key"
            )
            return house(
                f"backend '{self.name}' answered HTTP {status}: it does not accept our key; {remedy}", backend=self.name
            )
        said = self._quoted(body)
        remedy = ""
        if status == 404:
            remedy = f"; check 'base_url:' and whether it has the model '{self.model}'"
        elif 300 <= status < 400:
            remedy = "; it redirects, and 'base_url:' must name where it really is"

        return house(f"backend '{self.name}' answered HTTP {status}{f': {said}' if said else ''}{remedy}", backend=self.name)

    def _malformed(self, why: str, *, billable: bool = True) -> Malformed:
        return Malformed(f"the answer of backend '{self.name}' cannot be read: {why}", backend=self.name, billable=billable)

    def _quoted(self, body: bytes) -> str:
        """
        Return the provider's own words on an error: on one line, without the key, and short.
        """
        text = body.decode("utf-8", "replace")
        try:
            said = orjson.loads(body)
            error = said.get("error", said)
            text = error if isinstance(error, str) else str(error.get("message") or text)
        except (orjson.JSONDecodeError, AttributeError):
            pass
        if self._key:
            text = text.replace(self._key, "[key]")
        line = " ".join("".join(char if char.isprintable() else " " for char in text).split())

        return line if len(line) <= _QUOTED_CHARACTERS else line[: _QUOTED_CHARACTERS - 1] + "…"

    # ---- the answer -------------------------------------------------------------------------------------------------

    def _reply(self, body: bytes, timing: Timing, *, probabilities: bool) -> Reply:
        try:
            answer: Any = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise self._malformed("it is not JSON") from None
        choice = _first(answer)
        if choice is None:
            said = self._quoted(body) if isinstance(answer, dict) and answer.get("error") else ""
            raise self._malformed(f"it has no choice with a message{f', and says: {said}' if said else ''}")
        try:
            usage = _usage(answer.get("usage"))
            chances = _probabilities(choice.get("logprobs")) if probabilities else None
        except ValueError as error:
            raise self._malformed(str(error)) from error
        reason, model = choice.get("finish_reason"), answer.get("model")

        return Reply(
            self._text(choice["message"]),
            finish_reason=reason if isinstance(reason, str) else "",
            usage=usage,
            probabilities=chances,
            timing=timing,
            model=model if isinstance(model, str) and model else self.model,
        )

    def _text(self, message: Mapping[str, Any]) -> str:
        content = message.get("content")
        if isinstance(content, str):
            return content
        if content is None and message.get("tool_calls"):
            return ""
        if content is None and isinstance(message.get("refusal"), str):
            raise RefusedByModel(f"backend '{self.name}': the model refused to answer", backend=self.name, billable=True)
        raise self._malformed("its message has no text")


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


def _first(answer: Any) -> dict[str, Any] | None:
    choices = answer.get("choices") if isinstance(answer, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None

    return choice if isinstance(choice, dict) and isinstance(choice.get("message"), dict) else None


def _usage(given: Any) -> Usage | None:
    if given is None:
        return None
    counts = [given.get(key) for key in ("prompt_tokens", "completion_tokens")] if isinstance(given, dict) else [None]
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("its usage is not in whole tokens")

    return Usage(*counts)


def _probabilities(given: Any) -> TokenProbabilities | None:
    """
    Sum up what the endpoint says of each token; None if it says nothing.

    The margin of a token is between the two likeliest ones, whichever of them was chosen.
    """
    tokens = given.get("content") if isinstance(given, dict) else None
    if not tokens:
        return None
    try:
        chosen = [_chance(token) for token in tokens]
        ranked = [sorted(map(_chance, token.get("top_logprobs") or ()), reverse=True) for token in tokens]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("its log-probabilities are not numbers") from error
    margins = [tops[0] - tops[1] for tops in ranked if len(tops) > 1]

    return TokenProbabilities(
        math.fsum(chosen) / len(chosen), min(chosen), math.fsum(margins) / len(margins) if margins else None
    )


def _chance(token: Mapping[str, Any]) -> float:
    # Rounding lets some servers go a little above zero.
    return math.exp(min(0.0, token["logprob"]))


def open_openai(spec: OpenAISpec) -> OpenAIBackend:
    """
    Read the address and the key of *spec* from the environment.

    Raises:
        SetupError: If a variable is not set, or what it holds cannot be an address or a key.
    """
    named = variables.names_in(spec.base_url or DEFAULT_BASE_URL)
    given = variables.read(dict.fromkeys([*named, spec.key_env] if spec.key_env else named), f"backend '{spec.name}'")
    url = variables.fill(spec.base_url or DEFAULT_BASE_URL, given)
    if why := _no_address(url):
        raise SetupError(f"backend '{spec.name}': its base_url {why}{_origin(spec)}")
    key = given[spec.key_env] if spec.key_env else ""
    if key and not re.fullmatch(r"[!-~]+", key):
        raise SetupError(
            f"backend '{spec.name}': what {spec.key_env} holds cannot be a key: it has a space or an odd character"
        )

    return OpenAIBackend(spec.name, spec.model, url, key=key, key_env=spec.key_env or "")


def _no_address(url: str) -> str:
    """
    Say why nothing can be called at *url*, or nothing if it can; a part of it may be a secret, so it is not quoted.
    """
    if not re.fullmatch(r"https?://[^\s/$][^\s$]*", url):
        return "is no http:// or https:// address"
    try:
        parts = urlsplit(url)
        port = parts.port
        # A label that is empty or too long for the domain name system.
        (parts.hostname or "").encode("idna")
    except ValueError:
        return "has a host or a port that cannot be one"
    if parts.username is not None or parts.password is not None:
        return "has a user or a password in it; name the variable of the key as 'key_env:'"
    if not parts.hostname or port == 0:
        return "has a host or a port that cannot be one"

    return ""


def _origin(spec: OpenAISpec) -> str:
    names = variables.names_in(spec.base_url or DEFAULT_BASE_URL)

    return f"; it is made of {', '.join(names)} from the environment" if names else f": {spec.base_url!r}"
