r"""
Regular expressions that authors write, in the language of RE2: matching takes time that is linear in the text.

RE2 knows no look-around and no backreferences.  `\w`, `\d`, `\s` and `\b` know ASCII only, and `$` is the end of the text.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import re2  # type: ignore[import-untyped]


# A pattern that is larger when compiled takes too long for one text, linear or not.
_MAX_PROGRAM = 2_500
_MAX_REPETITION = 1_000

_REASONS = {
    "missing )": "a ( is never closed",
    "unexpected )": "a ) closes nothing",
    "missing ]": "a [ is never closed",
    "no argument for repetition operator": "nothing stands there to be repeated",
    "bad repetition operator": "what is repeated there is repeated already",
    "trailing \\": "it ends in a lone backslash",
    "invalid character class range": "there is no such range or class of characters",
    "invalid escape sequence": "there is no such escape",
    "invalid repetition size": f"a repetition counts up, to {_MAX_REPETITION} at most",
    "invalid UTF-8": "it is not Unicode text",
}  # fmt: skip
_TOO_LARGE = "it repeats too much: it is too large once its repetitions are written out"

_BACKREFERENCE = re.compile(r"\\[1-9]|\(\?P=")
_LOOK_AROUND = re.compile(r"\(\?<?[=!]")
_POSSESSIVE = re.compile(r"\(\?>|[*+?}]\+")


class PatternFault(Exception):
    """
    A text that is no pattern.

    Args:
        reason: The fault, as the end of a sentence.
        position: The character that is at fault; None if it is the whole.
        remedy: Another way to write it, if there is one.
        foreign: Whether Python knows the pattern, so that an earlier version took it.
    """

    def __init__(self, reason: str, position: int | None = None, remedy: str = "", *, foreign: bool = False) -> None:
        self.reason = reason
        self.position = position
        self.remedy = remedy
        self.foreign = foreign
        super().__init__(reason)


class PatternMatch(NamedTuple):
    """
    A place where a pattern matches: the text, and the text of its first group if it has one and that matched.
    """

    text: str
    group: str | None


class Pattern:
    """
    A compiled pattern; make one by `compile_pattern`.
    """

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self.groups: int = compiled.groups

    def __repr__(self) -> str:
        return f"<Pattern {self._compiled.pattern!r}>"

    def matches(self, text: str) -> bool:
        """
        Tell whether the pattern matches somewhere in *text*.
        """
        return self._compiled.search(_unicode(text)) is not None

    def search(self, text: str) -> PatternMatch | None:
        """
        Find the first place in *text* that matches.
        """
        return next(self.find_all(text), None)

    def find_all(self, text: str) -> Iterator[PatternMatch]:
        """
        Find each place in *text* that matches, from the left, without overlaps.
        """
        for match in self._compiled.finditer(_unicode(text)):
            yield PatternMatch(match[0], match[1] if self.groups else None)

    def replace(self, text: str, by: str) -> str:
        """
        Return *text* with *by* in each place that matches; *by* holds no references to groups.
        """
        replaced: str = self._compiled.sub(by, _unicode(text))

        return replaced


@lru_cache(maxsize=1024)
def compile_pattern(text: str, *, ignore_case: bool = False) -> Pattern:
    """
    Compile *text*.

    Raises:
        PatternFault: If it is none that RE2 knows, or too large.
    """
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        compiled = re2.compile(text, options)
    except re2.error as error:
        raise _fault(text, error) from None
    except UnicodeEncodeError as error:
        raise PatternFault("it is not Unicode text", error.start) from None
    if compiled.programsize > _MAX_PROGRAM:
        raise PatternFault(_TOO_LARGE, foreign=True)

    return Pattern(compiled)


@lru_cache(maxsize=1024)
def stored_pattern(text: str, *, ignore_case: bool = False) -> Pattern:
    """
    Compile *text*, which the loader took; a plan that an earlier version stored may hold what only Python knows.
    """
    try:
        return compile_pattern(text, ignore_case=ignore_case)
    except PatternFault:
        with warnings.catch_warnings(action="ignore"):
            return Pattern(re.compile(text, re.IGNORECASE if ignore_case else 0))


def _fault(text: str, error: Exception) -> PatternFault:
    words = error.args[0] if error.args else b""
    kind, _, place = (words.decode(errors="replace") if isinstance(words, bytes) else str(words)).partition(": ")
    of_python = _fault_of_python(text)
    is_foreign = of_python is None
    if "too large" in kind:
        return PatternFault(_TOO_LARGE, foreign=is_foreign)
    # A group by its name begins like a reference to it, which alone is at fault.
    position = text.find("(?P=" if place == "(?P" else place) if place and place != text else -1
    at = position if position >= 0 else None
    if is_foreign:
        reason, remedy = _foreign(text, at or 0)
        return PatternFault(reason, at, remedy, foreign=True)
    if isinstance(of_python, re.error) and of_python.pos is not None:
        at = of_python.pos

    return PatternFault(_REASONS.get(kind, kind), at)


def _foreign(text: str, at: int) -> tuple[str, str]:
    """
    Return what of Python's language stands at a place, and the remedy.
    """
    rest = text[at:]
    if _LOOK_AROUND.match(rest):
        return (
            "it looks ahead or behind, which the pattern engine (RE2) does not know",
            "match what stands around, too, and put a group (…) round what counts",
        )
    if _BACKREFERENCE.match(rest):
        return "it refers back to a group, which the pattern engine (RE2) does not know", "write out what may be repeated"
    if _POSSESSIVE.search(text[max(0, at - 1) :]) and not rest.startswith("\\"):
        return "it forbids backtracking, and the pattern engine (RE2) never backtracks", "drop the ?> or the second +"
    if rest.startswith("\\Z"):
        return r"\Z is \z in the pattern engine (RE2)", r"write \z, or $"
    if rest.startswith(("\\u", "\\U", "\\N")):
        return "a character by its number is \\x{…} in the pattern engine (RE2)", "write \\x{00e9}, or the character itself"
    if rest.startswith("(?"):
        return (
            "the pattern engine (RE2) knows no such group",
            "it knows (?:…), (?P<name>…), (?i), (?m), (?s) and (?U)",
        )
    if rest.startswith("{") or "{" in rest[:8]:
        return f"the pattern engine (RE2) repeats {_MAX_REPETITION} times at most", "repeat less, or write + or *"

    return "the pattern engine (RE2) does not know what stands there", "see the syntax of RE2"


def _fault_of_python(text: str) -> Exception | None:
    try:
        # Python warns of patterns that a later version may read otherwise.
        with warnings.catch_warnings(action="ignore"):
            re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        return error

    return None


def _unicode(text: str) -> str:
    # A model may send halves of characters, which no UTF-8 text has.
    return text if text.isascii() else text.encode(errors="replace").decode()
