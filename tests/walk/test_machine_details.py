"""
The details of a walk that other tests pass over: recorded decisions, status signals, sentences, and budgets as last seen.
"""

from __future__ import annotations

import pytest

from meshwalk.model import Amount, Limits
from meshwalk.model.problems import ProtocolError
from meshwalk.trace import (
    Call,
    Commit,
    Decision,
    Denied,
    Entry,
    Failed,
    Finish,
    Granted,
    Outcome,
    PrefixJudged,
    Replied,
    Reserve,
    ScopeView,
    Settle,
    StopCall,
    Stopped,
    TimedOut,
)
from meshwalk.walk import Walk
from tests.support.plans import plan_of
from tests.support.walks import WalkPair, began


# Half a cent, which no walk here has spent by itself.
SEEN = (ScopeView("request", used=Amount(5_000_000)),)

# Each of its guards alone has a slot, so that every slot is the first one of some plan.
ERRORS = """
    meshwalk: 1
    name: errors
    start: ask
    backends:
      little: {{kind: simulated, context_tokens: 1000, usd_per_mtok: {{input: 1, output: 1}}}}
    nodes:
      ask:
        role: answer
        backend: little
        max_tokens: 10
        visits: 2
        min_time: 500ms
        next: [{{to: check, when: "{guard}"}}, {{to: ask, when: "{guard}"}}, {{to: done}}]
        on_error: [{{class: timeout, to: other}}, {{class: overloaded, to: other}}, {{class: budget, to: other}}]
      check:
        role: answer
        backend: little
        max_tokens: 10
        next: [{{to: done, answer: ask, when: "{guard}"}}, {{to: done, answer: ask}}]
      other: {{role: primary, backend: little, max_tokens: 10, deadline: 2s, next: done, on_error: sorry}}
      sorry: {{role: refusal, reason: no}}
"""


def errors(guard: str = "output.finish_reason == 'length'") -> WalkPair:
    """
    Begin a walk whose guards are all *guard*, and grant its first call.
    """
    pair = WalkPair(plan_of(ERRORS.format(guard=guard)))
    pair.feed(began())
    pair.grant()

    return pair


STREAMED = plan_of(
    """
    meshwalk: 1
    name: streamed
    start: ask
    backends: {little: {kind: simulated, context_tokens: 1000}}
    nodes:
      ask:
        role: answer
        backend: little
        max_tokens: 10
        visits: 2
        stream: {hold_first: 4}
        next: [{to: done, when: "elapsed < duration('1s')"}, {to: ask, when: "hop.ask.status == 'none'"}, {to: ask}]
    """
)

LIVE = plan_of(
    """
    meshwalk: 1
    name: live
    start: ask
    backends: {little: {kind: simulated, context_tokens: 1000}}
    nodes:
      ask: {role: primary, backend: little, max_tokens: 10, stream: live, next: done}
    """
)


class TestDecisions:
    def test_an_edge_of_errors_says_its_class(self) -> None:
        """
        An edge of another class is told apart from the one that is taken.
        """
        pair = errors()
        pair.feed(Failed(0, 5, "overloaded", "busy"))

        assert [Decision(0, "on_error", 1, "other", "cy-", "overloaded")] == pair.live.decisions

    def test_no_edge_of_errors(self) -> None:
        """
        An error that no edge takes is a decision, too.
        """
        pair = errors()
        pair.feed(Failed(0, 5, "malformed", "not JSON"))

        assert [Decision(0, "on_error", -1, "", "ccc", "malformed")] == pair.live.decisions
        assert Finish(Outcome.FAILED, cause="malformed", message="not JSON", node="ask") == pair.finish

    def test_every_edge_is_spent(self) -> None:
        """
        Visits that are used up end the walk, which says so; the decision names no edge.
        """
        text = """
            meshwalk: 1
            name: round
            start: ask
            backends: {little: {kind: simulated, context_tokens: 1000}}
            nodes:
              ask:
                role: answer
                backend: little
                max_tokens: 10
                visits: 2
                next: [{to: done, when: "output.finish_reason == 'stop'"}, {to: ask}]
            """
        pair = WalkPair(plan_of(text))
        pair.feed(began())
        pair.reply(finish_reason="length")
        pair.reply(finish_reason="length")
        sentence = "every edge 'ask' could take leads to a node whose visits are used up; raise its `visits`"

        assert Decision(1, "next", -1, "", "ns") == pair.live.decisions[-1]
        assert Finish(Outcome.FAILED, cause="visits", message=sentence, node="ask") == pair.finish

    def test_the_answer_of_an_earlier_node(self) -> None:
        """
        `answer:` serves that node's reply, and not the latest.
        """
        pair = errors()
        pair.reply(finish_reason="length")
        pair.reply()

        assert ["ask", "check"] == pair.live.path
        assert Finish(Outcome.ANSWERED, 0) == pair.finish


