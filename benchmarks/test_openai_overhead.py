"""
What a call through meshwalk costs over the bare HTTP call, beside what it costs through LiteLLM's Router.

Every arm calls the same chat server, which answers at once with the same bytes and has a process of its own.  Each house is
held against the bare client that it calls through itself: aiohttp with orjson for meshwalk, httpx over LiteLLM's own aiohttp
transport for LiteLLM (the client is made by LiteLLM, so that it is exactly the one its Router uses).  The overhead is the
difference, and the question is how one house's compares with the other's, in CPU time (all threads, with what is done after
the answer is there) and in the caller's time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
import orjson
import pytest

from harness import Compare, Goal, Worker, at_most, middle, served
from meshwalk.loader import read_graph
from meshwalk.mesh import Mesh
from meshwalk.plan import compile_plan
from meshwalk.records.store import TraceWriter
from meshwalk.trace import Message, Request
from three_hops import building_spans


HERE = Path(__file__).parent

GRAPH = """
meshwalk: 1
name: one-call
start: small
limits: {{deadline: 60s, cost_usd: 0.5}}
backends:
  small: {{kind: openai, base_url: "{url}", model: loopback-1, context_tokens: 4000, usd_per_mtok: {{input: 1, output: 3}}}}
nodes:
  small: {{role: answer, backend: small, max_tokens: 256, next: done}}
"""
QUESTION = "What is the capital of France?"
REQUEST = Request((Message("user", QUESTION),))

ROUNDS = 21
# How long an arm runs in one round: long enough that one pause of the machine does not make a round.
SECONDS = 0.2

Call = Callable[[], Awaitable[object]]


class Took(NamedTuple):
    """
    Hold what one call took, in nanoseconds.
    """

    cpu: float
    wall: float


Arm = Callable[[int, int], Took]


def here(compare: Compare, call: Call, settle: Call | None = None) -> Arm:
    """
    Make an arm of a call in this process; *settle* waits for what is done after the answer.
    """

    async def calls(n: int) -> None:
        for _ in range(n):
            await call()

    async def together(each: int, in_flight: int) -> Took:
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        await asyncio.gather(*(calls(each) for _ in range(in_flight)))
        wall = time.perf_counter_ns() - wall
        if settle is not None:
            await settle()
        cpu = time.process_time_ns() - cpu

        return Took(cpu / each / in_flight, wall / each / in_flight)

    return lambda n, in_flight: compare.run(together(-(-n // in_flight), in_flight))


def there(worker: Worker, name: str) -> Arm:
    """
    Make an arm of a call in LiteLLM's environment.
    """
    return lambda n, in_flight: Took(*map(float, worker.ask(f"{name} {n} {in_flight}").split()))


@contextmanager
def our_arms(compare: Compare, url: str, folder: Path) -> Iterator[dict[str, Arm]]:
    """
    Open the bare aiohttp call, and meshwalk without and with a store and spans.
    """
    plan = compile_plan(read_graph(GRAPH.format(url=url).encode(), file="one-call.yaml"))
    store, telemetry = TraceWriter(folder, on_full="block"), building_spans()

    async def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), headers={"Content-Type": "application/json"})

    async def bare() -> None:
        body = {"model": "loopback-1", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 256}
        async with opened.post(f"{url}/chat/completions", data=orjson.dumps(body)) as response:
            answer = orjson.loads(await response.read())
        assert answer["usage"]["completion_tokens"] == 5

    def routed(mesh: Mesh) -> Call:
        async def route() -> None:
            done = await mesh.walk(REQUEST)
            assert done.answer == "Paris, of course."

        return route

    async def handed_over() -> None:
        await asyncio.sleep(0)

    async def written() -> None:
        await asyncio.sleep(0)
        await store.flush()
        await telemetry.flush()

    with compare.opened(Mesh(plan)) as plain, compare.opened(Mesh(plan, sinks=[store, telemetry])) as recording:
        opened = compare.run(session())
        yield {
            "aiohttp": here(compare, bare),
            "meshwalk": here(compare, routed(plain), handed_over),
            "meshwalk, recording": here(compare, routed(recording), written),
        }
        compare.run(opened.close())
    compare.run(telemetry.aclose())
    compare.run(store.aclose())


def rounds_of(arms: dict[str, Arm], in_flight: int, *, rounds: int, seconds: float) -> list[dict[str, Took]]:
    """
    Let all arms run in each round, each round in the other order.
    """
    counts = {name: enough(arm, in_flight, seconds) for name, arm in arms.items()}

    return [
        {name: arms[name](counts[name], in_flight) for name in (arms if index % 2 == 0 else reversed(arms))}
        for index in range(rounds)
    ]


def enough(arm: Arm, in_flight: int, seconds: float) -> int:
    """
    Find, doubling, how many calls keep *arm* busy for *seconds*; this warms it up, too.
    """
    n = in_flight
    while arm(n, in_flight).wall * n < seconds * 1e9:
        n *= 2

    return n


def over(took: list[dict[str, Took]], clock: str, arm: str, bare: str) -> list[float]:
    """
    Return what *arm* takes over *bare* in each round, in nanoseconds.
    """
    return [getattr(one[arm], clock) - getattr(one[bare], clock) for one in took]


def ratios(tops: list[float], bottoms: list[float]) -> list[float]:
    """
    Divide round by round.
    """
    return [top / bottom for top, bottom in zip(tops, bottoms, strict=True)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("in_flight", [1, 32], ids=["alone", "32 in flight"])
def test_openai_overhead(compare: Compare, litellm: Path | None, tmp_path: Path, in_flight: int) -> None:
    """
    What does a call through meshwalk cost over the bare call, beside LiteLLM Router's over its own?
    """
    with ExitStack() as stack:
        url = f"http://127.0.0.1:{stack.enter_context(served('chat_server.py')).port}/v1"
        arms = stack.enter_context(our_arms(compare, url, tmp_path))
        if litellm is not None:
            worker = stack.enter_context(Worker(litellm, HERE / "litellm_worker.py", url))
            arms |= {name: there(worker, name) for name in ("httpx", "acompletion", "router")}
        if not compare.timed:
            rounds_of(arms, in_flight, rounds=1, seconds=0)
            return
        took = rounds_of(arms, in_flight, rounds=ROUNDS, seconds=SECONDS)

    for clock, word in (("cpu", "CPU time"), ("wall", "caller's time")):
        each = ", ".join(f"{name} {middle([getattr(one[name], clock) for one in took])[0] / 1000:.0f}" for name in arms)
        note = f"us a call: {each}"
        if litellm is None:
            note += "; LiteLLM is not measured: it has an environment of its own, which `make bench` makes"
        compare.record(
            [getattr(one["meshwalk"], clock) / getattr(one["aiohttp"], clock) for one in took], None, of=word, note=note
        )
        if litellm is not None:
            beside(compare, took, clock, word)


def beside(compare: Compare, took: list[dict[str, Took]], clock: str, word: str) -> None:
    """
    Hold what meshwalk adds to its bare call against what LiteLLM adds to its own.
    """
    questions: tuple[tuple[str, str, str, Goal | None], ...] = (
        ("meshwalk", "router", "against LiteLLM Router's", at_most(1 / 3)),
        ("meshwalk", "acompletion", "against LiteLLM acompletion's", None),
        ("meshwalk, recording", "router", "with store and spans, against LiteLLM Router's", None),
    )
    for ours, theirs, words, goal in questions:
        found = ratios(over(took, clock, ours, "aiohttp"), over(took, clock, theirs, "httpx"))
        compare.record(found, goal, of=f"overhead in {word}, {words}")
