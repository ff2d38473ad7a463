"""
Ten times the load that a model can take, with nothing declared in the graph: who is answered, and who is refused how soon.

`overload.py` measures the same of any build, for longer; this is its short form.
"""

from __future__ import annotations

import asyncio

import pytest

from harness import Compare, Goal, at_least, at_most
from overload import Load, Measured, measure, overloaded


FACTOR = 10
# The connections to a model are its places: 100 of 4 s each are 25 answers a second.
LOAD = Load(places=1_000, seconds=4, deadline="30s")
SHORT = Load(places=10, seconds=0.1, deadline="30s")


def loaded(load: Load, factor: float, seconds: float) -> Measured:
    """
    Measure a server of its own at *factor* times its capacity.
    """
    with overloaded(load) as (pid, port, _):
        return asyncio.run(measure(pid, port, load.capacity * factor, seconds, 3 * load.seconds))


@pytest.mark.timeout(180)
def test_overload(compare: Compare) -> None:
    """
    How much of its goodput at full load does a server keep at ten times that load?
    """
    load, seconds = (LOAD, 36.0) if compare.timed else (SHORT, 1.0)
    one, ten = loaded(load, 1, seconds), loaded(load, FACTOR, seconds)

    assert set(ten.words) <= {"ANSWERED", "REFUSED"}
    assert 0 == ten.refused_nano_usd
    if compare.timed:
        note = (
            f"{ten.answered} answered after {ten.answered_p50_s:.1f} s (median), {ten.refused} refused, {ten.refused_nano_usd} "
            f"nano-dollars charged for them; the server held {ten.memory_mb[0]:.0f} MB after a quarter and "
            f"{ten.memory_mb[1]:.0f} MB at the end"
        )
        kept = ten.goodput / one.goodput
        compare.report(kept, (kept, kept), at_least(0.95), rounds=1, unit=" x", note=note)
        goals: list[tuple[str, str, float, Goal]] = [
            ("median time until a refusal", " ms", ten.refused_ms, at_most(50)),
            ("memory at the end of that after a quarter", " x", ten.memory_mb[1] / ten.memory_mb[0], at_most(1.1)),
        ]
        for of, unit, figure, goal in goals:
            compare.report(figure, (figure, figure), goal, rounds=1, unit=unit, of=of)
