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

# How often an arm that is measured in CPU time lets the event loop go round: as a server does that answers so many at once.
TURN = 32


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

    One that has nothing to wait for never lets the event loop go round, so what it leaves to other tasks falls outside the
    time; `each_in_cpu_time` counts that, too.
    """

    async def arm(n: int) -> None:
        for _ in repeat(None, n):
            await act()

    return arm


def each_in_cpu_time(act: Callable[[], Awaitable[object]], settle: Callable[[], Awaitable[object]] | None = None) -> Arm:
    """
    Make an arm of an async function that does the thing once, measured in the CPU time of this whole process, threads included.

    Args:
        settle: Waits for what is done afterwards; that counts, however many threads it keeps busy.
    """

    async def arm(n: int) -> float:
        began = time.process_time_ns()
        for number in range(n):
            if number % TURN == 0:
                await asyncio.sleep(0)
            await act()
        await asyncio.sleep(0)
        if settle is not None:
            await settle()

        return (time.process_time_ns() - began) / n

    return arm
