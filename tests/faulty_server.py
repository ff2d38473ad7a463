"""
A real chat server on loopback whose next answers are scripted, and most of them wrong; it keeps its own books.

It speaks HTTP over plain sockets, because an HTTP library is too polite for half of what real endpoints do: it would not reset
a connection in the middle of a word, nor send a head that is none.  A script is one line, its answers taken in order:

    429 retry-after=1 | reset | ok "Paris" 10+5 p=0.9

    ok "TEXT" IN+OUT         answer as asked for, in one body or as a stream of words
       p=0.9                 … with this probability of each token, where probabilities are asked for
       cached=3 reasoning=2  … with these parts of the tokens
       finish=length         … for this reason; finish=no leaves the reason out
       usage=no              … without usage; usage=bad with one that is no number
       body=plain            … in one body, whatever was asked for
       by=chunks, by=1.0     … in chunks, or as HTTP/1.0 does, whose body ends where the connection does
       head=huge             … under a head with a line of 64 kB
       done=no               … a stream without its `[DONE]`
    STATUS ["TEXT"]          an error; `retry-after=1` or `retry-after=date`, `to=URL` where it redirects
    body TYPE 'TEXT'         200 with any body; `bills=nothing` where nobody worked for it
    raw 'TEXT'               bytes that are no HTTP
    endless                  a body without end, as fast as it is read
    reset, close, stall, drip, fail, garble
                             break the connection, end it, say no more, send a byte now and then for ever, tell of an error, or
                             send what is no JSON: before the answer, or `after=K` words of a stream (of a whole answer:
                             after half of it); then `"TEXT" IN+OUT` is what would have been said
    slam                     close the next connection before anything is asked on it
    hold NAME …              do the rest once the test sets the event NAME

What a provider bills is what it says it counted; an answer that never got through is billed all the same, and nobody is told.
"""

from __future__ import annotations

import json
import shlex
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from itertools import islice
from math import log
from typing import Any, Literal, NamedTuple

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.lowlevel import checkpoint


Bill = Literal["usage", "nothing", "unknown"]

# How long a byte of a drip takes: short beside any deadline, so that it is the deadline that ends the call.
DRIP_SECONDS = 0.01

# How often the event loop goes round until whoever reads from it has surely taken what was sent.
ROUNDS = 20

_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Act(NamedTuple):
    """
    Say what is done with one request.
    """

    verb: str
    words: tuple[str, ...]
    options: dict[str, str]
    hold: str = ""

    @property
    def text(self) -> str:
        return next((word for word in self.words if not _is_usage(word)), "Paris")

    @property
    def usage(self) -> tuple[int, int]:
        """
        Return the tokens of its answer.
        """
        counts = next((word for word in self.words if _is_usage(word)), "10+5")
        incoming, outgoing = counts.split("+")

        return int(incoming), int(outgoing)


def _is_usage(word: str) -> bool:
    incoming, plus, outgoing = word.partition("+")

    return bool(plus) and incoming.isdigit() and outgoing.isdigit()


def script(line: str) -> list[Act]:
    """
    Read a line of answers.
    """
    acts = []
    for part in line.split(" | "):
        words = shlex.split(part)
        hold = words.pop(1) if words[0] == "hold" else ""
        verb, *rest = words[1:] if hold else words
        options = dict(word.split("=", 1) for word in rest if _is_option(word))
        acts.append(Act(verb, tuple(word for word in rest if not _is_option(word)), options, hold))

    return acts


def _is_option(word: str) -> bool:
    name, equals, _ = word.partition("=")

    return bool(equals) and name.replace("-", "").isalpha()


class Seen:
    """
    Log one request.

    Attributes:
        asked: What was asked for.
        headers: By their names in small letters.
        sent: How many words, or bodies, of the answer went out.
        ended: `answered`, `broken` by the server, or `left` by the client.
        bill: Whether the provider bills the usage it told, nothing, or something nobody was told.
    """

    def __init__(self, act: Act, asked: dict[str, Any], headers: dict[str, str]) -> None:
        self.act = act
        self.asked = asked
        self.headers = headers
        self.sent = 0
        self.ended: Literal["", "answered", "broken", "left"] = ""
        self.bill: Bill = "unknown"
        self.usage = (0, 0)

    def __repr__(self) -> str:
        return f"<{self.act.verb}: {self.ended}, bills {self.bill} {self.usage}>"


