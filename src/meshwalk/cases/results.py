"""
The results of cases: their ends, their failures, and the edges they took.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from meshwalk.loader.casebook import EdgeName
from meshwalk.model.problems import Span


class Failure(NamedTuple):
    """
    One difference between the expected and the actual end.

    Args:
        expectation: The key under `expect`, or `replies` for a call that the case says nothing of.
        why: How the decision fell that led elsewhere, a line an edge.
    """

    expectation: str
    message: str
    span: Span
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """
    The result of one case.

    Args:
        outcome: How the walk ended; `rejected` if none was begun, `unscripted` if the case did not say how to go on.
        taken: The edges the walk took.
    """

    name: str
    path: tuple[str, ...]
    outcome: str
    cost_nano_usd: int
    taken: frozenset[EdgeName]
    failures: tuple[Failure, ...]

    @property
    def ok(self) -> bool:
        """
        Tell whether everything came as expected.
        """
        return not self.failures


class Uncovered(NamedTuple):
    """
    An edge that no passing case takes.
    """

    name: EdgeName
    to: str
    guard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """
    The number of edges of a graph, and of those that passing cases take.
    """

    edges: int
    missing: tuple[Uncovered, ...]

    @property
    def covered(self) -> int:
        """
        Count the edges that passing cases take.
        """
        return self.edges - len(self.missing)

    @property
    def share(self) -> float:
        """
        Return the covered share; all of nothing is everything.
        """
        return self.covered / self.edges if self.edges else 1.0
