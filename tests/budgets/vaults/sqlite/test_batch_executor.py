"""
Many tasks and one thread at a time: nothing is lost or done twice, whoever is cancelled and however.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from meshwalk.budgets.vaults.sqlite.batch_executor import MAX_BATCH, BatchExecutor, Operation


pytestmark = pytest.mark.anyio

Shop = list[object]


class Workshop:
    """
    Do batches when told to, and keep what was done.
    """

    def __init__(self) -> None:
        self.done: Shop = []
        self.batches: list[int] = []
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self._busy = threading.Lock()

    def run(self, operations: Sequence[Operation[Shop]]) -> Sequence[object]:
        assert self._busy.acquire(blocking=False), "one batch at a time"
        self.begun.set()
        self.gate.wait()
        self.batches.append(len(operations))
        outcomes = [operation(self.done) for operation in operations]
        self._busy.release()

        return outcomes

    @asynccontextmanager
    async def held_up(self) -> AsyncIterator[None]:
        """
        Wait until a batch is begun, and let it end only afterwards.
        """
        try:
            await to_thread.run_sync(self.begun.wait)
            yield
        finally:
            self.gate.set()


def put(thing: object) -> Callable[[Shop], object]:
    """
    Make an operation that puts down *thing* and gives it back.
    """

    def operation(deps: Shop) -> object:
        deps.append(thing)
        return thing

    return operation


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
def combiner(workshop: Workshop) -> BatchExecutor[Shop]:
    return BatchExecutor(workshop.run)


def start(doing: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
    return asyncio.get_running_loop().create_task(doing)


async def settle_down() -> None:
    """
    Let every task go as far as it can without a thread.
    """
    for _ in range(10):
        await checkpoint()


async def test_who_comes_meanwhile_shares_the_next_batch(workshop: Workshop, combiner: BatchExecutor[Shop]) -> None:
    """
    The first does its own, those who come meanwhile are done together, in order, and each gets what is its own.
    """
    workshop.gate.clear()
    tasks = [start(combiner.do(put(0)))]
    async with workshop.held_up():
        tasks += [start(combiner.do(put(number))) for number in range(1, 6)]
        await settle_down()

    assert [0, 1, 2, 3, 4, 5] == list(await asyncio.gather(*tasks)) == workshop.done
    assert [1, 5] == workshop.batches


async def test_batch_has_an_end(workshop: Workshop, combiner: BatchExecutor[Shop]) -> None:
    """
    However many wait, no batch is larger than what others can be kept waiting for.
    """
    workshop.gate.clear()
    tasks = [start(combiner.do(put(0)))]
    async with workshop.held_up():
        tasks += [start(combiner.do(put(number))) for number in range(1, MAX_BATCH + 3)]
        await settle_down()
    await asyncio.gather(*tasks)

    assert [1, MAX_BATCH, 2] == workshop.batches
    assert list(range(MAX_BATCH + 3)) == workshop.done


async def test_fault_is_raised_where_it_was_asked_for() -> None:
    """
    An outcome that is an exception is raised for its own task only.
    """
    combiner = BatchExecutor[Shop](lambda operations: [KeyError("mine"), *["fine"] * (len(operations) - 1)])

    with pytest.raises(KeyError, match="mine"):
        await combiner.do(put(0))


async def test_batch_that_fails_fails_for_all() -> None:
    """
    What should raise nothing and does is heard of by every task, and the next batch is done.
    """
    faults = [ValueError("broken")]

    def run(operations: Sequence[Operation[Shop]]) -> Sequence[object]:
        if faults:
            raise faults.pop()
        return ["fine"] * len(operations)

    combiner = BatchExecutor[Shop](run)
    with pytest.raises(ValueError, match="broken"):
        await combiner.do(put(0))

    assert "fine" == await combiner.do(put(1))


async def test_cancelled_before_it_was_begun_is_not_done(workshop: Workshop, combiner: BatchExecutor[Shop]) -> None:
    """
    Who waits for a batch and is cancelled leaves nothing behind.
    """
    workshop.gate.clear()
    first = start(combiner.do(put("first")))
    async with workshop.held_up():
        with anyio.CancelScope() as scope:
            scope.cancel()
            await combiner.do(put("cancelled"))
        last = start(combiner.do(put("last")))
        await settle_down()

    assert ["first", "last"] == list(await asyncio.gather(first, last)) == workshop.done


@pytest.mark.parametrize("natively", [False, True])
async def test_leader_that_is_cancelled_sees_its_batch_through(
    workshop: Workshop, combiner: BatchExecutor[Shop], *, natively: bool
) -> None:
    """
    A batch that was begun is done for all who are in it, and only then does the next begin.
    """
    workshop.gate.clear()
    scope = anyio.CancelScope()

    async def lead() -> None:
        with scope:
            await combiner.do(put("leader"))
            await checkpoint()

    leader = start(lead())
    async with workshop.held_up():
        followers = [start(combiner.do(put(number))) for number in range(3)]
        await settle_down()
        for _ in range(2):
            if natively:
                leader.cancel()
            else:
                scope.cancel()
            await settle_down()

        assert not leader.done()

    assert [0, 1, 2] == await asyncio.gather(*followers)
    await asyncio.wait([leader])

    assert natively == leader.cancelled()
    assert ["leader", 0, 1, 2] == workshop.done


@pytest.mark.parametrize("steps", range(8))
async def test_leader_that_is_cancelled_early_passes_the_lead_on(
    workshop: Workshop, combiner: BatchExecutor[Shop], steps: int
) -> None:
    """
    Whenever a leader is cancelled, past every shield and before its thread or after, the others are served once.
    """
    leader = start(combiner.do(put("leader")))
    followers = [start(combiner.do(put(number))) for number in range(3)]
    for _ in range(steps):
        await checkpoint()
    leader.cancel()

    assert [0, 1, 2] == await asyncio.gather(*followers)
    await asyncio.wait([leader])

    assert [0, 1, 2] == [thing for thing in workshop.done if thing != "leader"]
    assert workshop.done.count("leader") <= 1


async def test_who_is_called_to_lead_and_does_not_come_is_passed_over(
    workshop: Workshop, combiner: BatchExecutor[Shop]
) -> None:
    """
    A follower that is cancelled at the moment it should lead leaves the lead to the next.
    """
    workshop.gate.clear()

    async def lead() -> None:
        await combiner.do(put("first"))
        # It has been called by now, and did not come yet.
        called.cancel()

    first = start(lead())
    async with workshop.held_up():
        called = start(combiner.do(put("called")))
        last = start(combiner.do(put("last")))
        await settle_down()
    await asyncio.wait([first, called, last])

    assert called.cancelled()
    assert ["first", "last"] == workshop.done


@pytest.mark.parametrize("steps", range(5))
async def test_lead_passes_those_over_who_have_left(workshop: Workshop, combiner: BatchExecutor[Shop], steps: int) -> None:
    """
    A batch whose leader and next in line are both cancelled before it is begun is led by one who is still there.
    """
    workshop.gate.clear()
    first = start(combiner.do(put("first")))
    async with workshop.held_up():
        leaving = [start(combiner.do(put("leaving"))) for _ in range(2)]
        last = start(combiner.do(put("last")))
        await settle_down()
    await first
    for _ in range(steps):
        await checkpoint()
    for task in reversed(leaving):
        task.cancel()

    assert "last" == await last
    assert 1 == workshop.done.count("last")


@pytest.mark.parametrize("seed", range(10))
async def test_storm_of_cancellations_loses_and_doubles_nothing(
    workshop: Workshop, combiner: BatchExecutor[Shop], seed: int
) -> None:
    """
    Whoever is not cancelled is served, and nobody is served twice; the lead is never lost.
    """
    dice = random.Random(seed)
    served: list[int] = []
    gone: set[int] = set()

    async def ask(number: int) -> None:
        await combiner.do(put(number))
        served.append(number)

    async def leave(number: int, steps: int) -> None:
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().call_later(steps / 10_000, scope.cancel)
            await ask(number)

    tasks = []
    for number in range(1, 200):
        way = dice.choice(["stay", "leave", "cancel"])
        steps = dice.randrange(30)
        task = start(leave(number, steps) if way == "leave" else ask(number))
        tasks.append(task)
        if way != "stay":
            gone.add(number)
        if way == "cancel":
            asyncio.get_running_loop().call_later(steps / 10_000, task.cancel)
        if dice.random() < 0.3:
            await checkpoint()
    await asyncio.wait(tasks)

    assert set(range(1, 200)) - gone <= set(served) <= set(range(1, 200))
    assert len(workshop.done) == len(set(workshop.done))
    assert set(served) <= set(workshop.done)
    assert "after" == await combiner.do(put("after"))
