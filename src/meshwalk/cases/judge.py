"""
Expected and actual: every difference as a sentence, with the decision that led elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from meshwalk.cases.results import Failure
from meshwalk.loader.casebook import AnswerText, Case, EdgeName, Taking
from meshwalk.model import DONE, Value
from meshwalk.model.patterns import compile_pattern
from meshwalk.plan import Plan
from meshwalk.review.replay import Explained, explain_decision
from meshwalk.trace import Decision, Denied, Failed, TimedOut, Traversal


# The signals that are durations, in microseconds.
_TIMES = ("elapsed", "deadline.left")


class End(NamedTuple):
    """
    The end of a case's walk.
    """

    outcome: str
    path: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    reason: str = ""
    cause: str = ""
    served: str = ""
    answer: str = ""
    cost_nano_usd: int = 0
    traversal: Traversal | None = None

    def __str__(self) -> str:
        return _arrows((*self.path, DONE) if self.outcome == "answered" else self.path)


def edge_name(end: End, decision: Decision) -> EdgeName:
    """
    Name the edge that *decision* took.
    """
    return EdgeName(end.path[decision.hop], decision.section, decision.edge)


def failures_of(plan: Plan, case: Case, end: End) -> Iterator[Failure]:
    """
    Yield every difference between *end* and the expectations of *case*.
    """
    expect = case.expect
    if expect.path is not None and not _same_path(expect.path, end):
        message = f"the path is {end}, expected {_arrows(expect.path)}{_because(end)}"
        yield Failure("path", message, expect.spans["path"], _why(plan, end, _parting(expect.path, end)))
    for taking in expect.takes:
        if not _takes(taking, end):
            yield _not_taken(plan, taking, end)
    for check in _CHECKS:
        expected = getattr(expect, check.field)
        if expected is not None and not check.holds(expected, end):
            yield Failure(check.key, check.message(expected, end), expect.spans[check.key])


def _outcome(expected: str, end: End) -> str:
    return f"the outcome is {end.outcome}, expected {expected}{_because(end)}"


def _served(expected: str, end: End) -> str:
    served = f"'{end.served}' is served" if end.served else "nothing is served"

    return f"{served}, expected '{expected}'{_because(end)}"


def _answer(expected: AnswerText, end: End) -> str:
    shown = f"the answer is {end.answer!r}" if end.served else "there is no answer"
    texts = [f"that holds {expected.contains!r}"] if expected.contains else []
    texts += [f"that matches {expected.matches!r}"] if expected.matches else []

    return f"{shown}, expected one {' and '.join(texts)}{_because(end)}"


def _holds_answer(expected: AnswerText, end: End) -> bool:
    if not end.served or (expected.contains is not None and expected.contains not in end.answer):
        return False

    return expected.matches is None or compile_pattern(expected.matches).matches(end.answer)


def _reason(expected: str, end: End) -> str:
    reason = f"the reason is {end.reason!r}" if end.reason else "there is an answer and no reason"

    return f"{reason}, expected one that holds {expected!r}"


def _cause(expected: str, end: End) -> str:
    cause = f"the walk failed of {end.cause}" if end.cause else f"the walk did not fail, it is {end.outcome}"

    return f"{cause}, expected {expected}"


def _scope(expected: str, end: End) -> str:
    scopes = _refusing(end)
    refused = f"what refused a call is: {', '.join(scopes)}" if scopes else "no call was refused"

    return f"{refused}, expected {expected}{_because(end)}"


def _cost(expected: int, end: End) -> str:
    return f"the calls cost {_usd(end.cost_nano_usd)} USD, expected at most {_usd(expected)}"


def _refusing(end: End) -> tuple[str, ...]:
    """
    Return the scopes that refused a call.
    """
    steps = () if end.traversal is None else end.traversal.steps

    return tuple(dict.fromkeys(entry.scope for entry, _ in steps if isinstance(entry, Denied)))


class _Check(NamedTuple):
    """
    One field of `expect`: its key in YAML, the condition that it states, and the message of its failure.
    """

    field: str
    key: str
    holds: Callable[[Any, End], bool]
    message: Callable[[Any, End], str]


_CHECKS = (
    _Check("outcome", "outcome", lambda expected, end: expected == end.outcome, _outcome),
    _Check("served", "served", lambda expected, end: expected == end.served, _served),
    _Check("answer", "answer", _holds_answer, _answer),
    _Check("reason", "reason", lambda expected, end: expected in end.reason, _reason),
    _Check("cause", "cause", lambda expected, end: expected == end.cause, _cause),
    _Check("scope", "scope", lambda expected, end: expected in _refusing(end), _scope),
    _Check("max_cost_nano_usd", "cost_usd_at_most", lambda expected, end: end.cost_nano_usd <= expected, _cost),
)


def _nodes(path: tuple[str, ...]) -> tuple[str, ...]:
    return path[:-1] if path[-1] == DONE else path


def _same_path(expected: tuple[str, ...], end: End) -> bool:
    return _nodes(expected) == end.path and (expected[-1] != DONE or end.outcome == "answered")


def _parting(expected: tuple[str, ...], end: End) -> int:
    """
    Return the last hop that both have, which is where they part; -1 if they begin differently.
    """
    nodes = _nodes(expected)
    together = 0
    while together < min(len(nodes), len(end.path)) and nodes[together] == end.path[together]:
        together += 1

    return together - 1


def _takes(taking: Taking, end: End) -> bool:
    return any(edge_name(end, decision) in taking.edges and taking.to in ("", decision.to) for decision in end.decisions)


def _not_taken(plan: Plan, taking: Taking, end: End) -> Failure:
    node = taking.edges[0].node
    left = [decision for decision in end.decisions if end.path[decision.hop] == node]
    ways = ", then ".join(f"by {edge_name(end, decision)} to {decision.to}" for decision in left if decision.edge >= 0)
    # The author's own words may name the edge by its ends, its place or its id.
    what = f"'{taking.text}' is not taken: "
    if node not in end.path:
        what += f"the walk does not come to '{node}' ({str(end) or 'it does not begin'}){_because(end)}"
    else:
        what += f"'{node}' is left {ways}" if ways else f"the walk ends at '{node}'{_because(end)}"

    return Failure("takes", what, taking.span, tuple(line for decision in left for line in _why(plan, end, decision.hop)))


def _why(plan: Plan, end: End, hop: int) -> tuple[str, ...]:
    if end.traversal is None or hop < 0:
        return ()

    edges = (f"{end.path[hop]} → {_explained(edge)}" for edge in explain_decision(end.traversal, plan, hop))

    return (*_trouble(end.traversal, hop), *edges)


def _trouble(traversal: Traversal, hop: int) -> Iterator[str]:
    for entry, _ in traversal.steps:
        if isinstance(entry, Denied | Failed | TimedOut) and entry.hop == hop:
            error_class = "budget" if isinstance(entry, Denied) else getattr(entry, "error_class", "timeout")
            yield f"{traversal.path[hop]} fails of {error_class}: {entry.message}"


def _explained(edge: Explained) -> str:
    if edge.why is None or edge.verdict in ("not_looked_at", "visits_spent"):
        return f"{edge.to}: {edge.verdict.replace('_', ' ')} ({edge.guard})"

    # If one condition of several decided, an author looks at the others next.
    values = ", ".join(f"{name} {_shown(name, value)}" for name, value in edge.why.values.items())
    several = any(name not in edge.why.leaf for name in edge.why.values)

    return f"{edge.to}: {edge.why}" + (f" in {edge.guard}, with {values}" if several else "")


def _shown(name: str, value: Value | None) -> str:
    match value:
        case None:
            return "undetermined"
        case bool():
            return "true" if value else "false"
        case str():
            return repr(value)
        case _:
            return f"{value / 1e6:g} s" if name in _TIMES else f"{value:g}"


def _because(end: End) -> str:
    return f" ({end.reason})" if end.reason else ""


def _arrows(path: Sequence[str]) -> str:
    return " > ".join(path)


def _usd(nano: int) -> str:
    return f"{nano / 1e9:.9f}".rstrip("0").rstrip(".")
