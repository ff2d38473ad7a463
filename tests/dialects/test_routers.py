"""
Routers that people put in front of model servers: vllm-router and sglang-router, each before workers that fail.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import meshwalk
from meshwalk import WalkStopped
from meshwalk.testing import RecordList
from meshwalk.trace import Attempt
from tests.dialects import run
from tests.dialects.programs import ENVIRONMENTS, free_port, started


BIN = ENVIRONMENTS / "routers" / "bin"
ROUTERS: dict[str, list[str | Path]] = {"vllm": [BIN / "vllm-router"], "sglang": [BIN / "sglang-router", "launch"]}

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.process,
    pytest.mark.skipif(not BIN.is_dir(), reason="`make .venvs/routers/.made` makes the environment of the routers"),
]

PRICE = {"usd_per_mtok": {"input": 1, "output": 10}}
USAGE = {"prompt_tokens": 240, "completion_tokens": 16, "total_tokens": 256}
MESSAGE = {"role": "assistant", "content": "Nine."}
GOOD: dict[str, Any] = {"body": {"choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}], "usage": USAGE}}
PIECES: list[Any] = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("Ni", "ne.")]
LAST: list[Any] = [
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": USAGE},
    {"data": "[DONE]"},
]
LIMIT = {
    "status": 429,
    "headers": {"Retry-After": "7"},
    "body": {"error": {"message": "slow down", "code": "rate_limit_exceeded"}},
}


class Setting:
    """
    A router before workers, and a mesh before the router.
    """

    def __init__(self, mesh: meshwalk.Mesh, records: RecordList, workers: run.Stub) -> None:
        self.mesh = mesh
        self.records = records
        self.workers = workers

    async def route(self) -> tuple[Any, list[Attempt]]:
        """
        Ask once, and return the result or the error, and the attempts that were recorded.
        """
        try:
            found: Any = await self.mesh.route("Four and five?")
        except WalkStopped as error:
            found = error

        return found, list(self.records.traversals[-1].attempts())


@asynccontextmanager
async def setting(
    kind: str, folder: Path, *answers: dict[str, Any], options: tuple[str, ...] = (), node: dict[str, Any] | None = None
) -> AsyncIterator[Setting]:
    """
    Start a router of *kind* before a worker for each of *answers*.
    """
    port, metrics = free_port(), free_port()
    async with AsyncExitStack() as stack:
        workers = await stack.enter_async_context(run.Stub({str(number): [one] for number, one in enumerate(answers)}))
        command: list[str | Path] = [*ROUTERS[kind], "--host", "127.0.0.1", "--port", str(port), "--policy", "round_robin"]
        command += ["--prometheus-port", str(metrics), "--prometheus-host", "127.0.0.1", *options]
        command += ["--worker-urls", *workers.urls.values()]
        router = started(command, ready=f"http://127.0.0.1:{port}/readiness", folder=folder / "router")
        await anyio.to_thread.run_sync(stack.enter_context, router)
        records = RecordList()
        graph = {
            "meshwalk": 1,
            "name": "routed",
            "start": "ask",
            "limits": {"cost_usd": 1, "deadline": "8s"},
            "backends": {"model": {"kind": "openai", "model": "m-1", "base_url": f"http://127.0.0.1:{port}/v1", **PRICE}},
            "nodes": {"ask": {"role": "primary", "backend": "model", "max_tokens": 100, "next": "done"} | (node or {})},
        }
        (folder / "graph.yaml").write_text(json.dumps(graph))
        mesh = await stack.enter_async_context(meshwalk.load(folder / "graph.yaml", sinks=[records]))
        yield Setting(mesh, records, workers)


@pytest.fixture(params=[pytest.param(kind, id=kind) for kind in ROUTERS])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_an_answer_is_the_same_and_costs_the_same(kind: str, tmp_path: Path) -> None:
    """
    Neither router asks for what nobody asked for, nor counts anything of its own.
    """
    async with setting(kind, tmp_path, GOOD) as routed:
        result, (attempt,) = await routed.route()
        (seen,) = routed.workers.seen["0"]

    assert ("Nine.", "stop") == (result.answer, result.finish_reason)
    assert ("reported", 400_000) == (attempt.basis, attempt.cost_nano_usd)
    assert 100 in (seen["body"].get("max_tokens"), seen["body"].get("max_completion_tokens"))


async def test_a_stream_is_the_same_and_costs_the_same(kind: str, tmp_path: Path) -> None:
    """
    The usage that is asked for at a stream's end comes through.
    """
    async with setting(kind, tmp_path, {"stream": [*PIECES, *LAST]}, node={"stream": "live"}) as routed:
        result, (attempt,) = await routed.route()

    assert "Nine." == result.answer
    assert ("reported", 400_000) == (attempt.basis, attempt.cost_nano_usd)


async def test_a_stream_that_breaks_upstream_is_a_broken_connection(kind: str, tmp_path: Path) -> None:
    """
    Its body ends without a terminator and without an error; what came is paid for.
    """
    stream = [PIECES[0], {"pause": 0.2}, PIECES[1], {"pause": 0.2}, {"cut": True}]
    async with setting(kind, tmp_path, {"stream": stream}, node={"stream": "live"}) as routed:
        error, (attempt,) = await routed.route()

    assert ("unreachable", "Nine.") == (error.error_class, error.partial)
    assert ("estimated", 24_000) == (attempt.basis, attempt.cost_nano_usd)


async def test_a_limit_of_the_only_worker(kind: str, tmp_path: Path) -> None:
    """
    One router hands it on each time; the other tells of it as 503 once it has taken its worker out.
    """
    async with setting(kind, tmp_path, LIMIT) as routed:
        attempts = [(await routed.route())[1] for _ in range(3)]

    classes = [attempt.error_class for (attempt,) in attempts]
    assert (["rate_limited"] * 3 if kind == "vllm" else ["rate_limited", "rate_limited", "overloaded"]) == classes
    assert 0 == sum(attempt.cost_nano_usd for (attempt,) in attempts)


async def test_a_worker_that_breaks_off_is_an_overload_in_plain_text(kind: str, tmp_path: Path) -> None:
    """
    The router's own 500 is no answer of a model, and is free.
    """
    async with setting(kind, tmp_path, {"stream": [{"cut": True}]}) as routed:
        _, (attempt,) = await routed.route()

    assert ("overloaded", "none", 0) == (attempt.error_class, attempt.basis, attempt.cost_nano_usd)
    assert "answered HTTP 500" in attempt.message


async def test_limits_of_the_router_itself_come_without_a_word(kind: str, tmp_path: Path) -> None:
    """
    Past its rate it answers 429 and past its queue 408, each with an empty body.
    """
    limit = ("--max-concurrent-requests", "1", "--queue-size", "0")
    async with setting(kind, tmp_path, {**GOOD, "delay": 0.5}, options=limit) as routed, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(routed.route)
    limited = [attempt for record in routed.records.traversals for attempt in record.attempts()]
    queue = ("--max-concurrent-requests", "1", "--queue-size", "1", "--queue-timeout-secs", "1")
    async with setting(kind, tmp_path, {**GOOD, "delay": 1.5}, options=queue) as routed, anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(routed.route)
    queued = [attempt for record in routed.records.traversals for attempt in record.attempts()]

    assert ["", "rate_limited", "rate_limited"] == sorted(attempt.error_class for attempt in limited)
    assert {"", "overloaded"} == {attempt.error_class for attempt in queued}
    assert all(attempt.cost_nano_usd == 0 for attempt in limited + queued if attempt.error_class)


async def test_a_prompt_that_is_too_long_comes_through(kind: str, tmp_path: Path) -> None:
    """
    A worker's own code stays where it is, so that the walk can climb by it.
    """
    refusal = {"status": 400, "body": {"error": {"message": "the window has 5 tokens", "code": "context_length_exceeded"}}}
    async with setting(kind, tmp_path, refusal) as routed:
        error, (attempt,) = await routed.route()

    assert ("too_long", 0) == (error.error_class, attempt.cost_nano_usd)
