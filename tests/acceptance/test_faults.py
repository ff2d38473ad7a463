"""
Model servers that misbehave: what a walk makes of it, what it pays, and that nothing is left behind.

The scenarios are the files in `faults/`; each goes through the doors it names and must read the same through all of them.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import anyio
import pytest
import yaml
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from meshwalk.budgets.vaults import DEFAULT_TENANT, MemoryVault
from meshwalk.loader import read_graph
from meshwalk.mesh import Mesh
from meshwalk.model import Amount, Limits
from meshwalk.model.problems import WalkStopped
from meshwalk.plan import Plan, compile_plan
from meshwalk.records.telemetry import Telemetry
from meshwalk.review.replay import replay
from meshwalk.server import serve
from meshwalk.testing import RecordList
from meshwalk.testing.faulty.answers import all_heard
from meshwalk.testing.faulty.script import VERBS, script
from meshwalk.testing.faulty.server import FaultyServer, faulty_servers
from meshwalk.trace import Message, Request, Scopes, Traversal, decode, encode
from meshwalk.walk.attempts import Ask, Pick, Pool, Refused, Waiting
from meshwalk.wire.client import AnswerDelta, Client, RouteResult
from tests.acceptance.fault_scenarios import (
    PROMPT,
    Books,
    Scenario,
    Step,
    given_text,
    nobody,
    read_scenarios,
    told,
    told_of_servers,
)
from tests.support.files import Golden


pytestmark = pytest.mark.anyio

FOLDER = Path(__file__).with_name("faults")
FILES = sorted(FOLDER.glob("*.txt"))
SCENARIOS = [(path.stem, scenario) for path in FILES for scenario in read_scenarios(path)]
PLAYED = {f"{file}: {scenario.sentence} ({door})": (scenario, door) for file, scenario in SCENARIOS for door in scenario.doors}

# Long enough for any machine: nothing waits for it unless something was left behind.
PATIENCE_SECONDS = 60


@pytest.fixture
def connectors(monkeypatch: pytest.MonkeyPatch) -> weakref.WeakSet[aiohttp.BaseConnector]:
    """
    Keep an eye on every pool of connections that is made.
    """
    made: weakref.WeakSet[aiohttp.BaseConnector] = weakref.WeakSet()
    make = aiohttp.BaseConnector.__init__

    def watched(self: aiohttp.BaseConnector, *arguments: object, **options: object) -> None:
        make(self, *arguments, **options)  # type: ignore[arg-type]
        made.add(self)

    monkeypatch.setattr(aiohttp.BaseConnector, "__init__", watched)

    return made


@pytest.mark.parametrize(("scenario", "door"), PLAYED.values(), ids=PLAYED)
async def test_faults(
    scenario: Scenario,
    door: str,
    monkeypatch: pytest.MonkeyPatch,
    connectors: weakref.WeakSet[aiohttp.BaseConnector],
    request: pytest.FixtureRequest,
) -> None:
    """
    The walk goes where it should, is billed to the nano-dollar, reads alike through each door, and leaves nothing behind.
    """
    before = asyncio.all_tasks()
    play = Play(scenario, door)
    with anyio.fail_after(PATIENCE_SECONDS):
        text = await play.told(monkeypatch)
        await anyio.wait_all_tasks_blocked()

    if not request.config.getoption("rewrite"):
        assert scenario.expected == text
    play.check_books()
    await play.check_vault()
    assert {} == {name: server.unused for name, server in play.servers.items() if server.unused}
    assert {} == {name: server.unforeseen for name, server in play.servers.items() if server.unforeseen}
    assert {} == {name: server.open for name, server in play.servers.items() if server.open}
    assert [] == [connector for connector in connectors if not connector.closed]
    assert set() == {task for task in asyncio.all_tasks() - before if not task.done()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_goldens(path: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """
    The files read as `--rewrite` writes them.
    """
    scenarios = [*read_scenarios(path)]

    async def played(scenario: Scenario) -> str:
        with anyio.fail_after(PATIENCE_SECONDS):
            return await Play(scenario, scenario.doors[0]).told(monkeypatch)

    rewrite = request.config.getoption("rewrite")
    answers = [anyio.run(played, scenario) if rewrite else scenario.expected for scenario in scenarios]

    golden(path, given_text(path, answers))


def test_every_fault_is_played() -> None:
    """
    Whatever the faulty server can do, some scenario has it done.
    """
    lines = [line for _, scenario in SCENARIOS for line in scenario.servers.values() if line != "nobody"]
    played = {act.verb for line in lines for act in script(line)}

    assert set() == {*VERBS, "401", "404", "429", "500", "503"} - played
    assert len(SCENARIOS) >= 40


class Said(NamedTuple):
    """
    Hold what the caller heard: the answer, or what was passed on of one.
    """

    traversal_id: str
    text: str


Route = Callable[[Request], Coroutine[Any, Any, Said]]


def request_of(step: Step) -> Request:
    """
    Make the request that a step means.
    """
    cost, deadline = step.options.get("cost_usd"), step.options.get("deadline_ms")
    limits = Limits(
        cost_nano_usd=None if cost is None else int(Decimal(cost) * 1_000_000_000),
        deadline_us=None if deadline is None else int(deadline) * 1000,
    )

    return Request((Message("user", PROMPT),), scopes=Scopes(step.options.get("session", "s"), "w"), limits=limits)


def by_mesh(mesh: Mesh) -> Route:
    async def route(request: Request) -> Said:
        pieces: list[str] = []
        done = await mesh.walk(request, on_delta=lambda _, text: pieces.append(text))
        said = Said(done.traversal_id, done.answer or done.partial)

        return _alike(said, "".join(pieces)) if done.streamed else said

    return route


def by_route(client: Client) -> Route:
    async def route(request: Request) -> Said:
        try:
            done = await client.send(request)
        except WalkStopped as error:
            return Said(error.traversal_id, error.partial)

        return Said(done.traversal_id, done.answer)

    return route


def by_stream(client: Client) -> Route:
    async def route(request: Request) -> Said:
        limits, scopes = request.limits, request.scopes
        call = client.stream(request.messages, session=scopes.session, workflow=scopes.workflow, limits=limits)
        heard = ""
        done: RouteResult | None = None
        try:
            async with aclosing(call) as events:
                async for event in events:
                    if isinstance(event, AnswerDelta):
                        heard += event.text
                    elif isinstance(event, RouteResult):
                        done = event
        except WalkStopped as error:
            return _alike(Said(error.traversal_id, error.partial), heard)
        assert done is not None

        return _alike(Said(done.traversal_id, done.answer), heard)

    return route


def _alike(said: Said, heard: str) -> Said:
    """
    See that what came bit by bit is what was said in the end.
    """
    assert said.text == heard

    return said


class Time:
    """
    The clock of a mesh, which a scenario can put on; it sleeps as asked, and notes for how long.

    Attributes:
        waits: Set when a call next waits for a place, by the name of its backend.
    """

    unix_ns = staticmethod(time.time_ns)

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.waits: dict[str, anyio.Event] = {}
        self._ahead_ns = 0

    def pass_by(self, seconds: float) -> None:
        """
        Let some time pass at once.
        """
        self._ahead_ns += round(seconds * 1e9)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Notice each call that waits for a place.
        """
        entering = Pool.enter

        def watched(pool: Pool, ask: Ask, at: int, chance: float) -> Pick | Waiting | Refused:
            answer = entering(pool, ask, at, chance)
            if isinstance(answer, Waiting) and pool.name in self.waits:
                self.waits[pool.name].set()

            return answer

        monkeypatch.setattr(Pool, "enter", watched)

    def monotonic_ns(self) -> int:
        """
        Return nanoseconds that never go back.
        """
        return time.perf_counter_ns() + self._ahead_ns

    async def sleep(self, seconds: float, /) -> None:
        """
        Wait, and note for how long.
        """
        self.pauses.append(seconds)
        await anyio.sleep(seconds)


