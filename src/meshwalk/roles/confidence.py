"""
How sure a reply is, by the source its node names.

Whatever the source, a confidence lies in 0 to 1.  A number outside that, or one that is no number, says nothing we
could act on and counts as absent; clamping it would turn a misread "85" into certainty.  A stated confidence stands at the
end of a reply, so that is all its pattern sees.
"""

from __future__ import annotations

import re

from meshwalk.model import Confidence
from meshwalk.roles.extract import PATTERN_CHARACTERS, last_match
from meshwalk.trace import Reply


def confidence_of(source: Confidence, reply: Reply) -> float | None:
    """
    Return the confidence of *reply*, what stands for it where it has none, or None.
    """
    found = _found(source, reply)

    return source.missing if found is None or not 0 <= found <= 1 else found


def _found(source: Confidence, reply: Reply) -> float | None:
    match source.source:
        case "recorded":
            return reply.confidence
        case "agreement":
            return None
        case "stated":
            return _stated(source.pattern or "", reply.text)
        case _ if reply.probabilities is None:
            return None
        case "mean_token_probability":
            return reply.probabilities.mean
        case "min_token_probability":
            return reply.probabilities.minimum
        case "margin":
            return reply.probabilities.margin


def _stated(pattern: str, text: str) -> float | None:
    # The last one counts: a model that reconsiders states its confidence again.
    last = last_match(re.compile(pattern), text[-PATTERN_CHARACTERS:])
    if last is None:
        return None
    said = (last[1] if last.re.groups else last[0]) or ""
    number, percent, _ = said.strip().partition("%")
    try:
        return float(number) / (100 if percent else 1)
    except ValueError:
        return None
