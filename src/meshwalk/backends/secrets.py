"""
Secrets that a text from outside may repeat, taken out of it before the text goes anywhere.

Keys are found by their beginnings and by any longer run of them, and addresses by their parts.  Both are found however they are
spelt: in other letters, percent-encoded, or escaped as in JSON and HTML.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from meshwalk.model import environment


KEY = "[key]"
ADDRESS = "[address]"

# The beginning of a key is taken out from so many characters on, and what is no beginning from so many.
_BEGINNING = 6
_RUN = 8

# Shorter keys stand for none (`none`, `EMPTY`), and shorter values and parts of addresses are words that a text may well hold.
_LEAST_KEY = 8
_LEAST = 4
_LEAST_PART = 5
# So are these.
_WORDS = frozenset({
    "localhost", "127.0.0.1", "[::1]", "openai", "models", "deployments", "inference", "completions",
    "compatible-mode", "https", "v1beta",
})  # fmt: skip

# A text may be encoded once more on its way.
_ROUNDS = 3
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})|\\u00([0-9A-Fa-f]{2})|\\([^u])|(&(?:#x?[0-9A-Fa-f]{1,6}|amp|lt|gt|quot|apos|sol);)")


class Secrets:
    """
    The secrets of a backend.

    Args:
        keys: None of whose parts is told.
        addresses: They are taken out whole, as are their hosts.
        values: Of variables that addresses are made of, of which no part is told.
    """

    __slots__ = ("_beginnings", "_places", "_runs", "_whole")

    def __init__(self, keys: Iterable[str] = (), addresses: Iterable[str] = (), values: Iterable[str] = ()) -> None:
        spelt = {_folded(spelling) for key in keys for spelling in _spellings(key)}
        spelt = {key for key in spelt if len(key) >= _LEAST_KEY}
        self._whole = sorted(spelt, key=len, reverse=True)
        self._beginnings = [key for key in self._whole if len(key) > _BEGINNING]
        self._runs = frozenset(key[at : at + _RUN] for key in spelt for at in range(len(key) - _RUN + 1))
        places = {_folded(part) for address in addresses for part in _whole_parts(address)}
        places |= {_folded(part) for value in values for part in _parts(value)}
        self._places = sorted({place for place in places if place and place not in _WORDS}, key=len, reverse=True)

    def hidden(self, text: str) -> str:
        """
        Return *text* with a mark in the place of each secret.
        """
        plain = _decoded(text)
        marks = {place: ADDRESS for start, end in self._found_places(plain.text) for place in range(start, end)}
        marks |= {place: KEY for start, end in self._found_keys(plain.text) for place in range(start, end)}
        if not marks:
            return text
        pieces: list[str] = []
        at = 0
        while at < len(plain.text):
            mark = marks.get(at)
            if mark is None:
                pieces.append(text[plain.starts[at] : plain.starts[at + 1]])
            elif marks.get(at - 1) != mark:
                pieces.append(mark)
            at += 1

        return "".join(pieces)

    def hidden_in_content(self, text: str) -> str:
        """
        Return *text*, which may be long, with a mark in the place of each secret that it holds plainly.
        """
        plain = _folded(text)
        parts = (*[key[:_RUN] for key in self._whole], *[place for place in self._places if len(place) >= _RUN])

        return self.hidden(text) if any(part in plain for part in parts) else text

    def __repr__(self) -> str:
        return f"<Secrets: {len(self._whole)} of keys, {len(self._places)} of addresses>"

    def _found_places(self, text: str) -> Iterator[tuple[int, int]]:
        for place in self._places:
            yield from _occurrences(place, text)

    def _found_keys(self, text: str) -> Iterator[tuple[int, int]]:
        for key in self._whole:
            yield from _occurrences(key, text)
        for key in self._beginnings:
            for start, _ in _occurrences(key[:_BEGINNING], text):
                sizes = range(len(key), _BEGINNING - 1, -1)
                yield start, start + next(size for size in sizes if text.startswith(key[:size], start))
        if self._runs:
            for at in range(len(text) - _RUN + 1):
                if text[at : at + _RUN] in self._runs:
                    yield at, at + _RUN


class _Decoded(NamedTuple):
    """
    A text without its escapes, in small letters.

    Args:
        starts: The place in the text before of each character, and of its end.
    """

    text: str
    starts: list[int]


def _decoded(text: str) -> _Decoded:
    starts = list(range(len(text) + 1))
    for _ in range(_ROUNDS):
        pieces: list[str] = []
        kept: list[int] = []
        at = 0
        for match in _ESCAPE.finditer(text):
            pieces.append(text[at : match.start()])
            kept += starts[at : match.start()]
            pieces.append(_character(match))
            kept.append(starts[match.start()])
            at = match.end()
        if at == 0:
            break
        pieces.append(text[at:])
        kept += starts[at:]
        text, starts = "".join(pieces), kept

    return _Decoded(_folded(text), starts)


def _character(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    if code:
        return chr(int(code, 16))
    # An entity may stand for more than one character, and the places of the text count one for each.
    character = html.unescape(match[4]) if match[4] else match[3]

    return character if len(character) == 1 else "\ufffd"


def _folded(text: str) -> str:
    """
    Return *text* in small letters, character by character.
    """
    return text.lower() if text.isascii() else "".join(char.lower() if char.isascii() else char for char in text)


def _occurrences(part: str, text: str) -> Iterator[tuple[int, int]]:
    at = text.find(part)
    while at >= 0:
        yield at, at + len(part)
        at = text.find(part, at + 1)


def _spellings(key: str) -> Iterator[str]:
    """
    Yield *key*, what it says as the credentials of basic authentication, and what it would be among such.
    """
    for word in key.split():
        if word.casefold() in {"bearer", "basic", "token", "apikey", "api-key"}:
            continue
        yield word
        encoded = word.encode("utf-8", "replace")
        for pair in (encoded, b":" + encoded, encoded + b":"):
            yield base64.b64encode(pair).decode().rstrip("=")
        if key.casefold().startswith("basic "):
            try:
                user, _, password = base64.b64decode(word, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                continue
            yield from filter(None, (user, password))


def _whole_parts(address: str) -> Iterator[str]:
    split = _split(address)
    if address:
        yield address.rstrip("/")
    if split is not None:
        yield split[0]


def _parts(value: str) -> Iterator[str]:
    """
    Yield the parts of *value*, which is an address or a part of one.
    """
    if len(value) >= _LEAST:
        yield value.strip("/")
    split = _split(value)
    if split is None:
        place, path, query = "", *value.partition("?")[::2]
    else:
        place, path, query = split
    host = place.rpartition("@")[2]
    yield from filter(None, (place, host, host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host))
    yield from filter(None, place.rpartition("@")[0].split(":"))
    parts = [*re.split(r"[/:@]", path), *(text for pair in parse_qsl(query) for text in pair[1:])]
    yield from (part for part in parts if len(part) >= _LEAST_PART)


def _split(address: str) -> tuple[str, str, str] | None:
    """
    Return the place, the path and the query of *address*; None where it is no address.
    """
    if "://" not in address:
        return None
    try:
        split = urlsplit(address)
    except ValueError:
        return None

    return split.netloc, split.path, split.query


def values_in(template: str, variables: Mapping[str, str]) -> list[str]:
    """
    Return the values that *template* takes from *variables*.
    """
    return [variables[name] for name in environment.names_in(template)]
