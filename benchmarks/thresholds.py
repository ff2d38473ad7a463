"""
Thresholds that are fitted on one half of a file and scored on the other, both ways.

The halves are told apart by the parity of a hash of each row's id, so that they are the same everywhere and follow nothing that
the rows say.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple

from meshwalk.backends.outcomes import load_outcomes
from meshwalk.mesh import Mesh
from meshwalk.model import RecordedSpec
from meshwalk.plan import Plan, compile_plan, with_thresholds
from meshwalk.trace import Message, Request


_Z = NormalDist().inv_cdf(0.975)

GSM8K_BEST = "gpt-4-1106-preview"


class Goal(NamedTuple):
    """
    Say what a graph must reach: the gain over the best model, at which share of its cost.

    Args:
        threshold: The one that is fitted.
        shipped: Its value in the graph.
        values: What it is chosen from: below, between and above the confidences that occur.
    """

    graph: str
    gain: float
    cost: float
    threshold: str
    shipped: float
    values: tuple[float, ...]


QUALITY = Goal("gsm8k-quality", 0.03, 0.55, "sure", 0.875, (0.5, 0.825, 0.875, 0.95))
THRIFT = Goal("gsm8k-thrift", 0.0, 0.43, "ended", 0.75, (0.25, 0.6, 0.75, 0.9))


class Scored(NamedTuple):
    """
    Hold one walk beside what always asking the best model gives for the same row.
    """

    half: int
    score: float
    cost_nano_usd: int
    best_score: float
    best_cost_nano_usd: int


class Figures(NamedTuple):
    """
    Hold the mean gain over always asking the best, its 95 % interval, and the share of the best's cost.
    """

    gain: float
    low: float
    high: float
    cost: float


def half_of(id: str) -> int:
    """
    Return which half a row is in.
    """
    return hashlib.sha256(id.encode()).digest()[-1] % 2


async def walked(plan: Plan, data: Path, best: str) -> list[Scored]:
    """
    Walk every row of *data*, and set each beside the model *best*.
    """
    found = []
    async with Mesh(plan, outcomes=data) as mesh:
        for row in load_outcomes(data).rows:
            traversal = (await mesh.walk(Request((Message("user", row.prompt),)))).traversal
            spec = plan.graph.backends[plan.node(traversal.answer_node or "").node.backend or ""]
            assert isinstance(spec, RecordedSpec)
            served, other = row.outcomes[spec.model], row.outcomes[best]
            assert served.score is not None
            assert other.score is not None
            assert other.cost_nano_usd is not None
            half = half_of(row.id)
            found.append(Scored(half, served.score, traversal.cost_nano_usd, other.score, other.cost_nano_usd))

    return found


def figures(walks: Iterable[Scored]) -> Figures:
    """
    Sum up *walks*; the interval is normal, row by row.
    """
    those = list(walks)
    gains = [walk.score - walk.best_score for walk in those]
    gain, reach = fmean(gains), _Z * stdev(gains) / math.sqrt(len(gains))
    cost = sum(walk.cost_nano_usd for walk in those) / sum(walk.best_cost_nano_usd for walk in those)

    return Figures(gain, gain - reach, gain + reach, cost)


class Fitted(NamedTuple):
    """
    Hold what walks under each of several values of one threshold gave, and find the value that does best within a cost.
    """

    max_cost: float
    walks: Mapping[float, Sequence[Scored]]

    def of(self, value: float, half: int | None = None) -> Figures:
        """
        Sum up the walks under one value, on one half or on all rows.
        """
        return figures(walk for walk in self.walks[value] if half in (None, walk.half))

    def on(self, half: int) -> float:
        """
        Return the value with the highest quality on *half* that costs no more there than it may; of equals the cheaper.
        """
        found = {value: self.of(value, half) for value in self.walks}
        within = [value for value, those in found.items() if those.cost <= self.max_cost]

        return max(within, key=lambda value: (found[value].gain, -found[value].cost))


async def fitted(plan: Plan, data: Path, best: str, goal: Goal) -> Fitted:
    """
    Walk every row of *data* under each value that *goal* lets its threshold have.
    """
    plans = {value: compile_plan(with_thresholds(plan.graph, {goal.threshold: value})) for value in goal.values}

    return Fitted(goal.cost, {value: await walked(other, data, best) for value, other in plans.items()})
