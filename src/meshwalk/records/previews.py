"""
Previews: the path of a request as far as it is known without calling a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from meshwalk.budgets import Need
from meshwalk.model import Value
from meshwalk.model.signals import Section
from meshwalk.records.hops import Considered
from meshwalk.records.results import PlanRef
from meshwalk.trace import Outcome


class FreeHop(NamedTuple):
    """
    A hop that calls no model, and the edge by which it was left.

    Args:
        edge: The node it led to; empty if the walk ended here.
        section: The section of the node that decided; None if no edge was looked at.
        position: The edge taken, by its place in that section; -1 if none held.
    """

    node: str
    outputs: Mapping[str, Value]
    edge: str = ""
    considered: tuple[Considered, ...] = ()
    section: Section | None = None
    position: int = -1


class PreviewEdge(NamedTuple):
    """
    An edge of the node that would be called first; a *verdict* of None waits for the signals in *needs*.
    """

    to: str
    guard: str
    needs: tuple[str, ...]
    verdict: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """
    The path of a request up to its first call.

    Args:
        path: The nodes visited; the last would be called, or ends the walk.
        outcome: The walk's end, if it would end without a call.
        reason: Why there would be no answer; empty otherwise.
        hops: The hops that need no call, in order.
        next: The node that would be called first, or nothing.
        need: The worst case of that call; None if there is no call.
        edges: The edges of that node.
    """

    plan: PlanRef
    path: tuple[str, ...]
    outcome: Outcome | None
    reason: str
    hops: tuple[FreeHop, ...]
    next: str
    need: Need | None
    edges: tuple[PreviewEdge, ...]
