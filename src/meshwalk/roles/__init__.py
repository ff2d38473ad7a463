"""
What a node makes of what it was given: pure functions from messages or a reply to the values that guards read.

A role does no I/O and keeps nothing between calls; `signals.outputs` declares which values each role writes, and the
functions here give exactly those.  A value that a reply does not carry is left out, unless the node says what stands for it
(`missing:`), so that a guard finds it undetermined rather than wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshwalk.model import Node, Value
from meshwalk.roles import answer, labels, prescreen, verifier
from meshwalk.roles.classifier import complexity, estimate_tokens, features
from meshwalk.roles.confidence import plurality
from meshwalk.roles.extract import extract
from meshwalk.roles.verifier import agreement
from meshwalk.roles.wording import wording
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


# How the outputs of a node of each role are read.
READERS: Mapping[str, Callable[[Node, Reply], dict[str, Value]]] = {
    "answer": answer.outputs_of,
    "primary": answer.outputs_of,
    "prescreen": prescreen.outputs_of,
    "verifier": verifier.score,
    "classifier": labels.outputs_of,
}


__all__ = ["READERS", "agreement", "complexity", "estimate_tokens", "extract", "features", "outputs_of", "settled", "wording"]
