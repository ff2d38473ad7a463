"""
The finished record of a walk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from meshwalk.trace.compact import CompactCall, CompactTrace, Step, TemplateKey
from meshwalk.trace.entries import (
    Attempt,
    Basis,
    Began,
    Cancelled,
    Closing,
    Denied,
    Facts,
    Granted,
    PrefixJudged,
    calling_us,
    total_usage,
    weakest,
)
from meshwalk.trace.exchange import Message, Usage
from meshwalk.trace.wishes import Decision, Finish, Outcome


class Content(NamedTuple):
    """
    Keep a walk's words, where the graph says so.
    """

    messages: tuple[Message, ...]
    answer: str = ""


class Source(NamedTuple):
    """
    Say what was walked, which every walk over one plan has in common.

    Args:
        prices: The version of the prices that calls were settled at.
    """

    graph: str
    version: str
    plan_digest: str
    shape_digest: str
    prices: str = ""


class FullTrace(NamedTuple):
    """
    Tell of a walk in full.

    Args:
        path: The node of each hop, by hop id.
        steps: Each entry with the wishes it was answered with.
        decisions: In the order they were made.
    """

    path: list[str]
    steps: list[Step]
    decisions: list[Decision]


class Traversal:
    """
    Hold the finished record of a walk.

    Args:
        traversal_id: 32 hexadecimal digits, as the *trace_id* has; the *span_id* has 16.
        parent_span_id: The caller's span, empty if the walk starts its trace.
        sampled: What the caller says of its trace.
        began_unix_us: The wall clock when the walk began, in microseconds.
        told: What happened, in short where all hops went straight.
        content: None unless the graph records content.
    """

    __slots__ = (
        "_at_length", "_kind", "began_unix_us", "content", "parent_span_id", "sampled", "source", "span_id", "straight",
        "trace_id", "traversal_id",
    )  # fmt: skip

    def __init__(
        self,
        source: Source,
        traversal_id: str,
        trace_id: str,
        span_id: str,
        parent_span_id: str,
        sampled: bool,
        began_unix_us: int,
        told: CompactTrace | FullTrace,
        content: Content | None = None,
    ) -> None:
        self.source = source
        self.traversal_id = traversal_id
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_span_id = parent_span_id
        self.sampled = sampled
        self.began_unix_us = began_unix_us
        self.content = content
        self._kind: TemplateKey | None = None
        if isinstance(told, CompactTrace):
            self.straight: CompactTrace | None = told
            self._at_length: FullTrace | None = None
        else:
            self.straight = None
            self._at_length = told

    @property
    def at_length(self) -> FullTrace:
        """
        Return the walk in full, whichever way it is kept.
        """
        whole = self._at_length
        if whole is None:
            straight = self.straight
            assert straight is not None, "a traversal is told one way or the other"
            whole = self._at_length = FullTrace(straight.path, straight.steps(), straight.decisions())

        return whole

    @property
    def kind(self) -> TemplateKey | None:
        """
        Return what it has in common with all records that say the same but for ids, times, counts and texts.

        None is a record at length, or one of its own kind.
        """
        if self._kind is None and self.straight is not None and (kind := self.straight.kind) is not None:
            self._kind = (self.source, not self.parent_span_id, self.sampled, kind)

        return self._kind

    @property
    def graph(self) -> str:
        """
        Name the graph that was walked.
        """
        return self.source.graph

    @property
    def version(self) -> str:
        """
        Return the version its author gave it.
        """
        return self.source.version

    @property
    def plan_digest(self) -> str:
        """
        Return the digest of the plan that was walked.
        """
        return self.source.plan_digest

    @property
    def shape_digest(self) -> str:
        """
        Return the digest of its shape.
        """
        return self.source.shape_digest

    @property
    def prices(self) -> str:
        """
        Return the version of the prices that calls were settled at.
        """
        return self.source.prices

    @property
    def path(self) -> list[str]:
        """
        Name the node of each hop, by hop id.
        """
        return self.at_length.path if self.straight is None else self.straight.path

    @property
    def steps(self) -> list[Step]:
        """
        Give each entry with the wishes it was answered with.
        """
        return self.at_length.steps

    @property
    def decisions(self) -> list[Decision]:
        """
        Give the decisions in the order they were made.
        """
        return self.at_length.decisions

    @property
    def facts(self) -> Facts:
        """
        Return what decisions could depend on.
        """
        return self.began.facts if self.straight is None else self.straight.facts

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
        if self.straight is not None:
            return self.straight.finish
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
        return self.steps[-1][0].at if self.straight is None else self.straight.latency_us

    @property
    def engine_us(self) -> int:
        """
        Return how much of the latency was spent neither in calls nor in waiting: for a budget that others held, for a retry.
        """
        if self.straight is not None:
            return self.straight.latency_us - sum([call.latency_us for call in self.straight.calls])
        attempts = list(self.attempts())
        put_off_us = sum(attempt.backoff_us for attempt in attempts)

        return self.latency_us - self.budget_wait_us - put_off_us - calling_us(attempts)

    @property
    def budget_wait_us(self) -> int:
        """
        Return how long the walk waited for others to settle.
        """
        if self.straight is not None:
            return 0
        waited_us = sum(entry.waited_us for entry, _ in self.steps if isinstance(entry, Granted | Denied | Cancelled))

        return waited_us + sum(attempt.waited_us for attempt in self.attempts())

    @property
    def slack_nano_usd(self) -> int:
        """
        Return what calls cost that were made while the vault of shared budgets was away: so much may be past a cap.
        """
        if self.straight is not None:
            calls = self.straight.calls
            return sum([call.cost_nano_usd for call in calls if any(view.away for view in call.shared)])
        away: set[int] = set()
        slack = 0
        for entry, _ in self.steps:
            if not isinstance(entry, Began | Cancelled | PrefixJudged) and any(view.away for view in entry.views):
                away.add(entry.hop)
            if isinstance(entry, Closing) and entry.hop in away:
                slack += sum([attempt.cost_nano_usd for attempt in entry.attempts])

        return slack

    @property
    def cost_nano_usd(self) -> int:
        """
        Return what all calls of the walk cost.
        """
        return sum([call.cost_nano_usd for call in self._calls()])

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
        return weakest([call.basis for call in self._calls()])

    @property
    def usage(self) -> Usage:
        """
        Count the tokens of all calls.
        """
        return total_usage(self._calls())

    def _calls(self) -> Iterable[Attempt | CompactCall]:
        """
        Go through the calls made, in either form.
        """
        return self.attempts() if self.straight is None else self.straight.calls

    def attempts(self) -> Iterator[Attempt]:
        """
        Go through the calls made, in order.
        """
        if self.straight is not None:
            yield from (call.attempt for call in self.straight.calls)
            return
        for entry, _ in self.steps:
            if isinstance(entry, Closing):
                yield from entry.attempts

    def __repr__(self) -> str:
        return f"<Traversal {self.traversal_id} {self.graph}: {' > '.join(self.path)}, {self.outcome.value}>"
