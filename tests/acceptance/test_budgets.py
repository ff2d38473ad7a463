"""
Budgets hold where many share them: real servers, a real model server, a real vault, and all that can go wrong in the middle.

A session may cost 1.00 USD and five hundred calls want some of it.  At the end no more is spent; what is left is less than one
call may cost, so that nobody was refused who would have fit; and what was spent is what the model server charged for.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
from anyio import to_thread

from harness.redis_server import RedisServer
from meshwalk.budgets import AccountReport
from meshwalk.budgets.vaults import open_vault
from meshwalk.mesh import Mesh
from meshwalk.model.problems import BudgetContended, BudgetExceeded, MeshwalkError, VaultUnavailable
from meshwalk.records.store import TraceReader
from meshwalk.wire.client import Client
from meshwalk.wire.errors import RpcError
from tests.acceptance.model_server import ModelServer, model_server
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

CALLS = 500
CLIENTS = 64
CAP = 1_000_000_000
PROMPT = "Tell me something that takes a while to tell."
# Every byte and sixteen more as input, and the longest answer.
WORST = (len(PROMPT) + 16) * 10_000 + 300 * 30_000

GRAPH = """
meshwalk: 1
name: shared
start: large
limits: {{hops: 2, deadline: {deadline}, input_bytes: 200}}
budgets:
  {budget}
backends:
  large:
    kind: openai
    template: {{per_request: 0}}
    base_url: "{base_url}"
    model: loopback-1
    context_tokens: 8000
    usd_per_mtok: {{input: 10, output: 30}}
nodes:
  large: {{role: primary, backend: large, max_tokens: 300, next: done}}
"""


CHAIN = """
meshwalk: 1
name: chain
start: %s
limits: {hops: 8, deadline: 20s, input_bytes: 200}
budgets:
  session: {cost_usd: 1.00}
  workflow: {calls: 100}
backends:
  little: {kind: simulated, context_tokens: 4000, confidence: 0.2, usd_per_mtok: {input: 1, output: 1}}
  great: {kind: simulated, context_tokens: 4000, usd_per_mtok: {input: 10, output: 30}}
nodes:
  %s
  small: {role: answer, backend: little, max_tokens: 100, next: other, on_error: large}
  other: {role: answer, backend: little, max_tokens: 100, next: judge, on_error: large}
  judge:
    role: verifier
    use: agreement
    of: [small, other]
    next: [{to: done, answer: small, when: output.score > 1}, {to: large}]
  large: {role: primary, backend: great, max_tokens: 100, next: done}