class FaultyServer:
    """
    Answer as the script says, and log what came of it.

    Attributes:
        seen: A line for each request.
        unforeseen: How many requests came when the script had no answer left.
        opened: How many connections were made; *open* is how many still are.
        events: What the test sets, by the names that `hold` uses.
        asked: Set once somebody has asked.
    """

    def __init__(self, line: str = "", *, name: str = "model") -> None:
        self.name = name
        self.base_url = ""
        self.seen: list[Seen] = []
        self.opened = 0
        self.open = 0
        self.unforeseen = 0
        self.asked = anyio.Event()
        self.all_closed = anyio.Event()
        self.all_closed.set()
        self._acts = script(line) if line else []
        self._events: dict[str, anyio.Event] = {}

    def event(self, name: str) -> anyio.Event:
        """
        Return the event that `hold NAME` waits for.
        """
        return self._events.setdefault(name, anyio.Event())

    @property
    def unused(self) -> list[str]:
        """
        Name what nobody came for.
        """
        return [act.verb for act in self._acts]

    async def serve(self, stream: SocketStream) -> None:
        """
        Answer the requests of one connection.
        """
        self.opened += 1
        self.open += 1
        self.all_closed = anyio.Event() if self.all_closed.is_set() else self.all_closed
        try:
            async with stream:
                if self._acts and self._acts[0].verb == "slam":
                    self._slam()
                    return
                while await self._answer(stream):
                    pass
        except _GONE:
            pass  # the client is gone
        finally:
            self.open -= 1
            if not self.open:
                self.all_closed.set()

    def _slam(self) -> None:
        slammed = Seen(self._acts.pop(0), {}, {})
        slammed.ended = "broken"
        self.seen.append(slammed)

    async def _answer(self, stream: SocketStream) -> bool:
        """
        Answer one request; tell whether there may be another.
        """
        head, body = await _request(stream)
        _, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if not self._acts:
            self.unforeseen += 1
            self.asked.set()
            return False
        act = self._acts.pop(0)
        seen = Seen(act, json.loads(body), headers)
        self.seen.append(seen)
        self.asked.set()
        exchange = Exchange(stream, seen)
        try:
            if act.hold:
                await exchange.unless_left(self.event(act.hold).wait)
            await _do(exchange)
        except _GONE:
            seen.ended = seen.ended or "left"
            raise

        return not exchange.over


async def _request(stream: SocketStream) -> tuple[bytes, bytes]:
    got = b""
    while b"\r\n\r\n" not in got:
        got += await stream.receive()
    head, _, body = got.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        body += await stream.receive()

    return head, body


class Exchange:
    """
    Hold one request, and the ways to answer it.

    Attributes:
        over: Whether the connection takes no further request.
    """

    def __init__(self, stream: SocketStream, seen: Seen) -> None:
        self.stream = stream
        self.seen = seen
        self.act = seen.act
        self.over = False

    @property
    def streams(self) -> bool:
        """
        Tell whether a stream is asked for, and given.
        """
        return bool(self.seen.asked.get("stream")) and self.act.options.get("body") != "plain"

    async def send(self, data: bytes | str) -> None:
        await self.stream.send(data.encode() if isinstance(data, str) else data)

    async def head(self, status: int, kind: str, *headers: str, length: int | None = None, version: str = "1.1") -> None:
        """
        Send the head of an answer; without a *length* its body comes in chunks, or ends with the connection.
        """
        lines = [f"HTTP/{version} {status} As Scripted", f"Content-Type: {kind}", *headers]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        elif version == "1.1":
            lines.append("Transfer-Encoding: chunked")
        await self.send("\r\n".join(lines) + "\r\n\r\n")

    async def chunk(self, data: str) -> None:
        raw = data.encode()
        await self.send(b"%x\r\n%b\r\n" % (len(raw), raw))

    async def end(self) -> None:
        await self.send("0\r\n\r\n")

    def reset(self) -> None:
        """
        Close the connection so that the other side sees a reset.
        """
        raw = self.stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    async def until_left(self) -> None:
        """
        Say nothing until the client has gone.
        """
        while True:
            await self.stream.receive()

    async def unless_left(self, wait: Callable[[], Awaitable[object]]) -> None:
        """
        Do something that may take for ever, but not longer than the client waits.
        """
        left = False

        async def watch(scope: anyio.CancelScope) -> None:
            nonlocal left
            try:
                await self.until_left()
            except _GONE:
                left = True
                scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, tasks.cancel_scope)
            try:
                await wait()
            except _GONE:
                left = True
            tasks.cancel_scope.cancel()
        if left:
            raise anyio.EndOfStream


