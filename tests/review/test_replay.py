from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model.problems import TraceError
from meshwalk.plan import Plan
from meshwalk.records.store import TraceReader, TraceWriter
from meshwalk.review.replay import explain_decision, replay, replay_all
from meshwalk.trace import Decision, Finish, Granted, Outcome, Replied, ScopeView, Traversal, decode, encode
from tests.support.plans import plan_of
from tests.support.records import (
    TRIAGE,
    Script,
    answered,
    cancelled,
    classified,
    climbed,
    denied,
    failed,
    granted,
    number_of,
    refused,
    retry_denied,
    triage,
    walked,
)
from tests.support.walks import WalkPair


ALL = (answered, climbed, refused, failed, cancelled, denied, retry_denied)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return triage()


def record(script: Script, plan: Plan, number: int = 0) -> Traversal:
    return walked(script, plan=plan, number=number, task="forbidden" if script is refused else "any")


def stricter() -> Plan:
    """
    Compile the graph with one guard changed.
    """
    return plan_of(TRIAGE.replace("output.confidence >= thresholds.confident", "output.confidence > 0.95"))


def stored(folder: Path, *pairs: tuple[Traversal, Plan]) -> TraceReader:
    """
    Store each traversal with its plan, and open a reader.
    """

    async def main() -> None:
        store = TraceWriter(folder)
        for traversal, plan in pairs:
            store.record(traversal, plan)
        await store.aclose()

    anyio.run(main)

    return TraceReader(folder)


class TestReplay:
    @pytest.mark.parametrize("script", ALL)
    def test_same_plan_decides_the_same(self, script: Script, plan: Plan) -> None:
        """
        A record that went through the codec replays without a difference, however the walk ended.
        """
        assert replay(decode(encode(record(script, plan))), plan) is None

    @given(
        complexity=st.floats(0, 1),
        confidence=st.none() | st.floats(0, 1),
        at=st.lists(st.integers(0, 40_000_000), min_size=4, max_size=4).map(sorted),
    )
    def test_any_walk_replays(self, plan: Plan, complexity: float, confidence: float | None, at: list[int]) -> None:
        """
        Whatever was said and whenever, a record decides the same again.
        """

        def any_walk(pair: WalkPair) -> None:
            classified(pair, complexity)
            for time in at[1:]:
                if pair.live.phase.value == "reserving":
                    pair.feed(Granted(pair.hop, time, (ScopeView("request"),)))
                if pair.live.phase.value == "calling":
                    pair.feed(Replied(pair.hop, time, {} if confidence is None else {"confidence": confidence}))

        assert replay(decode(encode(record(any_walk, plan))), plan) is None

    def test_changed_guard_is_seen(self, plan: Plan) -> None:
        """
        A plan with another guard decides differently, and the first difference is shown.
        """
        traversal = record(answered, plan, number=7)
        mismatch = replay(traversal, stricter())

        assert mismatch is not None
        assert (f"{7:032x}", 3, "wishes") == (mismatch.traversal_id, mismatch.step, mismatch.what)
        assert traversal.steps[3] == (mismatch.entry, mismatch.recorded)
        assert ["Settle", "Reserve"] == [type(wish).__name__ for wish in mismatch.replayed]

    def test_changed_guard_that_leads_the_same_way_is_seen(self, plan: Plan) -> None:
        """
        Another verdict is a difference even where the walk goes where it went.
        """
        other = plan_of(TRIAGE.replace("signals.complexity >= thresholds.complex", "budget.request.left_tokens > 1"))
        mismatch = replay(record(answered, plan), other)

        assert mismatch is not None
        assert (1, "decisions") == (mismatch.step, mismatch.what)
        assert (Decision(0, "next", 2, "small", "nny"),) == mismatch.recorded
        assert (Decision(0, "next", 2, "small", "nuy"),) == mismatch.replayed

    def test_entry_out_of_turn_is_a_difference(self, plan: Plan) -> None:
        """
        An entry that the replayed walk does not take is reported, not raised.
        """
        traversal = record(climbed, plan)
        del traversal.steps[2]
        mismatch = replay(traversal, plan)

        assert mismatch is not None
        assert (2, "turn") == (mismatch.step, mismatch.what)
        assert "does not take Replied now" in str(mismatch)

    @pytest.mark.parametrize(
        ("tamper", "what"),
        [
            (lambda traversal: traversal.path.append("sorry"), "path"),
            (lambda traversal: traversal.path.__setitem__(1, "large"), "path"),
            (lambda traversal: traversal.decisions.pop(), "decisions"),
            (lambda traversal: traversal.decisions.append(Decision(1, "next", 0, "done", "y-")), "decisions"),
        ],
    )
    def test_tampered_record_is_seen(self, tamper: Callable[[Traversal], object], what: str, plan: Plan) -> None:
        """
        A record whose parts do not belong together differs from its replay.
        """
        traversal = record(answered, plan)
        tamper(traversal)
        mismatch = replay(traversal, plan)

        assert mismatch is not None
        assert what == mismatch.what

    def test_difference_is_a_sentence(self, plan: Plan) -> None:
        """
        A mismatch names the traversal, the step and both sides.
        """
        traversal = record(refused, plan)
        entry, _ = traversal.steps[1]
        traversal.steps[1] = (entry, ())

        assert (
            f"{0:032x} at step 1 (Replied): wishes differ: recorded nothing; replayed "
            f"{Finish(Outcome.REFUSED, message='this is not for us', node='sorry')}"
        ) == str(replay(traversal, plan))


