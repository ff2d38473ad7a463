"""
`RouteMany`: many requests on one stream, through a real server and a real client.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import grpc.aio
import pytest

from meshwalk.backends.base import ChatRequest
from meshwalk.model import Limits
from meshwalk.model.problems import MeshClosed, MeshwalkError, SetupError
from meshwalk.server import many, routing
from meshwalk.server.many import MAX_HELD, MAX_HELD_BYTES
from meshwalk.testing import RecordList, ScriptedBackend
from meshwalk.trace import Outcome, Reply
from meshwalk.wire.client import Client
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2, routing_pb2, routing_pb2_grpc
from tests.support.backends import Gate, saying
from tests.support.service import desk, stub_of


pytestmark = pytest.mark.anyio

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
Item = routing_pb2.RouteManyRequest.Item


def item(seq: int, prompt: str = "hi") -> Item:
    message = common_pb2.Message(role="user", content=prompt)

    return Item(seq=seq, request=routing_pb2.RouteRequest(messages=[message]))


@asynccontextmanager
async def stream_to(client: Client) -> AsyncIterator[Any]:
    async with stub_of(client, routing_pb2_grpc.RoutingServiceStub) as stub:
        call: Any = stub.RouteMany()
        try:
            yield call
        finally:
            call.cancel()


async def results_of(call: Any, count: int) -> list[routing_pb2.RouteManyResponse.Result]:
    results: list[routing_pb2.RouteManyResponse.Result] = []
    with anyio.fail_after(20):
        while len(results) < count:
            results += (await call.read()).results

    return results


def known(error: MeshwalkError) -> dict[str, object]:
    # Two walks have two records.
    return {**vars(error), "traversal_id": bool(getattr(error, "traversal_id", ""))}


class TestClient:
    async def test_each_task_has_its_own_answer(self) -> None:
        """
        Requests of many tasks share a stream, and each is given its own answer.
        """

        async def script(request: ChatRequest) -> Reply:
            return Reply(request.prompt, confidence=1.0)

        async with desk({"little": ScriptedBackend(script)}) as (client, _), client.many(largest=7, in_flight=20) as many:
            done = await asyncio.gather(*(many.route(str(number)) for number in range(100)))

        assert [str(number) for number in range(100)] == [one.answer for one in done]

    async def test_a_quick_one_does_not_wait_for_a_slow_one(self) -> None:
        """
        Answers come as walks end, whatever was asked first.
        """
        gate = Gate()

        async def script(request: ChatRequest) -> Reply:
            return await gate.chat(request) if request.prompt == "slow" else Reply("quick", confidence=1.0)

        async with desk({"little": ScriptedBackend(script)}) as (client, _), client.many() as many:
            slow = asyncio.create_task(many.route("slow"))
            await gate.asked_for.wait()
            quick = await many.route("quick")
            gate.open.set()

        assert ("quick", "at last") == (quick.answer, (await slow).answer)

    async def test_a_request_lingers_until_its_frame_is_full(self) -> None:
        """
        Requests that wait for company travel together once there are enough of them, however long they might have waited.
        """
        little = saying("yes")
        async with desk({"little": little}) as (client, _), client.many(linger=3600, largest=3) as many:
            tasks = [asyncio.create_task(many.route(str(number))) for number in range(2)]
            # Three whole round trips on the same connection later they are still here.
            for _ in range(3):
                await client.graphs()
            waiting = len(little.requests)
            with anyio.fail_after(20):
                await many.route("2")
                await asyncio.gather(*tasks)

        assert (0, ["0", "1", "2"]) == (waiting, sorted(request.prompt for request in little.requests))

    async def test_a_lone_request_lingers_no_longer_than_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Nobody comes, and the request goes out all the same, when the time that was said is over and not before.
        """
        loop, timers = asyncio.get_running_loop(), list[tuple[float, Callable[[], object]]]()
        set_timer = loop.call_later

        def call_later(delay: float, call: Callable[..., object], *args: object, **named: Any) -> asyncio.TimerHandle:
            if delay != 1234.5:
                return set_timer(delay, call, *args, **named)
            timers.append((delay, call))
            return set_timer(3600, call, *args)

        little = saying("yes")
        async with desk({"little": little}) as (client, _), client.many(linger=1234.5) as many:
            monkeypatch.setattr(loop, "call_later", call_later)
            lone = asyncio.create_task(many.route("hi"))
            for _ in range(3):
                await client.graphs()
            waiting = len(little.requests)
            ((_, over),) = timers
            over()
            with anyio.fail_after(20):
                await lone

        assert (0, 1) == (waiting, len(little.requests))

    @pytest.mark.parametrize(
        "asked",
        [
            {"limits": Limits(cost_nano_usd=1)},
            {"limits": Limits(deadline_us=0)},
            {"limits": Limits(hops=1)},
            {"colour": "red", "weight": 7.0},
            {"graph": "dusk"},
            {"prompt": "x" * 2001},
        ],
    )
    async def test_errors_are_those_of_route(self, asked: dict[str, Any]) -> None:
        """
        What fails raises what `route` raises: class, text and all that it knows.
        """
        async with desk() as (client, _), client.many() as many:
            with pytest.raises(MeshwalkError) as alone:
                await client.route(**{"prompt": "hi", **asked})
            with pytest.raises(MeshwalkError) as shared:
                await many.route(**{"prompt": "hi", **asked})

        assert (alone.type, str(alone.value), known(alone.value)) == (shared.type, str(shared.value), known(shared.value))

    async def test_a_refusal_and_a_trace_context(self) -> None:
        """
        A refusal is a reply, and each request goes on with its own trace.
        """
        async with desk() as (client, _), client.many() as many:
            refused = await many.route("Prove it.", task="proof", traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01")
            other = await many.route("hi", detail="HOPS")

        assert (Outcome.REFUSED, TRACE_ID) == (refused.outcome, refused.trace_id)
        assert (2, True) == (len(other.hops), other.trace_id != TRACE_ID)

    async def test_a_cancelled_task_cancels_its_walk(self) -> None:
        """
        Cancelling who waits lets go of the backend, is recorded as such, and leaves the stream as it was.
        """
        gate, listing = Gate(), RecordList()
        async with desk({"little": gate}, sinks=[listing]) as (client, _), client.many() as many:
            task = asyncio.create_task(many.route("hi"))
            await gate.asked_for.wait()
            task.cancel()
            await gate.left.wait()
            await listing.recorded.wait()
            after = await many.route("hi", task="proof")

        assert Outcome.CANCELLED is listing.traversals[0].outcome
        assert Outcome.REFUSED is after.outcome

    async def test_a_server_that_goes_fails_every_call(self) -> None:
        """
        Each walk of a stream that outlasts a server's grace is cut off, and its caller hears so.
        """
        gate = Gate()
        async with desk({"little": gate}) as (client, server), client.many() as many:
            tasks = [asyncio.create_task(many.route("hi")) for _ in range(5)]
            await gate.asked_for.wait()
            await server.stop(0.05)
            failures = await asyncio.gather(*tasks, return_exceptions=True)

        assert [MeshClosed] * 5 == [type(failure) for failure in failures]

    async def test_a_closed_stream_is_refused(self) -> None:
        """
        Nothing can be asked outside of the context.
        """
        async with desk() as (client, _):
            many = client.many()
            with pytest.raises(SetupError, match="not open"):
                await many.route("hi")


class TestServer:
    async def test_a_seq_twice(self) -> None:
        """
        A seq that is under way fails the second item alone, and so does one that is missing.
        """
        gate = Gate()
        async with desk({"little": gate}) as (client, _), stream_to(client) as call:
            await call.write(routing_pb2.RouteManyRequest(items=[item(1), item(1), item(0)]))
            refused = await results_of(call, 2)
            gate.open.set()
            answered = await results_of(call, 1)

        assert [(1, 3), (0, 3)] == [(result.seq, result.failure.code) for result in refused]
        assert [(1, "at last")] == [(result.seq, result.reply.answer.text) for result in answered]

    async def test_an_unreadable_item_fails_alone(self) -> None:
        """
        An item with a broken text fails, and those beside it in its frame are answered; a frame that is none has seq 0.
        """
        good = routing_pb2.RouteManyRequest(items=[item(1)]).SerializeToString()
        bad = routing_pb2.RouteManyRequest(items=[item(2, "qqqq")]).SerializeToString().replace(b"qqqq", b"q\xff\xfeq")
        async with desk() as (_, server), grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            method: Any = channel.stream_stream(
                "/meshwalk.v1beta1.RoutingService/RouteMany", response_deserializer=routing_pb2.RouteManyResponse.FromString
            )
            call = method()
            await call.write(good + bad)
            await call.write(b"\xff")
            results = await results_of(call, 3)
            call.cancel()

        assert [(0, "failure"), (1, "reply"), (2, "failure")] == sorted(
            (result.seq, str(result.WhichOneof("end"))) for result in results
        )

    async def test_cancel_is_answered(self) -> None:
        """
        A cancelled item has a result as well: CANCELLED.
        """
        gate = Gate()
        async with desk({"little": gate}) as (client, _), stream_to(client) as call:
            await call.write(routing_pb2.RouteManyRequest(items=[item(1)]))
            await gate.asked_for.wait()
            await call.write(routing_pb2.RouteManyRequest(cancel=[1, 7]))
            results = await results_of(call, 1)

        assert [(1, 1)] == [(result.seq, result.failure.code) for result in results]

    async def test_half_closing_gives_every_result(self) -> None:
        """
        A caller that only closes its side is given what runs, then the end.
        """
        async with desk() as (client, _), stream_to(client) as call:
            await call.write(routing_pb2.RouteManyRequest(items=[item(seq) for seq in range(1, 101)]))
            await call.done_writing()
            results = await results_of(call, 100)
            end = await call.read()

        assert set(range(1, 101)) == {result.seq for result in results}
        assert grpc.aio.EOF is end

    async def test_a_full_stream_is_not_read(self) -> None:
        """
        No more walks run than the stream may hold, until some of them have ended.
        """
        gate, full = Gate(), anyio.Event()

        async def script(request: ChatRequest) -> Reply:
            if len(little.requests) == MAX_HELD:
                full.set()
            return await gate.chat(request)

        little = ScriptedBackend(script)
        async with desk({"little": little}) as (client, _), stream_to(client) as call:
            await call.write(routing_pb2.RouteManyRequest(items=[item(seq) for seq in range(1, MAX_HELD + 101)]))
            await full.wait()
            # A whole round trip on the same connection later there are still no more.
            await client.graphs()
            asked = len(little.requests)
            gate.open.set()
            results = await results_of(call, MAX_HELD + 100)

        assert MAX_HELD == asked
        assert MAX_HELD + 100 == len({result.seq for result in results})

    async def test_a_caller_that_does_not_read_holds_its_walks_back(self) -> None:
        """
        Where results are not fetched, so many bytes of them wait and no more, and the rest is walked once they are.
        """
        size, count = MAX_HELD_BYTES // 64, 400
        little = saying("x" * size)
        async with desk({"little": little}) as (client, _), stream_to(client) as call:
            await call.write(routing_pb2.RouteManyRequest(items=[item(seq) for seq in range(1, count + 1)]))
            seen = -1
            # Until a whole round trip on the same connection changes nothing.
            while seen < 64 or len(little.requests) > seen:
                seen = len(little.requests)
                await client.graphs()
            results = await results_of(call, count)

        # A few are with the connection, and some had begun when those before them ended.
        assert 64 <= seen < 256
        assert count == len({result.seq for result in results}) == len(little.requests)
        assert {size} == {len(result.reply.answer.text) for result in results}

    async def test_an_idle_stream_does_not_hold_up_a_stop(self) -> None:
        """
        A server that stops ends the stream with UNAVAILABLE, well before the grace period is over.
        """
        async with desk(grace=3600) as (client, server), stream_to(client) as call:
            await call.write(routing_pb2.RouteManyRequest(items=[item(1)]))
            results = await results_of(call, 1)
            with anyio.fail_after(20):
                await server.stop(3600)
            with pytest.raises(grpc.aio.AioRpcError, match="the server stops"):
                await call.read()

        assert [1] == [result.seq for result in results]

    async def test_a_caller_that_goes_cancels_its_walks(self) -> None:
        """
        Cancelling the stream cancels every walk on it.
        """
        gate, listing = Gate(), RecordList()
        async with desk({"little": gate}, sinks=[listing]) as (client, _), stream_to(client) as call:
            await call.write(routing_pb2.RouteManyRequest(items=[item(1), item(2)]))
            await gate.asked_for.wait()
            call.cancel()
            await gate.left.wait()
            await listing.recorded.wait()

        assert {Outcome.CANCELLED} == {traversal.outcome for traversal in listing.traversals}


async def test_any_bytes() -> None:
    """
    Whatever the bytes of its frames are, a stream goes on, and an honest request after them is answered.
    """
    dice, honest = random.Random(7), routing_pb2.RouteManyRequest(items=[item(1), item(2)], cancel=[9]).SerializeToString()
    last = routing_pb2.RouteManyRequest(items=[item(1 << 40, "last")]).SerializeToString()
    seen: set[int] = set()
    async with desk() as (_, server), grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        method: Any = channel.stream_stream(
            "/meshwalk.v1beta1.RoutingService/RouteMany", response_deserializer=routing_pb2.RouteManyResponse.FromString
        )
        call = method()
        for _ in range(300):
            damaged = bytearray(honest)
            for _ in range(dice.randrange(1, 4)):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            await call.write(bytes(damaged))
            await call.write(dice.randbytes(dice.randrange(60)))
        await call.write(last)
        await call.done_writing()
        while (frame := await call.read()) is not grpc.aio.EOF:
            seen |= {result.seq for result in frame.results if result.HasField("reply")}

    assert 1 << 40 in seen


async def test_idle_streams_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Past the most streams on which nothing is under way the oldest of them ends, and one that walks goes on.
    """
    monkeypatch.setattr(routing, "MAX_IDLE_STREAMS", 2)
    monkeypatch.setattr(many, "IDLE_SECONDS", 0.0)
    gate = Gate()
    async with desk({"little": gate}) as (client, _), AsyncExitStack() as stack:
        calls = [await stack.enter_async_context(stream_to(client))]
        await calls[0].write(routing_pb2.RouteManyRequest(items=[item(1)]))
        await gate.asked_for.wait()
        for _ in range(3):
            calls.append(await stack.enter_async_context(stream_to(client)))
            # An item without a number is refused at once, so the stream is open and idle.
            await calls[-1].write(routing_pb2.RouteManyRequest(items=[item(0)]))
            await results_of(calls[-1], 1)
        with pytest.raises(grpc.aio.AioRpcError, match="nothing is under way") as ended:
            await calls[1].read()
        gate.open.set()
        (result,) = await results_of(calls[0], 1)

    assert grpc.StatusCode.UNAVAILABLE is ended.value.code()
    assert "at last" == result.reply.answer.text
