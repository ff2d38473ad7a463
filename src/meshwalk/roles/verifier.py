"""
The outputs of a `verifier` node: do the final answers of earlier hops agree?

No model is asked.  Agreement of independent answers is evidence because wrong answers scatter while right ones meet
(Wang et al. 2023, "Self-Consistency Improves Chain of Thought Reasoning", arXiv 2203.11171); it says nothing where models
share their mistakes, or where an answer has so few possible values that they meet by chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from meshwalk.model import Node, Value
from meshwalk.roles.extract import extract


def agreement(node: Node, texts: Mapping[str, str], patterns: Mapping[str, str] | None = None) -> dict[str, Value]:
    """
    Compare the final answers of the nodes that *node* names.

    They agree if each of them replied, each reply holds an answer, and all answers are equal.  The score is the share of
    pairs that agree, so that with three nodes two equal answers give a third.

    Args:
        texts: The latest reply of each node that has one, by the node's name.
        patterns: What a stated confidence looks like in a node's replies, by the node's name.
    """
    known = patterns or {}
    answers = [extract(node.extract, texts[name], known.get(name)) if name in texts else None for name in node.of]
    pairs = [one is not None and one == other for one, other in combinations(answers, 2)]

    return {"agree": bool(pairs) and all(pairs), "score": sum(pairs) / len(pairs) if pairs else 0.0}
