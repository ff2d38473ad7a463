"""
Put a shipped graph on a stage: its models are played by a real HTTP server, and its callers come through gRPC.

What each node's model says stands in a script by the node's name; the graph's text tells which model that is, and by which
words of its prompt the server can tell one node's calls from another's.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import yaml
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from meshwalk.backends.roles import estimate_tokens
from meshwalk.budgets import Scope, SpendPath
from meshwalk.budgets.vaults import DEFAULT_TENANT, MemoryVault
from meshwalk.loader import read_graph
from meshwalk.mesh import Mesh
from meshwalk.model import Amount, Limits, Value
from meshwalk.plan import Plan, compile_plan
from meshwalk.records.telemetry import Telemetry
from meshwalk.review.replay import replay
from meshwalk.server import serve
from meshwalk.testing import RecordList
from meshwalk.trace import Message, ReplyOptions, Traversal, decode, encode
from meshwalk.wire.client import AnswerDelta, Client, HopStarted, RouteResult
from tests.acceptance.pattern_server import Charge, Part, PatternServer, Says, pattern_server
from tests.support.files import ROOT


Door = Literal["Route", "RouteStream"]
Script = Mapping[str, Says | Sequence[Says]]

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Way(NamedTuple):
    """
    Tell how one request goes over a graph.

    Args:
        path: The nodes it visits.
        served: Whose answer the caller has; empty if the request is refused.
        says: What the models of nodes say, by the nodes' names.
        quick: Replacements in the graph's text, so that what waits for seconds there waits for less here.
    """

    sentence: str
    path: str
    served: str
    says: Script
    prompt: str | Sequence[Message] = "What is the capital of France?"
    attributes: Mapping[str, Value] = {}
    limits: Limits = Limits()
    form: ReplyOptions = ReplyOptions()
    quick: Mapping[str, str] = {}


class Play:
    """
    Read a shipped graph for the stage, as plain YAML: nothing of the house is asked what it means.
    """

    def __init__(self, name: str, quick: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.text = (ROOT / "graphs" / f"{name}.yaml").read_text(encoding="utf-8")
        for slow, soon in (quick or {}).items():
            assert slow in self.text, f"graphs/{name}.yaml does not say {slow!r} any more"
            self.text = self.text.replace(slow, soon)
        self._document = _read(self.text)

    @property
    def plan(self) -> Plan:
        """
        Compile it.
        """
        return _compiled(self.name, self.text)

    @property
    def variables(self) -> dict[str, str]:
        """
        Name what it reads from the environment: addresses, and variables of keys.
        """
        keys = re.findall(r"key_env: (\w+)", self.text)

        return dict.fromkeys(_VARIABLE.findall(self.text), "address") | dict.fromkeys(keys, "key")

    def parts(self, says: Script) -> Iterator[Part]:
        """
        Give each node's part to its model.
        """
        for node, said in says.items():
            spec = self._document["nodes"][node]
            words = max(re.split(r"\{\{.*?\}\}|\n", spec.get("prompt", "")), key=len)
            yield Part(self._backend(spec["backend"])["model"], words, [said] if isinstance(said, Says) else said)

    def _backend(self, name: str) -> dict[str, Any]:
        spec: dict[str, Any] = self._document["backends"][name]

        return self._backend(spec["of"]) if spec["kind"] == "cache" else spec

    def nano_usd(self, charge: Charge) -> int:
        """
        Price what the server logged: what it told, what can be estimated of a stream that was left, or else the worst.
        """
        told = charge.usage
        if told is None and charge.left:
            estimated = sum(map(estimate_tokens, charge.texts)), charge.sent
            # A call that nothing came of may have cost all it may: each byte a token, and what a template adds to a message.
            worst = 512 + sum(len(text.encode()) + 16 for text in charge.texts), charge.body["max_tokens"]
            told = estimated if charge.sent else worst
        incoming, outgoing = told or (0, 0)
        (price,) = {
            (Decimal(str(spec["usd_per_mtok"]["input"])), Decimal(str(spec["usd_per_mtok"]["output"])))
            for spec in self._document["backends"].values()
            if spec.get("model") == charge.model
        }

        return int((incoming * price[0] + outgoing * price[1]) * 1000)


@cache
def _read(text: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)

    return document


@cache
def _compiled(name: str, text: str) -> Plan:
    return compile_plan(read_graph(text.encode(), file=f"{name}.yaml"))


class Heard(NamedTuple):
    """
    Hold what a caller heard.
    """

    path: str
    served: str
    answer: str
    reason: str
    cost_nano_usd: int


class Stage:
    """
    Let callers come, and hold the books against one another when they have gone.
    """

    def __init__(self, play: Play, server: PatternServer, mesh: Mesh, client: Client, vault: MemoryVault) -> None:
        self.play = play
        self.server = server
        self.mesh = mesh
        self.vault = vault
        self._client = client

    async def ask(self, door: Door, prompt: str | Sequence[Message], **options: Any) -> Heard:
        """
        Ask through *door*.
        """
        if door == "Route":
            return _heard(await self._client.route(prompt, **options))
        nodes: list[str] = []
        pieces: list[str] = []
        async with aclosing(self._client.stream(prompt, **options)) as events:
            async for event in events:
                if isinstance(event, HopStarted):
                    nodes.append(event.node)
                elif isinstance(event, AnswerDelta):
                    pieces.append(event.text)
                elif isinstance(event, RouteResult):
                    done = event
        heard = _heard(done)
        # What was told on the way is what is told in the end.
        assert (heard.path.split(), heard.answer) == (nodes, "".join(pieces))

        return heard

    async def take(self, door: Door, way: Way) -> Heard:
        """
        Go *way*.
        """
        return await self.ask(door, way.prompt, session="s", limits=way.limits, attributes=way.attributes, **way.form._asdict())

    async def spend(self, session_usd: str, session: str = "s") -> None:
        """
        Let others have spent something of a session.
        """
        (budget,) = [one for one in self.mesh.plan.graph.budgets.values() if one.scope == "session"]
        scope = Scope(DEFAULT_TENANT, "session", session, budget.window_us, budget.caps, budget.away)
        await self.vault.charge("before", (scope,), Amount(int(Decimal(session_usd) * 1_000_000_000)), SpendPath())


def _heard(done: RouteResult) -> Heard:
    # A walk that ends well ends at the answer it serves, or at the refusal.
    served = done.node if done.outcome.value == "answered" else ""

    return Heard(" ".join(done.path).removesuffix(" done"), served, done.answer, done.reason, done.cost_nano_usd)


@asynccontextmanager
async def staged(play: Play, says: Script, monkeypatch: pytest.MonkeyPatch, traces: Path | None = None) -> AsyncIterator[Stage]:
    """
    Serve *play* over gRPC with its models played by a server; afterwards see that money, spans, records and replay agree.
    """
    listing, vault, spans = RecordList(), MemoryVault(), InMemorySpanExporter()
    telemetry = Telemetry(SimpleSpanProcessor(spans), resource=Resource({}))
    async with pattern_server([*play.parts(says)]) as server:
        for name, what in play.variables.items():
            monkeypatch.setenv(name, server.base_url if what == "address" else "a-key")
        async with (
            Mesh(play.plan, sinks=[listing, telemetry], traces=traces, vault=vault) as mesh,
            serve([mesh]) as serving,
            Client(f"127.0.0.1:{serving.port}") as client,
        ):
            yield Stage(play, server, mesh, client, vault)
    await telemetry.aclose()

    assert [] == server.unforeseen
    _check_money(play, server, listing.traversals)
    await _check_vault(vault)
    for traversal in listing.traversals:
        assert replay(decode(encode(traversal)), play.plan) is None
        _check_spans(traversal, [span for span in spans.get_finished_spans() if _is_of(traversal, span)])
    _check_calls(server, spans.get_finished_spans())


def _check_money(play: Play, server: PatternServer, traversals: Sequence[Traversal]) -> None:
    assert sum(map(play.nano_usd, server.log)) == sum(traversal.cost_nano_usd for traversal in traversals), server.log


async def _check_vault(vault: MemoryVault) -> None:
    """
    See that nothing is held any more.
    """
    for statement in await vault.reports(DEFAULT_TENANT):
        assert (Amount(), 0) == (statement.reserved, statement.reservations)


def _is_of(traversal: Traversal, span: ReadableSpan) -> bool:
    return span.context is not None and span.context.trace_id == int(traversal.trace_id, 16)


def _check_spans(traversal: Traversal, spans: Sequence[ReadableSpan]) -> None:
    """
    See that a walk is a tree: one root, its hops in order, and a call for each attempt that was made.
    """
    hops = sorted((span for span in spans if span.name.startswith("meshwalk.hop")), key=lambda span: span.start_time or 0)
    made = [attempt for attempt in traversal.attempts() if attempt.status != "denied"]

    assert 1 == sum(span.parent is None for span in spans)
    assert [*traversal.path] == [(span.attributes or {})["meshwalk.node"] for span in hops]
    assert len(made) == sum(span.kind is SpanKind.CLIENT for span in spans)


def _check_calls(server: PatternServer, spans: Sequence[ReadableSpan]) -> None:
    """
    See that whatever came to the server hangs under the span of a call.
    """
    calls = {span.context.span_id for span in spans if span.kind is SpanKind.CLIENT and span.context is not None}

    assert {int(charge.traceparent.split("-")[2], 16) for charge in server.log} <= calls
