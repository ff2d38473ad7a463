"""
Several processes on one file, and the end of one of them.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from meshwalk.budgets import AccountReport
from meshwalk.budgets.vaults.sqlite import SqliteVault


SPENDER = Path(__file__).with_name("spender.py")
WORST = 3
LONG_US = 600_000_000


@contextmanager
def spender(path: Path, tag: str, *, tasks: int, cap: int, lease_us: int, kept: int = 0) -> Iterator[subprocess.Popen[str]]:
    """
    Start a process that spends, and end it if it has not ended by itself.
    """
    numbers = map(str, (tasks, cap, lease_us, kept))
    command = [sys.executable, str(SPENDER), str(path), tag, *numbers]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until(word: str, *processes: subprocess.Popen[str]) -> None:
    """
    Wait until each process has said *word*.
    """
    for process in processes:
        assert process.stdout is not None
        assert f"{word}\n" == process.stdout.readline()


def go(*processes: subprocess.Popen[str]) -> None:
    """
    Let processes spend.
    """
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


async def report(path: Path, later_us: int = 0) -> AccountReport:
    """
    Read the one account there is, as it will stand *later_us* from now.
    """
    vault = await SqliteVault.open(path, clock_us=lambda: time.time_ns() // 1000 + later_us)
    try:
        (one,) = await vault.reports("ada")
    finally:
        await vault.aclose()

    return one


def look_into(path: Path, query: str) -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.process
@pytest.mark.anyio
async def test_processes_spend_all_that_fits_and_no_more(tmp_path: Path) -> None:
    """
    Four processes end with no more spent than the cap, with no call denied that would have fit, and with nothing left held.
    """
    path, cap = tmp_path / "budgets.sqlite", 1200
    with ExitStack() as stack:
        processes = [stack.enter_context(spender(path, tag, tasks=16, cap=cap, lease_us=LONG_US)) for tag in "abcd"]
        until("ready", *processes)
        go(*processes)
        outputs = [process.communicate()[0].splitlines() for process in processes]
    told = sum(json.loads(lines[-1])["spent"] for lines in outputs)
    one = await report(path)
    spent = one.spent.cost_nano_usd

    assert cap - WORST < spent <= cap
    assert told == spent == sum(line.spent.cost_nano_usd for line in one.lines)
    assert (0, 0) == (one.reservations, one.reserved.cost_nano_usd)
    assert 0 == one.overrun.cost_nano_usd == one.assumed.cost_nano_usd


@pytest.mark.process
@pytest.mark.anyio
async def test_killed_process_leaves_books_that_hold(tmp_path: Path) -> None:
    """
    What a process held that was killed is charged at its worst when its leases end, and the others go on to the cap.
    """
    path, cap, kept = tmp_path / "budgets.sqlite", 6000, 5
    with (
        spender(path, "doomed", tasks=16, cap=cap, lease_us=1_000_000, kept=kept) as doomed,
        spender(path, "a", tasks=8, cap=cap, lease_us=LONG_US) as first,
        spender(path, "b", tasks=8, cap=cap, lease_us=LONG_US) as second,
    ):
        until("ready", doomed, first, second)
        go(doomed)
        until("spending", doomed)
        go(first, second)
        until("spending", first, second)
        doomed.kill()
        told = [json.loads(process.communicate()[0].splitlines()[-1])["spent"] for process in (first, second)]
    one = await report(path, later_us=1_000_000)
    spent, assumed = one.spent.cost_nano_usd, one.assumed.cost_nano_usd
    by = {line.spend_path.path: line.spent.cost_nano_usd for line in one.lines}

    assert cap - WORST < spent <= cap
    assert kept * WORST <= assumed <= by["doomed"]
    assert told == [by["a"], by["b"]]
    assert (0, 0) == (one.reservations, one.reserved.cost_nano_usd)
    assert [("ok",)] == look_into(path, "PRAGMA integrity_check")
