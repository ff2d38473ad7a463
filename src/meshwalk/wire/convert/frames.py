"""
Frames of `RouteMany`, as bytes.

Each part of a frame is made as a frame of its own: protobuf reads messages of one kind that follow each other as one message
with the parts of all.  So a frame of many is their concatenation, and its length is known before.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshwalk.records.templates import opening
from meshwalk.wire.gen.meshwalk.v1beta1 import error_pb2
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2 as routing


def pack_item(seq: int, request: routing.RouteRequest, timeout_us: int | None, traceparent: str) -> bytes:
    """
    Make a frame of one request.
    """
    frame = routing.RouteManyRequest()
    item = frame.items.add(seq=seq, traceparent=traceparent)
    # A copy into a field costs a third of passing the message to the constructor.
    item.request.CopyFrom(request)
    if timeout_us is not None:
        item.timeout_us = timeout_us

    return frame.SerializeToString()


def pack_cancel(seqs: Iterable[int]) -> bytes:
    """
    Make a frame that cancels walks.
    """
    return routing.RouteManyRequest(cancel=seqs).SerializeToString()


def pack_result(seq: int, end: routing.RouteResponse | error_pb2.Failure | bytes) -> bytes:
    """
    Make a frame of one result: a reply, which may be bytes already, or a failure.
    """
    frame = routing.RouteManyResponse()
    result = frame.results.add(seq=seq)
    if isinstance(end, bytes):
        head = result.SerializeToString() + opening(_REPLY, len(end))
        return opening(_RESULTS, len(head) + len(end)) + head + end
    if isinstance(end, routing.RouteResponse):
        result.reply.CopyFrom(end)
    else:
        result.failure.CopyFrom(end)

    return frame.SerializeToString()


_RESULTS = routing.RouteManyResponse.DESCRIPTOR.fields_by_name["results"]
_REPLY = routing.RouteManyResponse.Result.DESCRIPTOR.fields_by_name["reply"]
