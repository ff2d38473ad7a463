"""
The clock: arms in turns, each asked often enough to be measured, and what else is read round them.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from harness.answers import ratio
from harness.arms import Arm, Measured


T = TypeVar("T")

ROUNDS = 11
# How long one arm runs in one round; long enough that starting an event loop's task does not show.
SECONDS = 0.05

# Gives a figure that only grows, and only by the doing of one arm, such as the CPU seconds that its server has used.
Reading = Callable[[], float]

# What one go of an arm took in a round: nanoseconds, then what was added to each reading.
Took = tuple[float, ...]


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

    def rounds(
        self,
        arms: Sequence[Arm],
        *,
        rounds: int = ROUNDS,
        seconds: float = SECONDS,
        readings: Sequence[Sequence[Reading]] = ((), ()),
    ) -> list[list[Took]]:
        """
        Let all *arms* run in each round, every other round in the other order; return what each took, round by round.

        Args:
            readings: What to read of each arm, besides the time.  That is done between rounds, so that what a server does when
                its callers have their replies is counted as well.
        """
        counts = [self.enough(arm, seconds) for arm in arms]
        before = [[read() for read in reads] for reads in readings]
        found = []
        for index in range(rounds):
            took = [0.0] * len(arms)
            for at in range(len(arms)) if index % 2 == 0 else reversed(range(len(arms))):
                took[at] = self.time(arms[at], counts[at])
            after = [[read() for read in reads] for reads in readings]
            found.append(
                [
                    (took[at], *((now - was) / counts[at] for now, was in zip(after[at], before[at], strict=True)))
                    for at in range(len(arms))
                ]
            )
            before = after

        return found

    def ratios(self, top: Arm, bottom: Arm, *, rounds: int = ROUNDS, seconds: float = SECONDS) -> list[float]:
        """
        Return, for each round, how many times as long *top* took as *bottom*.
        """
        return [ratio(over[0], under[0], "time") for over, under in self.rounds((top, bottom), rounds=rounds, seconds=seconds)]

    def close(self) -> None:
        """
        Close the event loop.
        """
        self._runner.close()


async def _awaited(measured: Awaitable[Measured]) -> Measured:
    return await measured
