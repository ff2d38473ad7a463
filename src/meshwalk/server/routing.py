"""
`RoutingService`: one request, one walk, one reply; `RouteMany` has a file of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from meshwalk.engine import EventFeed, closed_error, cut_of
from meshwalk.model.problems import RequestError, Violation
from meshwalk.records.events import AnswerDelta, Committed, HopFinished, HopStarted, Progress
from meshwalk.records.results import RouteResult
from meshwalk.server.calls import Context, deadline_us, rich_errors, traceparent
from meshwalk.server.identity.caller import ANYBODY, caller
from meshwalk.server.identity.rates import RequestRates
from meshwalk.server.in_flight import WalksInFlight
from meshwalk.server.many import ManyCall
from meshwalk.server.registry import MeshRegistry, ServedMesh
from meshwalk.server.unread import COUNTED_BYTES, Unread
from meshwalk.trace import Request, Scopes, Traversal, disclosed_record
from meshwalk.wire import convert
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2, routing_pb2_grpc
from meshwalk.wire.types import Detail


# An unset detail counts as NONE.
_DETAILS: dict[int, Detail] = {
    routing_pb2.DETAIL_UNSPECIFIED: "NONE", **{number: word for word, number in convert.DETAILS.number.items()}
}  # fmt: skip

# The most streams of `RouteMany` on which nothing is under way.
MAX_IDLE_STREAMS = 128

_IDLE = "this server has too many streams on which nothing is under way; open the stream again when there is something to ask"


class Routing(routing_pb2_grpc.RoutingServiceServicer):
    """
    The routing of requests over the meshes that are served.
    """

    def __init__(self, served: MeshRegistry, in_flight: WalksInFlight | None = None, unread: Unread | None = None) -> None:
        self._served = served
        self._unread = unread or Unread()
        self._in_flight = in_flight or WalksInFlight()
        self._rates = RequestRates()
        # Oldest first.
        self._streams: dict[ManyCall, None] = {}
        self._stopping = False

    @rich_errors
    async def Route(self, request: routing_pb2.RouteRequest, context: Context) -> routing_pb2.RouteResponse:  # noqa: N802
        """
        Walk a request to its end.
        """
        reply = await self._routed(request, deadline_us(context), traceparent(context))
        size = len(reply) if isinstance(reply, bytes) else reply.ByteSize()
        if size >= COUNTED_BYTES:
            self._unread.hold(context, size)

        # The reply may be bytes, which the serializer sends as they are.
        return reply  # type: ignore[return-value]

    @rich_errors
    async def RouteStream(self, message: routing_pb2.RouteStreamRequest, context: Context) -> None:  # type: ignore[override] # noqa: N802
        """
        Walk a request to its end, and report each hop on the way.

        It writes instead of yielding: a cancelled coroutine runs its `finally` at once, a generator when it is collected.
        """
        request = message.request
        served, routed = self._admit(request, deadline_us(context), traceparent(context))
        tenant = self._enter()
        try:
            await self._stream(served, routed, request, context)
        finally:
            self._in_flight.leave(tenant)

    async def _stream(self, served: ServedMesh, routed: Request, request: routing_pb2.RouteRequest, context: Context) -> None:
        # None ends the queue.
        events: asyncio.Queue[Progress | None] = asyncio.Queue()
        feed = EventFeed(served.mesh.plan, events.put_nowait)
        walk = asyncio.create_task(self._while_called(served.mesh.walk(routed, feed, feed.delta)))
        walk.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                await self._unread.write(context, _pack_event(event, served, request))
        finally:
            walk.cancel()
            await asyncio.wait([walk])
        result = walk.result()
        reply = _reply(served, result, request)
        if (hop := result.traversal.finish.answer_hop) is not None and not feed.streamed:
            for delta in convert.pack_deltas(hop, result.answer):
                await self._unread.write(context, delta)
        await self._unread.write(context, convert.pack_final(reply))

    @rich_errors
    async def Decide(self, message: routing_pb2.DecideRequest, context: Context) -> routing_pb2.DecideResponse:  # noqa: N802
        """
        Preview the way of a request, without calling a model.
        """
        served, routed = self._admit(message.request, deadline_us(context), traceparent(context))

        return convert.pack_preview(await served.mesh.preview(routed), served.mesh.plan)

    @rich_errors
    async def RouteMany(self, frames: object, context: Context) -> None:  # type: ignore[override] # noqa: N802
        """
        Walk the requests of a stream's frames, and write frames of results; see `ManyCall`.
        """
        del frames  # `ManyCall` reads them itself, so that it can stop reading
        self._end_idle()
        many = ManyCall(context, self._routed, self._unread)
        self._streams[many] = None
        if self._stopping:
            many.stop()
        try:
            await many.run()
        finally:
            self._streams.pop(many, None)

    def _end_idle(self) -> None:
        """
        End the oldest idle streams past `MAX_IDLE_STREAMS`: each may hold a part of a frame.
        """
        if len(self._streams) < MAX_IDLE_STREAMS:
            return
        idle = [many for many in self._streams if many.is_idle]
        for many in idle[: len(idle) - MAX_IDLE_STREAMS + 1]:
            many.stop(_IDLE)
            self._streams.pop(many)

    def stop(self) -> None:
        """
        Let every `RouteMany` stream end once its walks under way have ended.
        """
        self._stopping = True
        for many in self._streams:
            many.stop()

    async def _routed(
        self, request: routing_pb2.RouteRequest, left_us: int | None, traceparent: str
    ) -> routing_pb2.RouteResponse | bytes:
        served, routed = self._admit(request, left_us, traceparent)

        in_flight, tenant = self._in_flight, self._enter()
        if routed.idempotency_key:
            result = await in_flight.run_to_the_end(served.mesh.walk(routed), tenant)
        else:
            try:
                result = await self._while_called(served.mesh.walk(routed))
            finally:
                in_flight.leave(tenant)

        return _written(served, result, request) or _reply(served, result, request)

    async def _while_called(self, walk: Awaitable[RouteResult]) -> RouteResult:
        """
        Await *walk*, which was counted in, for as long as its caller waits and the server goes on.

        Raises:
            MeshClosed: If the server stopped before it had ended.
        """
        in_flight, task = self._in_flight, asyncio.current_task()
        assert task is not None, "a call is handled by a task"
        in_flight.tasks.add(task)
        try:
            return await walk
        except asyncio.CancelledError as gone:
            if not in_flight.cutting:
                raise
            raise closed_error("this server", cut_of(gone)) from None
        finally:
            in_flight.tasks.discard(task)

    def _admit(self, request: routing_pb2.RouteRequest, left_us: int | None, traceparent: str) -> tuple[ServedMesh, Request]:
        known = caller()
        if known is not ANYBODY:
            known.check_unexpired()
            self._rates.take(known)
        served = self._served.pick(request.graph, known)
        if request.detail not in _DETAILS:
            raise RequestError([Violation("detail", f"is {request.detail}, and this server knows NONE, HOPS and FULL")])

        # A caller with a key comes back for the reply, so the walk outlives this call.
        left_us = None if request.idempotency_key else left_us

        routed = convert.unpack_request(request, left_us, traceparent)
        if known is not ANYBODY:
            # A request never says itself whose it is.
            session, workflow, _ = routed.scopes
            routed.scopes = Scopes(session, workflow, known.tenant)

        return served, routed

    def _enter(self) -> str:
        """
        Count a walk more of the caller's tenant, and return its name.
        """
        known = caller()
        self._in_flight.enter(known.tenant, known.rules.walks_in_flight)

        return known.tenant


def _reply(served: ServedMesh, result: RouteResult, request: routing_pb2.RouteRequest) -> routing_pb2.RouteResponse:
    if error := result.error():
        raise error

    return convert.pack_reply(
        disclosed_record(result.traversal),
        result.answer,
        result.finish_reason,
        served.prototypes if _is_known(served, result.traversal) else None,
        _DETAILS[request.detail],
        repeated=result.repeated,
        tool_calls=result.tool_calls,
        carried=result.carried,
    )


def _written(served: ServedMesh, result: RouteResult, request: routing_pb2.RouteRequest) -> bytes | None:
    """
    Write the reply by a template, if one like it was made before.
    """
    detail, traversal = _DETAILS[request.detail], result.traversal
    if detail == "FULL" or result.repeated or result.tool_calls or not _is_known(served, traversal):
        return None

    return convert.write_compact(traversal, result.answer, result.finish_reason, served.prototypes, detail)


def _is_known(served: ServedMesh, traversal: Traversal) -> bool:
    # A replayed walk may be of an earlier plan, and without that plan its hops cannot be told.
    return traversal.plan_digest == served.mesh.plan.plan_digest


def _pack_event(event: Progress, served: ServedMesh, request: routing_pb2.RouteRequest) -> routing_pb2.RouteStreamResponse:
    match event:
        case HopStarted():
            return convert.pack_started(event)
        case HopFinished():
            return convert.pack_finished(event.hop, served.prototypes, full=request.detail == routing_pb2.DETAIL_FULL)
        case Committed():
            return convert.pack_committed(event)
        case AnswerDelta():
            return convert.pack_delta(event)
