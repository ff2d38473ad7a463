"""
The walk that benchmarks ask about: a classifier, an answer that is doubted, a primary; no node does anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from meshwalk.backends.base import ChatRequest
from meshwalk.loader import read_graph
from meshwalk.mesh import Mesh
from meshwalk.plan import Plan, compile_plan
from meshwalk.store import TraceStore
from meshwalk.telemetry import Telemetry
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
    use: features
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

REQUEST = Request((Message("user", "Why?"),))
PATH = ("intake", "small", "large")


class Silent:
    """
    Answer at once with the same words.
    """

    waits = False

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def chat(self, request: ChatRequest) -> Reply:  # noqa: ARG002
        return self._reply

    async def aclose(self) -> None:
        pass


class Nowhere(SpanExporter):
    """
    Take finished spans and send them nowhere, so that building them is measured and no collector is.
    """

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002
        return SpanExportResult.SUCCESS


BUDGETS = b"""
budgets:
  session: {cost_usd: 1000000, window: 1h}
  workflow: {cost_usd: 1000000, calls: 1000000000}
"""


def plan(*, budgets: bool = False) -> Plan:
    """
    Compile the graph, with budgets that many walks share or without.
    """
    return compile_plan(read_graph(TEXT + BUDGETS if budgets else TEXT, file="three-hops.yaml"))


@asynccontextmanager
async def open_mesh(folder: Path, *, budgets: bool = False) -> AsyncIterator[Mesh]:
    """
    Open a mesh that records everything: each walk in a store in *folder*, and its spans built.
    """
    usage = Usage(4, 4)
    backends = {
        "little": Silent(Reply("perhaps", usage=usage, confidence=0.3)),
        "great": Silent(Reply("certainly", usage=usage)),
    }
    store = TraceStore(folder, on_full="block")
    telemetry = Telemetry(BatchSpanProcessor(Nowhere()))
    async with Mesh(plan(budgets=budgets), backends=backends, sinks=[store, telemetry]) as mesh:
        yield mesh
    await telemetry.aclose()
    await store.aclose()
