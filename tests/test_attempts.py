"""
The calls of one hop: what is tried again, and when it stops.
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.attempts import RETRIABLE, Attempts, Closed, Try
from meshwalk.model import Node
from meshwalk.problems import ErrorClass, Span


SPAN = Span("test.yaml", 1, 1)


def node(retries: int = 0, attempt_timeout_us: int | None = None) -> Node:
    return Node(name="small", role="answer", span=SPAN, retries=retries, attempt_timeout_us=attempt_timeout_us)


class TestAttempts:
    def test_one_reply_is_enough(self) -> None:
        """
        A call that worked closes the hop without an error.
        """
        attempts = Attempts(node(retries=3), 1_000)

        assert Try(0, 1_000) == attempts.start(0)
        assert Closed() == attempts.worked()

    def test_a_passing_fault_is_tried_again(self) -> None:
        """
        An overloaded backend is called again while retries last, and the last fault closes the hop.
        """
        attempts = Attempts(node(retries=1), 1_000)
        attempts.start(0)

        assert Try(1, 1_000) == attempts.failed(10, "overloaded", "busy")
        assert Closed("overloaded", "busy again") == attempts.failed(20, "overloaded", "busy again")

    @pytest.mark.parametrize("error_class", sorted(set(get_args(ErrorClass)) - RETRIABLE))
    def test_a_lasting_fault_is_not(self, error_class: ErrorClass) -> None:
        """
        What would fail the same way twice is not tried twice.
        """
        attempts = Attempts(node(retries=3), 1_000)
        attempts.start(0)

        assert Closed(error_class, "no") == attempts.failed(10, error_class, "no")

    def test_nothing_is_tried_past_the_deadline(self) -> None:
        """
        When the hop's time is up, retries that are left stay unused.
        """
        attempts = Attempts(node(retries=3), 1_000)
        attempts.start(0)

        assert Closed("timeout", "late") == attempts.failed(1_000, "timeout", "late")

    def test_an_attempt_timeout_leaves_time_for_another(self) -> None:
        """
        Each attempt has its own limit, and the hop's deadline caps the last.
        """
        attempts = Attempts(node(retries=2, attempt_timeout_us=400), 1_000)

        assert Try(0, 400) == attempts.start(0)
        assert Try(1, 800) == attempts.failed(400, "timeout", "late")
        assert Try(2, 1_000) == attempts.failed(800, "timeout", "late")

    def test_a_denied_retry_is_a_matter_of_budget(self) -> None:
        """
        A retry that the ledger refuses closes the hop with class budget.
        """
        attempts = Attempts(node(retries=1), 1_000)
        attempts.start(0)
        attempts.failed(10, "overloaded", "busy")

        assert Closed("budget", "too dear") == attempts.denied("too dear")

    @given(
        retries=st.integers(0, 10),
        timeout=st.none() | st.integers(1, 500),
        faults=st.lists(st.tuples(st.sampled_from(get_args(ErrorClass)), st.integers(0, 300)), min_size=12, max_size=12),
    )
    def test_there_is_an_end(self, retries: int, timeout: int | None, faults: list[tuple[ErrorClass, int]]) -> None:
        """
        However calls fail, there are at most `retries` + 1 of them, numbered in order, none starting past the deadline.
        """
        attempts = Attempts(node(retries, timeout), 1_000)
        at, made = 0, 0
        step: Try | Closed = attempts.start(0)
        for error_class, took in faults:
            if isinstance(step, Closed):
                break
            assert (made, True) == (step.number, at < 1_000)
            assert step.deadline_at <= 1_000
            made += 1
            at += took
            step = attempts.failed(at, error_class, "")

        assert made <= retries + 1

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

    def test_a_retry_counts_its_time_from_its_grant(self) -> None:
        """
        What a retry waits for its budget is not taken from its own limit, and the hop's deadline holds all the same.
        """
        attempts = Attempts(node(retries=1, attempt_timeout_us=400), 1_000)
        attempts.start(0)
        attempts.failed(10, "overloaded", "busy")

        assert Try(1, 900) == attempts.granted(500)
        assert Try(1, 1_000) == attempts.granted(999)
        closed = attempts.granted(1_000)
        assert isinstance(closed, Closed)
        assert "timeout" == closed.error_class

    def test_a_retry_without_its_min_time_is_not_made(self) -> None:
        """
        With less than `min_time` left the last fault closes the hop.
        """
        attempts = Attempts(replace(node(retries=1), min_time_us=300), 1_000)
        attempts.start(0)

        assert Closed("overloaded", "busy") == attempts.failed(701, "overloaded", "busy")
