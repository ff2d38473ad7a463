"""
`RoutingService`: one request, one walk, one reply; `RouteMany` has a file of its own.
"""

from __future__ import annotations

import asyncio

from meshwalk.engine import EventFeed
from meshwalk.model.problems import RequestError, Violation
from meshwalk.records.events import AnswerDelta, Committed, HopFinished, HopStarted, Progress
from meshwalk.records.results import RouteResult
from meshwalk.server.calls import Context, deadline_us, rich_errors, traceparent
from meshwalk.server.many import ManyCall
from meshwalk.server.registry import MeshRegistry, ServedMesh
from meshwalk.trace import Request
from meshwalk.wire import convert
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2, routing_pb2_grpc
from meshwalk.wire.types import Detail


# What is not said counts as NONE.
_DETAILS: dict[int, Detail] = {
    routing_pb2.DETAIL_UNSPECIFIED: "NONE", **{number: word for word, number in convert.DETAILS.number.items()}
}  # fmt: skip


class Routing(routing_pb2_grpc.RoutingServiceServicer):
    """
    Route requests over the meshes that are served.
    """

    def __init__(self, served: MeshRegistry) -> None:
        self._served = served
        self._streams: set[ManyCall] = set()
        self._stopping = False

    @rich_errors
    async def Route(self, request: routing_pb2.RouteRequest, context: Context) -> routing_pb2.RouteResponse:  # noqa: N802
        """
        Walk a request to its end.
        """
        # What is bytes already is sent as it is.
        return await self._routed(request, deadline_us(context), traceparent(context))  # type: ignore[return-value]

    @rich_errors
    async def RouteStream(self, message: routing_pb2.RouteStreamRequest, context: Context) -> None:  # type: ignore[override] # noqa: N802
        """
        Walk a request to its end, and tell of each hop on the way.

        It writes instead of yielding: a cancelled coroutine runs its `finally` at once, a generator when it is collected.
        """
        request = message.request
        seat, asked = self._taken(request, deadline_us(context), traceparent(context))
        # None ends it.
        events: asyncio.Queue[Progress | None] = asyncio.Queue()
        feed = EventFeed(seat.mesh.plan, events.put_nowait)
        walk = asyncio.create_task(seat.mesh.walk(asked, feed, feed.delta))
        walk.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                await context.write(_pack_event(event, seat, request))
        finally:
            walk.cancel()
            await asyncio.wait([walk])
        walked = walk.result()
        reply = _reply(seat, walked, request)
        if (hop := walked.traversal.finish.answer_hop) is not None and not feed.streamed:
            for delta in convert.pack_deltas(hop, walked.answer):
                await context.write(delta)
        await context.write(convert.pack_final(reply))

    @rich_errors
    async def Decide(self, message: routing_pb2.DecideRequest, context: Context) -> routing_pb2.DecideResponse:  # noqa: N802
        """
        Say where a request would go, without calling a model.
        """
        seat, asked = self._taken(message.request, deadline_us(context), traceparent(context))

        return convert.pack_preview(await seat.mesh.preview(asked), seat.mesh.plan)

    @rich_errors
    async def RouteMany(self, frames: object, context: Context) -> None:  # type: ignore[override] # noqa: N802
        """
        Walk what the frames of a stream ask for, and write frames of what ends; see `ManyCall`.
        """
        del frames  # it reads them itself, so that it can stop doing so
        many = ManyCall(context, self._routed)
        self._streams.add(many)
        if self._stopping:
            many.stop()
        try:
            await many.run()
        finally:
            self._streams.remove(many)

    def stop(self) -> None:
        """
        Let streams that could go on for ever end when what is under way has.
        """
        self._stopping = True
        for many in self._streams:
            many.stop()

    async def _routed(
        self, request: routing_pb2.RouteRequest, left_us: int | None, traceparent: str
    ) -> routing_pb2.RouteResponse | bytes:
        seat, asked = self._taken(request, left_us, traceparent)

        walked = await seat.mesh.walk(asked)

        return _written(seat, walked, request) or _reply(seat, walked, request)

    def _taken(self, request: routing_pb2.RouteRequest, left_us: int | None, traceparent: str) -> tuple[ServedMesh, Request]:
        seat = self._served.pick(request.graph)
        if request.detail not in _DETAILS:
            raise RequestError([Violation("detail", f"is {request.detail}, and this server knows NONE, HOPS and FULL")])

        # Who sends a key comes back for the walk, so it is not cut short when this call is.
        left_us = None if request.idempotency_key else left_us

        return seat, convert.unpack_request(request, left_us, traceparent)


def _reply(seat: ServedMesh, walked: RouteResult, request: routing_pb2.RouteRequest) -> routing_pb2.RouteResponse:
    if error := walked.error():
        raise error

    return convert.pack_reply(
        walked.traversal,
        walked.answer,
        walked.finish_reason,
        seat.prototypes if _is_known(seat, walked) else None,
        _DETAILS[request.detail],
        repeated=walked.repeated,
        tool_calls=walked.tool_calls,
    )


def _written(seat: ServedMesh, walked: RouteResult, request: routing_pb2.RouteRequest) -> bytes | None:
    """
    Write the reply at once, if one like it was made before.
    """
    detail = _DETAILS[request.detail]
    if detail == "FULL" or walked.repeated or walked.tool_calls or not _is_known(seat, walked):
        return None

    return convert.write_compact(walked.traversal, walked.answer, walked.finish_reason, seat.prototypes, detail)


def _is_known(seat: ServedMesh, walked: RouteResult) -> bool:
    # A walk of an earlier call may be of an earlier plan, which is not here to say what its hops were.
    return walked.traversal.plan_digest == seat.mesh.plan.plan_digest


def _pack_event(event: Progress, seat: ServedMesh, request: routing_pb2.RouteRequest) -> routing_pb2.RouteStreamResponse:
    match event:
        case HopStarted():
            return convert.pack_started(event)
        case HopFinished():
            return convert.pack_finished(event.hop, seat.prototypes, full=request.detail == routing_pb2.DETAIL_FULL)
        case Committed():
            return convert.pack_committed(event)
        case AnswerDelta():
            return convert.pack_delta(event)
