"""
Same-run ratios: two arms measured in turns, one figure with its spread.

A time in microseconds says as much about the machine as about the code, so every question here is a ratio of two arms that
run in one process, in interleaved rounds, each round in the other order.  The answer is the median of the rounds' own ratios:
what disturbs one round disturbs both its arms.  The spread is their quartiles.

An arm does its thing *n* times: a plain or an async function (`arms`), or a `Worker` in another interpreter (`programs`).  One
that returns a number has measured itself (nanoseconds each); otherwise the time around it counts (`clock`).  What is measured
counts as time, which is to be small, or as throughput, which is to be large: an answer says which (`answers`).
"""

from __future__ import annotations

from harness.answers import Answer, Counts, Goal, at_least, at_most, middle, ratio, table
from harness.arms import Act, Arm, Measured, each, each_awaited, each_in_cpu_time
from harness.clock import ROUNDS, SECONDS, Clock, Reading
from harness.compare import Beside, Compare
from harness.programs import Served, Worker, served


__all__ = [
    "ROUNDS",
    "SECONDS",
    "Act",
    "Answer",
    "Arm",
    "Beside",
    "Clock",
    "Compare",
    "Counts",
    "Goal",
    "Measured",
    "Reading",
    "Served",
    "Worker",
    "at_least",
    "at_most",
    "each",
    "each_awaited",
    "each_in_cpu_time",
    "middle",
    "ratio",
    "served",
    "table",
]
