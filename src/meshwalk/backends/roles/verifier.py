"""
The outputs of a `verifier` node: do the final answers of earlier hops agree, or what does a model make of them?

Where answers are compared, no model is asked.  Agreement of independent answers is evidence because wrong answers scatter while
right ones meet (Wang et al. 2023, "Self-Consistency Improves Chain of Thought Reasoning", arXiv 2203.11171); it says nothing
where models share their mistakes, or where an answer has so few possible values that they meet by chance.

A model that is asked (`use: model`) is shown the answers, and its score is read off its reply as a confidence is.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from meshwalk.backends.roles.confidence import confidence_of
from meshwalk.backends.roles.extract import extract
from meshwalk.model import Node, Value
from meshwalk.trace import Reply


def score(node: Node, reply: Reply) -> dict[str, Value]:
    """
    Give the score in the *reply* of the model that *node* asked, or what stands for it where the reply has none.
    """
    found = None if node.confidence is None else confidence_of(node.confidence, reply)

    return {} if found is None else {"score": found}


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
