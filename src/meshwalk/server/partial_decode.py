"""
The items of a `RouteMany` frame that cannot be decoded as a whole, or is too large to be.

One request with a broken text makes the whole frame undecodable.  The frame is therefore split into its outer fields, and each
item is decoded alone when its turn comes, so that only the broken ones and the oversized ones fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from meshwalk.model.problems import InputTooLarge, RequestError, Violation
from meshwalk.server.lenient_decode import OversizedRequest, UndecodableRequest
from meshwalk.server.request_sizes import oversize, varints
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2


_Item = routing_pb2.RouteManyRequest.Item

_FRAME = routing_pb2.RouteManyRequest.DESCRIPTOR
_ITEMS = routing_pb2.RouteManyRequest.ITEMS_FIELD_NUMBER
_CANCEL = routing_pb2.RouteManyRequest.CANCEL_FIELD_NUMBER
_SEQ = _Item.SEQ_FIELD_NUMBER


class RefusedItem(NamedTuple):
    """
    An item that is not decoded.

    Args:
        seq: The number of the request; 0 if that could not be decoded either.
    """

    seq: int
    error: RequestError


def decode_items(frame: UndecodableRequest | OversizedRequest) -> Iterator[_Item | RefusedItem]:
    """
    Decode the items of *frame* one by one.
    """
    if (violation := oversize(_FRAME, frame.body, nested=False)) is not None:
        yield RefusedItem(0, InputTooLarge([violation]))
        return
    try:
        bodies = [body for number, body in _fields(frame.body) if number == _ITEMS and isinstance(body, bytes)]
    except DecodeError as error:
        yield _undecodable(0, getattr(frame, "reason", str(error)))
        return
    is_told = isinstance(frame, OversizedRequest)
    for body in bodies:
        item = _decode(body)
        is_told = is_told or isinstance(item, RefusedItem)
        yield item
    # If every item decodes by itself, the fault lies outside the items.
    if not is_told:
        yield _undecodable(0, getattr(frame, "reason", ""))


def cancelled_seqs(frame: UndecodableRequest | OversizedRequest) -> list[int]:
    """
    Return the numbers that a frame cancels whose bounds alone kept it from being decoded; those of others are ignored.
    """
    if isinstance(frame, UndecodableRequest) or oversize(_FRAME, frame.body, nested=False) is not None:
        return []
    try:
        outer = list(_fields(frame.body))
    except DecodeError:
        return []
    seqs = [seq for number, seq in outer if number == _CANCEL and isinstance(seq, int)]
    for number, packed in outer:
        if number == _CANCEL and isinstance(packed, bytes):
            seqs += varints(packed)

    return seqs


def _decode(body: bytes) -> _Item | RefusedItem:
    if (violation := oversize(_Item.DESCRIPTOR, body)) is not None:
        field = violation.field.removeprefix("request.")
        return RefusedItem(_seq(body), InputTooLarge([Violation(field, violation.description)]))
    try:
        return _Item.FromString(body)
    except DecodeError as error:
        return _undecodable(_seq(body), str(error))


def _undecodable(seq: int, reason: str) -> RefusedItem:
    return RefusedItem(seq, RequestError([Violation("request", f"cannot be read: {reason}")]))


def _seq(body: bytes) -> int:
    if oversize(_Item.DESCRIPTOR, body, nested=False) is not None:
        return 0
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
