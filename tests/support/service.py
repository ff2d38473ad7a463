"""
A small graph, and a server with a client on it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc.aio

from meshwalk.backends.base import Backend
from meshwalk.mesh import Mesh
from meshwalk.plan import Plan
from meshwalk.server import Server, serve
from meshwalk.testing import RecordList
from meshwalk.wire.client import Client
from tests.support.backends import saying
from tests.support.plans import plan_of


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


@asynccontextmanager
async def stub_of(client: Client, kind: type[Any]) -> AsyncIterator[Any]:
    """
    Open a stub of *kind* to the server of *client*, for requests that a client would not send.
    """
    async with grpc.aio.insecure_channel(client.target) as channel:
        yield kind(channel)


@asynccontextmanager
async def desk(
    backends: Mapping[str, Backend] | None = None,
    *,
    plan: Plan = DESK,
    sinks: Sequence[RecordList] = (),
    grace: timedelta | float = 10,
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
