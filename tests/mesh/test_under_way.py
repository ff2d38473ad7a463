"""
Walks under way while their mesh is left.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from datetime import timedelta

import anyio
import pytest

from meshwalk.backends.base import ChatRequest
from meshwalk.mesh import Mesh
from meshwalk.model.problems import HopFailed, MeshClosed, Unreachable
from meshwalk.records.events import AnswerDelta, HopFinished, HopStarted
from meshwalk.records.results import RouteResult
from meshwalk.server import serve
from meshwalk.testing import RecordList, ScriptedBackend
from meshwalk.trace import Outcome, Reply
from meshwalk.wire.client import Client
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

PLAN = plan_of(
    """
    meshwalk: 1
    name: desk
    start: a
    backends:
      model: {kind: simulated}
    nodes:
      a: {role: answer, backend: model, next: done}
    """
)


class Hanging(ScriptedBackend):
    """
    A backend that never answers; `called` is set once it was called.
    """

    def __init__(self) -> None:
        super().__init__(self._hang)
        self.called = anyio.Event()

    async def _hang(self, _: ChatRequest) -> Reply:
        self.called.set()
        await anyio.sleep_forever()
        raise AssertionError("nothing wakes it")


class TestGrace:
    @pytest.mark.parametrize("grace", [0.01, timedelta(milliseconds=10)])
    @pytest.mark.parametrize("key", ["", "k"])
    async def test_walks_that_outlast_it_are_cancelled(
        self, grace: float | timedelta, key: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        Leaving a mesh waits no longer than its grace; the callers are told, and the records say cancelled.
        """
        backend, records, raised = Hanging(), RecordList(), list[MeshClosed]()

        async def call(mesh: Mesh) -> None:
            try:
                await mesh.route("Hello", idempotency_key=key)
            except MeshClosed as caught:
                raised.append(caught)

        with caplog.at_level(logging.WARNING), anyio.fail_after(10):
            async with (
                anyio.create_task_group() as tasks,
                Mesh(PLAN, backends={"model": backend}, sinks=[records], grace=grace) as mesh,
            ):
                tasks.start_soon(call, mesh)
                await backend.called.wait()

        (error,) = raised

        assert str(error).startswith("the mesh of graph 'desk' stopped before this walk had ended; ")
        assert key or (records.traversals[0].traversal_id, True) == (error.traversal_id, error.retryable)
        assert [Outcome.CANCELLED] == [traversal.outcome for traversal in records.traversals]
        assert "of graph 'desk' were cancelled as its mesh was closed" in caplog.text

    async def test_walks_that_end_in_time_are_not_cut_off(self) -> None:
        """
        A grace changes nothing for a walk that ends within it.
        """
        async with Mesh(PLAN, backends={"model": ScriptedBackend.replying("Hi")}, grace=60) as mesh:
            done = await mesh.route("Hello", idempotency_key="k")
            again = await mesh.route("Hello", idempotency_key="k")

        assert ("Hi", False, True) == (done.answer, done.repeated, again.repeated)


class TestStream:
    async def test_yields_what_a_client_is_sent(self) -> None:
        """
        `Mesh.stream` and `Client.stream` yield the same kinds of events for the same walk, and the same answer.
        """
        answer = "word " * 2_000
        backend = ScriptedBackend.replying(answer)
        async with (
            Mesh(PLAN, backends={"model": backend}) as mesh,
            serve([mesh]) as server,
            Client(f"127.0.0.1:{server.port}") as client,
        ):
            here = [event async for event in mesh.stream("Hello")]
            there = [event async for event in client.stream("Hello")]

        assert [HopStarted, HopFinished, AnswerDelta, AnswerDelta, AnswerDelta, RouteResult] == [type(event) for event in here]
        assert [type(event) for event in here] == [type(event) for event in there]
        assert answer == "".join(event.text for event in here if isinstance(event, AnswerDelta))

    async def test_a_failed_walk_ends_in_its_error(self) -> None:
        """
        The events up to the failure come first.
        """
        backend = ScriptedBackend.replying(Unreachable("gone", backend="model"))
        async with Mesh(PLAN, backends={"model": backend}) as mesh:
            events = mesh.stream("Hello")
            first = [await anext(events), await anext(events)]
            with pytest.raises(HopFailed, match="gone"):
                await anext(events)

        assert [HopStarted, HopFinished] == [type(event) for event in first]

    async def test_leaving_early_cancels_the_walk(self) -> None:
        """
        A stream that is closed cancels its walk, which is recorded before the stream is closed.
        """
        backend, records = Hanging(), RecordList()
        async with Mesh(PLAN, backends={"model": backend}, sinks=[records]) as mesh:
            async with aclosing(mesh.stream("Hello")) as events:
                await anext(events)
                await backend.called.wait()

            assert [Outcome.CANCELLED] == [traversal.outcome for traversal in records.traversals]

    async def test_a_mesh_that_is_left_ends_its_streams(self) -> None:
        """
        A stream of a walk that outlasts the grace ends in an error that says so.
        """
        backend = Hanging()
        mesh = Mesh(PLAN, backends={"model": backend}, grace=0.01)
        async with mesh:
            events = mesh.stream("Hello")
            await anext(events)
            await backend.called.wait()
        rest = [await anext(events)]
        with pytest.raises(MeshClosed, match="stopped before this walk had ended"):
            await anext(events)

        assert [HopFinished] == [type(event) for event in rest]