"""

INTAKE = (
    """intake: {role: classifier, use: features, next: [{to: large, when: "budget.session.pressure > 0.9"}, {to: small}]}"""
)

SESSION = "session: {cost_usd: 1.00}"
WORKFLOW = "workflow: {calls: 25, required: true}"


def graph_in(folder: Path, model: ModelServer, budget: str = SESSION, deadline: str = "2s") -> Path:
    """
    Write the graph with one budget, over *model*.
    """
    file = folder / "shared.yaml"
    file.write_text(GRAPH.format(base_url=model.base_url, deadline=deadline, budget=budget), encoding="utf-8")

    return file


class Served(NamedTuple):
    """
    Hold a running server: its process, where it listens, and its traces.
    """

    process: subprocess.Popen[str]
    address: str


class Tally:
    """
    Count how calls ended; `half_way` is set once *middle* were answered.
    """

    def __init__(self, middle: int = 40) -> None:
        self.half_way = anyio.Event()
        self._middle = middle
        self.answered = 0
        self.spent = Counter[str]()
        self.broken = 0
        self.reported_nano_usd = 0

    def answer(self, cost_nano_usd: int) -> None:
        """
        Count an answer.
        """
        self.answered += 1
        self.reported_nano_usd += cost_nano_usd
        if self.answered == self._middle:
            self.half_way.set()


@asynccontextmanager
async def serving(graph: Path, vault: str, traces: Path, *options: str) -> AsyncIterator[Served]:
    """
    Run `meshwalk serve` on a free port until the context is left.
    """
    command = [sys.executable, "-m", "meshwalk", "serve", str(graph), "--listen", "127.0.0.1:0", "--json"]
    command += ["--vault", vault, "--traces", str(traces), *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    # Starting takes no time worth awaiting; what it says is awaited.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        try:
            ready = await to_thread.run_sync(process.stdout.readline)
            yield Served(process, json.loads(ready)["address"])
        finally:
            process.send_signal(signal.SIGTERM)
            await to_thread.run_sync(process.wait)


async def ask_until_settled(clients: Sequence[Client], turn: int, tally: Tally) -> None:
    """
    Ask once; come back where a refusal says so, and go to another server where one is gone.
    """
    for attempt in range(200):
        client = clients[(turn + attempt) % len(clients)]
        try:
            done = await client.route(PROMPT, session="s-1")
        except (BudgetContended, VaultUnavailable):
            await anyio.sleep(0.02)
        except BudgetExceeded as refused:
            tally.spent[refused.scope] += 1
            return
        except RpcError:
            tally.broken += 1
            await anyio.sleep(0.05)
        else:
            tally.answer(done.cost_nano_usd)
            return
    raise AssertionError("a call was neither answered nor refused for good")


async def storm(addresses: Sequence[str], *, trouble: Callable[[], Awaitable[None]] | None = None) -> Tally:
    """
    Let many clients make all calls at once, and make *trouble* in the middle.
    """
    tally = Tally()
    left = iter(range(CALLS))
    async with AsyncExitStack() as stack:
        # Each of them has a connection of its own to every server, so that workers behind one port share the load.
        pools = [[await stack.enter_async_context(Client(address)) for address in addresses] for _ in range(CLIENTS)]

        async def client(number: int) -> None:
            for turn in left:
                await ask_until_settled(pools[number], number + turn, tally)

        async def make_trouble() -> None:
            assert trouble is not None
            await tally.half_way.wait()
            await trouble()

        async with anyio.create_task_group() as tasks:
            for number in range(CLIENTS):
                tasks.start_soon(client, number)
            if trouble is not None:
                tasks.start_soon(make_trouble)

    return tally


async def books(where: str) -> AccountReport:
    """
    Read the session's account when nothing is held any more: what a killed server held expires with its lease.
    """
    async with aclosing(await open_vault(where)) as vault:
        with anyio.fail_after(30):
            while True:
                (statement,) = await vault.reports("default", "session", "s-1")
                if not statement.reservations:
                    return statement
                # Another process holds it, and nobody tells when it no longer does.
                await anyio.sleep(0.1)


def assert_held(statement: AccountReport, tally: Tally, model: ModelServer) -> None:
    """
    Hold the books against the cap, the callers and the model server's own log.
    """
    spent, assumed = statement.spent.cost_nano_usd, statement.assumed.cost_nano_usd
    charged = int(model.usd("10", "30") * 1_000_000_000)

    assert CALLS == tally.answered + tally.spent["session"]
    assert 0 == statement.overrun.cost_nano_usd
    assert spent <= CAP
    assert CAP - WORST - assumed <= spent
    # A call that broke may have been answered and charged for all the same; it is then assumed at its worst.
    assert tally.reported_nano_usd <= charged <= spent
    if not assumed:
        assert tally.reported_nano_usd == charged == spent


@pytest.fixture
async def model() -> AsyncIterator[ModelServer]:
    async with model_server() as running:
        yield running


@pytest.fixture
def graph(tmp_path: Path, model: ModelServer) -> Path:
    return graph_in(tmp_path, model)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, keeps="everything") as running:
        yield running


@pytest.mark.process
class TestWorkersOnSqlite:
    @pytest.mark.slow
    async def test_hold_a_session_to_its_cap(self, graph: Path, tmp_path: Path, model: ModelServer) -> None:
        """
        Two workers of one server spend from one file: to the nano-dollar what the model server charged, and never past the cap.
        """
        vault = f"sqlite:{tmp_path / 'budgets.db'}"
        async with serving(graph, vault, tmp_path / "traces", "--workers", "2") as server:
            tally = await storm([server.address])
            statement = await books(vault)

        assert_held(statement, tally, model)
        assert 0 == statement.assumed.cost_nano_usd

    @pytest.mark.slow
    async def test_hold_it_when_one_is_killed(self, graph: Path, tmp_path: Path, model: ModelServer) -> None:
        """
        A worker that dies with calls under way leaves holds that are charged at their worst, and nothing else.
        """
        vault = f"sqlite:{tmp_path / 'budgets.db'}"
        async with serving(graph, vault, tmp_path / "traces", "--workers", "2") as server:

            async def kill_one() -> None:
                os.kill(children_of(server.process.pid)[0], signal.SIGKILL)

            tally = await storm([server.address], trouble=kill_one)
            statement = await books(vault)

        assert tally.broken
        assert_held(statement, tally, model)


@pytest.mark.redis
class TestServersOnRedis:
    @pytest.mark.slow
    async def test_hold_a_session_to_its_cap(self, graph: Path, tmp_path: Path, model: ModelServer, redis: RedisServer) -> None:
        """
        Two servers spend from one Redis: to the nano-dollar what the model server charged, and never past the cap.
        """
        async with (
            serving(graph, redis.url, tmp_path / "traces-1") as one,
            serving(graph, redis.url, tmp_path / "traces-2") as other,
        ):
            tally = await storm([one.address, other.address])
            statement = await books(redis.url)

        assert_held(statement, tally, model)
        assert 0 == statement.assumed.cost_nano_usd
        for traces in ("traces-1", "traces-2"):
            with TraceReader(tmp_path / traces) as reader:
                assert any(walk.cost_nano_usd for walk in reader.traversals()), "both servers had a share"

    @pytest.mark.slow
    async def test_hold_it_when_one_is_killed(
        self, graph: Path, tmp_path: Path, model: ModelServer, redis: RedisServer
    ) -> None:
        """
        A server that dies with calls under way leaves holds that are charged at their worst, and nothing else.
        """
        async with (
            serving(graph, redis.url, tmp_path / "traces-1") as one,
            serving(graph, redis.url, tmp_path / "traces-2") as other,
        ):

            async def kill_one() -> None:
                one.process.kill()

            tally = await storm([one.address, other.address], trouble=kill_one)
            statement = await books(redis.url)

        assert tally.broken
        assert_held(statement, tally, model)

    @pytest.mark.slow
    async def test_hold_it_when_redis_restarts(
        self, graph: Path, tmp_path: Path, model: ModelServer, redis: RedisServer
    ) -> None:
        """
        While Redis is away nobody is granted anything, and when it is back it knows what it acknowledged.
        """
        async with (
            serving(graph, redis.url, tmp_path / "traces-1") as one,
            serving(graph, redis.url, tmp_path / "traces-2") as other,
        ):

            async def restart() -> None:
                await to_thread.run_sync(redis.restart)

            tally = await storm([one.address, other.address], trouble=restart)
            statement = await books(redis.url)

        assert_held(statement, tally, model)


@pytest.mark.redis
class TestRoundTrips:
    @pytest.mark.parametrize(
        ("start", "intake", "hops"),
        [
            ("intake", INTAKE, ("intake", "small", "other", "judge", "large")),
            ("small", "", ("small", "other", "judge", "large")),
        ],
    )
    async def test_are_one_more_than_hops_at_most(
        self, redis: RedisServer, start: str, intake: str, hops: tuple[str, ...]
    ) -> None:
        """
        Reserving a hop settles the one before in the same call to Redis; the last settlement is one more.
        """
        plan = plan_of(CHAIN % (start, intake))
        async with Mesh(plan, vault=redis.url) as mesh:
            before = redis.calls("fcall")
            done = await mesh.route("Why?", session="s-1", workflow="w-1")
            made = redis.calls("fcall") - before

        assert hops == done.path
        assert made <= len(hops) + 1


@pytest.mark.process
class TestCosts:
    async def test_reported_ones_are_the_providers(self, graph: Path, tmp_path: Path, model: ModelServer) -> None:
        """
        What the records say was reported is, to the nano-dollar, what the model server's own log adds up to.
        """
        traces = tmp_path / "traces"
        async with (
            serving(graph, f"sqlite:{tmp_path / 'budgets.db'}", traces) as server,
            Client(server.address) as client,
            anyio.create_task_group() as tasks,
        ):
            for _ in range(60):
                tasks.start_soon(ask_until_settled, [client], 0, Tally())
        with TraceReader(traces) as reader:
            walks = list(reader.traversals())
        reported = sum(attempt.cost_nano_usd for walk in walks for attempt in walk.attempts() if attempt.basis == "reported")

        assert (60, 60) == (len(walks), len(model.log))
        assert model.usd("10", "30") == Decimal(reported) / 1_000_000_000


@pytest.mark.process
class TestClientGone:
    async def test_what_it_left_behind_is_settled_at_once(self, tmp_path: Path) -> None:
        """
        A caller that goes away in the middle of a call leaves nothing held: the call may be billed, so its worst case is spent.
        """
        vault = f"sqlite:{tmp_path / 'budgets.db'}"
        async with model_server(ModelServer(latency_s=(30, 30))) as slow:
            graph = graph_in(tmp_path, slow, deadline="60s")
            async with serving(graph, vault, tmp_path / "traces") as server, Client(server.address) as client:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ask_until_settled, [client], 0, Tally())
                    with anyio.fail_after(20):
                        await slow.asked.wait()
                    tasks.cancel_scope.cancel()
                statement = await books(vault)

        assert (WORST, WORST, 0) == (statement.spent.cost_nano_usd, statement.assumed.cost_nano_usd, statement.reservations)


@pytest.mark.process
class TestLoops:
    @pytest.mark.slow
    async def test_an_agent_that_calls_itself_for_ever_is_stopped(self, tmp_path: Path, model: ModelServer) -> None:
        """
        A workflow's cap on calls ends a loop whose every answer asks for one more, and the record says which scope ended it.
        """
        graph, traces = graph_in(tmp_path, model, WORKFLOW, "10s"), tmp_path / "traces"
        thoughts: list[str] = []

        async def think(client: Client) -> None:
            while True:
                thoughts.append((await client.route(f"Step {len(thoughts)}: think again.", workflow="w-1")).answer)

        async with serving(graph, "memory", traces) as server, Client(server.address) as client:
            with pytest.raises(BudgetExceeded) as refused:
                await think(client)
        with TraceReader(traces) as reader:
            last = max(reader.traversals(), key=lambda walk: walk.began_unix_us)

        assert (25, "workflow") == (len(thoughts), refused.value.scope)
        assert "node 'large' makes 1 model call and 0 of 25 are left of workflow 'w-1'" == str(refused.value)
        assert ("budget", "workflow") == (last.finish.cause, last.finish.scope)

    async def test_a_walk_without_its_workflow_is_not_taken(self, tmp_path: Path, model: ModelServer) -> None:
        """
        Where a workflow is required, leaving it out is no way round its cap.
        """
        graph = graph_in(tmp_path, model, WORKFLOW, "10s")
        async with serving(graph, "memory", tmp_path / "traces") as server, Client(server.address) as client:
            with pytest.raises(MeshwalkError, match=r"scopes\.workflow: is missing"):
                await client.route("Think.")

        assert [] == model.log


def children_of(process: int) -> list[int]:
    """
    List the processes that *process* started.
    """
    listed = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")

    return [int(child) for child in listed.split()]
