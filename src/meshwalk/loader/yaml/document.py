"""
YAML bytes as a tree whose every part knows its place.

The tree is built from libyaml's events in one walk, with a stack of our own: PyYAML's `compose` recurses in C, where deep
nesting ends the process, and takes two and a half times as long.  The same walk rejects duplicate keys, resolves plain
scalars with the meaning of YAML 1.2's core schema (`no` is text, `1e3` a number, `0o17` fifteen), and counts.

Invariants:

1. Nothing is built before its size and depth are known to be bounded; an alias counts as much as what it stands for.
2. Text that cannot be read at all raises `GraphError`; everything else is one more problem, and reading goes on.
3. A key is the text the author wrote, never a resolved value.
4. A character that YAML refuses where it stands as it is does not come in as an escape either: names and reasons are
   printed on terminals and into logs.  A stored plan may hold it, since a graph that was made otherwise could.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from meshwalk.loader.messages.faults import (
    already_there,
    control_character,
    empty_file,
    key_is_no_text,
    merge_key,
    nested_too_deep,
    not_utf8,
    not_yaml,
    refers_to_itself,
    second_document,
    tag_not_taken,
    too_large,
    too_many_parts,
    unknown_alias,
)
from meshwalk.model.problems import GraphError, Problem, Span


MAX_BYTES = 4 << 20
MAX_PARTS = 250_000
MAX_DEPTH = 40

# libyaml from 0.2.6 on has a bound of its own, and reads ahead of its events: it may refuse first, further to the right.
_TOO_DEEP = "maximum nesting depth"

_BREAKS = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})
# More digits than any quantity of a graph has; Python refuses to read thousands of them.
_MAX_DIGITS = 40

_TEXT_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})
_COLLECTION_TAGS = frozenset({"!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


class Scalar:
    """
    One value.

    Args:
        text_span: The place of the text's first character, inside the quotes if there are any.
        exact: Whether a column inside *raw* maps one to one to a column of the file.
    """

    __slots__ = ("exact", "raw", "span", "text_span", "value")
    size = 1
    height = 1

    def __init__(self, value: Any, raw: str, span: Span, text_span: Span, *, exact: bool) -> None:
        self.value = value
        self.raw = raw
        self.span = span
        self.text_span = text_span
        self.exact = exact


class Table:
    """
    Keys with their values, in the author's order.

    Args:
        merged: Whether it holds a merge key, so that missing keys are not known.
    """

    __slots__ = ("entries", "height", "key_spans", "merged", "size", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.entries: dict[str, Piece] = {}
        self.key_spans: dict[str, Span] = {}
        self.merged = False
        self.size = 1
        self.height = 1

    def scalar(self, key: str) -> Scalar | None:
        """
        Return the scalar under *key*, or None if there is none.
        """
        piece = self.entries.get(key)

        return piece if isinstance(piece, Scalar) else None

    def place(self, key: str) -> Span:
        """
        Return the place of the value under *key*, or of the table if it has none.
        """
        piece = self.entries.get(key)

        return self.span if piece is None else piece.span


class Series:
    """
    Values in order.
    """

    __slots__ = ("height", "items", "size", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.items: list[Piece] = []
        self.size = 1
        self.height = 1


Piece = Scalar | Table | Series


class Document:
    """
    The content of a file, and the faults found in reading it.
    """

    __slots__ = ("problems", "root")

    def __init__(self, root: Piece, problems: list[Problem]) -> None:
        self.root = root
        self.problems = problems


def plain(piece: Piece) -> Any:
    """
    Return *piece* as plain Python data, without places.
    """
    match piece:
        case Scalar():
            return piece.value
        case Table():
            return {key: plain(value) for key, value in piece.entries.items()}
        case Series():
            return [plain(item) for item in piece.items]


def split_lines(text: str) -> list[str]:
    """
    Split *text* where YAML sees line breaks, so that line numbers agree.
    """
    return _BREAKS.split(text)


def decode(text: bytes, file: str) -> str:
    """
    Return *text* as characters, without a byte order mark.

    Raises:
        GraphError: If it is too large or not UTF-8.
    """
    if len(text) > MAX_BYTES:
        raise GraphError([too_large(file, MAX_BYTES)])
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = split_lines(text[: error.start].decode("utf-8-sig"))
        raise GraphError([not_utf8(Span(file, len(before), len(before[-1]) + 1))]) from error


def read_document(text: bytes, file: str, *, any_text: bool = False) -> Document:
    """
    Read the first document of *text*.

    Args:
        any_text: Whether escaped control characters are taken.

    Raises:
        GraphError: If nothing can be read: no UTF-8, no YAML, empty, too large, nested too deep.
    """
    source = decode(text, file)
    builder = _Builder(file, source, any_text=any_text)
    try:
        for event in yaml.parse(source, Loader=yaml.CSafeLoader):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        raise GraphError([*builder.problems, _marked(error, file, builder.lines)]) from error
    except yaml.reader.ReaderError as error:
        raise GraphError([_unreadable(source, file)]) from error
    if builder.root is None:
        raise GraphError([empty_file(Span(file, 1, 1))])

    return Document(builder.root, builder.problems)


_IN_TAG = "scanning a tag"


def _marked(error: yaml.MarkedYAMLError, file: str, lines: list[str]) -> Problem:
    mark = error.problem_mark or error.context_mark
    if _IN_TAG in (error.context or "") and error.context_mark is not None:
        mark = error.context_mark
    # Text that ends without a line break still ends on a line of its own to libyaml.
    span = Span(file, len(lines), len(lines[-1]) + 1)
    if mark is not None and mark.line < len(lines):
        span = Span(file, mark.line + 1, mark.column + 1)
    if _TOO_DEEP in (error.problem or ""):
        return nested_too_deep(span, MAX_DEPTH)
    context = error.context or ""
    if error.context_mark is not None and context:
        context += f" that starts at line {error.context_mark.line + 1}"

    return not_yaml(span, error.problem or "the text breaks off", context)


# The characters that libyaml's reader refuses; compiled on first use, since so many characters take a while.
_UNREADABLE = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff\ufeff]"


def _unreadable(source: str, file: str) -> Problem:
    # The reader counts bytes of its own buffer, so the place is looked up in the text.
    match = re.search(_UNREADABLE, source)
    before = split_lines(source[: match.start()] if match else "")
    what = f"the control character U+{ord(match.group()):04X}" if match else "a character that YAML has no place for"

    return not_yaml(Span(file, len(before), len(before[-1]) + 1), f"there is {what}", "")


class _Open:
    """
    A collection that is still being read.
    """

    __slots__ = ("anchor", "awaits_value", "key", "piece")

    def __init__(self, piece: Table | Series, anchor: str | None) -> None:
        self.piece = piece
        self.anchor = anchor
        self.awaits_value = False
        self.key: str | None = None  # None while a value is awaited means that the value is thrown away


class _Builder:
    """
    A builder that grows the tree event by event.
    """

    def __init__(self, file: str, source: str, *, any_text: bool) -> None:
        self.file = file
        self.any_text = any_text
        self.source = source
        self.lines = split_lines(source)
        self.problems: list[Problem] = []
        self.root: Piece | None = None
        self.stack: list[_Open] = []
        self.anchors: dict[str, Piece] = {}
        self.parts = 0
        self.documents = 0

    def feed(self, event: yaml.Event) -> None:
        if self.documents > 1:
            return
        if isinstance(event, yaml.ScalarEvent):
            self._finish(self._scalar(event), event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            anchored = self._alias(event)
            self._finish(anchored, None, anchored.size)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            opened = self.stack.pop()
            opened.piece.span = self._closed(opened.piece.span, event)
            self._finish(opened.piece, opened.anchor)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._start_document(event)

    def _start_document(self, event: yaml.DocumentStartEvent) -> None:
        self.documents += 1
        if self.documents == 2:
            self.problems.append(second_document(self._span(event)))

    def _span(self, event: yaml.Event) -> Span:
        start, end = event.start_mark, event.end_mark
        assert start is not None
        assert end is not None
        stop = end.column
        if start.line != end.line:
            stop = len(self.lines[start.line].rstrip()) if start.line < len(self.lines) else 0

        return Span(self.file, start.line + 1, start.column + 1, max(1, stop - start.column))

    def _closed(self, span: Span, event: yaml.Event) -> Span:
        # Only a flow collection ends on the line it starts on; the end of a block is where the next thing stands.
        end = event.end_mark
        assert end is not None
        if end.line != span.line - 1:
            return span

        return span._replace(length=max(1, end.column - span.column + 1))

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        span = self._span(event)
        if len(self.stack) >= MAX_DEPTH:
            raise GraphError([*self.problems, nested_too_deep(span, MAX_DEPTH)])
        if event.tag is not None and event.tag not in _COLLECTION_TAGS:
            self.problems.append(tag_not_taken(span, event.tag))
        self.stack.append(_Open(Table(span) if isinstance(event, yaml.MappingStartEvent) else Series(span), event.anchor))
        if event.anchor is not None:
            self.anchors.pop(event.anchor, None)

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        span = self._span(event)
        assert event.start_mark is not None
        assert event.end_mark is not None
        source = self.source[event.start_mark.index : event.end_mark.index]
        text_span = span
        if event.style in ("'", '"'):
            text_span = span._replace(column=span.column + 1, length=max(1, span.length - 2))
            source = source[1:-1]
        text = event.value if self.any_text else self._printable(event.value, span)
        value: Any = text
        if event.tag is not None and event.tag not in _TEXT_TAGS:
            self.problems.append(tag_not_taken(span, event.tag))
        elif event.tag is None and event.implicit[0]:
            value = resolve(text)

        return Scalar(value, text, span, text_span, exact=source == text)

    def _printable(self, text: str, span: Span) -> str:
        """
        Return *text* without the characters it may not hold, so that they are one problem and not several.
        """
        if match := _CONTROLS.search(text):
            self.problems.append(control_character(span, ord(match.group())))

        return _CONTROLS.sub("", text) if match else text

    def _alias(self, event: yaml.AliasEvent) -> Piece:
        assert event.anchor is not None
        anchored = self.anchors.get(event.anchor)
        span = self._span(event)
        if anchored is not None:
            if len(self.stack) + anchored.height > MAX_DEPTH + 1:
                raise GraphError([*self.problems, nested_too_deep(span, MAX_DEPTH)])
            return anchored
        inside = any(opened.anchor == event.anchor for opened in self.stack)
        raise GraphError([*self.problems, (refers_to_itself if inside else unknown_alias)(span, event.anchor)])

    def _finish(self, piece: Piece, anchor: str | None, weight: int = 1) -> None:
        if anchor is not None:
            self.anchors[anchor] = piece
        self.parts += weight
        if self.parts > MAX_PARTS:
            raise GraphError([*self.problems, too_many_parts(piece.span, MAX_PARTS)])
        if not self.stack:
            self.root = piece
            return
        opened = self.stack[-1]
        opened.piece.size += piece.size
        opened.piece.height = max(opened.piece.height, piece.height + 1)
        if piece.span.line == opened.piece.span.line:
            opened.piece.span = _covering(opened.piece.span, piece.span)
        if isinstance(opened.piece, Series):
            opened.piece.items.append(piece)
        elif opened.awaits_value:
            self._value(opened, opened.piece, piece)
        else:
            self._key(opened, opened.piece, piece)

    def _value(self, opened: _Open, table: Table, piece: Piece) -> None:
        opened.awaits_value = False
        if opened.key is not None:
            table.entries[opened.key] = piece

    def _key(self, opened: _Open, table: Table, piece: Piece) -> None:
        opened.awaits_value = True
        opened.key = None
        if not isinstance(piece, Scalar):
            self.problems.append(key_is_no_text(piece.span))
        elif piece.raw == "<<":
            self.problems.append(merge_key(piece.span))
            table.merged = True
        elif piece.raw in table.key_spans:
            self.problems.append(already_there(piece.span, piece.raw, table.key_spans[piece.raw]))
        else:
            opened.key = piece.raw
            table.key_spans[piece.raw] = piece.span


def _covering(span: Span, inner: Span) -> Span:
    # A block has no end mark of use; on its first line it goes as far as what stands there.
    return span._replace(length=max(span.length, inner.column + inner.length - span.column))


def resolve(text: str) -> Any:
    """
    Return the value of a plain scalar in YAML 1.2's core schema.
    """
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    # Almost every scalar of a graph is a word, and no number starts with a letter.
    if text[0] not in "+-.0123456789":
        return text
    if _DECIMAL.fullmatch(text):
        return int(text) if len(text) <= _MAX_DIGITS else float(text)
    if _BASED.fullmatch(text):
        return int(text, 0) if len(text) <= _MAX_DIGITS else math.inf
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITY.fullmatch(text):
        return -math.inf if text[0] == "-" else math.inf

    return math.nan if text in _NAN else text
