"""
The walk: transcripts that people read, and the laws that hold in every phase.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model import Limits, Sampling
from meshwalk.model.problems import ProtocolError
from meshwalk.plan import Plan
from meshwalk.trace import (
    Cancelled,
    Denied,
    Entry,
    Failed,
    Finish,
    Granted,
    Outcome,
    PrefixJudged,
    Replied,
    ScopeView,
    Settle,
    Stopped,
    TimedOut,
)
from meshwalk.walk import Phase, Walk
from tests.support.files import Golden
from tests.support.plans import plan_of
from tests.support.walks import NO_LIMITS, WalkPair, began
from tests.walk.transcript_stage import replayed


TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path, golden: Golden) -> None:
    """
    The walk answers each command as the transcript says, and its replayed twin answers the same.
    """
    golden(path, replayed(path))


PLAN = plan_of(
    """
    meshwalk: 1
    name: small
    start: ask
    backends:
      little: {kind: simulated}
    nodes:
      ask:
        role: answer
        backend: little
        stream: {hold_first: 8}
        confidence: {from: mean_token_probability}
        next: [{to: done, when: "output.confidence > 0.5"}, {to: sorry}]
      sorry: {role: refusal, reason: no}
    """
)

ENTRIES: list[Entry] = [
    began(),
    Granted(0, 1, (ScopeView("request"),)),
    Denied(0, 1, "request", "no", (ScopeView("request"),)),
    Replied(0, 1, {}),
    Failed(0, 1, "overloaded", "busy"),
    TimedOut(0, 1, "late"),
    Cancelled(0, 1),
    PrefixJudged(0, 1, {"confidence": 0.9}, 8),
    PrefixJudged(0, 1, {"confidence": 0.1}, 8),
    Stopped(0, 1),
]


def walk_in(phase: Phase) -> Walk:
    walk = Walk(PLAN)
    for entry in {
        Phase.NEW: [],
        Phase.RESERVING: ENTRIES[:1],
        Phase.CALLING: ENTRIES[:2],
        Phase.COMMITTED: [*ENTRIES[:2], ENTRIES[7]],
        Phase.STOPPING: [*ENTRIES[:2], ENTRIES[8]],
        Phase.OVER: [*ENTRIES[:2], ENTRIES[3]],
    }[phase]:
        walk.feed(entry)

    return walk


class TestPhases:
    @given(phase=st.sampled_from(Phase), entry=st.sampled_from(ENTRIES))
    def test_every_entry_is_taken_or_refused_whole(self, phase: Phase, entry: Entry) -> None:
        """
        In any phase an entry is either legal, or raises and changes nothing.
        """
        walk = walk_in(phase)
        before = (repr(walk), list(walk.path), list(walk.decisions))

        if type(entry) in Walk.LEGAL[phase]:
            walk.feed(entry)
        else:
            with pytest.raises(ProtocolError, match=f" does not take {type(entry).__name__} now$"):
                walk.feed(entry)

            assert (phase, *before) == (walk.phase, repr(walk), walk.path, walk.decisions)

    def test_another_hop_is_refused(self) -> None:
        """
        An entry about a hop that is not under way is the driver's mistake.
        """
        walk = walk_in(Phase.CALLING)

        with pytest.raises(ProtocolError, match="at hop 0"):
            walk.feed(Replied(1, 1, {}))

        assert Phase.CALLING is walk.phase

    def test_a_walk_begins_under_limits(self) -> None:
        """
        Without a deadline and a hop limit a walk does not begin.
        """
        walk = Walk(PLAN)

        with pytest.raises(ProtocolError, match="hops and deadline_us"):
            walk.feed(began(Limits()))

        assert Phase.NEW is walk.phase

    def test_repr_is_a_window(self) -> None:
        """
        The representation shows what the walk waits for and what it has spent.
        """
        walk = Walk(PLAN)
        walk.feed(began(Limits(hops=4, deadline_us=10, cost_nano_usd=20_000_000)))

        assert "<Walk small: waiting for 'ask', 1 hop, 0 of 0.02 USD>" == repr(walk)


NAMED = plan_of(
    """
    meshwalk: 1
    name: named
    start: ask
    backends:
      little: {kind: simulated}
    nodes:
      ask:
        role: answer
        backend: little
        stream: {hold_first: 8}
        confidence: {from: mean_token_probability}
        next: [{to: done, answer: ask, when: "output.confidence > 0.5"}, {to: sorry}]
      sorry: {role: refusal, reason: no}
    """
)


def test_an_edge_that_names_its_own_node_commits_early() -> None:
    """
    A reply is passed on from its judged prefix, whether the edge that serves it names this node or none.
    """
    pair = WalkPair(NAMED)
    pair.feed(began())
    pair.feed(Granted(0, 1, (ScopeView("request"),)))

    pair.feed(PrefixJudged(0, 2, {"confidence": 0.9}, 8))

    # By the phase: a `StopCall` of the hop would be an equal tuple.
    assert Phase.COMMITTED is pair.live.phase


LATE = plan_of(
    """
    meshwalk: 1
    name: late
    start: look
    backends:
      little: {kind: simulated}
    nodes:
      look: {role: classifier, use: features, next: ask}
      ask: {role: primary, backend: little, next: done, on_error: sorry}
      sorry: {role: refusal, reason: no}
    """
)


@pytest.mark.parametrize(("at_us", "path"), [(9, ["look", "ask"]), (10, ["look", "ask", "sorry"])])
def test_a_call_needs_time_to_begin(at_us: int, path: list[str]) -> None:
    """
    With a microsecond left a call is asked for; at the deadline itself its node is left by a timeout.
    """
    pair = WalkPair(LATE)
    pair.feed(began(Limits(hops=4, deadline_us=10)))
    pair.feed(Replied(0, at_us, {}))

    assert path == pair.live.path
    assert (["timeout"] if "sorry" in path else []) == [one.error_class for one in pair.live.decisions if one.error_class]


LOOP = plan_of(
    """
    meshwalk: 1
    name: loop
    start: draft
    thresholds: {good: 0.9}
    backends:
      little: {kind: simulated, confidence: 0.5}
    nodes:
      draft:
        role: answer
        backend: little
        visits: 3
        confidence: {from: recorded}
        next:
          - {to: done, when: "output.confidence >= thresholds.good"}
          - {to: draft, when: "hop.draft.visits < 2.0"}
          - {to: done, when: "hop.draft.status == 'failed'"}
          - {to: draft}
    """
)


class TestVisits:
    def test_a_cycle_ends_with_its_visits(self) -> None:
        """
        An edge to a node whose visits are used up is passed over; with no edge left the walk fails and says so.
        """
        pair = WalkPair(LOOP)
        pair.feed(began())
        for _ in range(3):
            pair.reply(confidence=0.1)

        assert (Outcome.FAILED, "visits") == (pair.finish.outcome, pair.finish.cause)
        assert ["nyu-"[:2] + "--", "nnny", "nnns"] == [decision.verdicts for decision in pair.live.decisions]

    def test_output_is_this_visits(self) -> None:
        """
        A visit without an output does not read the last visit's.
        """
        pair = WalkPair(LOOP)
        pair.feed(began())
        pair.reply(confidence=0.1)
        pair.reply()

        assert "unny" == pair.live.decisions[-1].verdicts

    def test_a_second_visit_can_answer(self) -> None:
        """
        The latest reply is served.
        """
        pair = WalkPair(LOOP)
        pair.feed(began())
        pair.reply(confidence=0.1)
        pair.reply(confidence=0.95)

        assert Finish(Outcome.ANSWERED, 1) == pair.finish


class TestEnds:
    def test_an_unhandled_error_fails_the_walk(self) -> None:
        """
        Without an `on_error` edge the error's class and message become the walk's.
        """
        pair = WalkPair(PLAN)
        pair.feed(began())
        pair.grant()
        wishes = pair.feed(Failed(0, 5, "overloaded", "node 'ask': busy"))

        assert (Settle(0), Finish(Outcome.FAILED, None, "overloaded", "node 'ask': busy", "ask")) == wishes

    def test_a_denied_call_is_never_settled(self) -> None:
        """
        What was not granted holds nothing, so nothing is settled.
        """
        pair = WalkPair(PLAN)
        pair.feed(began())
        wishes = pair.deny(message="may cost up to 2 USD and 1 of 1 are left")

        assert [Finish] == [type(wish) for wish in wishes]
        assert ("budget", "request") == (pair.finish.cause, pair.finish.scope)
        assert "node 'ask' may cost up to 2 USD and 1 of 1 are left" == pair.finish.message

    def test_cancelling_before_the_grant_settles_nothing(self) -> None:
        """
        A walk that is given up while it waits for its reservation holds none.
        """
        pair = WalkPair(PLAN)
        pair.feed(began())
        wishes = pair.feed(Cancelled(0, 3))

        assert [Outcome.CANCELLED] == [wish.outcome for wish in wishes if isinstance(wish, Finish)]
        assert 1 == len(wishes)


def happenings(hop: int, phase: Phase) -> st.SearchStrategy[Entry]:
    """
    Give what may happen to *hop* in *phase*.
    """
    at = st.integers(0, 4_000_000)
    views = (ScopeView("request"),)
    if phase is Phase.RESERVING:
        return at.map(lambda now: Granted(hop, now, views)) | at.map(
            lambda now: Denied(hop, now, "request", "is too dear", views)
        )
    outputs = st.dictionaries(st.sampled_from(["confidence", "complexity"]), st.floats(0, 1))

    return (
        st.builds(lambda now, given: Replied(hop, now, given), at, outputs)
        | st.builds(lambda now, cls: Failed(hop, now, cls, "it failed"), at, st.sampled_from(["overloaded", "malformed"]))
        | at.map(lambda now: TimedOut(hop, now, "late"))
    )


@pytest.mark.parametrize("plan", [PLAN, LOOP], ids=lambda plan: plan.name)
@given(data=st.data())
def test_every_walk_ends_within_its_hops(plan: Plan, data: st.DataObject) -> None:
    """
    Whatever happens, a walk ends, within its hop limit, and its twin ends the same way.
    """
    pair = WalkPair(plan)
    limits = NO_LIMITS._replace(hops=data.draw(st.integers(1, 5)))
    pair.feed(began(limits))
    while pair.live.phase is not Phase.OVER:
        pair.feed(data.draw(happenings(pair.hop, pair.live.phase)))

    assert len(pair.live.path) <= (limits.hops or 0)


class TestFits:
    PLAN = plan_of(
        """
        meshwalk: 1
        name: windows
        start: look
        backends:
          little: {kind: simulated, context_tokens: 200}
          great: {kind: simulated}
        nodes:
          look: {role: classifier, use: features, next: [{to: small, when: fits.little}, {to: large}]}
          small: {role: answer, backend: little, max_tokens: 50, next: done}
          other: {role: answer, backend: little, max_tokens: 20, prompt: "Briefly: {{ prompt }}", next: done}
          large: {role: primary, backend: great, next: [{to: other, when: "request.urgency == 'batch'"}, {to: done}]}
        """
    )

    @pytest.mark.parametrize(
        ("input_bytes", "messages", "asked", "taken"),
        [
            (134, 1, None, "small"),  # 134 and 16, and 50 to write
            (135, 1, None, "large"),
            (118, 2, None, "small"),
            (119, 2, None, "large"),
            (155, 1, 20, "small"),  # with the other's prompt 155, 9 and 16, and 20 to write
            (156, 1, 20, "large"),
        ],
    )
    def test_what_surely_fits(self, input_bytes: int, messages: int, asked: int | None, taken: str) -> None:
        """
        A window is fit where each node that calls the backend has room for the input's bound and its reply, to the last token.
        """
        pair = WalkPair(self.PLAN)
        entry = began(input_bytes=input_bytes)
        pair.feed(entry._replace(facts=entry.facts._replace(messages=messages, sampling=Sampling(max_tokens=asked))))
        pair.reply()

        assert ["look", taken] == pair.live.path


HASTY = plan_of(
    """
    meshwalk: 1
    name: hasty
    start: look
    backends:
      little: {kind: simulated}
    nodes:
      look: {role: classifier, use: features, next: ask}
      ask: {role: primary, backend: little, min_time: 2s, next: done, on_error: sorry}
      sorry: {role: refusal, reason: no}
    """
)


@pytest.mark.parametrize(("at_us", "path"), [(3_000_000, ["look", "ask"]), (3_000_001, ["look", "ask", "sorry"])])
def test_a_node_needs_its_least_time(at_us: int, path: list[str]) -> None:
    """
    With exactly `min_time` left a node begins; with a microsecond less it is not started.
    """
    pair = WalkPair(HASTY)
    pair.feed(began(Limits(hops=4, deadline_us=5_000_000)))
    pair.feed(Replied(0, at_us, {}))

    assert path == pair.live.path
    assert (["not_started"] if "sorry" in path else []) == [one.error_class for one in pair.live.decisions if one.error_class]
