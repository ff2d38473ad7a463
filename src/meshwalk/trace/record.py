"""
The finished record of a walk: its trace, under its ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from meshwalk.trace.entries import Attempt, Basis, Began, Facts, total_usage, weakest
from meshwalk.trace.exchange import Message, Usage
from meshwalk.trace.interface import Step, TemplateKey, Trace
from meshwalk.trace.wishes import Decision, Finish, Outcome


class Content(NamedTuple):
    """
    The words of a walk, kept where the graph says so.
    """

    messages: tuple[Message, ...]
    answer: str = ""


class Source(NamedTuple):
    """
    The plan that was walked, which every walk over it has in common.

    Args:
        prices: The version of the prices that calls were settled at.
    """

    graph: str
    version: str
    plan_digest: str
    shape_digest: str
    prices: str = ""


class Traversal:
    """
    The finished record of a walk.

    Args:
        traversal_id: 32 hexadecimal digits, as the *trace_id* has; the *span_id* has 16.
        parent_span_id: The caller's span, empty if the walk starts its trace.
        sampled: Whether the caller records its trace.
        began_unix_us: The wall clock when the walk began, in microseconds.
        content: None unless the graph records content.
    """

    __slots__ = (
        "_decisions", "_steps", "_template_key", "began_unix_us", "content", "parent_span_id", "sampled", "source", "span_id",
        "trace", "trace_id", "traversal_id",
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
        trace: Trace,
        content: Content | None = None,
    ) -> None:
        self.source = source
        self.traversal_id = traversal_id
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_span_id = parent_span_id
        self.sampled = sampled
        self.began_unix_us = began_unix_us
        self.trace = trace
        self.content = content
        self._template_key: TemplateKey | None = None
        self._steps: list[Step] | None = None
        self._decisions: list[Decision] | None = None

    @property
    def template_key(self) -> TemplateKey | None:
        """
        Return a key equal for records that differ only in ids, times, counts and texts; None if no template can be shared.
        """
        if self._template_key is None and (key := self.trace.template_key) is not None:
            self._template_key = (self.source, not self.parent_span_id, self.sampled, key)

        return self._template_key

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
        return self.trace.path

    @property
    def steps(self) -> list[Step]:
        """
        Return each entry with the wishes it was answered with.
        """
        if self._steps is None:
            self._steps = self.trace.steps

        return self._steps

    @property
    def decisions(self) -> list[Decision]:
        """
        Return the decisions in the order they were made.
        """
        if self._decisions is None:
            self._decisions = self.trace.decisions

        return self._decisions

    @property
    def facts(self) -> Facts:
        """
        Return the facts that decisions could depend on.
        """
        return self.trace.facts

    @property
    def began(self) -> Began:
        """
        Return the entry that started the walk.
        """
        return self.trace.began

    @property
    def finish(self) -> Finish:
        """
        Return the wish that ended the walk.
        """
        return self.trace.finish

    @property
    def outcome(self) -> Outcome:
        """
        Return the walk's outcome.
        """
        return self.trace.finish.outcome

    @property
    def answer_node(self) -> str:
        """
        Name the node whose reply was served, or nothing.
        """
        hop = self.trace.finish.answer_hop

        return "" if hop is None else self.path[hop]

    @property
    def latency_us(self) -> int:
        """
        Return the duration of the walk.
        """
        return self.trace.latency_us

    @property
    def engine_us(self) -> int:
        """
        Return the part of the latency spent neither in calls nor in waiting for a budget that others held or for a retry.
        """
        return self.trace.engine_us

    @property
    def budget_wait_us(self) -> int:
        """
        Return the time that the walk waited for other walks to settle their reservations.
        """
        return self.trace.budget_wait_us

    @property
    def slack_nano_usd(self) -> int:
        """
        Return the cost of the calls made while the vault of shared budgets was away: so much may be past a cap.
        """
        return self.trace.slack_nano_usd

    @property
    def cost_nano_usd(self) -> int:
        """
        Return the cost of all calls.
        """
        return sum([call.cost_nano_usd for call in self.trace.calls])

    @property
    def cost_usd(self) -> float:
        """
        Return the cost of all calls, in dollars.
        """
        return self.cost_nano_usd / 1e9

    @property
    def basis(self) -> Basis:
        """
        Return the weakest basis any part of the cost has.
        """
        return weakest([call.basis for call in self.trace.calls])

    @property
    def usage(self) -> Usage:
        """
        Count the tokens of all calls.
        """
        return total_usage(self.trace.calls)

    def attempts(self) -> Iterator[Attempt]:
        """
        Yield the calls made, in order.
        """
        return self.trace.attempts()

    def __repr__(self) -> str:
        return f"<Traversal {self.traversal_id} {self.graph}: {' > '.join(self.path)}, {self.outcome.value}>"
