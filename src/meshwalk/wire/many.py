"""
Many requests on one stream: the client's side of `RouteMany`.

Any number of tasks send requests; a frame holds several.  If the stream breaks, every request that waits on it fails, since the
client cannot tell which were walked.  The next request opens another stream.
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
from meshwalk.model.arguments import checked_setup, count_fault, seconds_fault
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

# A frame of several requests has no more bytes than this.  A server takes 256 KiB at least, and a longer request goes alone.
FRAME_BYTES = 128 << 10

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
        headers: Callable[[], tuple[tuple[str, str], ...]],
        linger: float,
        largest: int,
        in_flight: int,
    ) -> None:
        checked_setup(linger=seconds_fault(linger), largest=count_fault(largest), in_flight=count_fault(in_flight))
        if not linger >= 0 or largest < 1 or in_flight < 1:
            raise SetupError("a stream takes linger from 0 seconds on, and largest and in_flight from 1")
        # Frames are built as bytes, so requests need no serializer.
        self._call: Any = channel.stream_stream(
            f"/{_SERVICE}/RouteMany", response_deserializer=routing_pb2.RouteManyResponse.FromString
        )
        self._headers = headers
        self._target = target
        self._linger = linger
        self._largest = largest
        self._slots = asyncio.Semaphore(in_flight)
        self._stream: _Stream | None = None
        self._state: Literal["new", "open", "closing", "closed"] = "new"
        self._unanswered = 0
        self._answered = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._state = "open"

        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """
        Wait for the requests under way; after an error, break the stream off.
        """
        self._state = "closing"
        try:
            while kind is None and self._unanswered:
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
            result = await self._result_of(message, None, request.traceparent)
        else:
            deadline = asyncio.get_running_loop().time() + seconds
            try:
                async with asyncio.timeout_at(deadline):
                    result = await self._result_of(message, deadline, request.traceparent)
            except TimeoutError:
                raise unanswered(self._target) from None
        if result.HasField("failure"):
            raise unpack_failure(result.failure)

        return convert.unpack_reply(result.reply)

    async def _result_of(self, message: routing_pb2.RouteRequest, deadline: float | None, traceparent: str) -> _Result:
        if self._state != "open":
            raise SetupError("this stream of requests is not open; use it inside `async with client.many()`")
        self._unanswered += 1
        try:
            async with self._slots:
                timeout_us = None if deadline is None else max(0, int((deadline - asyncio.get_running_loop().time()) * 1e6))

                return await self._open_stream().ask(message, timeout_us, traceparent)
        finally:
            self._unanswered -= 1
            self._answered.set()

    def _open_stream(self) -> _Stream:
        if self._state == "closed":
            raise _broken_off(self._target)
        if self._stream is None or self._stream.ended:
            self._stream = _Stream(self._call(metadata=self._headers()), self._target, self._linger, self._largest)

        return self._stream


class _Stream:
    """
    One call of `RouteMany`, with a task that writes frames and a task that reads them.
    """

    def __init__(self, call: Any, target: str, linger: float, largest: int) -> None:
        self._call = call
        self._target = target
        self._linger = linger
        self._largest = largest
        self._seqs = count(1)
        self._pending: dict[int, asyncio.Future[_Result | MeshwalkError]] = {}
        # The requests not written yet, by their seq; a cancelled one is taken out.
        self._unsent: dict[int, bytes] = {}
        self._cancelled: list[int] = []
        self._closing = False
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.ended = False
        self._loop = asyncio.get_running_loop()
        self._writer = asyncio.create_task(self._write())
        self._reader = asyncio.create_task(self._read())

    async def ask(self, message: routing_pb2.RouteRequest, timeout_us: int | None, traceparent: str) -> _Result:
        """
        Wait for the result of one request.
        """
        seq = next(self._seqs)
        self._unsent[seq] = convert.pack_item(seq, message, timeout_us, traceparent)
        future: asyncio.Future[_Result | MeshwalkError] = self._loop.create_future()
        self._pending[seq] = future
        self._schedule()
        try:
            outcome = await future
        except asyncio.CancelledError:
            self._withdraw(seq)
            raise
        if isinstance(outcome, MeshwalkError):
            raise outcome

        return outcome

    async def aclose(self) -> None:
        """
        End the call; cancel it if a request has no result yet.
        """
        if self._pending:
            self._call.cancel()
        self._closing = True
        self._wake.set()
        try:
            await asyncio.wait([self._writer, self._reader])
        finally:
            self._call.cancel()

    # ---- writing ------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._linger or self._closing or self._cancelled or len(self._unsent) >= self._largest:
            self._wake.set()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._linger, self._wake.set)

    def _withdraw(self, seq: int) -> None:
        was_pending = self._pending.pop(seq, None) is not None
        if self._unsent.pop(seq, None) is None and was_pending:
            self._cancelled.append(seq)
            self._schedule()

    async def _write(self) -> None:
        try:
            while self._unsent or self._cancelled or not self._closing:
                await self._wake.wait()
                self._wake.clear()
                self._stop_timer()
                if frame := self._frame():
                    await self._call.write(frame)
                if self._unsent or self._cancelled:
                    self._schedule()
            await self._call.done_writing()
        except Exception:  # noqa: BLE001 (the reader reports the cause)
            self._call.cancel()

    def _frame(self) -> bytes:
        parts = [convert.pack_cancel(self._cancelled)] if self._cancelled else []
        self._cancelled.clear()
        taken: list[int] = []
        size = 0
        for seq, item in self._unsent.items():
            size += len(item)
            if len(taken) == self._largest or (taken and size > FRAME_BYTES):
                break
            taken.append(seq)
        parts += [self._unsent.pop(seq) for seq in taken]

        return b"".join(parts)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # ---- reading ------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        make_error: Callable[[], MeshwalkError] = partial(_ended_early, self._target)
        try:
            while (frame := await self._call.read()) is not grpc.aio.EOF:
                for result in frame.results:
                    self._take(result)
        except _Unreadable as unreadable:
            make_error = partial(unpack_failure, unreadable.failure)
        except grpc.aio.AioRpcError as error:
            make_error = partial(unpack_error, error, self._target)
        except asyncio.CancelledError:
            make_error = partial(_broken_off, self._target)
        except DecodeError:
            make_error = partial(_undecodable, self._target)
        self._end(make_error)

    def _take(self, result: _Result) -> None:
        if not result.seq:
            raise _Unreadable(result.failure)
        future = self._pending.pop(result.seq, None)
        # A cancelled request has no future any more.
        if future is not None and not future.done():
            future.set_result(result)

    def _end(self, make_error: Callable[[], MeshwalkError]) -> None:
        self.ended = True
        self._stop_timer()
        self._writer.cancel()
        self._call.cancel()
        for future in self._pending.values():
            if not future.done():
                # Each request gets its own error, since each is raised in another task.
                future.set_result(make_error())
        self._pending.clear()


class _Unreadable(Exception):
    """
    A frame that the server could not decode far enough to find the requests' `seq`.
    """

    def __init__(self, failure: error_pb2.Failure) -> None:
        self.failure = failure
        super().__init__(failure.message)


def _ended_early(target: str) -> RpcError:
    message = (
        f"{target} ended the stream without an answer to this request; it may have been walked: with an idempotency key it is "
        "safe to ask again"
    )

    return RpcError(message, code="UNAVAILABLE")


def _undecodable(target: str) -> RpcError:
    message = f"what {target} sent on the stream cannot be read; is it a meshwalk server of this version?"

    return RpcError(message, code="INTERNAL")


def _broken_off(target: str) -> RpcError:
    return RpcError(f"the stream to {target} was closed before this request was answered", code="CANCELLED")
