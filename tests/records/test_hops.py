from __future__ import annotations

import pytest
from hypothesis import given

from meshwalk.model import Amount, Caps
from meshwalk.plan import Plan
from meshwalk.records.hops import VERDICTS, Assembly, Hop, considered, hops_of
from meshwalk.trace import Cancelled, Denied, FullTrace, Granted, Replied, ScopeView, TimedOut, Timing, Trace, Usage
from tests.support.plans import plan_of
from tests.support.random_records import traversals
from tests.support.records import (
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
from tests.support.walks import NO_LIMITS, WalkPair, began, traversal_of


ALL = (answered, climbed, refused, failed, cancelled, denied, retry_denied)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return triage()


def hops(script: Script, plan: Plan) -> list[Hop]:
    return hops_of(walked(script, plan=plan, task="forbidden" if script is refused else "any"), plan)


class TestHopsOf:
    @pytest.mark.parametrize("script", ALL)
    def test_one_hop_a_visit(self, script: Script, plan: Plan) -> None:
        """
        There is one hop for each node of the path, numbered in order, however the walk ended.
        """
        traversal = walked(script, plan=plan, task="forbidden" if script is refused else "any")
        found = hops_of(traversal, plan)

        assert traversal.path == [hop.node for hop in found]
        assert list(range(len(found))) == [hop.index for hop in found]
        assert [plan.node(name).role for name in traversal.path] == [hop.role for hop in found]

    @pytest.mark.parametrize("script", ALL)
    def test_sums_are_the_traversal_s(self, script: Script, plan: Plan) -> None:
        """
        The hops' cost, tokens and times add up to what the traversal says.
        """
        traversal = walked(script, plan=plan, task="forbidden" if script is refused else "any")
        found = hops_of(traversal, plan)

        assert traversal.cost_nano_usd == sum(hop.cost_nano_usd for hop in found)
        assert traversal.usage == Usage(
            sum(hop.usage.input_tokens for hop in found), sum(hop.usage.output_tokens for hop in found)
        )
        assert traversal.latency_us == sum(hop.latency_us for hop in found)
        assert traversal.engine_us == sum(hop.engine_us for hop in found)
        assert list(traversal.attempts()) == [attempt for hop in found for attempt in hop.attempts]

    @pytest.mark.parametrize(
        ("script", "statuses"),
        [
            (answered, [("ok", ""), ("ok", "")]),
            (refused, [("ok", ""), ("refused", "")]),
            (failed, [("ok", ""), ("timeout", "timeout")]),
            (cancelled, [("ok", ""), ("cancelled", "")]),
            (denied, [("ok", ""), ("ok", ""), ("denied", "budget")]),
            (retry_denied, [("ok", ""), ("failed", "budget"), ("refused", "")]),
        ],
    )
    def test_status(self, script: Script, statuses: list[tuple[str, str]], plan: Plan) -> None:
        """
        A hop tells how it ended, and of what class where it did not work.
        """
        assert statuses == [(hop.status, hop.error_class) for hop in hops(script, plan)]

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            (refused, "this is not for us"),
            (failed, "node 'large' did not answer within 1 s"),
            (denied, "may cost up to 0.02 USD and 0.01 are left"),
        ],
    )
    def test_message(self, script: Script, message: str, plan: Plan) -> None:
        """
        The last hop says why there is no reply from it.
        """
        assert message == hops(script, plan)[-1].message


class TestTimes:
    def test_hop_starts_where_the_last_was_closed(self, plan: Plan) -> None:
        """
        A hop's time runs from the decision to come here to the entry that closed it.
        """
        assert [(0, 100), (100, 500), (600, 1_400)] == [(hop.started_us, hop.latency_us) for hop in hops(climbed, plan)]

    def test_engine_time_is_what_calls_did_not_take(self, plan: Plan) -> None:
        """
        Of a hop's latency, what was not spent in any of its calls is the engine's.
        """
        assert [100, 500 - 400, 1_400 - 300 - 1_000] == [hop.engine_us for hop in hops(climbed, plan)]

    def test_split_is_added_up(self, plan: Plan) -> None:
        """
        Queue, connect and first byte are those of all attempts.
        """
        assert [Timing(), Timing(10, 20, 30), Timing(20, 40, 60)] == [hop.timing for hop in hops(climbed, plan)]