class TestReplayAll:
    def test_counts(self, tmp_path: Path, plan: Plan) -> None:
        """
        What decides the same, what does not, and what has no plan are told apart.
        """
        other = stricter()
        foreign = record(answered, plan, number=3)
        foreign.source = foreign.source._replace(plan_digest=other.plan_digest)
        lost = record(answered, plan, number=4)
        lost.source = lost.source._replace(plan_digest="0" * 64)
        good = [(record(script, plan, number=10 + number), plan) for number, script in enumerate(ALL)]
        with stored(tmp_path, *good, (foreign, other), (lost, plan)) as reader:
            report = replay_all(reader)

        assert (9, 7, 1, 1) == (report.total, report.unchanged, report.mismatched, report.unidentified)
        assert [3] == [number_of(mismatch.traversal_id) for mismatch in report.mismatches]
        assert [(4, "0" * 64, "it is not stored beside the traces")] == [
            (number_of(unknown.traversal_id), unknown.plan_digest, unknown.reason) for unknown in report.unknown
        ]

    def test_chosen_ones(self, tmp_path: Path, plan: Plan) -> None:
        """
        Only the traversals given are replayed.
        """
        with stored(tmp_path, *((record(answered, plan, number=number), plan) for number in range(3))) as reader:
            report = replay_all(reader, [found for found in [reader.get(f"{1:032x}")] if found])

        assert (1, 1) == (report.total, report.unchanged)

    def test_plan_that_cannot_be_used(self, tmp_path: Path, plan: Plan) -> None:
        """
        A stored plan that this meshwalk reads differently leaves its traversals unidentified, with the reason.
        """
        import sqlite3

        with stored(tmp_path, (record(answered, plan), plan)) as reader:
            connection = sqlite3.connect(tmp_path / "traces.sqlite")
            connection.execute("UPDATE plans SET canonical = ?", (stricter().canonical,))
            connection.commit()
            connection.close()
            report = replay_all(reader)

        assert (1, 1) == (report.total, report.unidentified)
        assert f"reads as {stricter().plan_digest} here" in report.unknown[0].reason


