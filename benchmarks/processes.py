"""
What processes took and hold, as the kernel counts it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def tree(pid: int) -> Iterator[int]:
    """
    Give *pid* and every process under it that runs now.
    """
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from tree(int(child))


def cpu_seconds(pid: int) -> float:
    """
    Return the CPU time that *pid* and every process under it took so far, in user and in kernel mode.
    """
    return sum(_ticks(one) for one in tree(pid)) / TICKS_A_SECOND


def _ticks(pid: int) -> int:
    # The name stands in parentheses and may hold anything; user and system time are the 14th and 15th field (man 5 proc).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()

    return int(fields[11]) + int(fields[12])


def rss_bytes(pid: int) -> int:
    """
    Return how much memory *pid* holds now.
    """
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
