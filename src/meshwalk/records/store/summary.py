"""
Summaries of stored traversals: the columns beside the encoded record.
"""

from __future__ import annotations

from typing import NamedTuple

from meshwalk.trace import Traversal


# Node names are identifiers, so no name contains it.
_ARROW = " > "


class Summary(NamedTuple):
    """
    The summary of one stored traversal; the fields are the columns of its row.

    Args:
        cause: The reason of a failure; empty if there was none.
        answer: The node whose reply was served; empty if none was.
        route: The nodes visited, in order, joined by ` > `.
    """

    traversal_id: str
    began_unix_us: int
    graph: str
    version: str
    plan_digest: str
    shape_digest: str
    session: str
    workflow: str
    outcome: str
    cause: str
    answer: str
    route: str
    cost_nano_usd: int
    latency_us: int
    engine_us: int
    trace_id: str
    tenant: str = "default"

    @property
    def path(self) -> tuple[str, ...]:
        """
        Return the names of the nodes visited, in order.
        """
        return tuple(self.route.split(_ARROW))

    @property
    def cost_usd(self) -> float:
        """
        Return the cost of all calls, in dollars.
        """
        return self.cost_nano_usd / 1e9


COLUMNS = Summary._fields

# A damaged file may contain any value anywhere; a cast turns it into one of the type, so that the other rows are shown.
_NUMBERS = frozenset({"began_unix_us", "cost_nano_usd", "latency_us", "engine_us"})
READABLE_COLUMNS = tuple(f"CAST({name} AS {'INTEGER' if name in _NUMBERS else 'TEXT'})" for name in COLUMNS)


class Damaged(NamedTuple):
    """
    A stored traversal whose record cannot be read, and the reason.
    """

    traversal_id: str
    plan_digest: str
    reason: str


class StoredPlan(NamedTuple):
    """
    A plan in a store.
    """

    plan_digest: str
    shape_digest: str
    graph: str


def summarise(traversal: Traversal) -> Summary:
    """
    Return the row of *traversal*.
    """
    graph, version, plan_digest, shape_digest, _ = traversal.source
    session, workflow, tenant = traversal.trace.facts.scopes
    path, outcome, cause, answer_hop, cost_nano_usd, latency_us, engine_us = traversal.trace.outline()
    answer = "" if answer_hop is None else path[answer_hop]

    return Summary(
        traversal.traversal_id, traversal.began_unix_us, graph, version, plan_digest, shape_digest, session, workflow,
        outcome, cause, answer, _ARROW.join(path), cost_nano_usd, latency_us, engine_us, traversal.trace_id,
        tenant or "default",
    )  # fmt: skip
