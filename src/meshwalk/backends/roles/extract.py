r"""
The final answer of a reply, in a form that can be compared.

Two replies agree when what is extracted from them is equal and is there at all.  Each kind folds spellings that mean the
same: `$1,234.50` and `1234.5`, `(c)` and `C.`, `Paris.` and ` paris`.

Everything here takes time that is linear in the text: patterns have no nested repetition, and only the last
`SEARCHED_CHARACTERS` are read, which is where an answer stands.  An author's own pattern is RE2's, and sees less.
"""

from __future__ import annotations

import re
import string
from collections import deque
from fractions import Fraction

from meshwalk.model import Extractor
from meshwalk.model.patterns import stored_pattern


SEARCHED_CHARACTERS = 1 << 16

# A graph's author writes patterns, and a large one takes a while for a long text.
PATTERN_CHARACTERS = 4096

# A stated confidence that no pattern describes: `CONF: 0.85`, `Confidence = 85%`.
_CONFIDENCE = re.compile(r"\bconf(?:idence)?\b\s{0,4}[:=]\s{0,4}[\d.]{1,20}%?", re.IGNORECASE)

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"""
    (?<![\w.])                                    # not the tail of a word or of a number
    (?P<sign>(?<![\w)\]}}])[-\u2212])?(?:[$€£][ ]?)?  # `3 - 5` subtracts, `= -5` and `-$5` are negative
    (?:(?P<whole>\d{{1,9}})[ ](?=\d{{1,9}}/\d))?   # 1 1/2
    (?P<value>{_DIGITS})
    (?:[eE](?P<power>[+-]?\d{{1,2}})(?!\w))?
    (?:/(?P<below>\d{{1,9}})(?![\d/]))?
    """,
    re.VERBOSE,
)
_FRACTION = re.compile(r"\\[dt]?frac\{(\d{1,9})\}\{(\d{1,9})\}")
_LONGEST_NUMBER = 400
_BEFORE_NUMBER = string.whitespace + "*=:_`"

_LETTER = "(?P<letter>[A-J])"
_CHOICES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?i:answer|choice|option)(?i:\s{{1,4}}is)?\s{{0,4}}:?\s{{0,4}}\**[(\[]?{_LETTER}\b(?!')",
        rf"\A\W{{0,8}}{_LETTER}(?:\W|\Z)(?!\s?[a-z])",
        rf"[(\[]{_LETTER}[)\]]",
        rf"(?<![\w'])(?:{_LETTER})(?=[.):,]|\s*\Z)",
    )
)
_LONE_LETTER = re.compile(r"\W*([A-Ja-j])\W*")


def extract(kind: Extractor, text: str, pattern: str | None = None) -> str | None:
    r"""
    Find the final answer in *text*, or None if there is none.

    - `number`: what stands after the last `####` or in the last `\boxed{}`, else the last number outside the stated
      confidence.  Signs, currency, percent signs, thousands separators, trailing zeros and simple fractions are
      normalised: `$1,234.50` is `1234.5`, `6/8` is `0.75`, `1/3` stays `1/3`; `50%` is `50`.  A comma never
      separates decimals.
    - `choice`: a letter from A to J: in `\boxed{}`, else after "answer is", else at the very beginning, else the last one
      in brackets, else the last one that is set off by punctuation.
    - `text`: the whole, without regard to case, white space and punctuation at its ends.

    Args:
        pattern: What the stated confidence looks like, as in the node's `confidence.pattern`; text it matches is left out.
    """
    text = text[-SEARCHED_CHARACTERS:]
    if pattern:
        text = text[:-PATTERN_CHARACTERS] + stored_pattern(pattern).replace(text[-PATTERN_CHARACTERS:], " ")
    match kind:
        case "number":
            return _number(text)
        case "choice":
            return _choice(text)
        case "text":
            return _text(text)


def last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """
    Find the last place where *pattern* matches, going through *text* from the left.
    """
    last = deque(pattern.finditer(text), maxlen=1)

    return last[0] if last else None


def _boxed(text: str) -> str | None:
    start = text.rfind(r"\boxed{")
    if start < 0:
        return None
    depth = 0
    for at in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start + 7 : at]

    return None  # cut off before the brace closed


def _number(text: str) -> str | None:
    text = _FRACTION.sub(r"\1/\2", text)
    if (boxed := _boxed(text)) is not None:
        found = _NUMBER.search(boxed)
        return _canonical(found) if found else None
    _, marker, after = text.rpartition("####")
    if marker:
        after = after.lstrip(_BEFORE_NUMBER)
        # The same marks start a heading in Markdown; it is an answer if a number follows, or if the reply was cut off here.
        if (found := _NUMBER.match(after)) or not after:
            return _canonical(found) if found else None
    last = last_match(_NUMBER, _CONFIDENCE.sub(" ", text))

    return _canonical(last) if last else None


def _canonical(match: re.Match[str]) -> str | None:
    if len(match[0]) > _LONGEST_NUMBER:
        return None
    value = Fraction(match["value"].replace(",", ""))
    below = int(match["below"] or 1)
    if below == 0:
        return None
    value = value * Fraction(10) ** int(match["power"] or 0) / below + int(match["whole"] or 0)
    if match["sign"]:
        value = -value

    return _decimal(value)


def _decimal(value: Fraction) -> str:
    """
    Write *value* as a decimal without trailing zeros where it has one, as a reduced fraction where it has not.
    """
    rest, places = value.denominator, 0
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest //= prime
            count += 1
        places = max(places, count)
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    if not places:
        return str(value.numerator)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")

    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _choice(text: str) -> str | None:
    boxed = _boxed(text)
    if boxed is not None and (lone := _LONE_LETTER.fullmatch(re.sub(r"\\text|[{}]", "", boxed))):
        return lone[1].upper()
    if lone := _LONE_LETTER.fullmatch(text[:64]) if len(text) <= 64 else None:
        return lone[1].upper()
    for pattern in _CHOICES:
        if last := last_match(pattern, text):
            return last["letter"]

    return None


def _text(text: str) -> str | None:
    folded = " ".join(text.casefold().split())
    start, end = 0, len(folded)
    while start < end and not folded[start].isalnum():
        start += 1
    while end > start and not folded[end - 1].isalnum():
        end -= 1

    return folded[start:end] or None
