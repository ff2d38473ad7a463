"""
A load that is real: the arrivals of a public trace, sped up, through a served gateway whose models take their time.

Requests come when the trace says, whether or not the earlier ones are answered.  Their prompts are as long as the trace says,
and the models take as long as its output lengths do at a stated rate.  What is asked is how much of a request's time is
routing: inside the gateway, where the record tells each hop's own share, and as the caller sees it, where the wire and the wait
for a processor count, too.  The caller runs on the same machine and takes its part of it.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import pytest

from harness import Compare, middle, served
from meshwalk.wire.client import Client, RouteResult


TRACE = Path(__file__).resolve().parents[2] / "shared" / "data" / "arrivals" / "azure_2023_code.csv.gz"

SPEED = 10
WINDOWS = 5
WINDOW_SECONDS = 5.0
# What a small model on one accelerator generates; a large one half of it (`load_gateway`).
TOKENS_A_SECOND = 200
# A mixture of words, so that the classifier has something to count.
WORDS = "explain the function that reads each line of this file and returns what follows after a comma then list why "


class Arrival(NamedTuple):
    """
    Hold one request of the trace, and when it comes in the replay.
    """

    at: float
    input_tokens: int
    output_tokens: int


class Answered(NamedTuple):
    """
    Hold one reply, and how long its caller waited for it.
    """

    routed: RouteResult
    waited_us: float

    @property
    def calling_us(self) -> int:
        """
        Return the time that the models took; there is no budget to wait for, so all else is the engine's own.
        """
        return self.routed.latency_us - self.routed.engine_us


def read_trace() -> list[Arrival]:
    """
    Read the trace, its clock sped up.
    """
    with gzip.open(TRACE, "rt", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return [Arrival(float(row["t_ms"]) / 1000 / SPEED, int(row["input_tokens"]), int(row["output_tokens"])) for row in rows]


def busiest(arrivals: Sequence[Arrival]) -> list[list[Arrival]]:
    """
    Return the busiest windows, in the order in which they came.
    """
    windows: dict[int, list[Arrival]] = {}
    for arrival in arrivals:
        windows.setdefault(int(arrival.at / WINDOW_SECONDS), []).append(arrival)
    chosen = sorted(windows, key=lambda number: -len(windows[number]))[:WINDOWS]

    return [windows[number] for number in sorted(chosen)]


def prompt(tokens: int) -> str:
    """
    Write a prompt of about so many tokens: a word is one.
    """
    words = WORDS.split()

    return " ".join(words * (tokens // len(words) + 1))[: 5 * tokens] or "why"


async def replayed(client: Client, windows: Sequence[Sequence[Arrival]]) -> tuple[list[list[Answered]], float]:
    """
    Send each request at its time, the windows one after the other without a pause; return the replies, window by window, and
    how late the latest request was sent, in seconds.
    """
    start = time.perf_counter()
    late = 0.0

    async def ask(arrival: Arrival) -> Answered:
        began = time.perf_counter()
        routed = await client.route(prompt(arrival.input_tokens), detail="HOPS", timeout=30)

        return Answered(routed, (time.perf_counter() - began) * 1e6)

    asked: list[list[asyncio.Task[Answered]]] = []
    for number, window in enumerate(windows):
        asked.append([])
        for arrival in window:
            due = start + number * WINDOW_SECONDS + arrival.at % WINDOW_SECONDS
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            late = max(late, time.perf_counter() - due)
            asked[-1].append(asyncio.create_task(ask(arrival)))

    return [await asyncio.gather(*window) for window in asked], late


def percentile(values: Sequence[float], percent: int) -> float:
    """
    Return the value that *percent* of *values* do not exceed.
    """
    return quantiles(values, n=100, method="inclusive")[percent - 1]


@pytest.mark.timeout(120)
def test_load(compare: Compare, tmp_path: Path) -> None:
    """
    What does routing take of a request's time where a real load comes in at ten times its speed?
    """
    if not TRACE.is_file():
        pytest.skip(f"the real arrivals are not here: no {TRACE.name} in shared/data/arrivals beside the repository")
    arrivals = read_trace()
    rate = TOKENS_A_SECOND if compare.timed else 100 * TOKENS_A_SECOND
    times_ms = [1000 * arrival.output_tokens / rate for arrival in arrivals]
    p50_ms, p99_ms = median(times_ms), percentile(times_ms, 99)
    long = median(arrival.input_tokens for arrival in arrivals)
    windows = busiest(arrivals) if compare.timed else [window[:10] for window in busiest(arrivals)[:1]]

    with (
        served("load_gateway.py", str(tmp_path), str(long), str(p50_ms), str(p99_ms)) as gateway,
        compare.opened(Client(f"127.0.0.1:{gateway.port}")) as client,
    ):
        found, late = compare.run(replayed(client, windows))

    paths = {answered.routed.path for window in found for answered in window}

    assert {("intake", "small"), ("intake", "draft", "large")} >= paths
    if compare.timed:
        waited = [answered.waited_us / 1000 for window in found for answered in window]
        note = (
            f"{len(waited)} requests in {WINDOWS} windows of {WINDOW_SECONDS:g} s, {max(map(len, windows))} in the busiest; "
            f"a small model takes {p50_ms:.0f} ms (p99 {p99_ms:.0f}), a large one twice that; callers waited "
            f"{median(waited):.0f} ms (p99 {percentile(waited, 99):.0f}); none was sent more than {late * 1000:.0f} ms late"
        )
        report(compare, found, note)


def report(compare: Compare, windows: Sequence[Sequence[Answered]], note: str) -> None:
    """
    Answer with the figures of the windows: the engine's own share of a hop, and routing's of a request.
    """
    hops = [[hop for answered in window for hop in answered.routed.hops] for window in windows]
    every = [[float(hop.engine_us) for hop in window] for window in hops]
    calling = [[float(hop.engine_us) for hop in window if hop.role != "classifier"] for window in hops]
    inside = [[answered.routed.engine_us / answered.routed.latency_us for answered in window] for window in windows]
    outside = [[1 - answered.calling_us / answered.waited_us for answered in window] for window in windows]
    figures = (
        ("the engine's own share of a hop, p50", " us", [percentile(window, 50) for window in every]),
        ("the engine's own share of a hop, p99", " us", [percentile(window, 99) for window in every]),
        ("the same of hops that call a model, p50", " us", [percentile(window, 50) for window in calling]),
        ("the same of hops that call a model, p99", " us", [percentile(window, 99) for window in calling]),
        ("hop tax inside the gateway, median request", " %", [100 * median(window) for window in inside]),
        ("hop tax as the caller sees it, median request", " %", [100 * median(window) for window in outside]),
    )
    for of, unit, rounds in figures:
        measured, spread = middle(rounds)
        compare.report(measured, spread, None, rounds=len(rounds), unit=unit, note=note, of=of)
        note = ""
