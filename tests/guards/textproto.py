"""
Protocol buffers in their text format, read without a descriptor.

Only what the conformance files of the CEL specification need: a message is a mapping from a field's name to all its values
in the order of the text, a value is a text's bytes, a bare word or number as written, or a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path


Message = Mapping[str, "list[Value]"]
Value = bytes | str | Message

_TOKEN = re.compile(
    r"""
    (?P<space> (?: \s | \#[^\n]* )+ )
  | (?P<text> "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' )
  | (?P<word> [-+.\w]+ | \[[-./\w]+\] )
  | (?P<mark> [{}<>\[\]:,;] )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|(.))", re.DOTALL)
_SIMPLE = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))
_CLOSING = {"{": "}", "<": ">"}


def read(path: Path) -> Message:
    """
    Read the message in the file at *path*.
    """
    return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> Message:
    """
    Read the message in *text*.
    """
    return _Parser(text).message("")


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"{text[at : at + 20]!r} is no text format")
        at = match.end()
        if match.lastgroup != "space":
            yield match[0]
    yield ""


def _unescaped(token: str) -> bytes:
    def plain(match: re.Match[bytes]) -> bytes:
        if match[2] or match[3]:
            return chr(int(match[2] or match[3], 16)).encode()
        code = int(match[1], 16) if match[1] else int(match[4], 8) if match[4] else _SIMPLE.get(match[5][0], match[5][0])
        return bytes([code])

    return _ESCAPE.sub(plain, token[1:-1].encode())


class _Parser:
    def __init__(self, text: str) -> None:
        self._rest = _tokens(text)
        self._next = next(self._rest)

    def message(self, end: str) -> Message:
        """
        Read fields up to *end*.
        """
        fields: dict[str, list[Value]] = {}
        while (name := self._take()) != end:
            if not name:
                raise ValueError(f"the text ends where '{end}' is expected")
            self._skip(":")
            fields.setdefault(name, []).extend(self._values())
            self._skip(",", ";")

        return fields

    def _take(self) -> str:
        token, self._next = self._next, next(self._rest, "")

        return token

    def _skip(self, *marks: str) -> bool:
        return self._next in marks and bool(self._take())

    def _values(self) -> Iterator[Value]:
        if not self._skip("["):
            yield self._value()
            return
        while not self._skip("]"):
            yield self._value()
            self._skip(",")

    def _value(self) -> Value:
        token = self._take()
        if token in _CLOSING:
            return self.message(_CLOSING[token])
        if token[:1] not in {'"', "'"}:
            return token
        text = _unescaped(token)
        while self._next[:1] in {'"', "'"}:
            text += _unescaped(self._take())

        return text
