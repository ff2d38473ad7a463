"""
The outputs of a `prescreen` node: does this request qualify for what comes next?

A verdict stands at the beginning of a reply, so that is all its pattern sees.
"""

from __future__ import annotations

import re

from meshwalk.backends import labels
from meshwalk.backends.roles.confidence import confidence_of
from meshwalk.backends.roles.extract import PATTERN_CHARACTERS
from meshwalk.model import Node, Value
from meshwalk.model.patterns import stored_pattern
from meshwalk.trace import Reply


_FIRST_WORD = re.compile(r"\w[\w'-]*")


def outputs_of(node: Node, reply: Reply) -> dict[str, Value]:
    """
    Give the verdict, its label, and the reply's confidence.

    The label is the text that qualified, or else the first word of the reply, without regard to case; `other` stands for
    what is too long for one.  A node that declares
    no pattern qualifies nothing: a filter without a rule must not let everything through.
    """
    text = reply.text[:PATTERN_CHARACTERS].strip()
    match = stored_pattern(node.qualified, ignore_case=True).search(text) if node.qualified else None
    first = _FIRST_WORD.search(text) if match is None else None
    word = match.text if match is not None else first and first[0]
    label = "" if word is None else labels.label(word.casefold())
    found: dict[str, Value] = {"qualified": match is not None, "label": label}
    if node.confidence is not None and (confidence := confidence_of(node.confidence, reply)) is not None:
        found["confidence"] = confidence

    return found
