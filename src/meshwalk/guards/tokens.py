"""
A guard's text as tokens, before any grammar.

We read names, numbers and texts ourselves and the CEL library reads the rest, because its places are an operator's and
not a name's, its numbers have two types that do not compare, and it takes `has` for a macro.  A dotted name is one token
here; `syntax` shows the library each token as one short word, so that nothing but grammar is left to disagree about.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from meshwalk.guards import faults
from meshwalk.guards.faults import GuardFault, Stretch
from meshwalk.model import Value


class Sort(Enum):
    """
    The kind of a token.
    """

    NAME = "name"
    NUMBER = "number"
    TEXT = "text"
    BOOL = "bool"
    FUNCTION = "function"
    METHOD = "method"
    FIELD = "field"
    FOREIGN = "foreign"
    MARK = "mark"


class Token(NamedTuple):
    """
    One token and its place in code points.

    Args:
        text: A name without spaces; for `FOREIGN`, what it is in words.
        value: What a literal stands for, nothing for the rest.
    """

    sort: Sort
    text: str
    offset: int
    length: int
    value: Value = ""

    @property
    def place(self) -> Stretch:
        """
        Point at the token.
        """
        return Stretch(self.offset, self.length)


class Tokens(NamedTuple):
    """
    The tokens of a text, and the faults found in them.
    """

    tokens: tuple[Token, ...]
    faults: tuple[GuardFault, ...]


_WORD = r"[A-Za-z_][A-Za-z0-9_]*"
_GRAMMAR = re.compile(
    rf"""
    (?P<space> (?:[\t\n\f\r\ ] | //[^\n]*)+ )
  | (?P<prefix> [rR][bB]? | [bB][rR]? | ) (?P<quote> \"{{3}} | '{{3}} | \" | ' )
  | (?P<number> (?: 0x[0-9a-fA-F]+ | (?:[0-9]+\.[0-9]+ | [0-9]+ | \.[0-9]+)(?:[eE][+-]?[0-9]+)? )) (?P<tail>\w*)
  | (?P<word> {_WORD} )
  | (?P<mark> && | \|\| | [=!<>]= | [-<>+*/%!?:.,()\[\]{{}}] )
  | (?P<bad> . )
    """,
    re.VERBOSE | re.DOTALL,
)

# The patterns of a text's rest, the closing quote included, by whether a backslash escapes, and by the quote.
_BODIES = {
    (raw, quote): re.compile(f"({inside}){quote}", re.DOTALL)
    for quote in ('"""', "'''", '"', "'")
    for raw, inside in (
        (False, r"(?:[^\\]|\\.)*?" if len(quote) == 3 else rf"(?:[^\\{quote}\n\r]|\\[^\n\r])*"),
        (True, ".*?" if len(quote) == 3 else rf"[^{quote}\n\r]*"),
    )
}
_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(rf"\\(?:x({_HEX}{{2}})|u({_HEX}{{4}})|U({_HEX}{{8}})|([0-3][0-7]{{2}})|(.))", re.DOTALL)
_SIMPLE_ESCAPES = dict(zip("abfnrtv\\?\"'`", "\a\b\f\n\r\t\v\\?\"'`", strict=True))
_UNITS = {"h", "m", "s", "ms", "us"}
_CONSTANTS = {"true": True, "false": False}


@lru_cache(maxsize=4096)
def tokenise(text: str) -> Tokens:
    """
    Cut *text* into tokens; where there are faults, the tokens are not worth parsing.
    """
    collected: list[GuardFault] = []
    raw = list(_scan(text, collected))

    return Tokens(tuple(_joined(raw)), tuple(collected))


def _scan(text: str, collected: list[GuardFault]) -> Iterator[Token]:
    at = 0
    while match := _GRAMMAR.match(text, at):
        start, at = at, match.end()
        place = Stretch(start, at - start)
        match match.lastgroup:
            case "quote":
                token = _text(text, match, collected)
                if token is None:
                    return
                at = token.offset + token.length
                yield token
            case "number" | "tail":
                yield _number(match, place, collected)
            case "word" | "mark":
                yield _word(match[0], place)
            case "bad":
                collected.append(_bad(text, place))
            case _:
                pass


def _word(word: str, place: Stretch) -> Token:
    if word in _CONSTANTS:
        return Token(Sort.BOOL, word, *place, _CONSTANTS[word])
    if word == "null":
        return Token(Sort.FOREIGN, "null", *place)

    return Token(Sort.NAME if word.isidentifier() and word != "in" else Sort.MARK, word, *place)


def _bad(text: str, place: Stretch) -> GuardFault:
    char = text[place.offset]

    return faults.syntax(place, f"{char!r} has no meaning here", faults.hint(char))


def _number(match: re.Match[str], place: Stretch, collected: list[GuardFault]) -> Token:
    digits, tail = match["number"], match["tail"]
    if tail in {"u", "U"}:
        return Token(Sort.FOREIGN, "an unsigned number", *place)
    if tail:
        help = f"write duration('{match[0]}')" if tail in _UNITS else "put a space or an operator between them"
        collected.append(faults.syntax(place, f"the number {digits} runs into '{tail}'", help))
    value = _double(digits)
    if math.isinf(value):
        collected.append(faults.syntax(place, "this number is too large", "the largest is about 1.8e308"))
    elif _is_between(digits, value):
        collected.append(faults.inexact(place, value))

    return Token(Sort.NUMBER, digits, *place, value)


def _double(digits: str) -> float:
    try:
        return float(int(digits, 16)) if digits.startswith("0x") else float(digits)
    except OverflowError:
        return math.inf


def _is_between(digits: str, value: float) -> bool:
    """
    Return whether *digits* write a whole number that lies between two doubles.
    """
    if digits.startswith("0x"):
        return int(digits, 16) != value

    return digits.isdigit() and int(digits) != value


def _text(text: str, opening: re.Match[str], collected: list[GuardFault]) -> Token | None:
    prefix, start = opening["prefix"].lower(), opening.start()
    body = _BODIES["r" in prefix, opening["quote"]].match(text, opening.end())
    if body is None:
        collected.append(
            faults.syntax(Stretch(start, len(text) - start), "this text is never closed", f"end it with {opening['quote']}")
        )
        return None
    place = Stretch(start, body.end() - start)
    if "b" in prefix:
        return Token(Sort.FOREIGN, "bytes", *place)
    value = body[1] if "r" in prefix else _unescaped(body[1], body.start(), collected)

    return Token(Sort.TEXT, text[start : body.end()], *place, value)


def _unescaped(inside: str, offset: int, collected: list[GuardFault]) -> str:
    def plain(match: re.Match[str]) -> str:
        hexadecimal = match[1] or match[2] or match[3]
        try:
            char = _SIMPLE_ESCAPES[match[5]] if match[5] else chr(int(hexadecimal, 16) if hexadecimal else int(match[4], 8))
            char.encode()  # half of a surrogate pair is no character
        except (KeyError, ValueError, OverflowError):
            place = Stretch(offset + match.start(), len(match[0]))
            collected.append(faults.syntax(place, f"'{match[0]}' is no escape", "write a backslash as two: \\\\"))
            return ""
        return char

    return _ESCAPE.sub(plain, inside)


def _joined(raw: Sequence[Token]) -> Iterator[Token]:
    """
    Make one token of each dotted name, and tell functions, methods and fields from names.
    """
    at = 0
    while at < len(raw):
        token = raw[at]
        if token.sort is not Sort.NAME:
            yield token
            at += 1
            continue
        after_dot = at > 0 and raw[at - 1].text == "."
        end = at + 1
        while not after_dot and end + 1 < len(raw) and raw[end].text == "." and _is_field(raw[end + 1]):
            end += 2
        called = end < len(raw) and raw[end].text == "("
        yield from _named(raw[at:end], after_dot=after_dot, called=called)
        at = end


def _is_field(token: Token) -> bool:
    return token.text.isidentifier() and token.text != "in"


def _named(chain: Sequence[Token], *, after_dot: bool, called: bool) -> Iterator[Token]:
    last = chain[-1]
    if after_dot or len(chain) == 1:
        sort = (Sort.METHOD if called else Sort.FIELD) if after_dot else (Sort.FUNCTION if called else Sort.NAME)
        yield last._replace(sort=sort)
    elif called:
        yield _dotted(chain[:-2])
        yield chain[-2]
        yield last._replace(sort=Sort.METHOD)
    else:
        yield _dotted(chain)


def _dotted(chain: Sequence[Token]) -> Token:
    first, last = chain[0], chain[-1]
    text = "".join(token.text for token in chain)

    return Token(Sort.NAME, text, first.offset, last.offset + last.length - first.offset)
