"""
The items of a `RouteMany` frame that cannot be decoded as a whole.

One request with a broken text makes the whole frame undecodable.  The frame is therefore split into its outer fields, and each
item is decoded alone, so that only the broken ones fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from meshwalk.server.lenient_decode import UndecodableRequest
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2


_Item = routing_pb2.RouteManyRequest.Item

_ITEMS = routing_pb2.RouteManyRequest.ITEMS_FIELD_NUMBER
_SEQ = _Item.SEQ_FIELD_NUMBER


class UndecodableItem(NamedTuple):
    """
    An item that could not be decoded.

    Args:
        seq: The number of the request; 0 if that could not be decoded either.
        reason: The decoder's own words.
    """

    seq: int
    reason: str


def decode_items(frame: UndecodableRequest) -> Sequence[_Item | UndecodableItem]:
    """
    Return the items of *frame*; its cancellations are ignored.
    """
    try:
        fields = list(_fields(frame.body))
    except DecodeError:
        return [UndecodableItem(0, frame.reason)]

    # If every item decodes by itself, the fault lies outside the items.
    items = [_decode(body) for number, body in fields if number == _ITEMS and isinstance(body, bytes)]
    return items if any(isinstance(item, UndecodableItem) for item in items) else [*items, UndecodableItem(0, frame.reason)]


def _decode(body: bytes) -> _Item | UndecodableItem:
    try:
        return _Item.FromString(body)
    except DecodeError as error:
        return UndecodableItem(_seq(body), str(error))


def _seq(body: bytes) -> int:
    try:
        seqs = [seq for number, seq in _fields(body) if number == _SEQ and isinstance(seq, int)]
    except DecodeError:
        return 0

    return seqs[-1] if seqs else 0


def _fields(body: bytes) -> Iterator[tuple[int, Any]]:
    # A message without fields keeps every field as an unknown one.
    fields = UnknownFieldSet(Empty.FromString(body))
    for position in range(len(fields)):
        yield fields[position].field_number, fields[position].data