# ---- answers ----------------------------------------------------------------------------------------------------------------


async def _do(exchange: Exchange) -> None:
    act, seen = exchange.act, exchange.seen
    if act.verb.isdigit():
        await _status(exchange)
    elif act.verb == "ok":
        seen.bill, seen.usage = "usage", act.usage
        await (_stream(exchange) if exchange.streams else _whole(exchange))
    elif act.verb == "body":
        kind, text = act.words
        seen.bill = "nothing" if act.options.get("bills") == "nothing" else "unknown"
        await exchange.head(200, kind, length=len(text.encode()))
        await exchange.send(text)
    elif act.verb == "raw":
        await exchange.send(act.words[0])
        exchange.over = True
    elif act.verb == "endless":
        await exchange.head(200, "application/json")
        while True:
            await exchange.chunk(" " * 65536)
    else:
        await _break_off(exchange)
    seen.ended = seen.ended or "answered"


async def _status(exchange: Exchange) -> None:
    act, seen = exchange.act, exchange.seen
    seen.bill = "nothing"
    text = json.dumps({"error": {"message": next(iter(act.words), "as scripted")}})
    headers = []
    after = act.options.get("retry-after")
    if after is not None:
        headers.append(f"Retry-After: {_soon() if after == 'date' else after}")
    if "to" in act.options:
        headers.append(f"Location: {act.options['to']}")
    await exchange.head(int(act.verb), "application/json", *headers, length=len(text))
    await exchange.send(text)


def _soon() -> str:
    # Such a date has whole seconds, so the next one is at most a second away.
    return format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)


async def _whole(exchange: Exchange) -> None:
    options = exchange.act.options
    text = json.dumps(_body(exchange))
    huge = [f"X-Filler: {'x' * 65536}"] if options.get("head") == "huge" else []
    match options.get("by"):
        case "chunks":
            await exchange.head(200, "application/json", *huge)
            half = len(text) // 2
            await exchange.chunk(text[:half])
            await checkpoint()
            await exchange.chunk(text[half:])
            await exchange.end()
        case "1.0":
            await exchange.head(200, "application/json", *huge, version="1.0")
            await exchange.send(text)
            exchange.over = True
        case _:
            await exchange.head(200, "application/json", *huge, length=len(text))
            await exchange.send(text)
    exchange.seen.sent = 1


async def _stream(exchange: Exchange) -> None:
    await exchange.head(200, "text/event-stream")
    async for event in _words(exchange):
        await exchange.chunk(event)
    options, act = exchange.act.options, exchange.act
    reason = options.get("finish", "stop")
    if reason != "no":
        await exchange.chunk(_event(exchange, delta={}, reason=reason))
    if options.get("usage") != "no":
        await exchange.chunk(f"data: {json.dumps(_frame(exchange, choices=[], usage=_usage(act)))}\n\n")
    if options.get("done") != "no":
        await exchange.chunk("data: [DONE]\n\n")
    await exchange.end()


async def _words(exchange: Exchange) -> AsyncIterator[str]:
    """
    Give the answer word by word, as events.
    """
    words = exchange.act.text.split(" ")
    for number, word in enumerate(words):
        text = word if number == len(words) - 1 else f"{word} "
        exchange.seen.sent += 1
        yield _event(exchange, delta={"content": text} if number else {"role": "assistant", "content": text})
        # Let whoever reads it have it before the next.
        await checkpoint()


