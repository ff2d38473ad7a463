"""
What the graphs for grade-school maths reach on real recorded answers, beside always asking the best, the cheapest, and a mix.

Nothing is timed here, and there are no rounds: each figure comes of walking every row of the file, and its spread is a 95 %
interval, row by row.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import Compare, at_least, at_most
from meshwalk.loader import load_graph
from meshwalk.plan import Plan, compile_plan
from meshwalk.review.evaluate import Evaluation, evaluate
from thresholds import GSM8K_BEST, QUALITY, THRIFT, Figures, Goal, fitted


ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def data() -> Path:
    path = ROOT.parent / "shared" / "data" / "outcomes" / "gsm8k.jsonl.gz"
    if not path.exists():
        pytest.skip(f"the real outcomes are not here: {path.relative_to(ROOT.parent)} beside the repository is no file")

    return path


@pytest.mark.parametrize("goal", [QUALITY, THRIFT], ids=lambda goal: goal.graph)
def test_gsm8k(compare: Compare, data: Path, goal: Goal) -> None:
    """
    How much better than always GPT-4 is it, at what share of its cost?
    """
    plan = compile_plan(load_graph(ROOT / "graphs" / f"{goal.graph}.yaml"))
    found = compare.run(evaluate(plan, data))
    halves = compare.run(_halves(plan, data, goal)) if compare.timed else ""
    assert found.cost_ratio is not None
    share = (found.cost_ratio, found.cost_ratio)
    said = f"{_beside(found)}; {halves}"
    compare.tell(
        f"{goal.graph}-gain",
        f"{goal.graph}: quality over always GPT-4",
        at_least(goal.gain),
        found.gain,
        (found.gain_interval.low, found.gain_interval.high),
        found.n,
        said,
    )
    compare.tell(f"{goal.graph}-cost", f"{goal.graph}: share of its cost", at_most(goal.cost), found.cost_ratio, share, found.n)

    assert found.gain >= goal.gain
    assert found.cost_ratio <= goal.cost


def _beside(found: Evaluation) -> str:
    best, cheapest, mix = found.always_best, found.always_cheapest, found.random_mix
    low, high = found.quality_interval

    return (
        f"quality {found.quality:.4f} ({low:.4f} to {high:.4f}) for {found.cost_usd:.3f} USD on {found.n} rows; "
        f"always {best.backend} {best.quality:.4f} for {best.cost_usd:.3f}, always {cheapest.backend} "
        f"{cheapest.quality:.4f} for {cheapest.cost_usd:.3f}, a random mix {mix.quality:.4f} for {mix.cost_usd:.3f}"
    )


async def _halves(plan: Plan, data: Path, goal: Goal) -> str:
    fits = await fitted(plan, data, GSM8K_BEST, goal)
    ways = ((0, 1, "first"), (1, 0, "second"))
    told = [
        f"fitted on the {name} half {fits.on(here):g}, {_worded(fits.of(fits.on(here), there))}" for here, there, name in ways
    ]

    return "; ".join(told)


def _worded(found: Figures) -> str:
    return f"on the other {found.gain:+.4f} ({found.low:+.4f} to {found.high:+.4f}) at {found.cost:.3f}"