class TestMoney:
    def test_reserved_and_spent(self, plan: Plan) -> None:
        """
        A hop tells what its first call could have cost, what all its calls did, and the view it was granted under.
        """
        small = hops(answered, plan)[1]

        assert (plan.node("small").need(began(task="any").facts)[0], 5_600) == (small.reserved_nano_usd, small.cost_nano_usd)
        assert (ScopeView("request", Caps(1_000_000_000), Amount(90_000)),) == small.views

    def test_weakest_basis(self, plan: Plan) -> None:
        """
        A cost is as certain as its least certain part.
        """

        def estimated(pair: WalkPair) -> None:
            classified(pair)
            granted(pair, 120)
            calls = (attempt(150, 100, basis="assumed", status="timeout"), attempt(300, 100, basis="estimated"))
            pair.feed(Replied(1, 600, {"confidence": 0.9}, calls))

        assert ["none", "assumed"] == [hop.basis for hop in hops(estimated, plan)]

    def test_denied_hop_shows_the_view_that_denied_it(self, plan: Plan) -> None:
        """
        A hop that was not granted spent nothing, and shows what was left.
        """
        large = hops(denied, plan)[2]

        assert (0, "none", ()) == (large.cost_nano_usd, large.basis, large.attempts)
        assert (ScopeView("request", Caps(10_000_000), Amount(5_600)),) == large.views
        assert "request" == large.scope

    def test_views_are_what_guards_saw(self, plan: Plan) -> None:
        """
        A hop shows the budgets as its reservation left them, and as they stood when it was left.
        """
        reserved, settled = (ScopeView("session", Caps(900), Amount(used, calls=1)) for used in (700, 20))

        def seen(pair: WalkPair) -> None:
            classified(pair)
            pair.feed(Granted(1, 120, (reserved,)))
            pair.feed(Replied(1, 600, {"confidence": 0.9}, (attempt(150),), (settled,)))

        small = hops(seen, plan)[1]

        assert ((reserved,), (settled,)) == (small.granted_views, small.views)


class TestWaiting:
    def test_waiting_for_others_is_not_the_engines_time(self, plan: Plan) -> None:
        """
        What a hop waited for a budget, before its first call and before a further one, counts neither as call nor as engine.
        """

        def waited(pair: WalkPair) -> None:
            classified(pair)
            pair.feed(Granted(1, 1_100, (), 1_000))
            calls = (attempt(1_150, 100, status="failed", error_class="overloaded"), attempt(1_500, 200, waited_us=220))
            pair.feed(Replied(1, 1_800, {"confidence": 0.9}, calls))

        walk = walked(waited, plan=plan)
        small = hops_of(walk, plan)[1]

        assert (1_220, 1_700 - 1_220 - 300) == (small.budget_wait_us, small.engine_us)
        assert (1_220, 1_800 - 1_220 - 300) == (walk.budget_wait_us, walk.engine_us)

    def test_waiting_in_vain(self, plan: Plan) -> None:
        """
        A hop that was denied after it had waited took that time from nobody but itself.
        """

        def in_vain(pair: WalkPair) -> None:
            classified(pair)
            pair.feed(Denied(1, 5_100, "session", "others hold it", (), contended=True, waited_us=4_900))

        small = hops(in_vain, plan)[1]

        assert ("denied", "session", 4_900, 100) == (small.status, small.scope, small.budget_wait_us, small.engine_us)


class TestSlack:
    @pytest.mark.parametrize(
        ("reserved", "settled", "slack"), [("open", "open", 5_600), ("local", "", 5_600), ("", "local", 5_600), ("", "", 0)]
    )
    def test_calls_made_while_the_vault_was_away(self, plan: Plan, reserved: str, settled: str, slack: int) -> None:
        """
        What a call cost may be past a cap if the vault was away before it or after it.
        """

        def away(pair: WalkPair) -> None:
            classified(pair)
            pair.feed(Granted(1, 120, (ScopeView("session", away=reserved),)))
            pair.feed(Replied(1, 600, {"confidence": 0.9}, (attempt(150),), (ScopeView("session", away=settled),)))

        assert slack == walked(away, plan=plan).slack_nano_usd

    def test_of_a_caller_who_left(self, plan: Plan) -> None:
        """
        A walk that was cancelled while the vault was away may be past a cap, too.
        """

        def left(pair: WalkPair) -> None:
            classified(pair)
            pair.feed(Granted(1, 120, (ScopeView("session", away="open"),)))
            pair.feed(Cancelled(1, 200, (attempt(150, 50),)))

        assert 5_600 == walked(left, plan=plan).slack_nano_usd

    @pytest.mark.slow
    @given(traversals().map(lambda traversal: traversal.trace))
    def test_slack_is_the_same_in_both_forms(self, trace: Trace) -> None:
        """
        A compact trace has the slack of the full trace that follows from it.
        """
        assert FullTrace(trace.path, trace.steps, trace.decisions).slack_nano_usd == trace.slack_nano_usd


