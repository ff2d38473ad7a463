"""
Same-run ratios: two arms timed in turns, one figure with its spread.

A time in microseconds says as much about the machine as about the code, so every question here is a ratio of two arms that
run in one process, in interleaved rounds, each round in the other order.  The answer is the median of the rounds' own ratios:
what disturbs one round disturbs both its arms.  The spread is their quartiles.

An arm does its thing *n* times: a plain or an async function, or a `Worker` in another interpreter.  One that returns a
number has measured itself (nanoseconds each); otherwise the time around it counts.
"""

from __future__ import annotations

import asyncio
import inspect
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeVar

import pytest


T = TypeVar("T")
Measured = float | None
Arm = Callable[[int], Measured | Awaitable[Measured]]

ROUNDS = 11
# How long one arm runs in one round; long enough that starting an event loop's task does not show.
SECONDS = 0.05


class Goal(NamedTuple):
    """
    Say which ratios would do.
    """

    sign: Literal["<=", ">="]
    bound: float

    def holds(self, ratio: float) -> bool:
        """
        Tell whether *ratio* would do.
        """
        return ratio <= self.bound if self.sign == "<=" else ratio >= self.bound

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g}"


def at_most(bound: float) -> Goal:
    """
    Ask for a ratio of no more than *bound*.
    """
    return Goal("<=", bound)


def at_least(bound: float) -> Goal:
    """
    Ask for a ratio of *bound* or more.
    """
    return Goal(">=", bound)


class Answer(NamedTuple):
    """
    Hold what was measured for one question.

    Args:
        goal: None where a figure is only reported.
        spread: The first and third quartile of the rounds' ratios.
        note: What else was measured in the same run.
        command: What measures it again.
        unit: What the figures are in; a ratio of times is so many times.
    """

    name: str
    question: str
    goal: Goal | None
    measured: float
    spread: tuple[float, float]
    rounds: int
    command: str
    note: str = ""
    unit: str = " x"

    @property
    def holds(self) -> bool | None:
        """
        Tell whether the goal is reached; None where there is none.
        """
        return None if self.goal is None else self.goal.holds(self.measured)

    def document(self) -> dict[str, Any]:
        """
        Return the answer as `BENCH_JSON` keeps it.
        """
        return {
            "name": self.name,
            "question": self.question,
            "goal": None if self.goal is None else str(self.goal),
            "measured": self.measured,
            "spread": list(self.spread),
            "rounds": self.rounds,
            "holds": self.holds,
            "command": self.command,
            **({"note": self.note} if self.note else {}),
        }


def each(act: Callable[[], object]) -> Arm:
    """
    Make an arm of a function that does the thing once.
    """

    def arm(n: int) -> None:
        for _ in repeat(None, n):
            act()

    return arm


def each_awaited(act: Callable[[], Awaitable[object]]) -> Arm:
    """
    Make an arm of an async function that does the thing once; one after the other is awaited.
    """

    async def arm(n: int) -> None:
        for _ in repeat(None, n):
            await act()

    return arm


class Worker:
    """
    Run an arm in another interpreter: *script* is told a count a line and answers with the nanoseconds it took.

    Raises:
        RuntimeError: If the script ends instead of answering; with what it said.
    """

    def __init__(self, python: Path, script: Path, *arguments: str) -> None:
        self._script = script
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            encoding="utf-8",
        )

    def __call__(self, n: int) -> float:
        return int(self.ask(str(n))) / n

    def ask(self, line: str) -> str:
        """
        Say *line* and return the line that answers it.

        Raises:
            RuntimeError: If the script ends instead of answering; with what it said.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it is gone, and what it said is read below
        answer = self._process.stdout.readline()
        if not answer:
            self._process.wait()
            self._said.seek(0)
            raise RuntimeError(f"{self._script.name} ended instead of answering: {self._said.read().strip()}")

        return answer.rstrip("\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # The script's input ends, and so does its loop.
        self._process.communicate()
        self._said.close()


class Clock:
    """
    Time arms; async ones share one event loop, so that what is opened for one round is there in the next.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """
        Run what has to be awaited before or after the rounds, on the arms' own event loop.
        """
        return self._runner.run(work)

    def time(self, arm: Arm, n: int) -> float:
        """
        Let *arm* do its thing *n* times; return the nanoseconds each took.
        """
        start = time.perf_counter_ns()
        measured = arm(n)
        if inspect.isawaitable(measured):
            measured = self._runner.run(_awaited(measured))
        elapsed = time.perf_counter_ns() - start

        return elapsed / n if measured is None else measured

    def enough(self, arm: Arm, seconds: float) -> int:
        """
        Find, doubling, how often *arm* must do its thing to be busy for *seconds*; this warms it up, too.
        """
        n = 1
        while True:
            start = time.perf_counter()
            self.time(arm, n)
            if time.perf_counter() - start >= seconds:
                return n
            n *= 2

    def ratios(self, top: Arm, bottom: Arm, *, rounds: int = ROUNDS, seconds: float = SECONDS) -> list[float]:
        """
        Return, for each round, how many times as long *top* took as *bottom*.
        """
        counts = {arm: self.enough(arm, seconds) for arm in (top, bottom)}
        found = []
        for index in range(rounds):
            order = (top, bottom) if index % 2 == 0 else (bottom, top)
            took = {arm: self.time(arm, counts[arm]) for arm in order}
            found.append(took[top] / took[bottom])

        return found

    def close(self) -> None:
        """
        Close the event loop.
        """
        self._runner.close()


