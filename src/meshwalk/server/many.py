"""
`RouteMany`: one stream, whose frames carry several requests and several results.

Invariants of this module:

1. Each item has exactly one result, valid or not, unless the stream ends before.
2. An item is held from its start until its result is written, and at most `MAX_HELD` of a stream are.  Past that nothing is
   read, so gRPC's own flow control holds the caller back; a caller that does not read its results holds back its walks.
3. All results that are ready when a frame is written go into the next one, so frames grow with the load by themselves.
4. When the stream has ended, nothing that it started still runs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import grpc
import grpc.aio
from google.rpc import code_pb2

from meshwalk.model.problems import ReplyUnread, RequestError, Violation
from meshwalk.server.calls import Context, failure_of, remaining_seconds, traceparent, walk_time_us
from meshwalk.server.lenient_decode import OversizedRequest, UndecodableRequest
from meshwalk.server.partial_decode import RefusedItem, cancelled_seqs, decode_items
from meshwalk.server.unread import UNREAD, Unread
from meshwalk.wire import convert
from meshwalk.wire.gen.meshwalk.v1beta1 import error_pb2, routing_pb2


# The most items of a stream that are held at a time, and the most bytes of results: past either nothing is read.
MAX_HELD = 1_024
MAX_HELD_BYTES = 8 << 20

# The most results of a frame, and the most bytes if it has several; callers take 4 MiB by default.
MAX_FRAME_RESULTS = 256
MAX_FRAME_BYTES = 1 << 20

# The items that start before other callers have their turn.
_BURST = 64

# The most items that are held while the items of a frame are decoded one by one: they may be large.
_MAX_HELD_ALONE = 8

_CALL = "RouteMany"
_CANCELLED = error_pb2.Failure(
    code=code_pb2.CANCELLED, message="the walk was cancelled, as its caller asked", reason=error_pb2.ERROR_REASON_CANCELLED
)
STOPPING = "the server stops; open the stream again, and ask again for what has no result"

# The most bytes that the results of walks under way are expected to take, and the share of the largest that is expected next.
MAX_EXPECTED_BYTES = 32 << 20
_FADING = 0.99

# Smaller results are not counted as unread: a stream holds few MB of them.
_COUNTED_BYTES = 4 << 10

# The time without a frame after which a stream may count as idle.
IDLE_SECONDS = 1.0

# Routes one request: the request, the microseconds that its caller waits, and the caller's trace context.
Route = Callable[[routing_pb2.RouteRequest, int | None, str], Awaitable[routing_pb2.RouteResponse | bytes]]

_Item = routing_pb2.RouteManyRequest.Item


class ManyCall:
    """
    One stream; call `run` once, and `stop` to let it end.
    """

    def __init__(self, context: Context, route: Route, unread: Unread) -> None:
        self._context = context
        self._route = route
        self._unread = unread
        self._peer = context.peer()
        self._why = STOPPING
        # The bytes that a result of this stream takes: the largest of late, which fades.
        self._usual_bytes = 0.0
        self._clock = asyncio.get_running_loop().time
        self._read_at = self._clock()
        seconds = remaining_seconds(context)
        self._ends = None if seconds is None else self._clock() + seconds
        self._traceparent = traceparent(context)
        self._walks: dict[int, asyncio.Task[None]] = {}
        self._results: deque[bytes] = deque()
        self._held = self._held_bytes = 0
        # Set when there is a result to write, or the reader has ended.
        self._wake_writer = asyncio.Event()
        self._has_room = asyncio.Event()
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(lambda _: self._wake_writer.set())

    @property
    def is_idle(self) -> bool:
        """
        Tell whether no item is under way and no result waits to be read, and that for some time.
        """
        return not self._held and self._clock() - self._read_at > IDLE_SECONDS

    def stop(self, why: str = STOPPING) -> None:
        """
        Read no more, and end when the walks under way have ended.

        Args:
            why: The reason that the caller is told.
        """
        self._why = why
        self._reader.cancel()

    async def run(self) -> None:
        """
        Read, walk and write until the caller has closed its side and has every result.
        """
        try:
            while self._held or not self._reader.done():
                await self._wake_writer.wait()
                self._wake_writer.clear()
                while self._results:
                    await self._write()
        finally:
            running = [self._reader, *self._walks.values()]
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            self._unread.give(self._peer, _counted(self._results))
        if self._reader.cancelled():
            # Not by an exception, which would be logged: no item is at fault.
            self._context.set_code(grpc.StatusCode.UNAVAILABLE)
            self._context.set_details(self._why)
        else:
            self._reader.result()

    # ---- reading ------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while (frame := await self._context.read()) is not grpc.aio.EOF:
            self._read_at = read_at = self._clock()
            if isinstance(frame, (UndecodableRequest, OversizedRequest)):
                self._cancel(cancelled_seqs(frame))
                await self._start_all(decode_items(frame), read_at, most=_MAX_HELD_ALONE, burst=1)
            else:
                self._cancel(frame.cancel)
                await self._start_all(frame.items, read_at, most=MAX_HELD, burst=_BURST)

    def _cancel(self, seqs: Iterable[int]) -> None:
        for seq in seqs:
            if (walk := self._walks.get(seq)) is not None:
                # It has begun, because reading this frame waited; so it sees the cancellation and has its result.
                walk.cancel()

    async def _start_all(self, items: Iterable[_Item | RefusedItem], read_at: float, *, most: int, burst: int) -> None:
        for position, item in enumerate(items, 1):
            while self._held >= most or self._held_bytes >= MAX_HELD_BYTES or self._expected_bytes() > MAX_EXPECTED_BYTES:
                self._has_room.clear()
                await self._has_room.wait()
            self._start(item, read_at)
            if position % burst == 0:
                await asyncio.sleep(0)

    def _start(self, item: _Item | RefusedItem, read_at: float) -> None:
        self._held += 1
        if isinstance(item, RefusedItem):
            self._end(convert.pack_result(item.seq, failure_of(_CALL, item.error)))
        elif not item.seq:
            self._refuse(0, "seq", "must be said: a number from 1, by which the result will be known")
        elif item.seq in self._walks:
            self._refuse(item.seq, "seq", f"is {item.seq}, and a request with it is under way; take another one")
        else:
            self._walks[item.seq] = asyncio.create_task(self._walk(item, read_at))

    # ---- walking ------------------------------------------------------------------------------------------------

    async def _walk(self, item: _Item, read_at: float) -> None:
        seq = item.seq
        try:
            reply = await self._route(item.request, self._left_us(item, read_at), item.traceparent or self._traceparent)
            result = convert.pack_result(seq, reply)
        except asyncio.CancelledError:
            result = convert.pack_result(seq, _CANCELLED)
        except Exception as error:  # noqa: BLE001 (no input makes the server die)
            result = convert.pack_result(seq, failure_of(_CALL, error))
        del self._walks[seq]
        if len(result) >= _COUNTED_BYTES and not self._unread.take(self._peer, len(result)):
            result = convert.pack_result(seq, failure_of(_CALL, ReplyUnread(UNREAD)))
        self._end(result)

    def _left_us(self, item: _Item, read_at: float) -> int | None:
        ends = self._ends
        if item.HasField("timeout_us"):
            by = read_at + item.timeout_us / 1e6
            ends = by if ends is None else min(ends, by)

        return None if ends is None else walk_time_us(ends - self._clock())

    # ---- writing ------------------------------------------------------------------------------------------------

    def _refuse(self, seq: int, field: str, fault: str) -> None:
        self._end(convert.pack_result(seq, failure_of(_CALL, RequestError([Violation(field, fault)]))))

    def _expected_bytes(self) -> float:
        """
        Return the bytes that are held once all walks under way have ended.
        """
        return self._held_bytes + len(self._walks) * self._usual_bytes

    def _end(self, result: bytes) -> None:
        self._usual_bytes = max(len(result), self._usual_bytes * _FADING)
        self._results.append(result)
        self._held_bytes += len(result)
        self._wake_writer.set()

    async def _write(self) -> None:
        results, size = [self._results.popleft()], 0
        while self._results and len(results) < MAX_FRAME_RESULTS:
            size += len(results[-1])
            if size + len(self._results[0]) > MAX_FRAME_BYTES:
                break
            results.append(self._results.popleft())
        frame = b"".join(results)
        counted = _counted(results)
        try:
            await self._unread.written(self._context, frame)
        except BaseException:
            # gRPC still has the frame.
            self._unread.give_when_done(self._context, self._peer, counted)
            raise
        self._unread.give(self._peer, counted)
        self._held -= len(results)
        self._held_bytes -= len(frame)
        self._has_room.set()


def _counted(results: Iterable[bytes]) -> int:
    return sum([len(result) for result in results if len(result) >= _COUNTED_BYTES])