class TestDecisions:
    def test_every_edge_is_shown(self, plan: Plan) -> None:
        """
        A hop shows the edge taken and each edge of its section with guard and verdict.
        """
        classify, small, _ = hops(climbed, plan)

        assert ("small", "large") == (classify.edge, small.edge)
        assert [
            ("sorry", "request.task == 'forbidden'", "not_held"),
            ("large", "signals.complexity >= thresholds.complex", "not_held"),
            ("small", "otherwise", "held"),
        ] == [(edge.to, edge.guard, edge.verdict) for edge in classify.considered]

    def test_error_edges(self, plan: Plan) -> None:
        """
        A hop that was left by an error shows the classes of its error edges.
        """
        large = hops(denied, plan)[2]

        assert "done" == large.edge
        assert [("done", "class in [budget]", "held")] == [(e.to, e.guard, e.verdict) for e in large.considered]

    def test_another_class(self, plan: Plan) -> None:
        """
        A hop whose error no edge takes leads nowhere.
        """
        large = hops(failed, plan)[1]

        assert "" == large.edge
        assert ["another_class"] == [edge.verdict for edge in large.considered]

    def test_end_of_the_walk(self, plan: Plan) -> None:
        """
        A refusal was not left.
        """
        sorry = hops(refused, plan)[1]

        assert ("", ()) == (sorry.edge, sorry.considered)

    def test_verdicts_have_words(self, plan: Plan) -> None:
        """
        Each verdict of a record has its own words, and no decision needs others.
        """
        decisions = [
            (decision, plan.node(traversal.path[decision.hop]))
            for traversal in (walked(script, plan=plan) for script in (answered, climbed, failed, denied, retry_denied))
            for decision in traversal.decisions
        ]

        assert len(VERDICTS) == len(set(VERDICTS.values()))
        for decision, node in decisions:
            assert [VERDICTS[verdict] for verdict in decision.verdicts] == [edge.verdict for edge in considered(decision, node)]


class TestVisits:
    def test_visits_are_counted(self) -> None:
        """
        Each visit to a node is a hop of its own, numbered from 1, until its visits are spent.
        """
        plan = plan_of(
            """
            meshwalk: 1
            name: again
            start: ask
            backends: {small: {kind: simulated}}
            nodes:
              ask:
                role: answer
                backend: small
                visits: 2
                next:
                  - {to: ask, when: output.output_tokens < 10}
                  - {to: done}
            """
        )

        def twice(pair: WalkPair) -> None:
            pair.reply(10, output_tokens=5.0)
            pair.reply(20, output_tokens=5.0)

        pair = WalkPair(plan)
        pair.feed(began())
        twice(pair)
        found = hops_of(traversal_of(pair.steps, pair.live), plan)

        assert [1, 2] == [hop.visit for hop in found]
        assert ["held", "visits_spent"] == [hop.considered[0].verdict for hop in found]
        assert ["ask", "done"] == [hop.edge for hop in found]


class TestSkipped:
    def test_hop_without_time_is_shown(self, plan: Plan) -> None:
        """
        A node that was decided on when time was up is a hop that was skipped, at that moment and without a call.
        """

        def late(pair: WalkPair) -> None:
            classified(pair)
            granted(pair, 120)
            after = NO_LIMITS.deadline_us
            assert after is not None
            pair.feed(Replied(1, after + 5, {"confidence": 0.1}))

        _, small, large = hops(late, plan)

        assert ("ok", "large") == (small.status, small.edge)
        assert ("skipped", "timeout") == (large.status, large.error_class)
        assert (30_000_005, 0, ()) == (large.started_us, large.latency_us, large.attempts)


def under_way(pair: WalkPair, plan: Plan) -> list[Hop]:
    assembly = Assembly(plan)
    for entry, wishes in pair.steps:
        assembly.feed(entry, wishes, pair.live.path)
    for decision in pair.live.decisions:
        assembly.decide(decision)

    return assembly.hops


class TestUnderWay:
    def test_open_hop_is_shown(self, plan: Plan) -> None:
        """
        A walk under way has a hop for the call it waits for, with what is known of it so far.
        """
        pair = WalkPair(plan)
        pair.feed(began(task="any"))
        classified(pair)
        granted(pair, 120)
        classify, small = under_way(pair, plan)

        assert ("ok", "small") == (classify.status, classify.edge)
        assert (100, 0, "") == (small.started_us, small.latency_us, small.edge)
        assert (ScopeView("request", Caps(1_000_000_000), Amount(90_000)),) == small.views

    def test_closed_hop_keeps_what_closed_it(self, plan: Plan) -> None:
        """
        A hop closed by a time limit has that limit's class and sentence.
        """
        pair = WalkPair(plan)
        pair.feed(began(task="any"))
        classified(pair)
        granted(pair, 120)
        pair.feed(TimedOut(1, 500, "too slow", (attempt(150, 300, status="timeout"),)))
        small = under_way(pair, plan)[1]

        assert ("timeout", "timeout", "too slow", 400) == (small.status, small.error_class, small.message, small.latency_us)
