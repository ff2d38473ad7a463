"""
What a server holds in memory after many walks, beside what it held after few.
"""

from __future__ import annotations

import faulthandler
import sys
from pathlib import Path

import pytest

from harness import Compare, Served, Worker, at_most, middle
from test_route import calls, stub_at


FEW, MANY = 10_000, 1_000_000
# At how many points on the way memory is looked at, and how many of the requests before each come over the wire.
POINTS, OVER_THE_WIRE = 5, 2_000


@pytest.mark.timeout(1800)  # a million walks
def test_memory(compare: Compare, tmp_path: Path) -> None:
    """
    How many times as much memory as after ten thousand walks does a server hold after a million, all of them recorded?
    """
    # A million walks outlast what the suite allows one test before it takes it for stuck; this test's own limit holds.
    faulthandler.cancel_dump_traceback_later()
    few, many, wired = (FEW, MANY, OVER_THE_WIRE) if compare.timed else (10, 50, 10)
    with Worker(Path(sys.executable), Path(__file__).with_name("memory_worker.py"), str(tmp_path)) as server:
        ask = calls(compare.run(stub_at(Served(int(server.hear()), 0))), 32)
        compare.clock.time(ask, wired)
        first = int(server.ask(str(few)))
        held = []
        for point in range(1, POINTS + 1):
            compare.clock.time(ask, wired)
            held.append(int(server.ask(str(many * point // POINTS))))
    if compare.timed:
        ratios = [later / first for later in held]
        note = f"{first / 1e6:.0f} MB, then {held[-1] / 1e6:.0f} MB; {(1 + POINTS) * OVER_THE_WIRE:,} walks more came over gRPC"
        compare.report(ratios[-1], middle(ratios)[1], at_most(1.1), rounds=POINTS, unit=" x", note=note)
