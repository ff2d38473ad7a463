"""
Waiting in line: who came first goes first, and no turn is lost.
"""

from __future__ import annotations

import anyio
import pytest

from meshwalk.budgets.vaults import FifoWaiters


LONG = 3600.0

pytestmark = pytest.mark.anyio


class Line:
    """
    Walks that wait for a key, and the order in which they came back.
    """

    def __init__(self) -> None:
        self.waiters = FifoWaiters()
        self.back: list[str] = []

    async def wait(self, name: str, seconds: float = LONG, key: str = "k") -> None:
        await self.waiters.wait(key, seconds)
        self.back.append(name)


async def test_rings_for_who_waited_longest() -> None:
    """
    Each ring calls one, in the order they came.
    """
    line = Line()
    async with anyio.create_task_group() as group:
        for name in ("a", "b", "c"):
            group.start_soon(line.wait, name)
            await anyio.wait_all_tasks_blocked()
        line.waiters.wake_next("k")
        await anyio.wait_all_tasks_blocked()
        first = list(line.back)
        line.waiters.wake_next("k")
        await anyio.wait_all_tasks_blocked()
        second = list(line.back)
        line.waiters.wake_next("k")

    assert (["a"], ["a", "b"], ["a", "b", "c"]) == (first, second, line.back)


async def test_rings_for_one_key_only() -> None:
    """
    Who waits for something else is left in peace.
    """
    line = Line()
    async with anyio.create_task_group() as group:
        group.start_soon(line.wait, "other", LONG, "l")
        group.start_soon(line.wait, "one", LONG, "k")
        await anyio.wait_all_tasks_blocked()
        line.waiters.wake_next("k")
        await anyio.wait_all_tasks_blocked()
        back = list(line.back)
        line.waiters.wake_next("l")

    assert ["one"] == back


async def test_ringing_for_nobody_is_forgotten() -> None:
    """
    A ring is no token: who comes later waits for the next.
    """
    line = Line()
    line.waiters.wake_next("k")
    async with anyio.create_task_group() as group:
        group.start_soon(line.wait, "late")
        await anyio.wait_all_tasks_blocked()
        back = list(line.back)
        line.waiters.wake_next("k")

    assert [] == back
    assert ["late"] == line.back


async def test_goes_on_when_time_is_up() -> None:
    """
    Who was not called in time comes back all the same, and does not take a turn later.
    """
    line = Line()
    async with anyio.create_task_group() as group:
        await line.wait("impatient", 0)
        group.start_soon(line.wait, "patient")
        await anyio.wait_all_tasks_blocked()
        line.waiters.wake_next("k")

    assert ["impatient", "patient"] == line.back


async def test_cancelled_walk_leaves_the_line() -> None:
    """
    A walk that ends while it waits is not called.
    """
    line = Line()
    async with anyio.create_task_group() as group, anyio.create_task_group() as doomed:
        doomed.start_soon(line.wait, "doomed")
        await anyio.wait_all_tasks_blocked()
        group.start_soon(line.wait, "next")
        await anyio.wait_all_tasks_blocked()
        doomed.cancel_scope.cancel()
        await anyio.lowlevel.cancel_shielded_checkpoint()
        line.waiters.wake_next("k")

    assert ["next"] == line.back


async def test_turn_of_a_cancelled_walk_is_passed_on() -> None:
    """
    A walk that is called when it has just ended gives its turn to the next.
    """
    line = Line()
    async with anyio.create_task_group() as group:
        doomed = anyio.CancelScope()

        async def wait_and_end() -> None:
            with doomed:
                await line.wait("doomed")

        group.start_soon(wait_and_end)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(line.wait, "next")
        await anyio.wait_all_tasks_blocked()
        # Both at once, before the one that ends can leave the line.
        doomed.cancel()
        line.waiters.wake_next("k")

    assert ["next"] == line.back


async def test_nothing_is_kept_for_keys_nobody_waits_for() -> None:
    """
    Lines that are empty are forgotten, however their last walk left.
    """
    line = Line()
    async with anyio.create_task_group() as group:
        group.start_soon(line.wait, "called")
        await anyio.wait_all_tasks_blocked()
        line.waiters.wake_next("k")
        await line.wait("late", 0, "l")
        with anyio.CancelScope() as ended:
            ended.cancel()
            await line.wait("ended", LONG, "m")

    assert {} == line.waiters._lines


async def test_who_found_too_little_keeps_its_place() -> None:
    """
    Who was called and asks to go first again is called before those who came after it, and is told that it was called.
    """
    line = Line()
    called: list[bool] = []

    async def insist() -> None:
        called.extend([await line.waiters.wait("k", LONG, first=first) for first in (False, True)])
        line.back.append("a")

    async with anyio.create_task_group() as group:
        group.start_soon(insist)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(line.wait, "b")
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            line.waiters.wake_next("k")
            await anyio.wait_all_tasks_blocked()

    assert ["a", "b"] == line.back
    assert [True, True] == called
    assert not await line.waiters.wait("k", 0.001, first=True)
