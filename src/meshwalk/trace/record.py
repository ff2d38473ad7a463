"""
The finished record of a walk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from meshwalk.trace.entries import (
    Attempt,
    Basis,
    Began,
    Cancelled,
    Closing,
    Denied,
    Entry,
    Glimpsed,
    Granted,
    calling_us,
    total_usage,
    weakest,
)
from meshwalk.trace.exchange import Message, Usage
from meshwalk.trace.wishes import Decision, Finish, Outcome, Wish


class Content(NamedTuple):
    """
    Keep a walk's words, where the graph says so.
    """

    messages: tuple[Message, ...]
    answer: str = ""


class Traversal:
    """
    Hold the finished record of a walk.

    Args:
        began_unix_us: The wall clock when the walk began, in microseconds.
        parent_span_id: The caller's span, empty if the walk starts its trace.
        path: The node of each hop, by hop id.
        steps: Each entry with the wishes it was answered with.
        decisions: In the order they were made.
        content: None unless the graph records content.
        prices: The version of the prices that its calls were settled at.
    """

    __slots__ = (
        "began_unix_us", "content", "decisions", "graph", "parent_span_id", "path", "plan_digest", "prices", "sampled",
        "shape_digest", "span_id", "steps", "trace_id", "traversal_id", "version",
    )  # fmt: skip

    def __init__(
        self,
        *,
        traversal_id: str,
        trace_id: str,
        span_id: str,
        parent_span_id: str,
        sampled: bool,
        graph: str,
        version: str,
        plan_digest: str,
        shape_digest: str,
        began_unix_us: int,
        path: list[str],
        steps: list[tuple[Entry, tuple[Wish, ...]]],
        decisions: list[Decision],
        content: Content | None = None,
        prices: str = "",
    ) -> None:
        self.traversal_id = traversal_id
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_span_id = parent_span_id
        self.sampled = sampled
        self.graph = graph
        self.version = version
        self.plan_digest = plan_digest
        self.shape_digest = shape_digest
        self.began_unix_us = began_unix_us
        self.path = path
        self.steps = steps
        self.decisions = decisions
        self.content = content
        self.prices = prices

    @property
    def began(self) -> Began:
        """
        Return the entry that started the walk.
        """
        entry = self.steps[0][0]
        assert isinstance(entry, Began)

        return entry

    @property
    def finish(self) -> Finish:
        """
        Return the wish that ended the walk.
        """
        wish = self.steps[-1][1][-1]
        assert isinstance(wish, Finish)

        return wish

    @property
    def outcome(self) -> Outcome:
        """
        Tell how the walk ended.
        """
        return self.finish.outcome

    @property
    def answer_node(self) -> str:
        """
        Name the node whose reply was served, or nothing.
        """
        hop = self.finish.answer_hop

        return "" if hop is None else self.path[hop]

    @property
    def latency_us(self) -> int:
        """
        Return how long the walk took.
        """
        return self.steps[-1][0].at

    @property
    def engine_us(self) -> int:
        """
        Return how much of the latency was spent neither in calls nor in waiting: for a budget that others held, for a retry.
        """
        attempts = list(self.attempts())
        put_off_us = sum(attempt.backoff_us for attempt in attempts)

        return self.latency_us - self.budget_wait_us - put_off_us - calling_us(attempts)

    @property
    def budget_wait_us(self) -> int:
        """
        Return how long the walk waited for others to settle.
        """
        waited_us = sum(entry.waited_us for entry, _ in self.steps if isinstance(entry, Granted | Denied | Cancelled))

        return waited_us + sum(attempt.waited_us for attempt in self.attempts())

    @property
    def slack_nano_usd(self) -> int:
        """
        Return what calls cost that were made while the vault of shared budgets was away: so much may be past a cap.
        """
        away: set[int] = set()
        slack = 0
        for entry, _ in self.steps:
            if not isinstance(entry, Began | Cancelled | Glimpsed) and any(view.away for view in entry.views):
                away.add(entry.hop)
            if isinstance(entry, Closing) and entry.hop in away:
                slack += sum([attempt.cost_nano_usd for attempt in entry.attempts])

        return slack

    @property
    def cost_nano_usd(self) -> int:
        """
        Return what all calls of the walk cost.
        """
        return sum(attempt.cost_nano_usd for attempt in self.attempts())

    @property
    def cost_usd(self) -> float:
        """
        Return what all calls of the walk cost, in dollars.
        """
        return self.cost_nano_usd / 1e9

    @property
    def basis(self) -> Basis:
        """
        Return the weakest basis any part of the cost has.
        """
        return weakest(attempt.basis for attempt in self.attempts())

    @property
    def usage(self) -> Usage:
        """
        Count the tokens of all calls.
        """
        return total_usage(self.attempts())

    def attempts(self) -> Iterator[Attempt]:
        """
        Go through the calls made, in order.
        """
        for entry, _ in self.steps:
            if isinstance(entry, Closing):
                yield from entry.attempts

    def __repr__(self) -> str:
        return f"<Traversal {self.traversal_id} {self.graph}: {' > '.join(self.path)}, {self.outcome.value}>"
