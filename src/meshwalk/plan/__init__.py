"""
A checked, compiled, immutable graph: `compile` makes it, `canonical` names it by digest, `diff` compares two.
"""

from meshwalk.plan.compile import DONE_INDEX, Bound, EdgePlan, NodePlan, Plan, compile_plan, examine, restore, with_thresholds


__all__ = ["DONE_INDEX", "Bound", "EdgePlan", "NodePlan", "Plan", "compile_plan", "examine", "restore", "with_thresholds"]
