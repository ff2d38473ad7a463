"""
A sink that keeps the records of a test.
"""

from __future__ import annotations

import anyio

from meshwalk.plan import Plan
from meshwalk.trace import Traversal


class RecordList:
    """
    A sink for `Mesh(sinks=…)` that keeps every traversal.

    Attributes:
        traversals: The traversals, in the order in which their walks ended.
        recorded: Set once a walk is recorded.
    """

    def __init__(self) -> None:
        self.traversals: list[Traversal] = []
        self.recorded = anyio.Event()

    def record(self, traversal: Traversal, plan: Plan) -> None:
        """
        Keep *traversal*.
        """
        assert plan.plan_digest == traversal.plan_digest, "a walk is recorded with the plan it walked"
        self.traversals.append(traversal)
        self.recorded.set()

    def __repr__(self) -> str:
        return f"<RecordList: {len(self.traversals)} traversals>"