class TestExplainDecision:
    def test_every_edge_has_its_reason(self, plan: Plan) -> None:
        """
        Each edge tells its verdict, the leaf that decided and how far it is from flipping.
        """
        sorry, large, small = explain_decision(record(answered, plan), plan, 0)

        assert ("sorry", "request.task == 'forbidden'", "not_held") == sorry[:3]
        assert sorry.why is not None
        assert ({"request.task": "any"}, False, None) == (sorry.why.values, sorry.why.verdict, sorry.why.distance)
        assert large.why is not None
        assert {"signals.complexity": 0.2, "thresholds.complex": 0.6} == large.why.values
        assert large.why.verdict is False
        assert pytest.approx(0.4) == large.why.distance
        assert ("small", "otherwise", "held", None) == small

    def test_edge_not_looked_at_tells_what_it_would_have_said(self, plan: Plan) -> None:
        """
        A guard behind the edge taken is explained over the same values.
        """

        def forbidden(pair: WalkPair) -> None:
            classified(pair, complexity=0.9)

        _, large, _ = explain_decision(walked(forbidden, plan=plan, task="forbidden"), plan, 0)

        assert "not_looked_at" == large.verdict
        assert large.why is not None
        assert large.why.verdict is True
        assert pytest.approx(0.3) == large.why.distance

    def test_undetermined(self, plan: Plan) -> None:
        """
        A guard that could not be decided says which value was missing.
        """

        def silent(pair: WalkPair) -> None:
            classified(pair)
            granted(pair, 120)
            pair.feed(Replied(1, 600, {"finish_reason": "stop"}))
            granted(pair, 620)
            pair.feed(Replied(2, 900, {"finish_reason": "stop"}))

        done, _ = explain_decision(record(silent, plan), plan, 1)

        assert "undetermined" == done.verdict
        assert done.why is not None
        assert (None, "output.confidence has no value") == (done.why.verdict, str(done.why).split("(")[1].rstrip(")"))

    def test_values_are_those_of_the_moment(self) -> None:
        """
        A value that changes right after the decision is shown as the guards saw it.
        """
        plan = plan_of(
            """
            meshwalk: 1
            name: again
            start: first
            backends:
              small: {kind: simulated}
            nodes:
              first:
                role: answer
                backend: small
                visits: 3
                next:
                  - {to: first, when: hop.first.visits < 2}
                  - {to: done}
            """
        )

        def twice(pair: WalkPair) -> None:
            for at in (10, 20):
                granted(pair, at)
                pair.feed(Replied(pair.hop, at + 5, {"finish_reason": "stop"}))

        traversal = walked(twice, plan=plan)
        visits = [explain_decision(traversal, plan, hop)[0].why for hop in (0, 1)]

        assert [1.0, 2.0] == [why.values["hop.first.visits"] for why in visits if why]

    def test_error_edges_have_no_guard(self, plan: Plan) -> None:
        """
        An edge chosen by class tells its classes and its verdict.
        """
        (edge,) = explain_decision(record(denied, plan), plan, 2)

        assert ("done", "class in [budget]", "held", None) == edge

    def test_end_of_the_walk_decides_nothing(self, plan: Plan) -> None:
        """
        The hop at which a walk ended has nothing to explain.
        """
        assert () == explain_decision(record(refused, plan), plan, 1)

    @pytest.mark.parametrize("hop", [-1, 2])
    def test_no_such_hop(self, hop: int, plan: Plan) -> None:
        """
        A hop that the walk did not make is an error that says which there are.
        """
        with pytest.raises(TraceError, match=f"has the hops 0 to 1, and no hop {hop}"):
            explain_decision(record(answered, plan), plan, hop)

    def test_other_plan_explains_nothing(self, plan: Plan) -> None:
        """
        A plan that decides differently is refused, with the difference.
        """
        with pytest.raises(TraceError, match=r"does not decide as was recorded.*at step 3") as caught:
            explain_decision(record(answered, plan), stricter(), 0)

        assert stricter().plan_digest == caught.value.plan_digest
