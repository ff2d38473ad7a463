"""
The status of an open mesh: its backends, its vault, and whether walks over its plan can be answered now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from meshwalk.budgets.vaults import Vault, answers
from meshwalk.engine import BackendStatus, Engine
from meshwalk.plan import DONE_INDEX, Plan


# The classes of a call while every breaker is open, and while the endpoints asked to be left alone.
_LEFT_ALONE = frozenset({"unreachable"})
_RESTING = frozenset({"overloaded", "rate_limited"})


class MeshStatus(NamedTuple):
    """
    The status of a mesh.

    Args:
        backends: Those with a line or a breaker, by name.
        vault_answers: Whether the vault of shared budgets answered when it was last called.
        unready: The reason why no walk can be answered now; empty if walks can.
    """

    backends: Mapping[str, BackendStatus]
    vault_answers: bool
    unready: str


def mesh_status(engine: Engine, vault: Vault) -> MeshStatus:
    """
    Return the status of the mesh with *engine* and *vault*.
    """
    plan = engine.plan
    backends = {name: limiter.status for name, limiter in engine.deps.limiters.items()}
    vault_answers = answers(vault)
    broken = {name: _RESTING if status.well else _LEFT_ALONE for name, status in backends.items() if not status.healthy}
    unready = ""
    if not vault_answers and any(budget.away == "closed" for budget in plan.graph.budgets.values()):
        unready = f"the vault {vault.name} is away, and a budget is closed while it is"
    elif broken and not _can_answer(plan, broken):
        unready = f"no answer can be reached without {', '.join(sorted(broken))}"

    return MeshStatus(backends, vault_answers, unready)


def _can_answer(plan: Plan, broken: Mapping[str, frozenset[str]]) -> bool:
    """
    Tell whether some way from the start leads to an answer, where calls to *broken* backends fail.

    Args:
        broken: The classes that such calls fail with, by backend.
    """
    reached, unvisited = {plan.start}, [plan.start]
    while unvisited:
        node = plan.nodes[unvisited.pop()]
        classes = broken.get(node.node.backend or "")
        edges = (*node.next, *node.on_error)
        if node.calls and classes is not None:
            edges = tuple(edge for edge in node.on_error if edge.classes & classes)
        for edge in edges:
            if edge.to == DONE_INDEX:
                return True
            if edge.to not in reached:
                reached.add(edge.to)
                unvisited.append(edge.to)

    return False
