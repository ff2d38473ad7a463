"""
The outputs of a node, read off the reply of its backend by its role.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshwalk.backends.roles import answer, labels, prescreen, verifier
from meshwalk.backends.roles.confidence import plurality
from meshwalk.model import Node, Value
from meshwalk.trace import Reply


def outputs_of(node: Node, reply: Reply) -> dict[str, Value]:
    """
    Read the outputs of *node* off the *reply* its backend gave.
    """
    return READERS[node.role](node, reply)


def settled(node: Node, reply: Reply) -> Reply:
    """
    Return *reply* with the text that stands for all of its samples: the first that gives the most frequent answer.

    A reply of a node that does not compare samples, or with none to compare, is returned as it is.
    """
    sure = node.confidence
    if sure is None or sure.source != "agreement" or len(reply.samples) < 2:
        return reply
    found = plurality(sure, reply.samples)
    if found is None or reply.samples[found[0]] == reply.text:
        return reply

    return reply.saying(reply.samples[found[0]])


# The reader of a node's outputs, by its role.
READERS: Mapping[str, Callable[[Node, Reply], dict[str, Value]]] = {
    "answer": answer.outputs_of,
    "primary": answer.outputs_of,
    "prescreen": prescreen.outputs_of,
    "verifier": verifier.score,
    "classifier": labels.outputs_of,
}