class TestStatus:
    @pytest.mark.parametrize(
        ("entry", "status"),
        [(Replied(0, 5, {}), "ok"), (Failed(0, 5, "overloaded", "busy"), "failed"), (TimedOut(0, 5, "late"), "failed")],
    )
    def test_a_node_that_was_left_has_a_status(self, entry: Entry, status: str) -> None:
        """
        Its signal is the one of the latest visit, wherever it stands among the signals.
        """
        pair = errors("hop.ask.status == 'none'")
        assert {"hop.ask.status": 0} == dict(pair.live.plan.slots)
        pair.feed(entry)

        assert status == pair.live.value("hop.ask.status")

    def test_visits_are_counted(self) -> None:
        """
        So are visits, from the first one on.
        """
        pair = errors("hop.ask.visits > 5.0")
        assert {"hop.ask.visits": 0} == dict(pair.live.plan.slots)

        assert 1.0 == pair.live.value("hop.ask.visits")

    def test_a_reply_that_was_cut_short(self) -> None:
        """
        A stopped node has a status of its own, and time goes on while its reply is judged.
        """
        pair = WalkPair(STREAMED)
        pair.feed(began())
        pair.grant()
        wishes = pair.feed(PrefixJudged(0, 2_000_000, {}, 4))
        pair.feed(Stopped(0, 2_000_001))

        assert (StopCall(0),) == wishes
        assert "stopped" == pair.live.value("hop.ask.status")
        assert ["ask", "ask"] == pair.live.path

    def test_a_reply_that_nobody_wants(self) -> None:
        """
        Where every edge is spent the call is stopped, settled, and the walk over.
        """
        pair = WalkPair(STREAMED)
        pair.feed(began())
        for hop in (0, 1):
            pair.grant()
            pair.feed(PrefixJudged(hop, 2_000_000, {}, 4))
            wishes = pair.feed(Stopped(hop, 2_000_001))

        assert [Settle(1), "visits"] == [wish.cause if isinstance(wish, Finish) else wish for wish in wishes]

    def test_a_live_reply_is_decided_in_the_end(self) -> None:
        """
        A reply that is passed on as it comes leaves its node by an edge like any other.
        """
        pair = WalkPair(LIVE)
        pair.feed(began())
        pair.grant()

        assert (Commit(0),) == pair.feed(PrefixJudged(0, 3, {}, 1))
        pair.feed(Replied(0, 9, {}))
        assert [Decision(0, "next", 0, "done", "y")] == pair.live.decisions

    def test_an_unknown_signal_has_no_value(self) -> None:
        """
        A signal that no guard reads is undetermined, and so is each before the walk.
        """
        walk = Walk(STREAMED)

        assert walk.value("output.confidence") is None
        assert "none" == walk.value("hop.ask.status")


class TestSeen:
    @pytest.mark.parametrize(
        "entry",
        [
            Replied(0, 5, {}, (), SEEN),
            Failed(0, 5, "malformed", "not JSON", (), SEEN),
            TimedOut(0, 5, "late", (), SEEN),
        ],
        ids=lambda entry: type(entry).__name__,
    )
    def test_budgets_are_seen_with_each_end_of_a_hop(self, entry: Entry) -> None:
        """
        The walk shows the budgets of the last entry.
        """
        pair = errors()
        pair.feed(entry)

        assert " 0.005 USD" in repr(pair.live)

    def test_budgets_are_seen_with_a_denial(self) -> None:
        """
        The same where a call was not granted, and the next node has its own time from then on.
        """
        pair = WalkPair(plan_of(ERRORS.format(guard="output.finish_reason == 'length'")))
        pair.feed(began())
        wishes = pair.feed(Denied(0, 1_000_000, "request", "is too dear", SEEN))

        assert " 0.005 USD" in repr(pair.live)
        assert [3_000_000] == [wish.deadline_at_us for wish in wishes if isinstance(wish, Reserve)]

    @pytest.mark.parametrize(
        "entry",
        [Replied(0, 5, {}, (), SEEN), Failed(0, 5, "overloaded", "busy", (), SEEN), Stopped(0, 5, (), SEEN)],
        ids=lambda entry: type(entry).__name__,
    )
    def test_budgets_are_seen_with_the_end_of_a_stream(self, entry: Entry) -> None:
        """
        The same after a reply was judged by its beginning.
        """
        pair = WalkPair(STREAMED)
        pair.feed(began())
        pair.grant()
        pair.feed(PrefixJudged(0, 2_000_000 if isinstance(entry, Stopped) else 1, {}, 4))
        pair.feed(entry)

        assert " 0.005 USD" in repr(pair.live)


