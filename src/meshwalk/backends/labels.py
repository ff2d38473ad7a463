"""
Labels from outside, which records, spans and guards hold: closed to what a label can be.

A model's name, the reason why a reply ended and a classifier's word are short and of few characters.  Whatever else stands in
their place may be a text, so that `other` stands for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from meshwalk.model.signals import FINISH_REASONS
from meshwalk.trace import Reply


OTHER = "other"

_WORD = re.compile(r"[A-Za-z0-9]{8,}")
_LEAST_WORD = 4

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+=~\\-]{0,119}")
_LABEL = re.compile(r"(?=.{1,40}\Z)[\w.:/@+&'(),-]+(?: [\w.:/@+&'(),-]+){0,2}")

# Older servers of the same protocol still say that a tool is to be called in the words of its first version.
_SYNONYMS = {"function_call": "tool_calls", "max_tokens": "length", "end_turn": "stop", "eos": "stop"}


def finish_reason(reason: str) -> str:
    """
    Turn a provider's *reason* into one of `signals.FINISH_REASONS`.
    """
    known = _SYNONYMS.get(reason, reason)

    return known if known in FINISH_REASONS else OTHER


@lru_cache(maxsize=1024)
def identifier(text: str) -> str:
    """
    Return *text* where it can be the name of a model or the like: at most 120 letters, digits and marks without a space.
    """
    return text if not text or _ID.fullmatch(text) else OTHER


def label(text: str) -> str:
    """
    Return *text* where it can be a label: at most three words, and 40 characters.
    """
    return text if not text or _LABEL.fullmatch(text) else OTHER


def model_name(text: str, requested: str, texts: Iterable[str]) -> str:
    """
    Return *text*, which an answer gives for the name of its model, where it can be one.

    Args:
        requested: The name that was asked for, which it may be longer than.
        texts: What was sent and answered: words of it are no name, however short they are.
    """
    name = identifier(text)
    rest = name.replace(requested, "") if requested else name
    words = {word for word in _WORD.findall(rest) if not word.isdigit()} | {rest.strip("._:/@+=~\\-")}
    words = {word for word in words if len(word) >= _LEAST_WORD}

    return OTHER if any(word in text for text in texts for word in words) else name


def close_labels(reply: Reply) -> None:
    """
    Close the labels of a *reply* that code outside this package made.
    """
    if reply.finish_reason and reply.finish_reason not in FINISH_REASONS:
        reply.finish_reason = finish_reason(reply.finish_reason)
    reply.model = identifier(reply.model)
    if reply.mended:
        reply.mended = tuple(map(identifier, reply.mended))
