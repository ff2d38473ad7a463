"""
The outputs of a `prescreen` node: does this request qualify for what comes next?
"""

from __future__ import annotations

import re

from meshwalk.model import Node, Value
from meshwalk.roles.confidence import confidence_of
from meshwalk.trace import Reply


# A verdict stands at the beginning of a reply; see `confidence.SEARCHED_CHARACTERS` for why there is a bound.
SEARCHED_CHARACTERS = 4096

_FIRST_WORD = re.compile(r"\w[\w'-]*")


def outputs_of(node: Node, reply: Reply) -> dict[str, Value]:
    """
    Give the verdict, its label, and the reply's confidence.

    The label is the text that qualified, or else the first word of the reply, without regard to case.  A node that declares
    no pattern qualifies nothing: a filter without a rule must not let everything through.
    """
    text = reply.text[:SEARCHED_CHARACTERS].strip()
    match = re.search(node.qualified, text, re.IGNORECASE) if node.qualified else None
    word = match or _FIRST_WORD.search(text)
    found: dict[str, Value] = {"qualified": match is not None, "label": word[0].casefold() if word else ""}
    if node.confidence is not None and (confidence := confidence_of(node.confidence, reply)) is not None:
        found["confidence"] = confidence

    return found
