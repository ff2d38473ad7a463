"""
A sink that keeps the records of a test.
"""

from __future__ import annotations

from meshwalk.plan import Plan
from meshwalk.trace import Traversal


class RecordList:
    """
    A sink for `Mesh(sinks=…)` that keeps every traversal in `traversals`.
    """

    def __init__(self) -> None:
        self.traversals: list[Traversal] = []

    def record(self, traversal: Traversal, plan: Plan) -> None:
        """
        Keep *traversal*.
        """
        assert plan.plan_digest == traversal.plan_digest, "a walk is recorded with the plan it walked"
        self.traversals.append(traversal)

    def __repr__(self) -> str:
        return f"<RecordList: {len(self.traversals)} traversals>"
