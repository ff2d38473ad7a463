"""
The walk that benchmarks ask about: a classifier, an answer that is doubted, a primary; no node does anything.

Doing nothing is to make the reply anew, as every real node does, and to await nobody.  The same three coroutines (`intake`,
and `Silent.chat` twice) are awaited by hand in `test_walk`, walked there by a mesh, and walked behind `Route` in
`route_server`; LangGraph's nodes make as little (`langgraph_worker`), and the echo beside `Route` makes nothing at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from meshwalk.backends.base import ChatRequest
from meshwalk.loader import read_graph
from meshwalk.mesh import Mesh
from meshwalk.model import Value
from meshwalk.plan import Plan, compile_plan
from meshwalk.records.store import TraceWriter
from meshwalk.records.telemetry import Telemetry, environment
from meshwalk.records.telemetry.collector import Sent
from meshwalk.records.telemetry.export import Encoded, Export, Pace
from meshwalk.records.telemetry.otlp import OtlpSender
from meshwalk.trace import Message, Reply, Request, Usage


TEXT = b"""
meshwalk: 1
name: three-hops
start: intake
thresholds: {complex: 0.62, confident: 0.8}
limits: {hops: 6, deadline: 20s, cost_usd: 0.5}
backends:
  little: {kind: simulated, context_tokens: 4000, usd_per_mtok: {input: 0.05, output: 0.15}}
  great: {kind: simulated, context_tokens: 4000, usd_per_mtok: {input: 10, output: 30}}
nodes:
  intake:
    role: classifier
    USE
    next:
      - {to: large, when: "signals.complexity >= thresholds.complex"}
      - {to: small}
  small:
    role: answer
    backend: little
    max_tokens: 256
    confidence: {from: recorded, missing: 0}
    next:
      - {to: done, when: "output.confidence >= thresholds.confident"}
      - {to: large}
    on_error: large
  large: {role: primary, backend: great, max_tokens: 512, next: done}
"""

# What fills in USE.
NOTHING = b"""use: python
    function: three_hops:intake
    writes: {complexity: {type: number, range: [0, 1]}}"""
FEATURES = b"use: features"

REQUEST = Request((Message("user", "Why?"),))
PATH = ("intake", "small", "large")


async def intake(messages: Sequence[Message], attributes: Mapping[str, Value]) -> Mapping[str, float]:  # noqa: ARG001
    """
    Say at once that the request is easy.
    """
    return {"complexity": 0.4}


intake.waits = False  # type: ignore[attr-defined]


USAGE = Usage(4, 4)


class Silent:
    """
    Answer at once with the same words.
    """

    waits = False

    def __init__(self, text: str, confidence: float | None = None) -> None:
        self._text = text
        self._confidence = confidence

    async def chat(self, request: ChatRequest) -> Reply:  # noqa: ARG002
        return Reply(self._text, usage=USAGE, confidence=self._confidence)

    async def aclose(self) -> None:
        pass


LITTLE, GREAT = Silent("perhaps", 0.3), Silent("certainly")


def nowhere(_: Encoded) -> Sent:
    """
    Send encoded spans nowhere, so that building them is measured and no collector is.
    """
    return Sent()


def building_spans() -> Telemetry:
    """
    Build the spans of every walk as OTLP, in a thread of their own as a server does, and send them nowhere.
    """
    sender = OtlpSender(nowhere, lambda: None, environment.resource(), environment.scope())

    # What is asked for in process comes faster than any server's requests, and none of it is to be dropped.
    return Telemetry(exports=[Export(sender, Pace(capacity=1_000_000))])


BUDGETS = b"""
budgets:
  session: {cost_usd: 1000000, window: 1h}
  workflow: {cost_usd: 1000000, calls: 1000000000}
"""


def plan(*, budgets: bool = False, features: bool = False) -> Plan:
    """
    Compile the graph, with budgets that many walks share or without, and with the features of the house for a classifier if
    it is to do something.
    """
    text = TEXT.replace(b"USE", FEATURES if features else NOTHING)

    return compile_plan(read_graph(text + BUDGETS if budgets else text, file="three-hops.yaml"))


class Recording(NamedTuple):
    """
    Hold a mesh that records everything, and what it records to.
    """

    mesh: Mesh
    store: TraceWriter
    telemetry: Telemetry

    async def settle(self) -> None:
        """
        Wait until everything recorded so far is on disk and its spans are handed on.
        """
        await self.store.flush()
        await self.telemetry.flush()


@asynccontextmanager
async def recording(
    folder: Path, plan: Plan, *, great: Silent = GREAT, telemetry: Telemetry | None = None
) -> AsyncIterator[Recording]:
    """
    Open a mesh that records everything: each walk in a store in *folder*, and its spans built, or exported by *telemetry*.
    """
    store = TraceWriter(folder, on_full="block")
    telemetry = telemetry or building_spans()
    async with Mesh(plan, backends={"little": LITTLE, "great": great}, sinks=[store, telemetry]) as mesh:
        yield Recording(mesh, store, telemetry)
    await telemetry.aclose()
    await store.aclose()
    assert 0 == telemetry.dropped == telemetry.failed == store.dropped == store.failed
