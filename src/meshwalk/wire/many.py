"""
Many requests on one stream: the client's side of `RouteMany`.

Any number of tasks send requests, which travel in frames of several.  A stream that breaks fails every request that waits on
it, since nobody knows which of them were walked, and the next request opens another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Literal, Self

import grpc.aio
from google.protobuf.message import DecodeError

from meshwalk.model import Limits, Sampling, Value
from meshwalk.model.problems import MeshwalkError, SetupError
from meshwalk.records.results import RouteResult
from meshwalk.trace import Request, ResponseFormat, Tool
from meshwalk.trace.requests import Prompt, build_request, seconds_of
from meshwalk.wire import convert
from meshwalk.wire.errors import RpcError, unanswered, unpack_error, unpack_failure
from meshwalk.wire.gen.meshwalk.v1beta1 import error_pb2, routing_pb2
from meshwalk.wire.types import Detail


LARGEST = 64
IN_FLIGHT = 512

# A frame of several has no more bytes than this; a server takes 4 MiB, and a request that is longer goes alone.
LARGEST_BYTES = 1 << 20

_SERVICE = routing_pb2.DESCRIPTOR.services_by_name["RoutingService"].full_name

_Result = routing_pb2.RouteManyResponse.Result


class Many:
    """
    A stream for many requests, see `Client.many`.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        target: str,
        *,
        metadata: tuple[tuple[str, str], ...],
        linger: float,
        largest: int,
        in_flight: int,
    ) -> None:
        if not linger >= 0 or largest < 1 or in_flight < 1:
            raise SetupError("a stream takes linger from 0 seconds on, and largest and in_flight from 1")
        # Frames are put together as bytes.
        self._call: Any = channel.stream_stream(
            f"/{_SERVICE}/RouteMany", response_deserializer=routing_pb2.RouteManyResponse.FromString
        )
        self._metadata = metadata
        self._target = target
        self._linger = linger
        self._largest = largest
        self._turns = asyncio.Semaphore(in_flight)
        self._stream: _Stream | None = None
        self._state: Literal["new", "open", "closing", "closed"] = "new"
        self._asking = 0
        self._answered = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._state = "open"

        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """
        Wait for the answers that others wait for; after an error, break the stream off.
        """
        self._state = "closing"
        try:
            while kind is None and self._asking:
                self._answered.clear()
                await self._answered.wait()
        finally:
            self._state = "closed"
            if self._stream is not None:
                await self._stream.aclose()

    async def route(
        self,
        prompt: Prompt,
        *,
        attributes: Mapping[str, Value] = {},
        graph: str = "",
        session: str = "",
        workflow: str = "",
        limits: Limits = Limits(),
        sampling: Sampling = Sampling(),
        tools: Sequence[Tool] = (),
        tool_choice: str = "",
        response_format: ResponseFormat | None = None,
        traceparent: str = "",
        idempotency_key: str = "",
        timeout: timedelta | float | None = None,
        detail: Detail = "NONE",
        **more_attributes: Value,
    ) -> RouteResult:
        """
        Route one prompt, or one conversation, as `Client.route` does; cancelling the call cancels the walk.
        """
        request = build_request(
            prompt,
            attributes=attributes,
            named=more_attributes,
            session=session,
            workflow=workflow,
            limits=limits,
            sampling=sampling,
            tools=tools,
            tool_choice=tool_choice,
            response_format=response_format,
            traceparent=traceparent,
            idempotency_key=idempotency_key,
        )

        return await self.send(request, graph=graph, timeout=timeout, detail=detail)

    async def send(
        self,
        request: Request,
        *,
        graph: str = "",
        timeout: timedelta | float | None = None,
        detail: Detail = "NONE",
    ) -> RouteResult:
        """
        Route *request*, as `route` does.
        """
        message = convert.pack_request(request, graph, detail)
        seconds = seconds_of(timeout)
        if seconds is None:
            result = await self._asked(message, None, request.traceparent)
        else:
            ends = asyncio.get_running_loop().time() + seconds
            try:
                async with asyncio.timeout_at(ends):
                    result = await self._asked(message, ends, request.traceparent)
            except TimeoutError:
                raise unanswered(self._target) from None
        if result.HasField("failure"):
            raise unpack_failure(result.failure)

        return convert.unpack_reply(result.reply)

    async def _asked(self, message: routing_pb2.RouteRequest, ends: float | None, traceparent: str) -> _Result:
        if self._state != "open":
            raise SetupError("this stream of requests is not open; use it inside `async with client.many()`")
        self._asking += 1
        try:
            async with self._turns:
                left_us = None if ends is None else max(0, int((ends - asyncio.get_running_loop().time()) * 1e6))

                return await self._going().ask(message, left_us, traceparent)
        finally:
            self._asking -= 1
            self._answered.set()

    def _going(self) -> _Stream:
        if self._state == "closed":
            raise _broken_off(self._target)
        if self._stream is None or self._stream.ended:
            self._stream = _Stream(self._call(metadata=self._metadata), self._target, self._linger, self._largest)

        return self._stream


