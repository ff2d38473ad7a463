"""
A load past capacity, from outside: requests come at a rate whether or not earlier ones are answered, and nothing is declared.

`python benchmarks/overload.py --factor 10 --seconds 60` serves a graph with `meshwalk serve`, sends it the rate that its model
can take, and then the rate times the factor, and prints both as JSON.  It names nothing that other builds of meshwalk lack, so
that with another build on PYTHONPATH it measures that one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from meshwalk.model import Limits
from meshwalk.wire.client import Client


GRAPH = """
meshwalk: 1
name: overload
start: only
limits: {{deadline: {deadline}}}
backends:
  one:
    kind: openai
    base_url: "http://127.0.0.1:{port}/v1"
    model: loopback-1
    context_tokens: 4000
    usd_per_mtok: {{input: 1, output: 2}}
nodes:
  only: {{role: primary, backend: one, max_tokens: 16, next: done, on_error: [{{to: sorry}}]}}
  sorry: {{role: refusal, reason: no model could answer}}
"""


class Load(NamedTuple):
    """
    What is asked of a server: the *places* of its model, the *seconds* of an answer, the deadline of a walk.

    Args:
        shortest: The seconds of the quickest answer; None is no other than those of all.
    """

    places: int
    seconds: float
    deadline: str
    shortest: float | None = None

    @property
    def seconds_each(self) -> tuple[float, float]:
        """
        Return the most and the fewest seconds of an answer.
        """
        return self.seconds, self.seconds if self.shortest is None else self.shortest

    @property
    def capacity(self) -> float:
        """
        Return the answers a second that the model has, or that the connections to it have.
        """
        return min(self.places, 100) / (sum(self.seconds_each) / 2)


class Ended(NamedTuple):
    """
    The end of one request, in seconds since the load began.
    """

    began: float
    ended: float
    word: str
    cost_nano_usd: int


class Measured(NamedTuple):
    """
    What came of a load.

    Args:
        goodput: Answers a second.
        refused_ms: The median time until a refusal.
        refused_nano_usd: The charge of all that was refused.
        memory_mb: The server's memory after a quarter of the time, and at the end.
    """

    offered: float
    goodput: float
    answered: int
    refused: int
    answered_p50_s: float
    refused_ms: float
    refused_nano_usd: int
    answered_nano_usd: int
    memory_mb: tuple[float, float]
    words: dict[str, int]


@contextmanager
def running(*words: str, cwd: Path | None = None) -> Iterator[tuple[int, str]]:
    """
    Run a program, and give its process id and its first line.
    """
    with subprocess.Popen(words, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, process.stdout.readline()
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def overloaded(load: Load) -> Iterator[tuple[int, int, int]]:
    """
    Run a model and a server before it; give the server's process id and port, and the model's port.
    """
    here = Path(__file__).resolve().parent
    with (
        tempfile.TemporaryDirectory() as folder,
        running(sys.executable, str(here / "slow_chat_server.py"), str(load.places), *map(str, load.seconds_each)) as (_, line),
    ):
        graph = Path(folder) / "overload.yaml"
        graph.write_text(GRAPH.format(port=int(line), deadline=load.deadline), encoding="utf-8")
        words = ("-m", "meshwalk", "serve", str(graph), "--listen", "127.0.0.1:0", "--json")
        with running(sys.executable, *words) as (pid, ready):
            yield pid, json.loads(ready)["port"], int(line)


async def measure(pid: int, port: int, rate: float, seconds: float, settle: float) -> Measured:
    """
    Send *rate* requests a second for *seconds*; what ends in the first *settle* seconds does not count as goodput.
    """
    ends: list[Ended] = []
    start = time.perf_counter()

    async def ask(client: Client) -> None:
        began, cost = time.perf_counter() - start, 0
        try:
            result: Any = await client.route("Why?", timeout=60, limits=Limits())
            word, cost = result.outcome.name, result.cost_nano_usd
        except Exception as error:  # noqa: BLE001 (builds differ in their errors)
            word = type(error).__name__
        ends.append(Ended(began, time.perf_counter() - start, word, cost))

    memory: list[float] = []
    tasks: set[asyncio.Task[None]] = set()
    async with Client(f"127.0.0.1:{port}") as client:
        for number in range(int(rate * seconds)):
            due = start + number / rate
            if (pause := due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            task = asyncio.create_task(ask(client))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            if number == int(rate * seconds) // 4:
                memory.append(rss_mb(pid))
        sent = time.perf_counter() - start
        memory.append(rss_mb(pid))
        if tasks:
            await asyncio.wait(tasks)
    in_time = [end for end in ends if end.word == "ANSWERED" and settle <= end.ended <= sent]
    answered = [end for end in ends if end.word == "ANSWERED"]
    refused = [end for end in ends if end.word != "ANSWERED"]

    return Measured(
        offered=len(ends) / sent,
        goodput=len(in_time) / (sent - settle),
        answered=len(answered),
        refused=len(refused),
        answered_p50_s=median([end.ended - end.began for end in answered]) if answered else float("nan"),
        refused_ms=1000 * median([end.ended - end.began for end in refused]) if refused else 0.0,
        refused_nano_usd=sum(end.cost_nano_usd for end in refused),
        answered_nano_usd=sum(end.cost_nano_usd for end in answered),
        memory_mb=(memory[0], memory[-1]),
        words=dict(Counter(end.word for end in ends)),
    )


def rss_mb(pid: int) -> float:
    """
    Return the megabytes that *pid* holds.
    """
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def model_counts(port: int) -> list[int]:
    """
    Return the requests that came to the model, those that it answered, and the most that were there at once.
    """
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/counts", timeout=10) as answer:
        counts: list[int] = json.load(answer)

    return counts


def main() -> None:
    """
    Measure both loads, and print them.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--factor", type=float, default=10)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--places", type=int, default=1000)
    parser.add_argument("--answer", type=float, default=4)
    parser.add_argument("--shortest", type=float)
    parser.add_argument("--deadline", default="30s")
    options = parser.parse_args()
    load = Load(options.places, options.answer, options.deadline, options.shortest)
    settle = 3 * load.seconds
    found: dict[str, Any] = {}
    for name, factor, seconds in (("1 x", 1, 20 + settle), (f"{options.factor:g} x", options.factor, options.seconds)):
        with overloaded(load) as (pid, port, model):
            found[name] = asyncio.run(measure(pid, port, load.capacity * factor, seconds, settle))._asdict()
            found[name]["model"] = dict(zip(("came", "answered", "peak"), model_counts(model), strict=True))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
