from __future__ import annotations

import anyio
import pytest
from aiohttp import web
from anyio.abc import SocketAttribute

from meshwalk.backends.base import CallProgress
from meshwalk.backends.openai import OpenAIBackend
from meshwalk.trace import Timing
from tests.backends.chat_endpoint import ASK, FOUR, answer, endpoint, fails, says, sse, streamed


pytestmark = pytest.mark.anyio


class TestTiming:
    async def test_a_call_is_split_by_station(self) -> None:
        """
        The first call connects, the next one reuses the connection, and both wait for the first byte.
        """

        async def handler(_: web.Request) -> web.Response:
            await anyio.sleep(0.05)
            return web.json_response(answer())

        async with endpoint(handler) as backend:
            first, second = (await backend.chat(ASK)).timing, (await backend.chat(ASK)).timing

        assert 0 < first.connect_us
        assert 0 == second.connect_us == second.queue_us
        assert 45_000 < min(first.first_byte_us, second.first_byte_us)

    async def test_waiting_for_a_slot_is_queueing(self) -> None:
        """
        With one connection the second of two calls waits as long as the first one takes, and is then answered as fast.
        """
        timings: list[Timing] = []

        async def handler(_: web.Request) -> web.Response:
            await anyio.sleep(0.1)
            return web.json_response(answer())

        async def call(backend: OpenAIBackend) -> None:
            timings.append((await backend.chat(ASK)).timing)

        async with endpoint(handler, connections=1) as backend, anyio.create_task_group() as tasks:
            tasks.start_soon(call, backend)
            tasks.start_soon(call, backend)

        assert timings[0].queue_us < 50_000 < timings[1].queue_us
        assert timings[1].first_byte_us < timings[1].queue_us + 100_000

    async def test_a_gates_wait_is_kept(self) -> None:
        """
        What was waited for before the call is part of its queueing.
        """
        progress = CallProgress()
        progress.queue_us = 5_000
        async with endpoint(says()) as backend:
            timing = (await backend.chat(ASK._replace(progress=progress))).timing

        assert 5_000 == timing.queue_us
        assert (True, timing) == (progress.sent, progress.timing)

    async def test_a_stream_begins_with_its_first_event(self) -> None:
        """
        A head that comes at once, and comments that only keep a connection open, are not the first byte of an answer.
        """

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b": wait\n\n")
            await anyio.sleep(0.05)
            await response.write(sse(*FOUR))
            return response

        async with endpoint(handler) as backend:
            reply, _ = await streamed(backend)

        assert 45_000 < reply.timing.first_byte_us


class TestStations:
    async def test_a_call_that_waits_for_a_connection_was_not_sent(self) -> None:
        """
        Who ends a call while it queues knows how long it did, and that it cannot have cost.
        """
        begun, progress = anyio.Event(), CallProgress()

        async def handler(_: web.Request) -> web.Response:
            begun.set()
            await anyio.sleep_forever()
            return web.Response()

        async with endpoint(handler, connections=1) as backend, anyio.create_task_group() as tasks:
            tasks.start_soon(backend.chat, ASK)
            await begun.wait()
            with anyio.move_on_after(0.03):
                await backend.chat(ASK._replace(progress=progress))
            tasks.cancel_scope.cancel()

        assert not progress.sent
        assert 25_000 < progress.queue_us
        assert 0 == progress.connect_us == progress.first_byte_us

    async def test_a_call_that_was_not_answered_was_sent(self) -> None:
        """
        Who ends a call that the server has knows that it may cost.
        """
        begun, progress = anyio.Event(), CallProgress()

        async def handler(_: web.Request) -> web.Response:
            begun.set()
            await anyio.sleep_forever()
            return web.Response()

        async with endpoint(handler) as backend, anyio.create_task_group() as tasks:
            tasks.start_soon(backend.chat, ASK._replace(progress=progress))
            await begun.wait()
            tasks.cancel_scope.cancel()

        assert (True, 0) == (progress.sent, progress.first_byte_us)
        assert 0 < progress.connect_us

    async def test_where_nothing_listens_nothing_was_sent(self) -> None:
        """
        A connection that is refused has taken its time, and no request.
        """
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(SocketAttribute.local_port)
        backend, progress = OpenAIBackend("large", "large-1", f"http://127.0.0.1:{port}/v1"), CallProgress()
        await fails(backend, ASK._replace(progress=progress))
        await backend.aclose()

        assert not progress.sent
        assert 0 < progress.connect_us