class _Stream:
    """
    One call under way: a task writes frames, another reads them.
    """

    def __init__(self, call: Any, target: str, linger: float, largest: int) -> None:
        self._call = call
        self._target = target
        self._linger = linger
        self._largest = largest
        self._seqs = count(1)
        self._waiting: dict[int, asyncio.Future[_Result | MeshwalkError]] = {}
        # The requests to be written, by their seq, so that one nobody waits for any more need not travel.
        self._items: dict[int, bytes] = {}
        self._cancelled: list[int] = []
        self._closing = False
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.ended = False
        self._loop = asyncio.get_running_loop()
        self._writer = asyncio.create_task(self._write())
        self._reader = asyncio.create_task(self._read())

    async def ask(self, message: routing_pb2.RouteRequest, left_us: int | None, traceparent: str) -> _Result:
        """
        Wait for the result of one request.
        """
        seq = next(self._seqs)
        self._items[seq] = convert.pack_item(seq, message, left_us, traceparent)
        answer: asyncio.Future[_Result | MeshwalkError] = self._loop.create_future()
        self._waiting[seq] = answer
        self._gather()
        try:
            end = await answer
        except asyncio.CancelledError:
            self._give_up(seq)
            raise
        if isinstance(end, MeshwalkError):
            raise end

        return end

    async def aclose(self) -> None:
        """
        Send nothing more, and end the call: by breaking it off, if there is a request without a result.
        """
        if self._waiting:
            self._call.cancel()
        self._closing = True
        self._due.set()
        try:
            await asyncio.wait([self._writer, self._reader])
        finally:
            self._call.cancel()

    # ---- writing ------------------------------------------------------------------------------------------------

    def _gather(self) -> None:
        if not self._linger or self._closing or self._cancelled or len(self._items) >= self._largest:
            self._due.set()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._linger, self._due.set)

    def _give_up(self, seq: int) -> None:
        still_waiting = self._waiting.pop(seq, None) is not None
        if self._items.pop(seq, None) is None and still_waiting:
            self._cancelled.append(seq)
            self._gather()

    async def _write(self) -> None:
        try:
            while self._items or self._cancelled or not self._closing:
                await self._due.wait()
                self._due.clear()
                self._stop_timer()
                if frame := self._frame():
                    await self._call.write(frame)
                if self._items or self._cancelled:
                    self._gather()
            await self._call.done_writing()
        except Exception:  # noqa: BLE001 (the call is over, or is now; the reader tells why)
            self._call.cancel()

    def _frame(self) -> bytes:
        parts = [convert.pack_cancel(self._cancelled)] if self._cancelled else []
        self._cancelled.clear()
        taken: list[int] = []
        size = 0
        for seq, item in self._items.items():
            size += len(item)
            if len(taken) == self._largest or (taken and size > LARGEST_BYTES):
                break
            taken.append(seq)
        parts += [self._items.pop(seq) for seq in taken]

        return b"".join(parts)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # ---- reading ------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        why: Callable[[], MeshwalkError] = partial(_unanswering, self._target)
        try:
            while (frame := await self._call.read()) is not grpc.aio.EOF:
                for result in frame.results:
                    self._take(result)
        except _Unreadable as unread:
            why = partial(unpack_failure, unread.failure)
        except grpc.aio.AioRpcError as error:
            why = partial(unpack_error, error, self._target)
        except asyncio.CancelledError:
            why = partial(_broken_off, self._target)
        except DecodeError:
            why = partial(_unintelligible, self._target)
        self._end(why)

    def _take(self, result: _Result) -> None:
        if not result.seq:
            raise _Unreadable(result.failure)
        answer = self._waiting.pop(result.seq, None)
        # Nobody waits for what was cancelled.
        if answer is not None and not answer.done():
            answer.set_result(result)

    def _end(self, why: Callable[[], MeshwalkError]) -> None:
        self.ended = True
        self._stop_timer()
        self._writer.cancel()
        self._call.cancel()
        for answer in self._waiting.values():
            if not answer.done():
                # Each has an error of its own, since each is raised somewhere else.
                answer.set_result(why())
        self._waiting.clear()


class _Unreadable(Exception):
    """
    A frame that the server could not decode far enough to find the requests' `seq`.
    """

    def __init__(self, failure: error_pb2.Failure) -> None:
        self.failure = failure
        super().__init__(failure.message)


def _unanswering(target: str) -> RpcError:
    message = (
        f"{target} ended the stream without an answer to this request; it may have been walked: with an idempotency key it is "
        "safe to ask again"
    )

    return RpcError(message, code="UNAVAILABLE")


def _unintelligible(target: str) -> RpcError:
    message = f"what {target} sent on the stream cannot be read; is it a meshwalk server of this version?"

    return RpcError(message, code="INTERNAL")


def _broken_off(target: str) -> RpcError:
    return RpcError(f"the stream to {target} was closed before this request was answered", code="CANCELLED")
