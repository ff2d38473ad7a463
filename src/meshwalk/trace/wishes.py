"""
Wishes, the commands that a walk answers entries with, and the decisions between them.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from meshwalk.model.signals import Section


class Reserve(NamedTuple):
    """
    The command to reserve a hop's worst case before it is made, by *deadline_at_us*; None cannot be bounded.

    A hop that calls nothing reserves itself alone (no calls, no tokens, no cost), where the graph caps shared hops.
    """

    hop: int
    node: str
    cost_nano_usd: int | None
    input_tokens: int
    output_tokens: int | None
    calls: int
    hops: int
    deadline_at_us: int


class Call(NamedTuple):
    """
    The command to do a hop's work, by *deadline_at_us*.
    """

    hop: int
    node: str
    deadline_at_us: int


class Commit(NamedTuple):
    """
    The command to pass a hop's reply on as it comes: it will be served, whatever its end is like.
    """

    hop: int


class StopCall(NamedTuple):
    """
    The command to end a hop's call: the beginning of its reply sends the walk elsewhere.
    """

    hop: int


class Settle(NamedTuple):
    """
    The command to put the real cost of a hop's calls in place of their reservations.
    """

    hop: int


class Outcome(Enum):
    """
    The outcome of a walk.
    """

    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Finish(NamedTuple):
    """
    The end of the walk.

    Args:
        answer_hop: The hop whose reply is served; None unless answered.
        cause: Why it failed: an error class, `contended` (a budget that others hold), `hops`, `visits` or `no_answer`; empty if
            it did not.
        message: One sentence for people: the refusal's reason, or what went wrong and the remedy.
    """

    outcome: Outcome
    answer_hop: int | None = None
    cause: str = ""
    message: str = ""
    node: str = ""
    scope: str = ""


Wish = Reserve | Call | Commit | StopCall | Settle | Finish


class Decision(NamedTuple):
    """
    The record of how a hop was left: the edge taken, and a verdict for every edge of the section.

    Args:
        edge: Its index in *section* of the node; -1 if no edge took the walk.
        to: Where the walk went: a node or `done`, empty if nowhere.
        verdicts: One character an edge: `y` held, `n` did not, `u` undetermined, `s` spent (visits used up),
            `c` another class, `-` not looked at.
        error_class: On `on_error`: the class it was chosen by.
    """

    hop: int
    section: Section
    edge: int
    to: str
    verdicts: str
    error_class: str = ""
