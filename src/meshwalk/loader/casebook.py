"""
Cases, an author's expectations of a graph: plain, frozen data, each with its place in the text.

The loader makes these from `<name>.cases.yaml`, beside the graph, and `cases` walks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from meshwalk.model import Amount, Limits, ScopeKind, Value
from meshwalk.model.problems import ErrorClass, Span
from meshwalk.model.signals import Section
from meshwalk.trace import Message, Scopes, Usage


# `rejected` is a request that does not begin a walk: the graph's gate says why.
CaseOutcome = Literal["answered", "refused", "failed", "rejected"]

# The errors of a backend; `budget` and `not_started` come of limits, so no script needs them.
ScriptedError = Literal["rate_limited", "overloaded", "unreachable", "malformed", "refused_by_model", "timeout"]

Cause = Literal[ErrorClass, "hops", "visits", "no_answer"]

# The scopes that can refuse a call: the walk's own limits, and the budgets it shares.
RefusingScope = Literal["request", ScopeKind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """
    The scripted result of one call.

    Args:
        samples: The answers, where a call asks for several; *text* is the first.
        error: The error it fails with instead.
        latency_us: Its pretended duration.
    """

    text: str = ""
    confidence: float | None = None
    finish_reason: str = "stop"
    usage: Usage | None = None
    cost_nano_usd: int | None = None
    latency_us: int = 0
    error: ScriptedError | None = None
    samples: tuple[str, ...] = ()


class Script(NamedTuple):
    """
    The scripted results of a node's calls.

    Args:
        endless: Whether there is one reply for however many calls; otherwise each has its own.
    """

    replies: tuple[Scripted, ...]
    endless: bool


class EdgeName(NamedTuple):
    """
    An edge, named by its position in a section of its node, from 0.
    """

    node: str
    section: Section
    position: int

    def __str__(self) -> str:
        return f"{'edge' if self.section == 'next' else 'error edge'} {self.position + 1} of {self.node}"


class Taking(NamedTuple):
    """
    The expectation that a walk takes an edge.

    Args:
        text: As the author wrote it.
        edges: The edges of which one must be taken.
        to: The target it must lead to; empty for any.
    """

    text: str
    span: Span
    edges: tuple[EdgeName, ...]
    to: str = ""


class AnswerText(NamedTuple):
    """
    The text that an answer must hold, and the regular expression that must match in it; None for any.
    """

    contains: str | None = None
    matches: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """
    The expected result of a case; None and empty values are not checked.

    Args:
        path: The nodes visited; a last `done` says that an answer is served, too.
        reason: A part of the reason for ending without an answer.
        scope: The scope that must have refused a call.
        spans: The place of each expectation, by its key.
    """

    path: tuple[str, ...] | None = None
    takes: tuple[Taking, ...] = ()
    outcome: CaseOutcome | None = None
    served: str | None = None
    answer: AnswerText | None = None
    reason: str | None = None
    cause: Cause | None = None
    scope: RefusingScope | None = None
    max_cost_nano_usd: int | None = None
    spans: Mapping[str, Span] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """
    One request with the replies of the nodes, and the expected result.

    Args:
        spent: The amounts spent by others before, by scope; each of these has a name in *scopes*.
        signals: The signals of classifiers, in place of those they would compute.
    """

    name: str
    span: Span
    messages: tuple[Message, ...]
    expect: Expectation
    attributes: Mapping[str, Value] = field(default_factory=dict)
    limits: Limits = Limits()
    scopes: Scopes = Scopes()
    spent: Mapping[ScopeKind, Amount] = field(default_factory=dict)
    signals: Mapping[str, Value] = field(default_factory=dict)
    scripts: Mapping[str, Script] = field(default_factory=dict)
