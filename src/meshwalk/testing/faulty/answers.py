"""
One answer of a faulty server: as a model server gives it, or as one that fails at it.

It speaks HTTP over plain sockets, because an HTTP library is too polite for half of what real endpoints do: it would not reset
a connection in the middle of a word, nor send a head that is none.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import islice
from math import log
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.lowlevel import checkpoint

from meshwalk.testing.faulty.script import Act, Seen


# The time a byte of a drip takes: short beside any deadline, so that it is the deadline that ends the call.
DRIP_SECONDS = 0.01

# Turns of the event loop until all that was sent on loopback is read, and all who waited for it have gone on.
ROUNDS = 50

# The errors of a connection whose client has gone.
GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


async def all_heard() -> None:
    """
    Let whatever was sent in this process be heard in it, however fast the machine is.
    """
    for _ in range(ROUNDS):
        await checkpoint()


class Exchange:
    """
    One request, and the ways to answer it.

    Attributes:
        over: True if the connection takes no further request.
    """

    def __init__(self, stream: SocketStream, seen: Seen) -> None:
        self.stream = stream
        self.seen = seen
        self.act = seen.act
        self.over = False

    @property
    def streams(self) -> bool:
        """
        Return whether a stream is asked for, and given.
        """
        return bool(self.seen.body.get("stream")) and self.act.options.get("body") != "plain"

    async def send(self, data: bytes | str) -> None:
        """
        Send *data* as it is.
        """
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
        """
        Send a chunk of a body.
        """
        raw = data.encode()
        await self.send(b"%x\r\n%b\r\n" % (len(raw), raw))

    async def end(self) -> None:
        """
        End a body of chunks.
        """
        await self.send("0\r\n\r\n")

    def reset(self) -> None:
        """
        Close the connection so that the other side sees a reset.
        """
        raw = self.stream.extra(SocketAttribute.raw_socket)  # noqa: S610 (anyio's, not Django's)
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
            except GONE:
                left = True
                scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, tasks.cancel_scope)
            try:
                await wait()
            except GONE:
                left = True
            tasks.cancel_scope.cancel()
        if left:
            raise anyio.EndOfStream


# ---- answers ----------------------------------------------------------------------------------------------------------------


async def answer(exchange: Exchange) -> None:
    """
    Do what the script says.
    """
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
        headers.append(f"Retry-After: {_in_an_hour() if after == 'date' else after}")
    if "to" in act.options:
        headers.append(f"Location: {act.options['to']}")
    await exchange.head(int(act.verb), "application/json", *headers, length=len(text))
    await exchange.send(text)


def _in_an_hour() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)


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
    exchange.seen.streamed = True
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
        seen.streamed = True
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
    # Nothing that was sent is to be lost with the connection.
    await all_heard()
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
        case "fail" | "garble":
            bad = '{"error": {"message": "the model broke down"}}' if act.verb == "fail" else '{"choices": [{'
            if seen.streamed:
                await exchange.chunk(f"data: {bad}\n\n")
                await exchange.end()
            else:
                await exchange.head(200, "application/json", length=len(bad))
                await exchange.send(bad)


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
    if exchange.seen.body.get("logprobs") and "p" in act.options:
        choice["logprobs"] = _probabilities(act, act.text.split(" "))

    return _frame(exchange, choices=[choice]) | ({} if act.options.get("usage") == "no" else {"usage": _usage(act)})


def _event(exchange: Exchange, *, delta: dict[str, Any], reason: str | None = None) -> str:
    act = exchange.act
    choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": reason}
    if exchange.seen.body.get("logprobs") and "p" in act.options and "content" in delta:
        choice["logprobs"] = _probabilities(act, [delta["content"]])

    return f"data: {json.dumps(_frame(exchange, choices=[choice]))}\n\n"


def _frame(exchange: Exchange, **rest: Any) -> dict[str, Any]:
    return {"id": "chat-1", "object": "chat.completion", "model": exchange.seen.body.get("model", ""), **rest}


def _probabilities(act: Act, tokens: list[str]) -> dict[str, Any]:
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
    usage: dict[str, Any] = {"prompt_tokens": incoming, "completion_tokens": outgoing, "total_tokens": incoming + outgoing}
    if "cached" in act.options:
        usage["prompt_tokens_details"] = {"cached_tokens": int(act.options["cached"])}
    if "reasoning" in act.options:
        usage["completion_tokens_details"] = {"reasoning_tokens": int(act.options["reasoning"])}

    return usage
