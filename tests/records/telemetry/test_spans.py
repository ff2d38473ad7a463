from __future__ import annotations

from collections.abc import Sequence

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from meshwalk.plan import Plan
from meshwalk.records.telemetry import Telemetry
from meshwalk.trace import Granted, Replied, Scopes, ScopeView, Traversal, Usage
from tests.support.plans import plan_of
from tests.support.records import (
    SPAN_IDS,
    Script,
    answered,
    attempt,
    cancelled,
    classified,
    climbed,
    denied,
    failed,
    granted,
    refused,
    retry_denied,
    triage,
    walked,
)
from tests.support.walks import WalkPair, began, traversal_of


ALL = (answered, climbed, refused, failed, cancelled, denied, retry_denied)

BEGAN_NS = 1_800_000_000_000_000_000


@pytest.fixture(scope="module")
def plan() -> Plan:
    return triage()


def spans_of(traversal: Traversal, plan: Plan) -> tuple[ReadableSpan, ...]:
    """
    Return the spans that processors are handed.
    """
    exporter = InMemorySpanExporter()
    Telemetry(SimpleSpanProcessor(exporter), resource=Resource({})).record(traversal, plan)

    return exporter.get_finished_spans()


def spans(script: Script, plan: Plan) -> tuple[ReadableSpan, ...]:
    return spans_of(walked(script, plan=plan, task="forbidden" if script is refused else "any"), plan)


