"""
Decide again: feed a record's entries to its plan, and see whether the walk wants the same.

A walk is pure, so the same plan fed the same entries wants the same, wish by wish; where it does not, the plan, the record
or this meshwalk is not what it was.  The first difference of a traversal is reported and the rest is not looked at, since it
only follows from the first.  An entry that the replayed walk will not take is such a difference, and no error.

What the record does not hold because it follows from it is worked out here when someone asks: why each edge of a decision
held or did not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from meshwalk.guards.explain import Explanation, explain
from meshwalk.model import Value
from meshwalk.model.problems import ProtocolError, TraceError
from meshwalk.plan import EdgePlan, Plan
from meshwalk.records.hops import considered
from meshwalk.records.store import TraceReader
from meshwalk.trace import Decision, Entry, Traversal, Wish
from meshwalk.walk import Walk


class Mismatch(NamedTuple):
    """
    The first difference between a replay and its record.

    Args:
        step: The position of *entry* in the record.
        what: `wishes`, `decisions`, `path`, or `turn` if the replayed walk did not take the entry.
        recorded: What the record holds for this step.
        replayed: What the replayed walk came to; for `turn`, why it did not take the entry.
    """

    traversal_id: str
    step: int
    entry: Entry
    what: str
    recorded: tuple[Wish | Decision | str, ...]
    replayed: tuple[Wish | Decision | str, ...]

    def __str__(self) -> str:
        return (
            f"{self.traversal_id} at step {self.step} ({type(self.entry).__name__}): {self.what} differ: "
            f"recorded {_listed(self.recorded)}; replayed {_listed(self.replayed)}"
        )


class Unidentified(NamedTuple):
    """
    A traversal without a readable record or without its plan, and the reason.
    """

    traversal_id: str
    plan_digest: str
    reason: str


@dataclass(slots=True)
class Report:
    """
    The counts of replays; every traversal is unchanged, mismatched or unidentified.
    """

    unchanged: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    unknown: list[Unidentified] = field(default_factory=list)

    @property
    def mismatched(self) -> int:
        """
        Count the traversals that a replay decides differently.
        """
        return len(self.mismatches)

    @property
    def unidentified(self) -> int:
        """
        Count the traversals whose record cannot be read or whose plan is not at hand.
        """
        return len(self.unknown)

    @property
    def total(self) -> int:
        """
        Count all traversals.
        """
        return self.unchanged + self.mismatched + self.unidentified


class Explained(NamedTuple):
    """
    One edge of a decision, and the explanation of its guard.

    Args:
        verdict: In the words of `hops.VERDICTS`, as recorded.
        why: None where the edge has no guard.  For an edge that was not looked at, it tells what its guard would have said.
    """

    to: str
    guard: str
    verdict: str
    why: Explanation | None


# Errors of records that have the right shape and impossible contents.
_NONSENSE = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


@contextmanager
def legible(traversal: Traversal) -> Iterator[None]:
    """
    Tell of a record that says impossible things as of any other that cannot be used.

    Raises:
        TraceError: In place of what such a record leads to.
    """
    try:
        yield
    except _NONSENSE as error:
        why = f"the record of walk {traversal.traversal_id} says what no walk says ({type(error).__name__}: {error})"
        raise TraceError(why, plan_digest=traversal.plan_digest) from error


def replay(traversal: Traversal, plan: Plan) -> Mismatch | None:
    """
    Walk *traversal* again over *plan*, and return the first difference, or None if every wish and decision agrees.

    Raises:
        TraceError: If the record says what no walk says.
    """
    with legible(traversal):
        return _first_difference(traversal, plan)


def _first_difference(traversal: Traversal, plan: Plan) -> Mismatch | None:
    walk = Walk(plan)
    end = len(traversal.steps) - 1
    for step, (entry, recorded) in enumerate(traversal.steps):
        made, gone = len(walk.decisions), len(walk.path)
        try:
            replayed = walk.feed(entry)
        except ProtocolError as error:
            return Mismatch(traversal.traversal_id, step, entry, "turn", recorded, (str(error),))
        # The last step answers for all that the record holds.
        decisions = traversal.decisions[made : None if step == end else len(walk.decisions)]
        path = traversal.path[gone : None if step == end else len(walk.path)]
        for what, theirs, ours in (
            ("wishes", recorded, replayed),
            ("decisions", tuple(decisions), tuple(walk.decisions[made:])),
            ("path", tuple(path), tuple(walk.path[gone:])),
        ):
            if theirs != ours:
                return Mismatch(traversal.traversal_id, step, entry, what, theirs, ours)

    return None


def replay_all(reader: TraceReader, traversals: Iterable[Traversal] | None = None) -> Report:
    """
    Replay *traversals*, each over the plan that *reader* has for it; None means every stored one, oldest first.

    A record that cannot be read is counted as unidentified, and the others are still looked at.

    Raises:
        TraceError: If the file cannot be read.
    """
    report = Report()
    plans: dict[str, Plan | str] = {}
    everything = reader.traversals(damaged=lambda found: report.unknown.append(Unidentified(*found)))
    for traversal in everything if traversals is None else traversals:
        digest = traversal.plan_digest
        if digest not in plans:
            plans[digest] = _plan_or_reason(reader, digest)
        _count(report, traversal, plans[digest])

    return report


def _count(report: Report, traversal: Traversal, plan: Plan | str) -> None:
    if isinstance(plan, str):
        report.unknown.append(Unidentified(traversal.traversal_id, traversal.plan_digest, plan))
        return
    try:
        mismatch = replay(traversal, plan)
    except TraceError as error:
        report.unknown.append(Unidentified(traversal.traversal_id, traversal.plan_digest, str(error)))
    else:
        if mismatch is None:
            report.unchanged += 1
        else:
            report.mismatches.append(mismatch)


def explain_decision(traversal: Traversal, plan: Plan, hop: int) -> tuple[Explained, ...]:
    """
    Explain every edge of the decision by which *hop* was left; a hop at which the walk ended has none.

    Raises:
        TraceError: If there is no such hop, or *plan* does not decide as was recorded.
    """
    if not 0 <= hop < len(traversal.path):
        raise TraceError(f"traversal {traversal.traversal_id} has the hops 0 to {len(traversal.path) - 1}, and no hop {hop}")
    if mismatch := replay(traversal, plan):
        message = f"this plan does not decide as was recorded, so it explains nothing: {mismatch}"
        raise TraceError(message, plan_digest=plan.plan_digest)
    decision = next((decision for decision in traversal.decisions if decision.hop == hop), None)
    if decision is None:
        return ()
    with legible(traversal):
        values = _values_at(traversal, plan, hop)
        node = plan.node(traversal.path[hop])
        edges = node.next if decision.section == "next" else node.on_error
        return tuple(
            Explained(shown.to, shown.guard, shown.verdict, _why(edge, values))
            for edge, shown in zip(edges, considered(decision, node), strict=True)
        )


def _values_at(traversal: Traversal, plan: Plan, hop: int) -> dict[str, Value | None]:
    """
    Return every slot's value as the guards behind *hop* saw it; some change right after, as the walk goes on.
    """
    seen: dict[str, Value | None] = {}

    def watched(edge: EdgePlan) -> EdgePlan:
        if edge.test is None:
            return edge
        test = edge.test

        def look(values: Sequence[Value | None]) -> bool | None:
            if len(walk.path) - 1 == hop:
                seen.update((slot, values[position]) for slot, position in plan.slots.items())
            return test(values)

        return replace(edge, test=look)

    nodes = tuple(replace(node, next=tuple(watched(edge) for edge in node.next)) for node in plan.nodes)
    walk = Walk(replace(plan, nodes=nodes))
    for entry, _ in traversal.steps:
        walk.feed(entry)

    return seen


def _why(edge: EdgePlan, values: Mapping[str, Value | None]) -> Explanation | None:
    return None if edge.checked is None else explain(edge.checked.tree, values.get)


def _plan_or_reason(reader: TraceReader, plan_digest: str) -> Plan | str:
    try:
        return reader.plan(plan_digest) or "it is not stored beside the traces"
    except TraceError as error:
        return str(error)


def _listed(things: Iterable[object]) -> str:
    return ", ".join(str(thing) for thing in things) or "nothing"
