"""
What is left of a `RouteMany` frame that cannot be read.

One request with a broken text makes the whole frame no message.  The frame is therefore taken apart as protobuf's outer form,
which knows fields and no texts, and each item is read alone: those that can be read are, and those that cannot fail alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from meshwalk.server.lenient_decode import Unreadable
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2


_Item = routing_pb2.RouteManyRequest.Item

_ITEMS = routing_pb2.RouteManyRequest.ITEMS_FIELD_NUMBER
_SEQ = _Item.SEQ_FIELD_NUMBER


class Undecodable(NamedTuple):
    """
    Stand for an item that cannot be read.

    Args:
        seq: Whose it is; 0 if that cannot be read either.
    """

    seq: int
    why: str


def salvaged(frame: Unreadable) -> Sequence[_Item | Undecodable]:
    """
    Return the items of *frame*; what it cancels is passed over.
    """
    try:
        fields = list(_fields(frame.body))
    except DecodeError:
        return [Undecodable(0, frame.why)]

    # If every item can be read alone, what could not be read is none.
    items = [_read(body) for number, body in fields if number == _ITEMS and isinstance(body, bytes)]
    return items if any(isinstance(item, Undecodable) for item in items) else [*items, Undecodable(0, frame.why)]


def _read(body: bytes) -> _Item | Undecodable:
    try:
        return _Item.FromString(body)
    except DecodeError as error:
        return Undecodable(_seq(body), str(error))


def _seq(body: bytes) -> int:
    try:
        seqs = [seq for number, seq in _fields(body) if number == _SEQ and isinstance(seq, int)]
    except DecodeError:
        return 0

    return seqs[-1] if seqs else 0


def _fields(body: bytes) -> Iterator[tuple[int, Any]]:
    # To a message that has no fields every field is an unknown one, and is kept as it came.
    fields = UnknownFieldSet(Empty.FromString(body))
    for position in range(len(fields)):
        yield fields[position].field_number, fields[position].data
