"""
JSON as servers write it: strict JSON, and the few slips that leave no doubt about what is meant.

NaN and Infinity are null, and control characters may stand in texts.  Halves of a surrogate pair stay in a text until `Joiner`
has seen what comes behind; one that stays alone becomes U+FFFD, as do bytes that are no UTF-8.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson


_HIGH_AT_END = re.compile("[\ud800-\udbff]\\Z")
_LAST_WORD = re.compile(rb"\s*(?:data:[ \t]*\[DONE\]\s*)+\Z")


class NotJsonError(ValueError):
    """
    A text that is no JSON, even for a lenient reader.
    """


def loads(text: bytes) -> tuple[Any, bool]:
    """
    Return the value that *text* holds, and whether a slip was mended for it.

    Raises:
        NotJsonError: If it holds none.
    """
    try:
        return orjson.loads(text), False
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text.decode("utf-8-sig", "replace"), strict=False, parse_constant=lambda _: None), True
    except (ValueError, RecursionError):
        raise NotJsonError from None


def without_last_word(text: bytes) -> bytes:
    """
    Take the last event of a stream off a whole answer that some servers write it behind.
    """
    return _LAST_WORD.sub(b"", text)


def scalar_text(text: str) -> str:
    """
    Return *text* with halves of pairs joined, and with U+FFFD for one that is alone.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    return text


class Joiner:
    """
    The pieces of one text, each passed on as text that is whole.
    """

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending = ""

    def add(self, piece: str) -> str:
        """
        Return the text that can be passed on once *piece* has come.
        """
        if self._pending:
            piece, self._pending = self._pending + piece, ""
        if piece.isascii():
            return piece
        if _HIGH_AT_END.search(piece):
            piece, self._pending = piece[:-1], piece[-1]

        return scalar_text(piece)

    def end(self) -> str:
        """
        Return the text that is left at the end.
        """
        left, self._pending = self._pending, ""

        return scalar_text(left)
