"""
The sizes of requests, judged on their bytes before a message is made of them.

Two bytes of a request can become an object of a hundred, so a request of a few megabytes could take seconds and a gigabyte.
A scan of the wire format finds how many elements the repeated fields and maps have.  It knows them from the descriptors, so
that a field added later is bounded, too.  It stops at the first bound that is passed, and takes a few hundredths of a second
at most.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from meshwalk.model import MAX_ELEMENTS, MAX_MESSAGES, MAX_REQUEST_FIELDS
from meshwalk.model.problems import Violation


# A request of fewer bytes is not scanned: each element has two at least.
UNSCANNED_BYTES = 2 * MAX_ELEMENTS

# The most items of a frame; a stream holds fewer at a time, and takes the others when it has room.
MAX_FRAME_ITEMS = 4_096

_MOST = {
    "meshwalk.v1beta1.RouteRequest.messages": MAX_MESSAGES,
    "meshwalk.v1beta1.RouteManyRequest.items": MAX_FRAME_ITEMS,
    "meshwalk.v1beta1.RouteManyRequest.cancel": MAX_FRAME_ITEMS,
}

_VARINT, _FIXED64, _BYTES, _START, _END, _FIXED32 = range(6)
_VARINT_BYTES = 10
_CONTINUED = bytes(range(0x80, 0x100))


class _Field(NamedTuple):
    """
    One field of a message that the scan looks into.

    Args:
        limit: The most elements; None if the field is not repeated.
        packed: Whether one value of the wire may hold many elements.
    """

    name: str
    limit: int | None
    message: Any
    packed: bool


@lru_cache(maxsize=256)
def _fields(descriptor: Any) -> dict[int, _Field]:
    """
    Return the fields of *descriptor* that are repeated, or messages, by their numbers.
    """
    return {
        field.number: _Field(
            field.name,
            max_elements(field) if is_repeated(field) else None,
            field.message_type,
            is_repeated(field) and field.message_type is None and field.type not in (field.TYPE_STRING, field.TYPE_BYTES),
        )
        for field in descriptor.fields
        if is_repeated(field) or field.message_type is not None
    }


def is_repeated(field: Any) -> bool:
    """
    Tell whether *field* holds many elements, as a map does, too.
    """
    # The releases of protobuf that are supported name this differently; the default of such a field is an empty list in all.
    return bool(field.default_value == [])


def max_elements(field: Any) -> int:
    """
    Return the most elements that a repeated field may have, or entries that a map may.
    """
    return _MOST.get(field.full_name, MAX_ELEMENTS)


def oversize(descriptor: Any, body: bytes, *, nested: bool = True) -> Violation | None:  # noqa: C901, PLR0912 (one loop)
    """
    Return the first bound that *body* passes as a message of *descriptor*; None if it passes none.

    Bytes that are no message pass none: the decoder says what ails them.

    Args:
        nested: Look into the messages in its fields, too.
    """
    if len(body) < UNSCANNED_BYTES:
        return None
    position, fields_read = 0, 0
    outer: list[tuple[int, dict[int, _Field], str, dict[int, int]]] = []
    end, fields, path, counts = len(body), _fields(descriptor), "", dict[int, int]()
    try:
        while True:
            while position >= end:
                if not outer:
                    return None
                end, fields, path, counts = outer.pop()
            fields_read += 1
            if fields_read > MAX_REQUEST_FIELDS:
                return Violation(path or "request", _too_many_fields())
            tag = body[position]
            position += 1
            if tag >= 0x80:
                tag, position = _varint(body, position - 1)
            wire, field = tag & 7, fields.get(tag >> 3)
            size = 0
            if wire == _VARINT:
                start = position
                while body[position] >= 0x80:
                    position += 1
                    if position - start >= _VARINT_BYTES:
                        return None
                position += 1
            elif wire == _BYTES:
                size = body[position]
                position += 1
                if size >= 0x80:
                    size, position = _varint(body, position - 1)
            elif wire == _FIXED64:
                position += 8
            elif wire == _FIXED32:
                position += 4
            elif wire not in (_START, _END):
                return None
            if field is not None:
                name = f"{path}.{field.name}" if path else field.name
                if field.limit is not None:
                    elements = _packed(body[position : position + size]) if field.packed and wire == _BYTES else 1
                    count = counts[tag >> 3] = counts.get(tag >> 3, 0) + elements
                    if count > field.limit:
                        return Violation(name, f"has more than {field.limit} elements, which is the most; send fewer")
                    name = f"{name}[{count - 1}]"
                if nested and field.message is not None and wire == _BYTES:
                    if size:
                        outer.append((end, fields, path, counts))
                        end, fields, path, counts = position + size, _fields(field.message), name, {}
                    continue
            position += size
    except IndexError:
        return None


def _too_many_fields() -> str:
    return f"has more than {MAX_REQUEST_FIELDS} fields, those of its messages counted, which is the most; send less at once"


def _varint(body: bytes, position: int) -> tuple[int, int]:
    """
    Return the number at *position*, and the position after it.
    """
    value = 0
    for shift in range(0, 7 * _VARINT_BYTES, 7):
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position

    raise IndexError


def _packed(values: bytes) -> int:
    # Each value of a packed field ends with a byte below 0x80.
    return len(values.translate(None, _CONTINUED))


def varints(values: bytes) -> list[int]:
    """
    Read the values of a packed field; a broken one ends them.
    """
    numbers, position = [], 0
    try:
        while position < len(values):
            number, position = _varint(values, position)
            numbers.append(number)
    except IndexError:
        pass

    return numbers
