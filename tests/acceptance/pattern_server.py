"""
A real HTTP server on loopback that plays several models by the `model` field, and keeps its own books.

What a model says depends on what it is asked: a play lists replies, each for one model and for the words that must stand in
the last message.  The server counts words as tokens and writes down what it charges for; of a stream that its caller leaves it
charges for what it had sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
from aiohttp import web


class Says(NamedTuple):
    """
    Tell what a model does when it is asked.

    Args:
        sure: The probability of each of its tokens; None gives no probabilities.
        status: What it answers instead, if that is no 200.
        stalls_after: After so many tokens it waits for its caller to leave.
        usage: What it says it counted, in place of the words.
    """

    text: str = ""
    sure: float | None = 0.95
    finish: str = "stop"
    status: int = 200
    retry_after: str = ""
    stalls_after: int | None = None
    usage: tuple[int, int] | None = None


class Part(NamedTuple):
    """
    Give the replies of one model to what holds *words*, in order; the last one is given again and again.
    """

    model: str
    words: str
    says: Sequence[Says]


class Charge:
    """
    Log one request.

    Attributes:
        usage: The tokens that are charged for, and told at the end of the reply; None before that.
        sent: How many tokens were sent.
        left: Whether the caller left before the end.
        traceparent: The header that came with it.
    """

    def __init__(self, body: Mapping[str, Any], traceparent: str) -> None:
        self.body = body
        self.traceparent = traceparent
        self.usage: tuple[int, int] | None = None
        self.sent = 0
        self.left = False

    @property
    def model(self) -> str:
        """
        Name the model that was asked.
        """
        return str(self.body["model"])

    @property
    def texts(self) -> list[str]:
        """
        Return what it was sent.
        """
        return [message["content"] for message in self.body["messages"]]

    def __repr__(self) -> str:
        return f"<{self.model}: {self.usage or self.sent}{', left' if self.left else ''}>"


class PatternServer:
    """
    Play *parts*; of those that fit a request the one with the most words is meant.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.base_url = ""
        self.log: list[Charge] = []
        self.unforeseen: list[str] = []
        self._parts = sorted(parts, key=lambda part: -len(part.words))
        self._said = dict.fromkeys(range(len(parts)), 0)

    def _next(self, charge: Charge) -> Says | None:
        for position, part in enumerate(self._parts):
            if part.model == charge.model and part.words in charge.texts[-1]:
                said = self._said[position]
                self._said[position] += 1
                return part.says[min(said, len(part.says) - 1)]
        self.unforeseen.append(f"{charge.model}: {charge.texts[-1]}")

        return None

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """
        Answer one request.
        """
        charge = Charge(await request.json(), request.headers.get("traceparent", ""))
        self.log.append(charge)
        says = self._next(charge)
        if says is None:
            return web.json_response({"error": {"message": "nobody wrote this part"}}, status=400)
        if says.status != 200:
            headers = {"Retry-After": says.retry_after} if says.retry_after else {}
            return web.json_response({"error": {"message": "as the play has it"}}, status=says.status, headers=headers)
        tokens = _tokens(says.text)
        counted = says.usage or (sum(len(text.split()) for text in charge.texts), len(tokens))
        try:
            if says.stalls_after == 0:
                await anyio.sleep_forever()
            if charge.body.get("stream"):
                return await self._stream(request, charge, says, tokens, counted)
        except BaseException:
            charge.left = True
            raise
        charge.usage, charge.sent = counted, len(tokens)

        return web.json_response({**_head(charge), "choices": [_choice(says, tokens)], "usage": _usage(counted)})

    async def _stream(
        self, request: web.Request, charge: Charge, says: Says, tokens: Sequence[str], counted: tuple[int, int]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for token in tokens:
            choice = {"index": 0, "delta": {"content": token}, "finish_reason": None, **_probabilities(says, [token])}
            # What is cut off in the middle was sent all the same, as far as its provider can know.
            charge.sent += 1
            await _event(response, {**_head(charge), "choices": [choice]})
            if charge.sent == says.stalls_after:
                await anyio.sleep_forever()
        await _event(response, {**_head(charge), "choices": [{"index": 0, "delta": {}, "finish_reason": says.finish}]})
        charge.usage = counted
        await _event(response, {**_head(charge), "choices": [], "usage": _usage(counted)})
        await response.write(b"data: [DONE]\n\n")

        return response


def _tokens(text: str) -> list[str]:
    words = text.split(" ")

    return [f" {word}" if position else word for position, word in enumerate(words)]


def _head(charge: Charge) -> dict[str, object]:
    return {"id": "play", "object": "chat.completion", "model": charge.model}


def _choice(says: Says, tokens: Sequence[str]) -> dict[str, object]:
    message = {"role": "assistant", "content": says.text}

    return {"index": 0, "message": message, "finish_reason": says.finish, **_probabilities(says, tokens)}


def _probabilities(says: Says, tokens: Sequence[str]) -> dict[str, object]:
    if says.sure is None:
        return {}
    logprob = math.log(says.sure)

    return {"logprobs": {"content": [{"token": token, "logprob": logprob, "top_logprobs": []} for token in tokens]}}


def _usage(counted: tuple[int, int]) -> dict[str, int]:
    return {"prompt_tokens": counted[0], "completion_tokens": counted[1], "total_tokens": sum(counted)}


async def _event(response: web.StreamResponse, data: Mapping[str, object]) -> None:
    await response.write(f"data: {json.dumps(data)}\n\n".encode())


@asynccontextmanager
async def pattern_server(parts: Sequence[Part]) -> AsyncIterator[PatternServer]:
    """
    Listen on a free loopback port until the context is left.
    """
    server = PatternServer(parts)
    application = web.Application()
    application.router.add_post("/v1/chat/completions", server.chat)
    # A caller that leaves ends the work that is done for it, as it does with real model servers.
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()
