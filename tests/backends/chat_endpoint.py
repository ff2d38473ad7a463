"""
A chat endpoint on loopback that answers as a test tells it, and the words that such answers are made of.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from anyio.abc import SocketAttribute, SocketStream

from meshwalk.backends.base import ChatRequest, StreamingBackend
from meshwalk.backends.openai import OpenAIBackend
from meshwalk.model.problems import BackendError
from meshwalk.trace import Message, Piece, Reply


KEY = "sk-very-secret-0123456789"
ASK = ChatRequest((Message("system", "Be brief."), Message("user", "Two and two?", "ann")))

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(**changes: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Four."}}

    return {
        "model": "large-1-2026",
        "choices": [choice | changes.pop("choice", {})],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2},
    } | changes


def chunk(content: str | None = None, *, index: int = 0, finish: str | None = None, **changes: Any) -> dict[str, Any]:
    """
    Make a chunk of a stream; *changes* go to its choice, and those of the delta under `delta`.
    """
    delta = ({} if content is None else {"content": content}) | changes.pop("delta", {})

    return {"model": "large-1-2026", "choices": [{"index": index, "delta": delta, "finish_reason": finish} | changes]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}
FOUR = (chunk(delta={"role": "assistant"}), chunk("Fo"), chunk("ur."), chunk(finish="stop"), USAGE, "[DONE]")


def sse(*events: dict[str, Any] | str) -> bytes:
    """
    Write *events* as a stream has them; texts as they are.
    """
    return b"".join(b"data: " + (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n\n" for event in events)


def streams(*events: dict[str, Any] | str, content_type: str = "text/event-stream") -> Handler:
    """
    Answer with *events*, and end.
    """

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=sse(*events), headers={"Content-Type": content_type})

    return handler


def says(body: Any = None, *, status: int = 200, text: str | None = None, **settings: Any) -> Handler:
    """
    Answer with JSON, or with *text* as it is.
    """

    async def handler(_: web.Request) -> web.Response:
        given = json.dumps(answer() if body is None else body) if text is None else text

        return web.Response(text=given, status=status, **({"content_type": "application/json"} | settings))

    return handler


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """
    Serve *handler* on a free port and give its base URL.
    """
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("/v1/"))
    finally:
        await server.close()


@asynccontextmanager
async def endpoint(handler: Handler, **settings: Any) -> AsyncIterator[OpenAIBackend]:
    """
    Serve *handler*, and give a backend that calls it.
    """
    async with serving(handler) as url:
        backend = OpenAIBackend("large", "large-1", url, key=KEY, key_env="LARGE_KEY", **settings)
        try:
            yield backend
        finally:
            await backend.aclose()


@asynccontextmanager
async def wire(handle: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[OpenAIBackend]:
    """
    Serve bytes instead of HTTP.
    """
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        port = listener.extra(SocketAttribute.local_port)
        backend = OpenAIBackend("large", "large-1", f"http://127.0.0.1:{port}/v1", key=KEY)
        try:
            yield backend
        finally:
            await backend.aclose()
            tasks.cancel_scope.cancel()


async def streamed(backend: StreamingBackend, request: ChatRequest = ASK) -> tuple[Reply, list[Piece]]:
    """
    Stream a reply, and see that its pieces are its text.
    """
    pieces: list[Piece] = []
    reply = await backend.stream(request, pieces.append)

    assert reply.text == "".join(piece.text for piece in pieces)

    return reply, pieces


async def fails(backend: OpenAIBackend, request: ChatRequest = ASK, *, stream: bool = False) -> BackendError:
    """
    Make a call that fails, and see that it says nothing that is nobody's business.
    """
    with pytest.raises(BackendError) as caught:
        await (backend.stream(request, lambda _: None) if stream else backend.chat(request))
    seen = f"{caught.value} {caught.value!r}"

    assert KEY not in seen
    assert "127.0.0.1" not in seen
    assert "large" == caught.value.backend

    return caught.value