async def _break_off(exchange: Exchange) -> None:
    """
    Say a part, and then do what the verb says.
    """
    act, seen = exchange.act, exchange.seen
    after = int(act.options.get("after", 0))
    if after and exchange.streams:
        await exchange.head(200, "text/event-stream")
        events = [event async for event in _words(exchange)]
        seen.sent = after
        for event in islice(events, after):
            await exchange.chunk(event)
    elif after:
        text = json.dumps(_body(exchange))
        await exchange.head(200, "application/json", length=len(text))
        await exchange.send(text[: len(text) // 2])
        seen.sent = 0
    # What was sent is not to be lost with the connection.
    for _ in range(ROUNDS):
        await checkpoint()
    exchange.over = True
    seen.ended = "broken"
    match act.verb:
        case "reset":
            exchange.reset()
        case "close":
            pass
        case "stall":
            seen.ended = ""
            await exchange.until_left()
        case "drip":
            seen.ended = ""
            await _drip(exchange, started=bool(after))
        case "fail" | "garble" if after and exchange.streams:
            bad = '{"error": {"message": "the model broke down"}}' if act.verb == "fail" else '{"choices": [{'
            await exchange.chunk(f"data: {bad}\n\n")
            await exchange.end()
        case _:
            raise AssertionError(f"'{act.verb}' is no answer of the script's")


async def _drip(exchange: Exchange, *, started: bool) -> None:
    async def drops() -> None:
        # In the middle of a head, of a stream's events, or of a body.
        drop = exchange.chunk if exchange.streams and started else exchange.send
        if not started:
            await exchange.send("HTTP/1.1 200 As Scripted\r\nX-Slow: ")
        while True:
            await drop(":" if exchange.streams and started else "x")
            await anyio.sleep(DRIP_SECONDS)

    await exchange.unless_left(drops)


def _body(exchange: Exchange) -> dict[str, Any]:
    act = exchange.act
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": act.text}}
    if (reason := act.options.get("finish", "stop")) != "no":
        choice["finish_reason"] = reason
    if exchange.seen.asked.get("logprobs") and "p" in act.options:
        choice["logprobs"] = _chances(act, act.text.split(" "))

    return _frame(exchange, choices=[choice]) | ({} if act.options.get("usage") == "no" else {"usage": _usage(act)})


def _event(exchange: Exchange, *, delta: dict[str, Any], reason: str | None = None) -> str:
    act = exchange.act
    choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": reason}
    if exchange.seen.asked.get("logprobs") and "p" in act.options and "content" in delta:
        choice["logprobs"] = _chances(act, [delta["content"]])

    return f"data: {json.dumps(_frame(exchange, choices=[choice]))}\n\n"


def _frame(exchange: Exchange, **rest: Any) -> dict[str, Any]:
    return {"id": "chat-1", "object": "chat.completion", "model": exchange.seen.asked.get("model", ""), **rest}


def _chances(act: Act, tokens: list[str]) -> dict[str, Any]:
    chance = float(act.options["p"])
    other = {"token": "?", "logprob": log(max(1e-9, 1 - chance))}

    return {
        "content": [
            {"token": token, "logprob": log(chance), "top_logprobs": [{"token": token, "logprob": log(chance)}, other]}
            for token in tokens
        ]
    }


def _usage(act: Act) -> dict[str, Any]:
    incoming, outgoing = act.usage
    if act.options.get("usage") == "bad":
        return {"prompt_tokens": "many", "completion_tokens": -1}
    told: dict[str, Any] = {"prompt_tokens": incoming, "completion_tokens": outgoing, "total_tokens": incoming + outgoing}
    if "cached" in act.options:
        told["prompt_tokens_details"] = {"cached_tokens": int(act.options["cached"])}
    if "reasoning" in act.options:
        told["completion_tokens_details"] = {"reasoning_tokens": int(act.options["reasoning"])}

    return told


@asynccontextmanager
async def faulty_servers(**lines: str) -> AsyncIterator[dict[str, FaultyServer]]:
    """
    Serve a script under each name, on free loopback ports, until the context is left.
    """
    servers = {name: FaultyServer(line, name=name) for name, line in lines.items()}
    async with AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(await anyio.create_tcp_listener(local_host="127.0.0.1")) for _ in servers]
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for server, listener in zip(servers.values(), listeners, strict=True):
            server.base_url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/v1"
            tasks.start_soon(partial(listener.serve, server.serve))
        try:
            yield servers
        finally:
            tasks.cancel_scope.cancel()
