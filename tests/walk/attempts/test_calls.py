"""
The calls of one hop: what is tried again or beside, after which pause, and when it stops.
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model import Backoff, Node
from meshwalk.model.problems import ErrorClass, Span
from meshwalk.walk.attempts import RETRIABLE, Attempts, Closed, Try


SPAN = Span("test.yaml", 1, 1)
BUSY: ErrorClass = "overloaded"


def node(retries: int = 0, attempt_timeout_us: int | None = None, hedge_us: int | None = None) -> Node:
    return Node(
        name="small", role="answer", span=SPAN, retries=retries, attempt_timeout_us=attempt_timeout_us, hedge_us=hedge_us
    )


def started(own: Node, deadline_at_us: int = 1_000) -> Attempts:
    attempts = Attempts(own, deadline_at_us)
    attempts.start(0)

    return attempts


class TestAttempts:
    def test_one_reply_is_enough(self) -> None:
        """
        A call that worked closes the hop without an error.
        """
        attempts = Attempts(node(retries=3), 1_000)

        assert Try(0, 1_000) == attempts.start(0)
        assert Closed() == attempts.worked(0)

    def test_a_passing_fault_is_tried_again(self) -> None:
        """
        An overloaded backend is called again while retries last, and the last fault closes the hop.
        """
        attempts = started(node(retries=1))

        assert Try(1, 1_000, 10) == attempts.failed(0, 10, BUSY, "busy")
        assert Try(1, 1_000, 10) == attempts.granted(1, 10)
        assert Closed(BUSY, "busy again") == attempts.failed(1, 20, BUSY, "busy again")

    @pytest.mark.parametrize("error_class", sorted(set(get_args(ErrorClass)) - RETRIABLE))
    def test_a_lasting_fault_is_not(self, error_class: ErrorClass) -> None:
        """
        What would fail the same way twice is not tried twice.
        """
        assert Closed(error_class, "no") == started(node(retries=3)).failed(0, 10, error_class, "no")

    def test_nothing_is_tried_past_the_deadline(self) -> None:
        """
        When the hop's time is up, retries that are left stay unused.
        """
        assert Closed("timeout", "late") == started(node(retries=3)).failed(0, 1_000, "timeout", "late")

    def test_an_attempt_timeout_leaves_time_for_another(self) -> None:
        """
        Each attempt has its own limit, and the hop's deadline caps the last.
        """
        attempts = Attempts(node(retries=2, attempt_timeout_us=400), 1_000)

        assert Try(0, 400) == attempts.start(0)
        assert Try(1, 800, 400) == attempts.failed(0, 400, "timeout", "late")
        attempts.granted(1, 400)
        assert Try(2, 1_000, 800) == attempts.failed(1, 800, "timeout", "late")

    def test_a_denied_retry_is_a_matter_of_budget(self) -> None:
        """
        A retry that the ledger refuses closes the hop with class budget.
        """
        attempts = started(node(retries=1))
        attempts.failed(0, 10, BUSY, "busy")

        assert Closed("budget", "too dear") == attempts.denied(1, "too dear")

    def test_a_first_call_may_come_too_late(self) -> None:
        """
        A call that was granted when its time was up, or with less than `min_time` left, is not made.
        """
        patient = replace(node(), min_time_us=300)

        assert Closed("timeout", "time was up before node 'small' could be called") == Attempts(node(), 1_000).start(1_000)
        assert Try(0, 1_000) == Attempts(patient, 1_000).start(700)
        closed = Attempts(patient, 1_000).start(701)
        assert isinstance(closed, Closed)
        assert "not_started" == closed.error_class

    @pytest.mark.parametrize(("at", "expected"), [(500, Try(1, 900, 10)), (999, Try(1, 1_000, 10)), (1_000, "timeout")])
    def test_a_retry_counts_its_time_from_its_grant(self, at: int, expected: Try | str) -> None:
        """
        What a retry waits for its budget is not taken from its own limit, and the hop's deadline holds all the same.
        """
        attempts = started(node(retries=1, attempt_timeout_us=400))
        attempts.failed(0, 10, BUSY, "busy")
        step = attempts.granted(1, at)

        assert expected == (step.error_class if isinstance(step, Closed) else step)

    def test_a_retry_without_its_min_time_is_not_made(self) -> None:
        """
        With less than `min_time` left the last fault closes the hop.
        """
        attempts = started(replace(node(retries=1), min_time_us=300))

        assert Closed(BUSY, "busy") == attempts.failed(0, 701, BUSY, "busy")


class TestBackoff:
    @pytest.mark.parametrize(
        ("chance", "pauses"), [(0.0, [0, 0, 0, 0]), (0.5, [50, 100, 150, 150]), (1.0, [100, 200, 300, 300])]
    )
    def test_pauses_double_up_to_the_most(self, chance: float, pauses: list[int]) -> None:
        """
        A retry waits a random share of a bound that doubles until it is `most`.
        """
        attempts = started(replace(node(retries=4), backoff=Backoff(100, 300)), 1_000_000)
        found = []
        for number in range(4):
            step = attempts.failed(number, 1_000, BUSY, "busy", chance=chance)
            assert isinstance(step, Try)
            found.append(step.not_before_us - 1_000)
            attempts.granted(step.number, step.not_before_us)

        assert pauses == found

    def test_what_the_backend_asks_for_is_honoured(self) -> None:
        """
        A retry waits for as long as the backend asks to be left alone, if that is longer than its backoff.
        """
        own = replace(node(retries=1), backoff=Backoff(100, 300))

        assert Try(1, 1_000, 700) == started(own).failed(0, 10, "rate_limited", "", retry_after_us=690, chance=1.0)
        assert Try(1, 1_000, 110) == started(own).failed(0, 10, "rate_limited", "", retry_after_us=5, chance=1.0)

    def test_another_endpoint_is_called_at_once(self) -> None:
        """
        Where another endpoint can take the call, there is nothing to wait for.
        """
        own = replace(node(retries=1), backoff=Backoff(100, 300))

        assert Try(1, 1_000, 10) == started(own).failed(
            0, 10, "rate_limited", "", retry_after_us=690, elsewhere=True, chance=1.0
        )

    def test_a_pause_that_would_end_too_late_closes_the_hop(self) -> None:
        """
        Nobody waits for a retry that could not be made: the failure stands, and says why there was no retry.
        """
        seconds = replace(node(retries=1), backoff=Backoff(4_000_000, 4_000_000), min_time_us=1_000_000)
        asked = started(seconds, 5_000_000).failed(0, 0, "rate_limited", "slow down", retry_after_us=30_000_000)

        assert Closed("rate_limited", "slow down; the retry it asks for in 30 s would come too late") == asked

    def test_who_was_turned_away_does_not_wait(self) -> None:
        """
        What a breaker or a limit of the house turns away is not put off until that lets it in.
        """
        asked = started(node(retries=1), 5_000_000).failed(0, 0, "unreachable", "open", retry_after_us=100, final=True)

        assert Closed("unreachable", "open") == asked

    def test_a_pause_takes_no_more_than_half_of_what_is_left(self) -> None:
        """
        A backoff leaves time for the call that it is for.
        """
        seconds = replace(node(retries=1), backoff=Backoff(4_000_000, 4_000_000), min_time_us=1_000_000)
        step = started(seconds, 5_000_000).failed(0, 500_000, BUSY, "busy", chance=1.0)

        assert isinstance(step, Try)
        assert 500_000 + 3_500_000 // 2 == step.not_before_us

    def test_a_grant_before_the_pause_is_over_does_not_shorten_it(self) -> None:
        """
        A retry whose money is there early has its time from when it may begin.
        """
        attempts = started(replace(node(retries=1, attempt_timeout_us=200), backoff=Backoff(100, 100)))
        attempts.failed(0, 10, BUSY, "busy", chance=1.0)

        assert Try(1, 310, 110) == attempts.granted(1, 20)


class TestHedge:
    def test_a_second_call_runs_beside_a_slow_first_one(self) -> None:
        """
        After its delay a second call may be asked for, once, and it has a time limit of its own.
        """
        own = node(hedge_us=300, attempt_timeout_us=500)
        attempts = started(own)

        assert 300 == started(own).hedge_at_us
        assert Try(1, 800, hedge=True) == attempts.hedge(300)
        assert Try(1, 820, hedge=True) == attempts.granted(1, 320)
        assert attempts.hedge_at_us is None
        assert attempts.hedge(330) is None

    def test_the_first_reply_is_the_hops(self) -> None:
        """
        Whichever of the two replies first closes the hop.
        """
        attempts = started(node(hedge_us=300))
        attempts.hedge(300)
        attempts.granted(1, 300)

        assert None is attempts.failed(0, 400, "malformed", "no JSON")
        assert Closed() == attempts.worked(1)

    def test_the_last_failure_decides(self) -> None:
        """
        When both have failed, the later failure says whether there is a retry, which is a third attempt.
        """
        attempts = started(node(retries=1, hedge_us=300))
        attempts.hedge(300)
        attempts.granted(1, 300)

        assert None is attempts.failed(1, 400, "malformed", "no JSON")
        assert Try(2, 1_000, 500) == attempts.failed(0, 500, BUSY, "busy")

    def test_a_denied_hedge_is_no_loss(self) -> None:
        """
        Where money does not allow a hedge, the first call goes on, and there is no second hedge.
        """
        attempts = started(node(hedge_us=300))
        attempts.hedge(300)

        assert None is attempts.denied(1, "too dear")
        assert None is attempts.hedge(400)
        assert Closed(BUSY, "busy") == attempts.failed(0, 500, BUSY, "busy")

    def test_a_late_hedge_is_no_loss(self) -> None:
        """
        A hedge that its money comes too late for is not made, and the first call goes on.
        """
        attempts = started(replace(node(hedge_us=300), min_time_us=200))
        attempts.hedge(300)

        assert None is attempts.granted(1, 801)
        assert Closed() == attempts.worked(0)

    @pytest.mark.parametrize(
        ("retries", "error_class", "expected"),
        [
            (1, BUSY, Closed("budget", "too dear")),
            (0, BUSY, Closed(BUSY, "why")),
            (1, "malformed", Closed("malformed", "why")),
        ],
    )
    def test_a_first_call_may_fail_while_its_hedge_is_asked_for(
        self, retries: int, error_class: ErrorClass, expected: Closed
    ) -> None:
        """
        Then the hedge is the hop's next call; denied, it is what a denied retry is, if there could have been one.
        """
        attempts = started(node(retries, hedge_us=300))
        attempts.hedge(300)

        assert None is attempts.failed(0, 350, error_class, "why")
        assert expected == attempts.denied(1, "too dear")

    def test_a_hedge_may_be_all_that_is_left(self) -> None:
        """
        Granted after the first call failed, a hedge goes on alone; granted too late, the first failure stands.
        """
        in_time, late = started(node(hedge_us=300)), started(node(hedge_us=300))
        for attempts in (in_time, late):
            attempts.hedge(300)
            attempts.failed(0, 350, BUSY, "busy")

        assert Try(1, 1_000, hedge=True) == in_time.granted(1, 400)
        assert Closed(BUSY, "busy") == late.granted(1, 1_000)

    @pytest.mark.parametrize(("hedge_us", "min_time_us"), [(1_000, 0), (701, 300), (2_000, 0)])
    def test_a_hedge_that_could_not_be_made_is_not_due(self, hedge_us: int, min_time_us: int) -> None:
        """
        Where its delay leaves too little time there is no hedge to wait for.
        """
        assert None is started(replace(node(hedge_us=hedge_us), min_time_us=min_time_us)).hedge_at_us

    def test_only_the_first_call_is_hedged(self) -> None:
        """
        A retry has no hedge, and a call that is over has none either.
        """
        attempts = started(node(retries=1, hedge_us=300))
        attempts.failed(0, 10, BUSY, "busy")
        attempts.granted(1, 10)

        assert attempts.hedge_at_us is None
        assert attempts.hedge(400) is None


NODES = st.builds(
    Node,
    name=st.just("small"),
    role=st.just("answer"),
    span=st.just(SPAN),
    retries=st.integers(0, 6),
    attempt_timeout_us=st.none() | st.integers(1, 500),
    min_time_us=st.integers(0, 200),
    hedge_us=st.none() | st.integers(1, 600),
    backoff=st.builds(Backoff, st.integers(0, 50), st.integers(50, 300)),
)
# What the world does next: how long it takes, what it does, and how it goes wrong.
TURNS = st.lists(
    st.tuples(
        st.integers(0, 200),
        st.sampled_from(["work", "fail", "fail", "fail", "fail", "hedge", "grant", "grant", "deny"]),
        st.sampled_from([*get_args(ErrorClass), *sorted(RETRIABLE)]),
        st.none() | st.integers(0, 400),
        st.booleans(),
        st.floats(0, 1),
        st.integers(0, 1),
    ),
    max_size=40,
)


class TestLaws:
    @given(own=NODES, turns=TURNS)
    def test_laws_of_the_room(self, own: Node, turns: list[tuple[int, str, ErrorClass, int | None, bool, float, int]]) -> None:
        """
        Whatever happens to its calls, a hop keeps its counts, its times, its grants and its pauses, and ends only when none
        of its calls is under way.
        """
        attempts = Attempts(own, 1_000)
        at, numbers = 0, [0]
        first = attempts.start(at)
        assert isinstance(first, Try)
        under_way, asked = {0}, None
        for took, act, error_class, retry_after_us, elsewhere, chance, which in turns:
            at += took
            step: Try | Closed | None = None
            if act == "hedge":
                asked_now = attempts.hedge(at)
                if asked_now is not None:
                    assert asked is None
                    assert {0} == under_way
                    asked = asked_now
                    numbers.append(asked.number)
                continue
            if act in ("grant", "deny"):
                if asked is None:
                    continue
                begins = max(at, asked.not_before_us)
                step = attempts.granted(asked.number, at) if act == "grant" else attempts.denied(asked.number, "")
                if isinstance(step, Try):
                    assert 1_000 > begins
                    assert own.min_time_us <= 1_000 - begins
                    assert begins < step.deadline_at_us <= 1_000
                    under_way.add(step.number)
                asked = None
            elif under_way:
                number = sorted(under_way)[which % len(under_way)]
                under_way.discard(number)
                if act == "work":
                    assert Closed() == attempts.worked(number)
                    break
                step = attempts.failed(
                    number, at, error_class, "", retry_after_us=retry_after_us, elsewhere=elsewhere, chance=chance
                )
                if isinstance(step, Try):
                    assert error_class in RETRIABLE
                    longest = max(retry_after_us or 0, min(own.backoff.max_us, own.backoff.first_us << own.retries))
                    assert at <= step.not_before_us <= at + (0 if elsewhere else longest)
                    asked = step
                    numbers.append(asked.number)
            if isinstance(step, Closed):
                assert not under_way
                assert None is not step.error_class
                break
            assert under_way or asked is not None

        assert list(range(len(numbers))) == numbers
        assert len(numbers) <= own.retries + 1 + (own.hedge_us is not None)
