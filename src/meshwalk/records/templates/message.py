"""
Precompiled serializers for protobuf messages that differ in few fields only.

Setting the fields of a message one by one and serialising it takes many times as long as putting numbers between known bytes.
So where messages of one kind are made over and over, the first of them is kept as a `Template`: the bytes that they share, with
places for the fields that differ.  A function is generated for it: it computes the value of each place by an expression, and
writes the whole message at once.

A number's place is five bytes wide, and its varint is padded to that: readers of the wire format take a varint that is longer
than it need be (protobuf.dev, "Encoding": up to ten bytes).  A number past 35 bits is an `OverflowError`; the caller then
makes the message field by field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


# The way to a field: names of fields, positions in repeated ones, and keys of maps.
Path = tuple[str | int, ...]

_WIDTH = 5
_BOUND = 1 << 7 * _WIDTH
KEPT = 1 << 14

_LENGTH_DELIMITED = 2
_WIRE_TYPES = {FieldDescriptor.TYPE_DOUBLE: 1, FieldDescriptor.TYPE_FIXED64: 1}
_FORMATS = {FieldDescriptor.TYPE_DOUBLE: "d", FieldDescriptor.TYPE_FIXED64: "Q", FieldDescriptor.TYPE_BOOL: "B"}
_TEXTS = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


class Text(NamedTuple):
    """
    The value of a text or bytes field.

    Args:
        expression: Its bytes, as a Python expression.
        size: Its length, if that is always the same.
    """

    expression: str
    size: int | None = None


class Template:
    """
    A serializer of messages like *message*.

    Args:
        places: The fields that differ, by their paths: each a Python expression over *arguments* and the names of *setup*.
        arguments: The names of the arguments of `write`.
        setup: Statements that run first, one a line.
        uses: Other names that the expressions use.

    Attributes:
        write: Returns the bytes of a message; raises `OverflowError` if a number has no room.
    """

    __slots__ = ("write",)

    def __init__(
        self,
        message: Message,
        places: Mapping[Path, str | Text],
        arguments: Sequence[str],
        setup: Sequence[str] = (),
        uses: Mapping[str, object] | None = None,
    ) -> None:
        whole = type(message)()
        whole.CopyFrom(message)
        for path, value in places.items():
            # An empty field is not serialised, so its place would not be found.
            _set_field(whole, path, b"x" if isinstance(value, Text) else 1)
        body = _Body(places)
        body.add(whole, ())
        names = {"_wide": WIDE, "_join": b"".join, **(uses or {})}
        source = "\n    ".join(
            [f"def write({', '.join(arguments)}):", *setup, *body.statements, f"return {body.written(names)}"]
        )
        exec(source, names)  # noqa: S102 (the source is made of tables of this project and of names of fields)
        self.write: Callable[..., bytes] = names["write"]  # type: ignore[assignment]


def opening(field: FieldDescriptor, size: int) -> bytes:
    """
    Return the tag and the length that precede the *size* bytes of a message in *field*.
    """
    return _tag(field.number, _LENGTH_DELIMITED) + _varint(size)


class _Length(NamedTuple):
    """
    A number of bytes: a fixed one, and the lengths of the variables named.
    """

    fixed: int = 0
    texts: tuple[str, ...] = ()

    def plus(self, other: _Length) -> _Length:
        """
        Return the sum of both.
        """
        return _Length(self.fixed + other.fixed, self.texts + other.texts)


class _Body:
    """
    The output of a generated function, piece by piece: bytes, (format, argument) of a number, or the variable of a text.
    """

    def __init__(self, places: Mapping[Path, str | Text]) -> None:
        self._places = places
        self._pieces: list[bytes | tuple[str, str] | str] = []
        self._variables: dict[str, str] = {}
        self.statements: list[str] = []

    def add(self, message: Message, path: Path) -> _Length:
        """
        Add the fields of *message*, which stands at *path*, and return their length.
        """
        length = _Length()
        for field, value in message.ListFields():
            # The value of a map's entry stands where its key does.
            here = path if _is_entry(message.DESCRIPTOR) and field.name == "value" else (*path, field.name)
            if not any(place[: len(here)] == here for place in self._places):
                length = length.plus(self._constant(_only(message, field)))
            elif here in self._places:
                length = length.plus(self._place(field, self._places[here]))
            elif isinstance(value, Message):
                length = length.plus(self._nested(field, value, here))
            elif _is_entry(field.message_type):
                for key in value:
                    length = length.plus(self._nested(field, _entry(field, key, value[key]), (*here, key)))
            else:
                for position, item in enumerate(value):
                    length = length.plus(self._nested(field, item, (*here, position)))

        return length

    def written(self, names: dict[str, object]) -> str:
        """
        Return the expression of all bytes, and add the names that it needs to *names*.
        """
        parts: list[str] = []
        for text, numbers in _runs(self._pieces):
            if text is not None:
                parts.append(text)
                continue
            arguments = []
            for _, value in numbers:
                arguments.append(repr(value) if isinstance(value, bytes) else value)
            names[pack := f"_pack{len(names)}"] = Struct("<" + "".join(form for form, _ in numbers)).pack
            parts.append(f"{pack}({', '.join(arguments)})")

        return parts[0] if len(parts) == 1 else f"_join(({', '.join(parts)},))"

    def _constant(self, constant: bytes) -> _Length:
        if self._pieces and isinstance(last := self._pieces[-1], bytes):
            self._pieces[-1] = last + constant
        else:
            self._pieces.append(constant)

        return _Length(len(constant))

    def _place(self, field: FieldDescriptor, value: str | Text) -> _Length:
        if isinstance(value, Text):
            return self._text(field, value)
        length = self._constant(_tag(field.number, _WIRE_TYPES.get(field.type, 0)))
        form = _FORMATS.get(field.type)
        if form is None:
            return length.plus(self._varint(value))
        self._pieces.append((form, self._variable(value)))

        return length.plus(_Length(1 if form == "B" else 8))

    def _text(self, field: FieldDescriptor, value: Text) -> _Length:
        variable = self._variable(value.expression)
        length = self._constant(_tag(field.number, _LENGTH_DELIMITED))
        if value.size is not None:
            length = length.plus(self._constant(_varint(value.size)))
            self._pieces.append((f"{value.size}s", variable))
            return length.plus(_Length(value.size))
        length = length.plus(self._varint(f"len({variable})"))
        self._pieces.append(variable)

        return length.plus(_Length(0, (variable,)))

    def _nested(self, field: FieldDescriptor, message: Message, path: Path) -> _Length:
        before = self._constant(_tag(field.number, _LENGTH_DELIMITED))
        at = len(self._pieces)
        # The nested message is added first, in pieces of its own, because its length precedes it.
        self._pieces.append(("0s", ""))
        length = self.add(message, path)
        inside = self._pieces[at + 1 :]
        del self._pieces[at:]
        if length.texts:
            sizes = " + ".join([str(length.fixed), *[f"len({text})" for text in length.texts]])
            before = before.plus(self._varint(sizes))
        else:
            before = before.plus(self._constant(_varint(length.fixed)))
        for piece in inside:
            if isinstance(piece, bytes):
                self._constant(piece)
            else:
                self._pieces.append(piece)

        return before.plus(length)

    def _varint(self, expression: str) -> _Length:
        self._pieces.append((f"{_WIDTH}s", self._variable(f"_wide[{expression}]")))

        return _Length(_WIDTH)

    def _variable(self, expression: str) -> str:
        """
        Return the variable that holds the value of *expression*, which is computed once.
        """
        if expression.isidentifier():
            return expression
        known = self._variables.get(expression)
        if known is None:
            known = self._variables[expression] = f"_v{len(self._variables)}"
            self.statements.append(f"{known} = {expression}")

        return known


def _runs(pieces: Sequence[bytes | tuple[str, str] | str]) -> Iterator[tuple[str | None, list[tuple[str, str | bytes]]]]:
    """
    Split *pieces* into texts, and runs that one `Struct` packs.
    """
    run: list[tuple[str, str | bytes]] = []
    for piece in pieces:
        if isinstance(piece, str):
            if run:
                yield None, run
            yield piece, []
            run = []
        else:
            run.append((f"{len(piece)}s", piece) if isinstance(piece, bytes) else piece)
    if run:
        yield None, run


class _Wide(dict[int, bytes]):
    """
    Varints of five bytes, by number.

    Most numbers are small, so those are kept once made: two million bytes at most.
    """

    def __missing__(self, number: int) -> bytes:
        if not 0 <= number < _BOUND:
            raise OverflowError(f"{number} has no room in {_WIDTH} bytes")
        # Seven bits to a byte, the low ones first; every byte but the last says that another follows.
        low = number & 0x7F | number << 1 & 0x7F00 | number << 2 & 0x7F0000 | number << 3 & 0x7F000000
        filled = (low | number << 4 & 0x7F00000000 | 0x80808080).to_bytes(_WIDTH, "little")
        if number < KEPT:
            self[number] = filled

        return filled


WIDE = _Wide()


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)

    return bytes(encoded)


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _is_entry(message: Any) -> bool:
    return bool(message.GetOptions().map_entry)


def _entry(field: FieldDescriptor, key: Any, value: Message) -> Message:
    """
    Return the message by which the wire holds one entry of the map *field*.
    """
    entry: Any = GetMessageClass(field.message_type)(key=key)  # type: ignore[arg-type]  # a map has one
    entry.value.CopyFrom(value)
    whole: Message = entry

    return whole


def _only(message: Message, field: FieldDescriptor) -> bytes:
    """
    Serialise nothing but *field* of *message*.
    """
    alone = type(message)()
    alone.CopyFrom(message)
    for other, _ in message.ListFields():
        if other.name != field.name:
            alone.ClearField(other.name)

    return alone.SerializeToString(deterministic=True)


def _set_field(message: Any, path: Path, value: object) -> None:
    """
    Set the field of *message* at *path* to *value*, as text where it holds text.
    """
    *way, last = path
    for step in way:
        message = message[step] if not isinstance(step, str) or hasattr(message, "keys") else getattr(message, step)
    text = isinstance(value, bytes) and message.DESCRIPTOR.fields_by_name[last].type == FieldDescriptor.TYPE_STRING
    setattr(message, str(last), value.decode() if text and isinstance(value, bytes) else value)
