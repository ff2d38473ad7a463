"""
What the graphs for grade-school maths must reach on all rows, and what is left of it where their thresholds were not fitted.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwalk.backends.outcomes import load_outcomes
from meshwalk.loader import load_graph
from meshwalk.plan import compile_plan
from thresholds import GSM8K_BEST, QUALITY, THRIFT, Figures, Fitted, Goal, fitted, half_of


pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def data(shared_data: Path) -> Path:
    return shared_data / "outcomes" / "gsm8k.jsonl.gz"


@pytest.fixture(scope="module", params=[QUALITY, THRIFT], ids=lambda goal: goal.graph)
def goal(request: pytest.FixtureRequest) -> Goal:
    found: Goal = request.param

    return found


@pytest.fixture(scope="module")
async def fits(goal: Goal, graphs: Path, data: Path) -> Fitted:
    plan = compile_plan(load_graph(graphs / f"{goal.graph}.yaml"))
    assert plan.graph.thresholds[goal.threshold].value == goal.shipped

    return await fitted(plan, data, GSM8K_BEST, goal)


def rounded(figures: Figures) -> tuple[float, float]:
    return round(figures.gain, 4), round(figures.cost, 3)


def test_halves(data: Path) -> None:
    """
    The halves are about as large.
    """
    halves = [half_of(row.id) for row in load_outcomes(data).rows]

    assert [322, 334] == [halves.count(0), halves.count(1)]


async def test_all_rows(goal: Goal, fits: Fitted) -> None:
    """
    As shipped, each graph reaches its goal on all rows.
    """
    found = fits.of(goal.shipped)

    assert found.gain >= goal.gain
    assert found.cost <= goal.cost
    assert {QUALITY: (0.0305, 0.535), THRIFT: (0.0183, 0.369)}[goal] == rounded(found)


async def test_the_threshold_is_found_on_either_half(goal: Goal, fits: Fitted) -> None:
    """
    Whichever half the threshold is fitted on, it is the one that ships.
    """
    assert [goal.shipped, goal.shipped] == [fits.on(0), fits.on(1)]


async def test_the_other_half(goal: Goal, fits: Fitted) -> None:
    """
    Fitted on one half and scored on the other, quality gains both ways, but three points only one way; thrift gains one way and
    loses a row the other, at no more than its cost.
    """
    scored_on = [fits.of(fits.on(1), 0), fits.of(fits.on(0), 1)]

    assert {QUALITY: [(0.0435, 0.529), (0.018, 0.542)], THRIFT: [(0.0404, 0.356), (-0.003, 0.382)]}[goal] == [
        rounded(found) for found in scored_on
    ]
    assert all(found.cost <= goal.cost for found in scored_on)