class TestSentences:
    def test_a_denial_within_a_hop(self) -> None:
        """
        A retry that a budget did not grant ends the walk as a refused budget, or as one that others hold.
        """
        ends = []
        for contended in (False, True):
            pair = errors()
            pair.feed(Failed(0, 5, "malformed", "is too dear", (), (), "session", contended))
            ends.append(pair.finish)

        assert [
            Finish(Outcome.FAILED, cause=cause, message="is too dear", node="ask", scope="session")
            for cause in ("budget", "contended")
        ] == ends

    def test_a_call_that_was_late(self) -> None:
        """
        The message of a call without an answer in time is the walk's.
        """
        pair = WalkPair(LIVE)
        pair.feed(began())
        pair.grant()
        pair.feed(TimedOut(0, 9, "node 'ask' did not answer"))

        assert Finish(Outcome.FAILED, cause="timeout", message="node 'ask' did not answer", node="ask") == pair.finish

    def test_too_little_time(self) -> None:
        """
        A node that needs more time than is left is not called; it says how much it needs, and how much there is.
        """
        pair = WalkPair(
            plan_of(ERRORS.format(guard="output.finish_reason == 'length'").replace("{class: budget,", "{class: not_started,"))
        )
        wishes = pair.feed(began(Limits(hops=4, deadline_us=250_000)))
        late = WalkPair(
            plan_of(ERRORS.format(guard="output.finish_reason == 'length'").replace(", {class: budget, to: other}", ""))
        )
        late.feed(began(Limits(hops=4, deadline_us=250_000)))

        assert [250_000] == [wish.deadline_at_us for wish in wishes if isinstance(wish, Reserve)]
        assert "node 'ask' needs 0.5 s (min_time) and 0.25 s are left" == late.finish.message

    @pytest.mark.parametrize("limits", [Limits(hops=4), Limits(deadline_us=9)])
    def test_limits_that_are_no_effective_ones(self, limits: Limits) -> None:
        """
        A walk does not begin without a bound on hops and on time.
        """
        with pytest.raises(ProtocolError) as caught:
            Walk(LIVE).feed(began()._replace(limits=limits))

        assert "a walk begins under its effective limits: hops and deadline_us must be set" == str(caught.value)
        assert "new" == caught.value.phase

    def test_an_entry_that_does_not_fit(self) -> None:
        """
        An entry of another phase or another hop is refused, with the phase that the walk is in.
        """
        walk = Walk(LIVE)
        with pytest.raises(ProtocolError, match="does not take Granted now") as early:
            walk.feed(Granted(0, 1, ()))
        walk.feed(began())
        with pytest.raises(ProtocolError, match=r"is at hop 0, and .* is about another") as astray:
            walk.feed(Granted(1, 1, ()))

        assert ("new", "reserving") == (early.value.phase, astray.value.phase)

    def test_a_reply_that_is_held_is_not_judged_by_its_beginning(self) -> None:
        """
        A node that does not stream takes no judgement, and says so with the phase.
        """
        pair = errors()
        with pytest.raises(ProtocolError, match="holds the reply of 'ask' until it is whole") as caught:
            pair.live.feed(PrefixJudged(0, 5, {}, 1))

        assert "calling" == caught.value.phase

    def test_time_that_is_left(self) -> None:
        """
        Guards read the time until the walk's own deadline.
        """
        text = """
            meshwalk: 1
            name: hasty
            start: look
            limits: {deadline: 10s}
            backends: {little: {kind: simulated, context_tokens: 1000}}
            nodes:
              look:
                role: classifier
                use: features
                next: [{to: sorry, when: "deadline.left < duration('2s')"}, {to: ask}]
              ask: {role: primary, backend: little, max_tokens: 10, next: done}
              sorry: {role: refusal, reason: too late}
            """
        ends = []
        for at_us in (7_000_000, 9_000_000):
            pair = WalkPair(plan_of(text))
            assert (Call(0, "look", 10_000_000),) == pair.feed(began(Limits(hops=4, deadline_us=10_000_000)))
            pair.feed(Replied(0, at_us, {}))
            ends.append(pair.live.path[-1])

        assert ["ask", "sorry"] == ends