def said(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def context_of(span: ReadableSpan) -> SpanContext:
    context: SpanContext | None = span.context
    assert context is not None

    return context


def named(found: Sequence[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in found if span.name == name]


def calls(found: Sequence[ReadableSpan]) -> list[ReadableSpan]:
    return [span for span in found if span.kind is SpanKind.CLIENT]


class TestTree:
    @pytest.mark.parametrize("script", ALL)
    def test_is_one_tree(self, script: Script, plan: Plan) -> None:
        """
        However a walk ended, its spans are one tree: one root, no orphans, each inside its parent's time.
        """
        found = spans(script, plan)
        by_id = {context_of(span).span_id: span for span in found}
        roots = [span for span in found if span.parent is None]

        assert len(found) == len(by_id)
        assert ["meshwalk.route"] == [span.name for span in roots]
        assert {int("1" * 32, 16)} == {context_of(span).trace_id for span in found}
        for span in found:
            if span.parent is not None:
                parent = by_id[span.parent.span_id]
                assert None not in (span.start_time, span.end_time, parent.start_time, parent.end_time)
                assert parent.start_time <= span.start_time <= span.end_time <= parent.end_time  # type: ignore[operator]

    def test_levels(self, plan: Plan) -> None:
        """
        Hops hang under the walk, calls under their hop.
        """
        found = spans(climbed, plan)
        root, hops = found[0], named(found, "meshwalk.hop")

        assert SpanKind.SERVER is root.kind
        assert ["classify", "small", "large"] == [said(hop)["meshwalk.node"] for hop in hops]
        assert {context_of(root).span_id} == {hop.parent.span_id for hop in hops if hop.parent}
        assert [context_of(hops[1]), context_of(hops[2]), context_of(hops[2])] == [call.parent for call in calls(found)]

    def test_parts_of_tokens_and_prices(self, plan: Plan) -> None:
        """
        What was cached and what nobody sees is told on every level under its names, and the walk tells its prices' version.
        """

        def thinking(pair: WalkPair) -> None:
            classified(pair)
            granted(pair, 120)
            call = attempt(150, usage=Usage(40, 8, 30, 5))
            pair.feed(Replied(1, 600, {"confidence": 0.9, "finish_reason": "stop", "output_tokens": 8.0}, (call,)))

        traversal = walked(thinking, plan=plan)
        traversal.source = traversal.source._replace(prices="2026-11")
        found = spans_of(traversal, plan)
        ours = {"meshwalk.cached_input_tokens": 30, "meshwalk.reasoning_tokens": 5}
        theirs = {"gen_ai.usage.cache_read.input_tokens": 30, "gen_ai.usage.reasoning.output_tokens": 5}
        route, hop, call = found[0], named(found, "meshwalk.hop")[1], calls(found)[0]

        assert ours | {"meshwalk.prices": "2026-11"} == {
            name: value for name, value in said(route).items() if name in {*ours, "meshwalk.prices"}
        }
        assert ours == {name: value for name, value in said(hop).items() if name in ours}
        assert theirs == {name: value for name, value in said(call).items() if name in theirs}

    def test_plain_tokens_have_no_parts(self, plan: Plan) -> None:
        """
        Where nothing was cached or hidden, and nothing has a version, spans do not speak of it.
        """
        names = {name for span in spans(climbed, plan) for name in said(span)}

        assert not [name for name in names if "cache" in name or "reasoning" in name or "prices" in name]

    def test_cache_is_called_by_the_model_behind_it(self) -> None:
        """
        A call of a cache names the provider and the model whose reply it gives.
        """
        plan = plan_of(
            """
            meshwalk: 1
            name: kept
            start: a
            backends: {great: {kind: openai, model: great-1, base_url: "http://127.0.0.1:1"}, kept: {kind: cache, of: great}}
            nodes: {a: {role: answer, backend: kept, next: done}}
            """
        )
        pair = WalkPair(plan)
        pair.feed(began())
        granted(pair, 20)
        pair.feed(Replied(0, 600, {"finish_reason": "stop", "output_tokens": 8.0}, (attempt(150, backend="kept"),)))
        (call,) = calls(spans_of(traversal_of(pair.steps, pair.live), plan))

        assert "chat great-1" == call.name
        assert ("openai", "great-1", "kept") == (
            said(call)["gen_ai.provider.name"], said(call)["gen_ai.request.model"], said(call)["meshwalk.backend"],
        )  # fmt: skip

    def test_times(self, plan: Plan) -> None:
        """
        Times are the walk's wall clock and what was measured since, in nanoseconds.
        """
        found = spans(climbed, plan)
        times = [
            ((span.start_time or 0) - BEGAN_NS, (span.end_time or 0) - BEGAN_NS)
            for span in (found[0], *named(found, "meshwalk.hop"), *calls(found))
        ]

        assert [
            (0, 2_000_000),
            (0, 100_000),
            (100_000, 600_000),
            (600_000, 2_000_000),
            (150_000, 550_000),
            (640_000, 940_000),
            (950_000, 1_950_000),
        ] == times

    def test_calls_have_the_ids_their_backends_saw(self, plan: Plan) -> None:
        """
        A call's span is the one that was named in its traceparent.
        """
        assert list(SPAN_IDS) == [f"{context_of(span).span_id:016x}" for span in calls(spans(climbed, plan))]

    def test_caller_is_the_parent(self, plan: Plan) -> None:
        """
        A walk in a caller's trace hangs under the caller's span, which is remote.
        """
        traversal = walked(plan=plan)
        traversal.parent_span_id = "00f067aa0ba902b7"
        root = spans_of(traversal, plan)[0]

        assert root.parent is not None
        assert (0x00F067AA0BA902B7, True) == (root.parent.span_id, root.parent.is_remote)
        assert "2" * 16 == f"{context_of(root).span_id:016x}"


class TestRoute:
    def test_says_what_the_walk_came_to(self, plan: Plan) -> None:
        """
        The walk's span has its ids, its way, its cost and its end.
        """
        traversal = walked(climbed, plan=plan, number=7, session="s-17", workflow="w-3")

        assert {
            "meshwalk.traversal_id": f"{7:032x}",
            "meshwalk.graph": "triage",
            "meshwalk.version": "4",
            "meshwalk.plan_digest": plan.plan_digest,
            "meshwalk.shape_digest": plan.shape_digest,
            "meshwalk.session": "s-17",
            "meshwalk.workflow": "w-3",
            "meshwalk.request.urgency": "interactive",
            "meshwalk.request.correctness": "standard",
            "meshwalk.outcome": "answered",
            "meshwalk.answer_node": "large",
            "meshwalk.path": ["classify", "small", "large"],
            "meshwalk.cost_usd": 0.0003256,
            "meshwalk.cost_basis": "reported",
            "meshwalk.input_tokens": 80,
            "meshwalk.output_tokens": 16,
            "meshwalk.engine_us": traversal.engine_us,
        } == said(spans_of(traversal, plan)[0])

    @pytest.mark.parametrize(
        ("script", "outcome", "code", "description", "error"),
        [
            (answered, "answered", StatusCode.UNSET, None, None),
            (refused, "refused", StatusCode.UNSET, None, None),
            (failed, "failed", StatusCode.ERROR, "timeout at node 'large'", "timeout"),
            (cancelled, "cancelled", StatusCode.ERROR, None, "cancelled"),
        ],
    )
    def test_status(
        self, script: Script, outcome: str, code: StatusCode, description: str | None, error: str | None, plan: Plan
    ) -> None:
        """
        Failed and cancelled walks are errors; a refusal is what the graph decided.
        """
        root = spans(script, plan)[0]

        assert (code, description) == (root.status.status_code, root.status.description)
        assert (outcome, error) == (said(root)["meshwalk.outcome"], said(root).get("error.type"))


class TestBudgets:
    def test_waits_and_slack(self, plan: Plan) -> None:
        """
        Whose budgets a walk drew on, what it waited for others, and what it spent uncounted stand in the walk's span.
        """

        def waited(pair: WalkPair) -> None:
            classified(pair)
            pair.feed(Granted(1, 120, (ScopeView("session", away="open"),), 15))
            pair.feed(Replied(1, 600, {"confidence": 0.9}, (attempt(150),)))

        traversal = walked(waited, plan=plan)
        began = traversal.began
        facts = began.facts._replace(scopes=Scopes(tenant="acme"))
        traversal.steps[0] = (began._replace(facts=facts), traversal.steps[0][1])
        root, hop = (said(span) for span in (spans_of(traversal, plan)[0], named(spans_of(traversal, plan), "meshwalk.hop")[1]))

        assert ("acme", 15, 5.6e-6) == tuple(
            root[f"meshwalk.{name}"] for name in ("tenant", "budget.wait_us", "budget.slack_usd")
        )
        assert (15, 500 - 15 - 400) == (hop["meshwalk.budget.wait_us"], hop["meshwalk.engine_us"])

    def test_which_scope_refused(self, plan: Plan) -> None:
        """
        A hop that a budget did not allow names the scope.
        """
        hops = named(spans(denied, plan), "meshwalk.hop")

        assert [None, None, "request"] == [said(hop).get("meshwalk.budget.scope") for hop in hops[:3]]


class TestHop:
    def test_says_how_it_was_left(self, plan: Plan) -> None:
        """
        A hop tells the edge taken and a verdict for each it considered.
        """
        hop = said(named(spans(climbed, plan), "meshwalk.hop")[1])

        assert "large" == hop["meshwalk.edge"]
        assert ["done: not_held", "large: held"] == hop["meshwalk.considered"]
        assert (1, "answer", 1, "ok") == tuple(hop[f"meshwalk.{name}"] for name in ("hop.index", "role", "visit", "status"))

    def test_adds_up_its_calls(self, plan: Plan) -> None:
        """
        A hop's cost, tokens and latency split are those of all its calls.
        """
        hop = said(named(spans(climbed, plan), "meshwalk.hop")[2])

        assert (0.00032, "reported") == (hop["meshwalk.cost_usd"], hop["meshwalk.cost_basis"])
        assert (40, 8) == (hop["meshwalk.input_tokens"], hop["meshwalk.output_tokens"])
        assert (20, 40, 60) == tuple(hop[f"meshwalk.{name}_us"] for name in ("queue", "connect", "first_byte"))
        assert 1_400 - 1_300 == hop["meshwalk.engine_us"]

    def test_outputs(self, plan: Plan) -> None:
        """
        Numbers, verdicts and finish reasons are told; a hop without calls has no cost.
        """
        classify, small = (said(hop) for hop in named(spans(answered, plan), "meshwalk.hop"))

        assert 0.2 == classify["meshwalk.output.complexity"]
        assert (0.9, "stop") == (small["meshwalk.output.confidence"], small["meshwalk.output.finish_reason"])
        assert "meshwalk.cost_usd" not in classify

    @pytest.mark.parametrize(
        ("script", "statuses"),
        [
            (failed, [("ok", None), ("timeout", "timeout")]),
            (cancelled, [("ok", None), ("cancelled", "cancelled")]),
            (denied, [("ok", None), ("ok", None), ("denied", "budget")]),
        ],
    )
    def test_errors(self, script: Script, statuses: list[tuple[str, str | None]], plan: Plan) -> None:
        """
        A hop that did not work is an error of its class.
        """
        hops = named(spans(script, plan), "meshwalk.hop")

        assert statuses == [(said(hop)["meshwalk.status"], said(hop).get("error.type")) for hop in hops]
        assert [error is not None for _, error in statuses] == [hop.status.status_code is StatusCode.ERROR for hop in hops]


class TestCall:
    def test_says_it_in_genai_words(self, plan: Plan) -> None:
        """
        A call's span speaks the GenAI conventions, and adds ours.
        """
        call = calls(spans(answered, plan))[0]

        assert "chat small" == call.name
        assert {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "meshwalk",
            "gen_ai.request.model": "small",
            "gen_ai.request.max_tokens": 100,
            "gen_ai.response.model": "small-1b",
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.usage.input_tokens": 40,
            "gen_ai.usage.output_tokens": 8,
            "meshwalk.node": "small",
            "meshwalk.attempt": 0,
            "meshwalk.backend": "small",
            "meshwalk.status": "ok",
            "meshwalk.simulated": False,
            "meshwalk.cost_usd": 5.6e-06,
            "meshwalk.cost_basis": "reported",
            "meshwalk.reserved_usd": 9e-05,
            "meshwalk.queue_us": 10,
            "meshwalk.connect_us": 20,
            "meshwalk.first_byte_us": 30,
        } == said(call)

    def test_failed_call(self, plan: Plan) -> None:
        """
        A call that failed is an error of its class, beside the one that worked.
        """
        _, first, second = calls(spans(climbed, plan))

        assert ("overloaded", None) == (said(first)["error.type"], said(second).get("error.type"))
        assert (0, 1) == (said(first)["meshwalk.attempt"], said(second)["meshwalk.attempt"])
        assert (StatusCode.ERROR, StatusCode.UNSET) == (first.status.status_code, second.status.status_code)

    def test_denied_call_is_an_event(self, plan: Plan) -> None:
        """
        A call that the ledger denied was never sent: its hop has an event, and there is no span.
        """
        found = spans(retry_denied, plan)
        hop = named(found, "meshwalk.hop")[1]

        assert 1 == len(calls(found))
        assert [("meshwalk.attempt.denied", BEGAN_NS + 460_000)] == [(event.name, event.timestamp) for event in hop.events]
        assert {"meshwalk.backend": "large", "error.type": "budget"} == dict(hop.events[0].attributes or {})


class TestWords:
    def test_no_words_come_in(self, plan: Plan) -> None:
        """
        Neither text outputs nor messages of errors are in a span, whatever a model or a provider said.
        """

        def talkative(pair: WalkPair) -> None:
            classified(pair)
            granted(pair, 120)
            secret = attempt(150, status="failed", error_class="refused_by_model", message="you said: SECRET", finish_reason="")
            pair.feed(Replied(1, 600, {"label": "SECRET", "confidence": 0.9}, (secret, attempt(560, 10))))

        told = "".join(span.to_json() for span in (*spans(talkative, plan), *spans(failed, plan)))

        assert "refused_by_model" in told
        assert "SECRET" not in told
        assert "did not answer within" not in told
