"""
Functions that graphs name, small weights, and a service on loopback.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from aiohttp import web
from aiohttp.test_utils import TestServer

from meshwalk.model import Value
from meshwalk.model.problems import Overloaded
from meshwalk.model.weights import Embedding, Head, Scaling, Topics, Weights, write_weights
from meshwalk.trace import Message


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

WRITES = "writes: {topic: {type: string, enum: [prose, proof]}, risk: {type: number, range: [0, 1]}}"

# How each function below is to behave, by what is asked.
GIVEN: dict[str, Any] = {
    "a poem": {"topic": "prose", "risk": 0.25},
    "a theorem": {"topic": "proof", "risk": 1, "more": "left out"},
    "nothing": {},
    "no table": ["topic"],
    "a lie": {"topic": "poem", "risk": 0.5},
    "too much": {"topic": "prose", "risk": 1.5},
    "null": {"topic": None, "risk": 0.5},
    "text": {"topic": "prose", "risk": "high"},
}


async def judge(messages: Sequence[Message], _attributes: Mapping[str, Value]) -> Mapping[str, Value]:
    asked = messages[-1].content
    match asked:
        case "never":
            await anyio.sleep_forever()
        case "busy":
            raise Overloaded("try later", backend="judge")
        case "broken":
            raise ConnectionResetError("secret address")
        case "bug":
            raise KeyError("secret prompt")
        case "exit":
            raise SystemExit(1)
    found: Mapping[str, Value] = GIVEN[asked]

    return found


async def calculated(_messages: Sequence[Message], _attributes: Mapping[str, Value]) -> Mapping[str, Value]:
    return {"topic": "prose", "risk": 0.25}


calculated.waits = False  # type: ignore[attr-defined]


def plainly(_messages: Sequence[Message], _attributes: Mapping[str, Value]) -> Mapping[str, Value]:
    return {}


@asynccontextmanager
async def service(handler: Handler) -> AsyncIterator[str]:
    """
    Serve *handler* on a free port, and give its address.
    """
    app = web.Application()
    app.router.add_post("/classify", handler)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("/classify"))
    finally:
        await server.close()


def weights_of(*, topics: bool = False, embedding: Embedding | None = None) -> Weights:
    """
    Make weights of two features: the longer a prompt, the more the strong model is worth.
    """
    zeros = (0.0,) * (embedding.dims if embedding else 0)
    scaling = Scaling(("log_characters", "questions"), (4.0, 0.5), (1.0, 0.5), 3.0, 1.0)
    softmax = Topics(("prose", "proof"), (0.0, 0.0), ((*zeros, 0.0, 0.0), (*zeros, 1.0, 0.0)), 0.5) if topics else None
    weak = Head("weak", 0.0, (*zeros, -1.0, 0.5), (0.75, 0.25) if topics else ())
    strong = Head("strong", 1.0, (*zeros, 0.0, 0.0), (0.75, 0.5) if topics else ())

    return Weights((weak, strong), scaling, embedding, softmax, {"weak": "small-1", "strong": "large-1"})


def weights_text(weights: Weights | None = None) -> bytes:
    """
    Print small weights as a file.
    """
    return write_weights(weights or weights_of(), {"file": "outcomes.jsonl", "rows": 100}, {})
