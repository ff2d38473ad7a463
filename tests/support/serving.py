"""
What tests of the wire share: a graph, backends that do as told, and a server with a client on it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio

from meshwalk.backends.base import Backend, ChatRequest
from meshwalk.mesh import Mesh
from meshwalk.plan import Plan
from meshwalk.server import Server, serve
from meshwalk.trace import Reply, Traversal, Usage
from meshwalk.wire.client import Client
from support.helpers import plan_of


DESK = plan_of(
    """
    meshwalk: 1
    name: desk
    version: "7"
    description: A desk with two clerks.
    start: intake
    request:
      task: {type: string, enum: [prose, proof], default: prose, description: what is asked for}
      weight: {type: number, range: [0, 1]}
      polite: {type: bool, default: true}
    thresholds:
      sure: {value: 0.5, range: [0, 1]}
    limits: {cost_usd: 0.5, input_bytes: 2000}
    sampling: [max_tokens, temperature]
    backends:
      little: {kind: simulated, description: quick, context_tokens: 4096, usd_per_mtok: {input: 1, output: 2}}
      big: {kind: simulated, usd_per_mtok: {input: 10, output: 30}}
    nodes:
      intake:
        role: classifier
        use: features
        next:
          - {to: sorry, when: "request.task == 'proof'"}
          - {id: hard, to: large, when: "request.correctness == 'strict'"}
          - {to: small}
      small:
        role: answer
        backend: little
        max_tokens: 64
        confidence: {from: recorded}
        next:
          - {to: done, when: "output.confidence >= thresholds.sure"}
          - {to: large}
        on_error:
          - {class: [overloaded], to: large}
      large: {role: primary, backend: big, max_tokens: 256, deadline: 15s, next: done}
      sorry: {role: refusal, reason: we do not prove}
    """
)

ALONE = plan_of(
    """
    meshwalk: 1
    name: alone
    start: only
    backends:
      one: {kind: simulated}
    nodes:
      only: {role: primary, backend: one, next: done}
    """
)


class Scripted:
    """
    Answer with what *script* gives, and keep what was asked.
    """

    waits = True

    def __init__(self, script: Callable[[ChatRequest], Awaitable[Reply]]) -> None:
        self._script = script
        self.asked: list[ChatRequest] = []

    async def chat(self, request: ChatRequest) -> Reply:
        self.asked.append(request)
        return await self._script(request)

    async def aclose(self) -> None:
        pass


def saying(text: str, *, confidence: float | None = 0.9) -> Scripted:
    """
    Give the same answer always.
    """

    async def script(_: ChatRequest) -> Reply:
        return Reply(text, usage=Usage(10, 5), confidence=confidence, model="scripted")

    return Scripted(script)


def raising(error: Exception) -> Scripted:
    """
    Fail always.
    """

    async def script(_: ChatRequest) -> Reply:
        raise error

    return Scripted(script)


class Gate(Scripted):
    """
    Answer once `open` is set; `asked_for` is set when someone waits, `left` when a call was cancelled.
    """

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.asked_for = anyio.Event()
        self.open = anyio.Event()
        self.left = anyio.Event()

    async def _wait(self, _: ChatRequest) -> Reply:
        self.asked_for.set()
        try:
            await self.open.wait()
        except BaseException:
            self.left.set()
            raise

        return Reply("at last", usage=Usage(1, 2), confidence=0.9)


class Listing:
    """
    Keep every traversal.
    """

    def __init__(self) -> None:
        self.traversals: list[Traversal] = []
        self.recorded = anyio.Event()

    def record(self, traversal: Traversal, plan: Plan) -> None:
        assert plan.plan_digest == traversal.plan_digest
        self.traversals.append(traversal)
        self.recorded.set()


@asynccontextmanager
async def desk(
    backends: Mapping[str, Backend] | None = None,
    *,
    plan: Plan = DESK,
    sinks: Sequence[Listing] = (),
    grace: float = 10,
) -> AsyncIterator[tuple[Client, Server]]:
    """
    Serve one graph and call it; without *backends* a small clerk and a large one answer.
    """
    given = {"little": saying("small talk"), "big": saying("large words"), "one": saying("one word"), **(backends or {})}
    used = {name: given[name] for name in plan.graph.backends}
    async with (
        Mesh(plan, backends=used, sinks=sinks) as mesh,
        serve([mesh], grace=grace) as server,
        Client(f"127.0.0.1:{server.port}") as client,
    ):
        yield client, server
