"""
More load than a model can take, with nothing declared in the graph: a real server, a real model server, real callers.
"""

from __future__ import annotations

import asyncio

import pytest

from overload import Load, measure, model_counts, overloaded


pytestmark = [pytest.mark.slow, pytest.mark.process]

# 40 answers a second, which both the places of the model and the connections to it allow.
LOAD = Load(places=10, seconds=0.25, deadline="30s")


@pytest.mark.timeout(120)
def test_ten_times_the_load_leaves_the_goodput() -> None:
    """
    As many are answered as at full load; the others hear of it at once, pay nothing, and never reach the model.
    """
    with overloaded(LOAD) as (pid, port, _):
        one = asyncio.run(measure(pid, port, LOAD.capacity, 6, 1))
    with overloaded(LOAD) as (pid, port, model):
        ten = asyncio.run(measure(pid, port, LOAD.capacity * 10, 12, 4))
        came, answered, peak = model_counts(model)

    assert {"ANSWERED", "REFUSED"} == set(ten.words)
    assert ten.goodput >= 0.9 * one.goodput
    assert ten.refused_ms <= 50
    assert 0 == ten.refused_nano_usd
    assert ten.answered == answered == came
    assert 100 == peak
    assert ten.memory_mb[1] <= 1.2 * ten.memory_mb[0]
