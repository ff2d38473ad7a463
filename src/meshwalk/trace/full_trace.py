"""
A walk kept in full: every entry with its wishes, and the decisions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from meshwalk.trace.entries import (
    Attempt,
    Began,
    Cancelled,
    Closing,
    Denied,
    Entry,
    Facts,
    Granted,
    PrefixJudged,
    Replied,
    ScopeView,
    calling_us,
)
from meshwalk.trace.interface import HopBuilder, Outline, Step, TemplateKey
from meshwalk.trace.wishes import Decision, Finish


class FullTrace(NamedTuple):
    """
    The trace of any walk.

    Args:
        path: The node of each hop, by hop id.
        steps: Each entry with the wishes it was answered with.
        decisions: In the order they were made.
    """

    path: list[str]
    steps: list[Step]
    decisions: list[Decision]

    @property
    def began(self) -> Began:
        """
        Return the entry that started the walk.
        """
        entry = self.steps[0][0]
        assert isinstance(entry, Began)

        return entry

    @property
    def facts(self) -> Facts:
        """
        Return the facts that decisions could depend on.
        """
        return self.began.facts

    @property
    def finish(self) -> Finish:
        """
        Return the wish that ended the walk.
        """
        wish = self.steps[-1][1][-1]
        assert isinstance(wish, Finish)

        return wish

    @property
    def calls(self) -> list[Attempt]:
        """
        Return the calls made, in order.
        """
        return [attempt for entry, _ in self.steps if isinstance(entry, Closing) for attempt in entry.attempts]

    @property
    def latency_us(self) -> int:
        """
        Return the duration of the walk.
        """
        return self.steps[-1][0].at_us

    @property
    def engine_us(self) -> int:
        """
        Return the part of the latency spent neither in calls nor in waiting for a budget that others held or for a retry.
        """
        attempts = self.calls
        backoff_us = sum(attempt.backoff_us for attempt in attempts)

        return self.latency_us - self.budget_wait_us - backoff_us - calling_us(attempts)

    @property
    def budget_wait_us(self) -> int:
        """
        Return the time that the walk waited for other walks to settle their reservations.
        """
        waited_us = sum(entry.waited_us for entry, _ in self.steps if isinstance(entry, Granted | Denied | Cancelled))

        return waited_us + sum(attempt.waited_us for attempt in self.calls)

    @property
    def slack_nano_usd(self) -> int:
        """
        Return the cost of the calls made while the vault of shared budgets was away.
        """
        away: set[int] = set()
        slack = 0
        for entry, _ in self.steps:
            if not isinstance(entry, Began | Cancelled | PrefixJudged) and any(view.away for view in entry.views):
                away.add(entry.hop)
            if isinstance(entry, Closing) and entry.hop in away:
                slack += sum([attempt.cost_nano_usd for attempt in entry.attempts])

        return slack

    @property
    def template_key(self) -> TemplateKey | None:
        """
        Return None: no two such walks are taken for alike.
        """
        return None

    def outline(self) -> Outline:
        """
        Return the sums and the end of the walk.
        """
        finish, cost_nano_usd = self.finish, sum([attempt.cost_nano_usd for attempt in self.calls])

        return Outline(
            self.path, finish.outcome.value, finish.cause, finish.answer_hop, cost_nano_usd, self.latency_us, self.engine_us
        )

    def entries(self) -> Iterator[Entry]:
        """
        Yield the events, in order.
        """
        return (entry for entry, _ in self.steps)

    def attempts(self) -> Iterator[Attempt]:
        """
        Yield the calls made, in order.
        """
        return iter(self.calls)

    def attempts_at(self, hop: int) -> tuple[Attempt, ...]:
        """
        Return the calls of *hop*.
        """
        entries = (entry for entry, _ in self.steps if isinstance(entry, Closing) and entry.hop == hop)

        return tuple([attempt for entry in entries for attempt in entry.attempts])

    def views_at(self, hop: int) -> tuple[tuple[ScopeView, ...], tuple[ScopeView, ...]]:
        """
        Return the budgets as the reservation of *hop* left them, and as it last saw them.
        """
        granted: tuple[ScopeView, ...] = ()
        left: tuple[ScopeView, ...] = ()
        for entry, _ in self.steps:
            if isinstance(entry, Began | PrefixJudged | Cancelled) or entry.hop != hop or not entry.views:
                continue
            if isinstance(entry, Granted):
                granted = entry.views
            left = entry.views

        return granted, left

    def simulated_at(self, hop: int) -> bool:
        """
        Tell whether no model made the reply of *hop*.
        """
        attempts = (entry.attempts for entry, _ in self.steps if isinstance(entry, Replied) and entry.hop == hop)

        return any(calls[-1].simulated for calls in attempts if calls)

    def build(self, builder: HopBuilder) -> None:
        """
        Give *builder* all hops, in order.
        """
        for entry, wishes in self.steps:
            builder.feed(entry, wishes, self.path)
        for decision in self.decisions:
            builder.decide(decision)
