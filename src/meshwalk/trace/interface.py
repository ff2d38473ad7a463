"""
The interface of a trace, whichever form it is kept in.

Readers ask a `Trace` and never for its form: `CompactTrace` derives what is asked from one line a hop, and `FullTrace` reads it
from the entries and wishes that it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from meshwalk.model.constructors import fast_constructor
from meshwalk.trace.compact import CompactHop
from meshwalk.trace.entries import Attempt, Basis, Began, Entry, Facts, ScopeView
from meshwalk.trace.exchange import Usage
from meshwalk.trace.wishes import Decision, Finish, Wish


TemplateKey = tuple[object, ...]
Step = tuple[Entry, tuple[Wish, ...]]


class RecordedCall(Protocol):
    """
    The figures of a call, in either form.
    """

    @property
    def usage(self) -> Usage:
        """
        Return its tokens.
        """
        ...

    @property
    def cost_nano_usd(self) -> int:
        """
        Return its cost.
        """
        ...

    @property
    def basis(self) -> Basis:
        """
        Return the basis of the cost: the source of its figures.
        """
        ...


class Outline(NamedTuple):
    """
    The sums and the end of a walk, read in one pass.

    Args:
        path: The node of each hop.
        outcome: The value of an `Outcome`.
        cause: Why it failed; empty if it did not.
        answer_hop: The hop whose reply was served.
    """

    path: list[str]
    outcome: str
    cause: str
    answer_hop: int | None
    cost_nano_usd: int
    latency_us: int
    engine_us: int


make_outline = fast_constructor(Outline)


class HopBuilder(Protocol):
    """
    A reader that puts hops together from either form.
    """

    def feed(self, entry: Entry, wishes: Sequence[Wish], path: Sequence[str]) -> None:
        """
        Take an entry with the wishes it was answered with; *path* names the nodes as far as they are known.
        """
        ...

    def decide(self, decision: Decision) -> None:
        """
        Add the decision that ended a hop.
        """
        ...

    def add(self, hop: CompactHop) -> None:
        """
        Take a whole hop.
        """
        ...

    def refuse(self, node: str, at_us: int, reason: str) -> None:
        """
        Add the refusal that ended the walk.
        """
        ...


class Trace(Protocol):
    """
    The events, commands and decisions of one walk.
    """

    @property
    def facts(self) -> Facts:
        """
        Return the facts that decisions could depend on.
        """
        ...

    @property
    def began(self) -> Began:
        """
        Return the entry that started the walk.
        """
        ...

    @property
    def path(self) -> list[str]:
        """
        Name the node of each hop, by hop id.
        """
        ...

    @property
    def finish(self) -> Finish:
        """
        Return the wish that ended the walk.
        """
        ...

    @property
    def steps(self) -> list[Step]:
        """
        Return each entry with the wishes it was answered with.
        """
        ...

    @property
    def decisions(self) -> list[Decision]:
        """
        Return the decisions in the order they were made.
        """
        ...

    @property
    def calls(self) -> Sequence[RecordedCall]:
        """
        Return the calls in order, in the form they are kept in.
        """
        ...

    @property
    def latency_us(self) -> int:
        """
        Return the duration of the walk.
        """
        ...

    @property
    def engine_us(self) -> int:
        """
        Return the part of the latency spent neither in calls nor in waiting for a budget that others held or for a retry.
        """
        ...

    @property
    def budget_wait_us(self) -> int:
        """
        Return the time that the walk waited for other walks to settle their reservations.
        """
        ...

    @property
    def slack_nano_usd(self) -> int:
        """
        Return the cost of the calls made while the vault of shared budgets was away: so much may be past a cap.
        """
        ...

    @property
    def template_key(self) -> TemplateKey | None:
        """
        Return a key equal for walks whose traces differ only in ids, times, counts and texts.

        None if no template can be shared.
        """
        ...

    def outline(self) -> Outline:
        """
        Return the sums and the end of the walk.
        """
        ...

    def entries(self) -> Iterator[Entry]:
        """
        Yield the events, in order.
        """
        ...

    def attempts(self) -> Iterator[Attempt]:
        """
        Yield the calls in order, as lines of a full trace.
        """
        ...

    def attempts_at(self, hop: int) -> tuple[Attempt, ...]:
        """
        Return the calls of *hop*.
        """
        ...

    def views_at(self, hop: int) -> tuple[tuple[ScopeView, ...], tuple[ScopeView, ...]]:
        """
        Return the budgets as the reservation of *hop* left them, and as the hop did; nothing if it called nobody.
        """
        ...

    def simulated_at(self, hop: int) -> bool:
        """
        Tell whether no model made the reply of *hop*.
        """
        ...

    def build(self, builder: HopBuilder) -> None:
        """
        Give *builder* all hops, in order.
        """
        ...
