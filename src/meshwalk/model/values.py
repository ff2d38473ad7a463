"""
The words of a graph: what a value, a role and a scope can be.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal


Role = Literal["classifier", "prescreen", "answer", "primary", "verifier", "refusal"]
ConfidenceSource = Literal["mean_token_probability", "min_token_probability", "margin", "stated", "recorded", "agreement"]

# A judge's own confidence says something of another's answer if its prompt asks for that.
ScoreSource = Literal["mean_token_probability", "min_token_probability", "margin", "stated", "recorded"]
Extractor = Literal["number", "choice", "text"]
ValueType = Literal["string", "number", "bool"]
Value = str | float | bool
ScopeKind = Literal["session", "workflow", "tenant"]
AwayPolicy = Literal["closed", "open", "local"]

# The target of an edge that serves an answer; no node may have this name.
DONE = "done"
NOT_UNICODE = "holds characters that are not Unicode text (lone surrogates)"


def is_unicode(text: str) -> bool:
    """
    Return whether *text* can be written as UTF-8, which every record and message is.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False

    return True


def nano_usd_or_none(amount: float) -> int | None:
    """
    Return *amount* dollars in nano-dollars, or None if it is finer than that.
    """
    # The shortest text that reads back as the float is what was written, as long as it has at most 15 digits.
    nano = Decimal(repr(amount)) * 1_000_000_000

    return int(nano) if nano == int(nano) else None