@cache
def plan_of(text: str) -> Plan:
    """
    Compile a graph once for all its scenarios.
    """
    return compile_plan(read_graph(text.encode(), file="faults.yaml"))


class Play:
    """
    Play one scenario through one door, and look at the books afterwards.
    """

    def __init__(self, scenario: Scenario, door: str) -> None:
        self.scenario = scenario
        self.door = door
        self.servers: dict[str, FaultyServer] = {}
        self.listing = RecordList()
        self.vault = MemoryVault()
        self._spans = InMemorySpanExporter()
        self._time = Time()
        self._said: dict[str, str] = {}
        self._begun: list[asyncio.Task[None]] = []
        self._over = 0

    async def told(self, monkeypatch: pytest.MonkeyPatch) -> str:
        """
        Play it, and tell what came of it.
        """
        scenario = self.scenario
        plan = plan_of(yaml.safe_dump(scenario.document, sort_keys=False))
        absent = {name: nobody() for name, line in scenario.servers.items() if line == "nobody"}
        lines = {name: scenario.servers.get(name, "") for name in scenario.names if name not in absent}
        telemetry = Telemetry(SimpleSpanProcessor(self._spans), resource=Resource({}))
        async with faulty_servers(**lines) as self.servers:
            for name, server in self.servers.items():
                monkeypatch.setenv(f"{name.upper()}_URL", server.base_url)
            for name, taken in absent.items():
                monkeypatch.setenv(f"{name.upper()}_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
            self._time.watch(monkeypatch)
            opened = Mesh(
                plan,
                sinks=[self.listing, telemetry],
                vault=self.vault,
                clock=self._time,
                chance=lambda: scenario.chance,
            )
            async with opened as mesh, self._door(mesh) as route, asyncio.TaskGroup() as tasks:
                for step in scenario.steps:
                    await self._do(step, route, tasks)
            # What the mesh left is seen here: it must have closed all it opened.
            for server in self.servers.values():
                await server.all_closed.wait()
        await telemetry.aclose()
        for taken in absent.values():
            taken.close()
        pauses = iter(self._time.pauses)
        lines_of_walks = [
            line
            for traversal in self.listing.traversals
            for line in told(self._said.get(traversal.traversal_id, ""), traversal, plan, self._spans_of(traversal), pauses)
        ]
        for traversal in self.listing.traversals:
            assert replay(decode(encode(traversal)), plan) is None

        return "\n".join([*lines_of_walks, *told_of_servers(self.servers)])

    def check_books(self) -> None:
        """
        Hold what the walks say they cost against what the servers logged.
        """
        books = Books(self.scenario.document)

        assert books.nano_usd(self.servers) == sum(one.cost_nano_usd for one in self.listing.traversals)

    async def check_vault(self) -> None:
        """
        Hold what the vault keeps against the same, and see that nothing is held any more.
        """
        spent = sum(one.cost_nano_usd for one in self.listing.traversals)
        for kind in ("session", "workflow"):
            accounts = [one for one in await self.vault.reports(DEFAULT_TENANT) if one.kind == kind]

            assert spent == sum(one.spent.cost_nano_usd or 0 for one in accounts)
            assert all((Amount(), 0) == (one.reserved, one.reservations) for one in accounts)

    @asynccontextmanager
    async def _door(self, mesh: Mesh) -> AsyncIterator[Route]:
        if self.door == "mesh":
            yield by_mesh(mesh)
            return
        async with serve([mesh]) as server, Client(f"127.0.0.1:{server.port}") as client:
            yield (by_route if self.door == "route" else by_stream)(client)

    async def _do(self, step: Step, route: Route, tasks: asyncio.TaskGroup) -> None:
        match step.verb:
            case "ask":
                await self._ask(route, step)
            case "begin":
                called = self.servers[step.name].called = anyio.Event()
                self._begun.append(tasks.create_task(self._ask(route, step)))
                await called.wait()
            case "queue" if step.name:
                waits = self._time.waits[step.name] = anyio.Event()
                self._begun.append(tasks.create_task(self._ask(route, step)))
                await waits.wait()
            case "queue":
                self._begun.append(tasks.create_task(self._ask(route, step)))
                await anyio.wait_all_tasks_blocked()
            case "leave":
                await self._leave(0 if step.name == "first" else -1)
            case "open":
                await all_heard()
                for server in self.servers.values():
                    server.event(step.name).set()
                await all_heard()
            case "later":
                self._time.pass_by(float(step.name.removesuffix("s")))

    async def _ask(self, route: Route, step: Step) -> None:
        said = await route(request_of(step))
        self._said[said.traversal_id] = said.text
        self._over += 1

    async def _leave(self, which: int) -> None:
        await anyio.wait_all_tasks_blocked()
        await all_heard()
        self._begun.pop(which).cancel()
        # A record is handed over when its caller has gone on, so the last but one may come only now.
        self._over += 1
        while len(self.listing.traversals) < self._over:
            self.listing.recorded = anyio.Event()
            await self.listing.recorded.wait()

    def _spans_of(self, traversal: Traversal) -> list[ReadableSpan]:
        found, trace_id = self._spans.get_finished_spans(), int(traversal.trace_id, 16)

        return [span for span in found if span.context is not None and span.context.trace_id == trace_id]
