"""
A real model server on loopback that speaks the OpenAI chat protocol, and keeps its own log of what it charged for.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import NamedTuple

import anyio
from aiohttp import web


class Served(NamedTuple):
    """
    Log one answer.
    """

    input_tokens: int
    output_tokens: int


class ModelServer:
    """
    Answer chat completions with a length and a latency drawn from *seed*; `asked` is set once somebody has asked.

    Args:
        most_tokens: The longest answer.
        latency_s: The shortest and the longest time an answer takes.
    """

    def __init__(self, *, max_tokens: int = 300, latency_s: tuple[float, float] = (0.005, 0.02), seed: int = 4) -> None:
        self.log: list[Served] = []
        self.base_url = ""
        self.asked = anyio.Event()
        self._max_tokens = max_tokens
        self._latency_s = latency_s
        self._random = random.Random(seed)

    def usd(self, input_per_mtok: str, output_per_mtok: str) -> Decimal:
        """
        Price the log, independently of whoever called.
        """
        incoming = sum(served.input_tokens for served in self.log)
        outgoing = sum(served.output_tokens for served in self.log)

        return (incoming * Decimal(input_per_mtok) + outgoing * Decimal(output_per_mtok)) / 1_000_000

    async def chat(self, request: web.Request) -> web.Response:
        asked = await request.json()
        most = min(self._max_tokens, asked.get("max_tokens", self._max_tokens))
        served = Served(len(asked["messages"][-1]["content"].split()), self._random.randint(1, most))
        self.asked.set()
        await anyio.sleep(self._random.uniform(*self._latency_s))
        self.log.append(served)
        text = " ".join(["word"] * served.output_tokens)

        return web.json_response(
            {
                "id": f"chat-{len(self.log)}",
                "object": "chat.completion",
                "model": "loopback-1",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                "usage": {
                    "prompt_tokens": served.input_tokens,
                    "completion_tokens": served.output_tokens,
                    "total_tokens": sum(served),
                },
            }
        )


@asynccontextmanager
async def model_server(server: ModelServer | None = None) -> AsyncIterator[ModelServer]:
    """
    Listen on a free loopback port until the context is left.
    """
    running = ModelServer() if server is None else server
    application = web.Application()
    application.router.add_post("/v1/chat/completions", running.chat)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    running.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield running
    finally:
        await runner.cleanup()
