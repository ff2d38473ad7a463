"""
The first token of a streamed answer: through the gateway, beside the same server called directly.
"""

from __future__ import annotations

import statistics
import time
from contextlib import aclosing
from pathlib import Path

import aiohttp
import orjson

from harness import Compare, at_most, served
from meshwalk.wire.client import AnswerDelta, Client


# What a small model takes for it; larger ones take longer, and the same addition is a smaller share of that.
FIRST_TOKEN_MS = "40"
PROMPT = "Say something, please."
BODY = orjson.dumps({"model": "m", "stream": True, "max_tokens": 100, "messages": [{"role": "user", "content": PROMPT}]})


def test_first_token(compare: Compare, tmp_path: Path) -> None:
    """
    How much longer is the first token under way through `RouteStream`, `stream: live`, than from the model server itself?
    """
    took: dict[str, list[float]] = {"through": [], "direct": []}

    async def through(client: Client) -> float:
        start = time.perf_counter_ns()
        first = 0
        async with aclosing(client.stream(PROMPT)) as events:
            async for event in events:
                if isinstance(event, AnswerDelta) and not first:
                    first = time.perf_counter_ns() - start
        return first

    async def direct(session: aiohttp.ClientSession, port: int) -> float:
        start = time.perf_counter_ns()
        first = 0
        async with session.post(f"http://127.0.0.1:{port}/v1/chat/completions", data=BODY) as response:
            async for line in response.content:
                if not first and line.startswith(b"data: {") and orjson.loads(line[6:])["choices"][0]["delta"].get("content"):
                    first = time.perf_counter_ns() - start
        return first

    async def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    def note() -> str:
        added = statistics.median(took["through"]) - statistics.median(took["direct"])
        return f"it adds {added / 1e6:.2f} ms to the {FIRST_TOKEN_MS} ms that the model server takes"

    with (
        served("stream_server.py", FIRST_TOKEN_MS) as model,
        served("stream_gateway.py", str(model.port), str(tmp_path)) as gateway,
        compare.opened(Client(f"127.0.0.1:{gateway.port}")) as client,
    ):
        opened = compare.run(session())

        async def through_arm(n: int) -> float:
            took["through"] += (times := [await through(client) for _ in range(n)])
            return statistics.fmean(times)

        async def direct_arm(n: int) -> float:
            took["direct"] += (times := [await direct(opened, model.port) for _ in range(n)])
            return statistics.fmean(times)

        compare(through_arm, direct_arm, at_most(1.10), seconds=0.3, note=note)
        compare.run(opened.close())
