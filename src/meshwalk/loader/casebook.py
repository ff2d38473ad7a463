"""
What an author expects of a graph: cases as plain, frozen data, each with its place in the text.

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

# What a backend can fail with; `budget` and `not_started` come of limits, and nobody needs to pretend them.
ScriptedError = Literal["rate_limited", "overloaded", "unreachable", "malformed", "refused_by_model", "timeout"]

Cause = Literal[ErrorClass, "hops", "visits", "no_answer"]

# What can refuse a call: the walk's own limits, and the budgets it shares.
RefusingScope = Literal["request", ScopeKind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """
    Say what one call gives.

    Args:
        samples: What it says each time, where several answers are asked for; *text* is the first.
        error: What it fails with instead.
        latency_us: How long it is pretended to take.
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
    Say what a node's calls give.

    Args:
        endless: Whether there is one reply for however many calls; otherwise each has its own.
    """

    replies: tuple[Scripted, ...]
    endless: bool


class EdgeName(NamedTuple):
    """
    Name an edge by its position in a section of its node, from 0.
    """

    node: str
    section: Section
    position: int

    def __str__(self) -> str:
        return f"{'edge' if self.section == 'next' else 'error edge'} {self.position + 1} of {self.node}"


class Taking(NamedTuple):
    """
    Expect that a walk takes an edge.

    Args:
        text: As the author wrote it.
        edges: Any of these is meant.
        to: Where it leads then; empty where that is left open.
    """

    text: str
    span: Span
    edges: tuple[EdgeName, ...]
    to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """
    Say what must come of a case; None and nothing are not looked at.

    Args:
        path: The nodes visited; a last `done` says that an answer is served, too.
        reason: What the reason for ending without an answer must hold.
        scope: What must have refused a call.
        spans: The place of each expectation, by its key.
    """

    path: tuple[str, ...] | None = None
    takes: tuple[Taking, ...] = ()
    outcome: CaseOutcome | None = None
    served: str | None = None
    reason: str | None = None
    cause: Cause | None = None
    scope: RefusingScope | None = None
    cost_nano_usd_at_most: int | None = None
    spans: Mapping[str, Span] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """
    Give one request with what nodes reply, and what must come of it.

    Args:
        spent: What others have spent before, by scope; each of these has a name in *scopes*.
        signals: What classifiers say in place of what they would compute.
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
