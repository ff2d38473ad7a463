"""
A cancellation that nobody asked for: raised by code that a walk calls, it fails the hop and stays there.
"""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from meshwalk.backends.base import ChatRequest
from meshwalk.backends.cancellation import cancel_requested
from meshwalk.backends.classifiers.python import PythonClassifier
from meshwalk.backends.python import PythonBackend
from meshwalk.mesh import Mesh
from meshwalk.model.problems import HopFailed, Malformed
from meshwalk.server import serve
from meshwalk.trace import Message, Outcome, Reply
from meshwalk.wire.client import Client
from tests.engine.shared_budgets import SURE, Bench, asking
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

PLAN = plan_of(
    """
    meshwalk: 1
    name: g
    start: ask
    backends: {b: {kind: simulated}}
    nodes:
      ask: {role: answer, backend: b, next: done, on_error: sorry}
      sorry: {role: refusal, reason: nobody could answer}
    """
)


class Leaving:
    """
    Give up, as if the call had been cancelled.
    """

    def __init__(self, *, waits: bool) -> None:
        self.waits = waits

    async def chat(self, request: ChatRequest) -> Reply:  # noqa: ARG002
        raise asyncio.CancelledError

    async def aclose(self) -> None:
        pass


async def gives_up(*_: Any) -> Any:
    raise asyncio.CancelledError


@pytest.mark.parametrize("key", ["", "k-1"], ids=["without a key", "with a key"])
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "waiting"])
async def test_the_server_goes_on(waits: bool, key: str) -> None:
    """
    The walk takes its edge for errors, and the next caller is answered.
    """
    async with (
        Mesh(PLAN, backends={"b": Leaving(waits=waits)}) as mesh,
        serve([mesh]) as server,
        Client(f"127.0.0.1:{server.port}") as client,
    ):
        first = await client.route("Hello", idempotency_key=key, timeout=20)
        second = await client.route("Hello", timeout=20)

    assert [(Outcome.REFUSED, ("ask", "sorry"))] * 2 == [(one.outcome, one.path) for one in (first, second)]


async def test_it_is_a_failed_call_in_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What gave up is recorded as malformed, and charged at its worst: it may have been answered somewhere.
    """
    bench = Bench()
    for backend in (bench.little, bench.great):
        monkeypatch.setattr(backend, "chat", gives_up)
    done = await bench.walk()
    error = done.error()

    assert isinstance(error, HopFailed)
    assert "gave up its call, which nobody had cancelled" in str(error)
    assert {("failed", "malformed")} == {(one.status, one.error_class) for one in done.traversal.attempts()}
    await bench.settled()


async def test_functions_of_the_user() -> None:
    """
    A function is told of like one that raised anything else.
    """
    with pytest.raises(Malformed, match="raised CancelledError"):
        await PythonBackend("mine", gives_up).chat(ChatRequest((Message("user", "x"),)))
    with pytest.raises(Malformed, match="raised CancelledError"):
        await PythonClassifier("mine", gives_up, {}).classify((), {}, "")


async def test_a_caller_who_leaves_is_no_fault() -> None:
    """
    A walk that is cancelled from outside, in either way, is recorded as cancelled.
    """
    for cancel in ("scope", "task"):
        bench = Bench(little=[SURE])
        bench.little.gate = anyio.Event()
        if cancel == "scope":
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bench.walk)
                await bench.little.called.wait()
                tasks.cancel_scope.cancel()
        else:
            task = asyncio.create_task(bench.walk(asking()))
            await bench.little.called.wait()
            task.cancel()
            await asyncio.wait([task])

        assert [Outcome.CANCELLED] == [record.outcome for record in bench.records]


async def test_nobody_asked_this_task() -> None:
    """
    A task that runs on is not being cancelled, whatever is raised in it.
    """
    try:
        await gives_up()
    except asyncio.CancelledError:
        assert not cancel_requested()
