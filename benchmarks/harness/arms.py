"""
Arms: the thing done *n* times, in the ways that a thing can be done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import repeat


Measured = float | None
Arm = Callable[[int], Measured | Awaitable[Measured]]

# After how many goes an async arm lets the event loop go round, so that tasks that its thing left behind run inside what is
# measured: often enough that little is left behind at the end, and seldom enough that going round does not show.
TURN = 100

Act = Callable[[], Awaitable[object]]


def each(act: Callable[[], object]) -> Arm:
    """
    Make an arm of a function that does the thing once.
    """

    def arm(n: int) -> None:
        for _ in repeat(None, n):
            act()

    return arm


def each_awaited(act: Act, settle: Act | None = None) -> Arm:
    """
    Make an arm of an async function that does the thing once; one after the other is awaited.

    Args:
        settle: Waits for what threads still do when all is done.  That is not measured, nor is it left to the other arm.
    """

    async def arm(n: int) -> float:
        began = time.perf_counter_ns()
        await _repeat(act, n)
        took = time.perf_counter_ns() - began
        if settle is not None:
            await settle()

        return took / n

    return arm


def each_in_cpu_time(act: Act, settle: Act | None = None) -> Arm:
    """
    Make an arm of an async function that does the thing once, measured in the CPU time of this whole process, threads included.

    Args:
        settle: Waits for what threads still do when all is done; that is measured, too.
    """

    async def arm(n: int) -> float:
        began = time.process_time_ns()
        await _repeat(act, n)
        if settle is not None:
            await settle()

        return (time.process_time_ns() - began) / n

    return arm


async def _repeat(act: Act, n: int) -> None:
    for _ in range(n // TURN):
        for _ in repeat(None, TURN):
            await act()
        await asyncio.sleep(0)
    for _ in repeat(None, n % TURN):
        await act()
    await asyncio.sleep(0)
