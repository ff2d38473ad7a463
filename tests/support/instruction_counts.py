"""
Counting the Python instructions that something executes: a cost that no busy machine changes.

What C code does is not seen, nor how long an instruction takes; what is seen is exact, and repeats to the instruction.  Each
version of Python compiles to other instructions, so a count is held against that of a fixed piece of code, the `yardstick`,
which is counted in the same run: how many times as much is nearly the same on every version.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from types import CodeType, FrameType
from typing import Any, NamedTuple, TypeVar


T = TypeVar("T")


def instructions(act: Callable[[], object]) -> int:
    """
    Count the instructions of every Python function that *act* calls, and of those that they call.
    """
    # A collection in between would run what waits to be finalised, now and then.
    collecting = gc.isenabled()
    gc.disable()
    try:
        with _counting() as seen:
            act()
    finally:
        if collecting:
            gc.enable()

    return seen()


if sys.version_info >= (3, 12):

    @contextmanager
    def _counting() -> Iterator[Callable[[], int]]:
        """
        Have the interpreter tell of each instruction; it tells a tracing function of fewer, until code is warm.
        """
        count, thread, monitoring = 0, get_ident(), sys.monitoring

        def told(_code: CodeType, _offset: int) -> None:
            nonlocal count
            count += get_ident() == thread

        tool = next(tool for tool in range(6) if monitoring.get_tool(tool) is None)
        monitoring.use_tool_id(tool, "instructions")
        monitoring.register_callback(tool, monitoring.events.INSTRUCTION, told)
        monitoring.set_events(tool, monitoring.events.INSTRUCTION)
        try:
            yield lambda: count
        finally:
            monitoring.set_events(tool, monitoring.events.NO_EVENTS)
            monitoring.register_callback(tool, monitoring.events.INSTRUCTION, None)
            monitoring.free_tool_id(tool)

else:

    @contextmanager
    def _counting() -> Iterator[Callable[[], int]]:
        """
        Trace this thread, instruction by instruction.
        """
        count, before = 0, sys.gettrace()

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal count
            frame.f_trace_lines, frame.f_trace_opcodes = False, True
            count += event == "opcode"

            return trace

        sys.settrace(trace)
        try:
            yield lambda: count
        finally:
            sys.settrace(before)


def finished(work: Awaitable[T]) -> T:
    """
    Run *work*, which waits for nothing, to its end.
    """
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result

    steps.close()
    raise AssertionError("what does nothing waits for nothing, and this did; then its instructions cannot be told from others'")


# ---- the yardstick: nothing below is to be changed, or what is kept means nothing any more ------------------------------


class _Row(NamedTuple):
    name: str
    size: int
    share: float | None = None


class _Shelf:
    __slots__ = ("rows", "seen")

    def __init__(self, rows: Sequence[_Row]) -> None:
        self.rows = list(rows)
        self.seen: dict[str, int] = {}

    async def find(self, least: int) -> _Row | None:
        for row in self.rows:
            if self._fits(row, least):
                return row._replace(share=row.size / 7)

        return None

    def _fits(self, row: _Row, least: int) -> bool:
        self.seen[row.name] = self.seen.get(row.name, 0) + 1
        if row.share is not None and row.share > 0.5:
            return False

        return row.size >= least


async def yardstick() -> str:
    """
    Do a little of what all code of ours does: call, await, loop, compare, look up, make tuples and texts.
    """
    found: list[str] = []
    for start in range(5):
        reader = _Shelf([_Row(f"row {number}", number, None if number % 2 else 0.75) for number in range(start, start + 6)])
        try:
            row = await reader.find(start + 3)
            if row is None:
                raise LookupError(start)  # noqa: TRY301
            found.append(f"{row.name}: {row.share or 0:.2f}")
        except LookupError as error:
            found.append(str(error))
        found.extend(sorted({name for name, times in reader.seen.items() if times < 2}, key=len))

    return ", ".join(found)
