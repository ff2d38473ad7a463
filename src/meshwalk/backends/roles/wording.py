"""
Features of how a prompt is worded, for trained classifiers: counts of surface cues on one scale a cue.

What `roles.classifier` says of its features holds here too: they are counted in one pass each over the last user message,
of that over the first and last `READ_CHARACTERS`, and their word lists are English.  A trained classifier holds their names
(`weights.FEATURES`), so what a name measures never changes: a better measure gets another name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from meshwalk.backends.roles.classifier import READ_CHARACTERS, cues, question_text
from meshwalk.model.weights import FEATURES
from meshwalk.trace import Message


_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_END = re.compile(r"[.!?]+(?:\s|\Z)")
_CHOICE = re.compile(r"^[ \t]{0,8}\(?[A-Ja-j][.):][ \t]+(.{0,400})", re.MULTILINE)
_BLANK = re.compile(r"_{2,}|\.{4,}")
_CODE = re.compile(r"```|\bdef \w|\bfor \(|[=!]=|\+\+|;\n|\breturn\b|\bvoid\b|->")
_FRACTION = re.compile(r"\d/\d")
_HOW_MANY = re.compile(r"\bhow (?:many|much|far|long|old|often|fast)\b")
_YES_OR_NO = re.compile(r"(?:\A|[.!?\n]\s{0,4})(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have|had)\b")
_ALL_OR_NONE = re.compile(r"\b(?:all|none|both|neither|any) of (?:the above|these|them|the following)\b|\bboth\b|\bneither\b")
_LONG_WORD = 8

# Each is the share of words that are among these, times ten, so that one in ten counts one.
_SHARES = {
    "what": "what",
    "which": "which",
    "who": "who whom whose",
    "when": "when",
    "where": "where",
    "why": "why because",
    "how": "how",
    "negated": "not no never except cannot without least incorrect false untrue unlikely nor",
    "best": "best most likely likeliest primarily mainly correct true",
    "statements": "statement statements assume suppose let given if then hence therefore prove proof theorem",
    "following": "following above below",
    "comparisons": "more less fewer greater smaller than twice double triple half times larger",
    "shares": "percent percentage ratio fraction average total altogether sum difference product",
    "rates": "each per every rate hour hours minute minutes day days week weeks month year mile miles",
    "remainders": "left remaining remain remains rest leftover still after before gives gave spent spends",
}  # fmt: skip
_SHARE_OF = {word: name for name, words in _SHARES.items() for word in words.split()}


def wording(messages: Sequence[Message]) -> dict[str, float]:
    """
    Measure the wording of what *messages* ask, by the names of `weights.FEATURES`.
    """
    text = question_text(messages)
    if len(text) > 2 * READ_CHARACTERS:
        text = text[:READ_CHARACTERS] + "\n" + text[-READ_CHARACTERS:]
    low = text.lower()
    words = _WORD.findall(low)
    named = dict.fromkeys(_SHARES, 0)
    for word in words:
        if word in _SHARE_OF:
            named[_SHARE_OF[word]] += 1
    depth, ambiguity, links, commands = cues(text)
    tens = 10 / max(1, len(words))

    found = {name: count * tens for name, count in named.items()}
    found |= _sizes(text, words) | _marks(text) | _numbers(text) | _forms(text, low)
    found |= {
        "log_depth": math.log1p(depth),
        "ambiguity": ambiguity,
        "links": links * tens,
        "commands": commands * tens,
    }

    return {name: found[name] for name in FEATURES}


def _sizes(text: str, words: Sequence[str]) -> dict[str, float]:
    sentences = max(1, len(_END.findall(text)))
    count = max(1, len(words))

    return {
        "log_characters": math.log1p(len(text)),
        "log_words": math.log1p(len(words)),
        "log_lines": math.log1p(text.count("\n")),
        "log_sentences": math.log1p(sentences),
        "word_length": sum(map(len, words)) / count,
        "sentence_length": math.log1p(len(words) / sentences),
        "long_words": sum(len(word) >= _LONG_WORD for word in words) / count,
        "distinct_words": len(set(words)) / count,
    }


def _marks(text: str) -> dict[str, float]:
    # Per hundred characters, in logarithms, since a few make most of the difference.
    hundred = max(1, len(text)) / 100

    def often(marks: str) -> float:
        return math.log1p(sum(map(text.count, marks)) / hundred)

    return {
        "capitals": math.log1p(sum(map(str.isupper, text)) / hundred),
        "capitalised": math.log1p(len(re.findall(r"(?<=[a-z,] )[A-Z][a-z]", text)) / hundred),
        "beyond_ascii": math.log1p(sum(char > "\x7f" for char in text) / hundred),
        "digits": math.log1p(sum(map(str.isdigit, text)) / hundred),
        "percents": often("%"),
        "money": often("$\u20ac\u00a3"),
        "operators": often("+*=^<>"),
        "backslashes": often("\\"),
        "brackets": often("()[]{}"),
        "quotes": often("\"'\u201c\u201d"),
        "commas": often(",;"),
        "colons": often(":"),
        "questions": math.log1p(text.count("?")),
    }


def _numbers(text: str) -> dict[str, float]:
    found = _NUMBER.findall(text)
    # More digits than that are no quantity, and would be slow to read.
    largest = max((float(number[:30].replace(",", "")) for number in found), default=0.0)

    return {
        "log_numbers": math.log1p(len(found)),
        "log_largest": math.log1p(largest),
        "decimals": math.log1p(sum("." in number for number in found)),
        "fractions": math.log1p(len(_FRACTION.findall(text))),
    }


def _forms(text: str, low: str) -> dict[str, float]:
    choices = _CHOICE.findall(text)
    count = max(1, len(choices))

    return {
        "blanks": math.log1p(len(_BLANK.findall(text))),
        "code": math.log1p(len(_CODE.findall(text))),
        "choices": float(min(10, len(choices))),
        "choice_length": math.log1p(sum(map(len, choices)) / count),
        "numeric_choices": sum(any(map(str.isdigit, choice)) for choice in choices) / count,
        "all_or_none": math.log1p(len(_ALL_OR_NONE.findall(low))),
        "how_many": math.log1p(len(_HOW_MANY.findall(low))),
        "yes_or_no": math.log1p(len(_YES_OR_NO.findall(low))),
    }
