"""
The means to put a test's question to its arms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import NamedTuple, TypeVar

import pytest

from harness.answers import Answer, Counts, Goal, middle, ratio
from harness.arms import Arm
from harness.clock import ROUNDS, SECONDS, Clock, Reading, Took


T = TypeVar("T")


class Beside(NamedTuple):
    """
    Ask of the same rounds what else the arms took, such as the CPU time of the servers that they call.

    Args:
        of: What the ratio is then of.
        top: What to read round the first arm; *bottom* round the second.
    """

    of: str
    goal: Goal | None
    top: Reading
    bottom: Reading
    counts: Counts = "throughput"


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
        counts: Counts = "time",
        rounds: int = ROUNDS,
        seconds: float = SECONDS,
        note: Callable[[], str] | None = None,
        beside: Sequence[Beside] = (),
    ) -> None:
        """
        Measure how many times as long *top* takes as *bottom*, or how many times as much gets done.

        Args:
            note: Says afterwards what else was seen.
            beside: What else is asked of the same rounds; each is an answer of its own.
        """
        assert rounds >= 5, "fewer rounds than five have no spread to speak of"
        if not self.timed:
            self.clock.time(top, 1)
            self.clock.time(bottom, 1)
            return

        readings = ([other.top for other in beside], [other.bottom for other in beside])
        took = self.clock.rounds((top, bottom), rounds=rounds, seconds=seconds, readings=readings)
        self.record(_ratios(took, 0, counts), goal, counts=counts, note="" if note is None else note())
        for column, other in enumerate(beside, 1):
            self.record(_ratios(took, column, other.counts), other.goal, of=other.of, counts=other.counts)

    def record(self, ratios: list[float], goal: Goal | None, *, of: str = "", note: str = "", counts: Counts = "time") -> None:
        """
        Keep what was measured elsewhere: the ratio of each round; *of* tells several figures of one test apart.
        """
        measured, spread = middle(ratios)
        self._answers.append(
            Answer(
                *self._asked(of),
                goal,
                measured,
                spread,
                len(ratios),
                self._command,
                note,
                counts=counts,
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
            self._answers.append(
                Answer(name, question, goal, measured, spread, count, self._command, note, unit="", counts=None)
            )

    def report(
        self,
        measured: float,
        spread: tuple[float, float],
        goal: Goal | None,
        *,
        rounds: int,
        unit: str,
        note: str = "",
        of: str = "",
    ) -> None:
        """
        Answer the test's question with a figure that is no ratio of times; *of* tells several figures of one test apart.
        """
        self._answers.append(Answer(*self._asked(of), goal, measured, spread, rounds, self._command, note, unit, counts=None))

    def _asked(self, of: str) -> tuple[str, str]:
        """
        Return the name and the question of one figure.
        """
        name, question = self._node.name.removeprefix("test_"), self._question()

        return (f"{name}: {of}", f"{question} ({of})") if of else (name, question)

    @property
    def _command(self) -> str:
        return f".venv/bin/python -m pytest '{self._node.nodeid}'"

    def _question(self) -> str:
        assert isinstance(self._node, pytest.Function)
        question = " ".join((self._node.function.__doc__ or "").split())
        variant = self._node.callspec.id if hasattr(self._node, "callspec") else ""

        return f"{question} ({variant})" if variant else question


def _ratios(rounds: list[list[Took]], column: int, counts: Counts) -> list[float]:
    return [ratio(top[column], bottom[column], counts) for top, bottom in rounds]