async def _awaited(measured: Awaitable[Measured]) -> Measured:
    return await measured


@contextmanager
def served(script: str, *arguments: str, first_line: str = "") -> Iterator[int]:
    """
    Run a server of this folder until its input ends, and give its port.
    """
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name(script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(first_line)
        process.stdin.flush()
        yield int(process.stdout.readline())
        process.stdin.close()


def middle(ratios: list[float]) -> tuple[float, tuple[float, float]]:
    """
    Return the median of *ratios*, and their quartiles.
    """
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")

    return median, (low, high)


class Compare:
    """
    Ask the test's question of two arms.

    Args:
        timed: Whether to measure, or only to see both arms work.
    """

    def __init__(self, node: pytest.Item, answers: list[Answer], *, timed: bool) -> None:
        self._node = node
        self._answers = answers
        self.timed = timed
        self.clock = Clock()
        self.run = self.clock.run

    def __call__(
        self,
        top: Arm,
        bottom: Arm,
        goal: Goal | None,
        *,
        rounds: int = ROUNDS,
        seconds: float = SECONDS,
        note: Callable[[], str] | None = None,
    ) -> None:
        """
        Measure how many times as long *top* takes as *bottom*; *note* says afterwards what else was seen.
        """
        assert rounds >= 5, "fewer rounds than five have no spread to speak of"
        if not self.timed:
            self.clock.time(top, 1)
            self.clock.time(bottom, 1)
            return

        self.record(self.clock.ratios(top, bottom, rounds=rounds, seconds=seconds), goal, note="" if note is None else note())

    def record(self, ratios: list[float], goal: Goal | None, *, of: str = "", note: str = "") -> None:
        """
        Keep what was measured elsewhere: the ratio of each round; *of* tells several figures of one test apart.
        """
        measured, spread = middle(ratios)
        name = self._node.name.removeprefix("test_")
        self._answers.append(
            Answer(
                f"{name}: {of}" if of else name,
                f"{self._question()} ({of})" if of else self._question(),
                goal,
                measured,
                spread,
                len(ratios),
                f"python -m pytest '{self._node.nodeid}'",
                note,
            )
        )

    @contextmanager
    def opened(self, context: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """
        Keep *context* open on the arms' own event loop, in a task that lives from round to round.
        """
        closing = asyncio.Event()

        async def keep(ready: asyncio.Future[T]) -> None:
            try:
                async with context as inside:
                    ready.set_result(inside)
                    await closing.wait()
            except BaseException as error:
                if ready.done():
                    raise
                ready.set_exception(error)

        async def start() -> tuple[T, asyncio.Task[None]]:
            ready: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            keeper = asyncio.create_task(keep(ready))

            return await ready, keeper

        async def stop(keeper: asyncio.Task[None]) -> None:
            closing.set()
            await keeper

        inside, keeper = self.run(start())
        yield inside
        self.run(stop(keeper))

    def tell(
        self,
        name: str,
        question: str,
        goal: Goal | None,
        measured: float,
        spread: tuple[float, float],
        count: int,
        note: str = "",
    ) -> None:
        """
        Take a figure that is no ratio of times; *count* is what it was measured on.
        """
        if self.timed:
            command = f"python -m pytest '{self._node.nodeid}'"
            self._answers.append(Answer(name, question, goal, measured, spread, count, command, note, ""))

    def report(
        self, measured: float, spread: tuple[float, float], goal: Goal | None, *, rounds: int, unit: str, note: str
    ) -> None:
        """
        Answer the test's question with a figure that is no ratio of times.
        """
        name, command = self._node.name.removeprefix("test_"), f"python -m pytest '{self._node.nodeid}'"
        self._answers.append(Answer(name, self._question(), goal, measured, spread, rounds, command, note, unit))

    def _question(self) -> str:
        assert isinstance(self._node, pytest.Function)
        question = " ".join((self._node.function.__doc__ or "").split())
        variant = self._node.callspec.id if hasattr(self._node, "callspec") else ""

        return f"{question} ({variant})" if variant else question


def table(answers: list[Answer]) -> list[str]:
    """
    Lay the answers out in columns, each on a line under its question.
    """
    rows = [("goal", "measured", "spread", "holds", "command")]
    rows += [
        (
            "reported" if answer.goal is None else f"{answer.goal}{answer.unit}",
            f"{answer.measured:.3g}{answer.unit}",
            f"{answer.spread[0]:.3g} to {answer.spread[1]:.3g}",
            "-" if answer.holds is None else "yes" if answer.holds else "NO",
            answer.command,
        )
        for answer in answers
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    head, *body = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    lines = [f"   {head}"]
    for answer, row in zip(answers, body, strict=True):
        lines += [answer.question, f"   {row}", *([f"   {answer.note}"] if answer.note else [])]

    return lines
