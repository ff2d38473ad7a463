"""
A model server that streams: its first token after a while, and more after that.

Prints its port, and serves until its input ends; the first argument is the time to the first token in milliseconds.
"""

from __future__ import annotations

import asyncio
import sys

import orjson
from aiohttp import web


TOKENS = 8


def _event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}

    return b"data: " + orjson.dumps({"object": "chat.completion.chunk", "model": "m", "choices": [choice]}) + b"\n\n"


async def _chat(request: web.Request) -> web.StreamResponse:
    await request.read()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await asyncio.sleep(float(sys.argv[1]) / 1000)
    for number in range(TOKENS):
        await response.write(_event({"content": f"token {number} "}))
    await response.write(_event({}, "stop"))
    usage = {"prompt_tokens": 5, "completion_tokens": TOKENS}
    await response.write(b"data: " + orjson.dumps({"choices": [], "usage": usage}) + b"\n\ndata: [DONE]\n\n")

    return response


async def main() -> None:
    """
    Serve until standard input ends.
    """
    application = web.Application()
    application.router.add_post("/v1/chat/completions", _chat)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
