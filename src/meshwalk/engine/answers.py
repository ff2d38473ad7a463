"""
The earlier answers that a node looks at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshwalk.plan import NodePlan, Plan
from meshwalk.trace import Reply


def latest_texts(node: NodePlan, replies: Iterable[tuple[str, Reply]]) -> dict[str, str]:
    """
    Return the latest reply's text of each node that *node* looks at, if it gave one.

    Args:
        replies: The replies of a walk with the nodes that gave them, in order.
    """
    return {name: reply.text for name, reply in replies if name in node.node.of}


def stated_patterns(node: NodePlan, plan: Plan) -> Mapping[str, str]:
    """
    Return the pattern of the confidence that each node *node* looks at states, so that it is not taken for the answer.
    """
    confidences = {name: plan.node(name).node.confidence for name in node.node.of}

    return {name: stated.pattern for name, stated in confidences.items() if stated is not None and stated.pattern}
