"""
Evaluation: figures that can be computed by hand, rows that cannot be judged, and the real file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from meshwalk.loader import load_graph
from meshwalk.model.problems import SetupError
from meshwalk.plan import Plan, compile_plan
from meshwalk.review.evaluate import Evaluation, Interval, _interval, _percentiles, evaluate
from meshwalk.trace import Outcome, Traversal
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

# Small is asked first, and its answer is served where it is sure of it.
CASCADE = """
    meshwalk: 1
    name: cascade
    start: first
    limits: {{input_bytes: 40}}
    backends:
      little: {{kind: recorded, model: small, usd_per_mtok: {{input: 10, output: 100}}}}
      big: {{kind: recorded, model: large}}
    nodes:
      first:
        role: answer
        backend: little
        confidence: {{from: recorded{missing}}}
        next:
          - {{to: sorry, when: output.confidence < 0.1}}
          - {{to: done, when: output.confidence >= 0.5}}
          - {{to: second}}
      second: {{role: primary, backend: big, next: done}}
      sorry: {{role: refusal, reason: nobody knows}}
    """


def cascade(missing: str = "") -> Plan:
    return plan_of(CASCADE.format(missing=missing))


def row(name: str, small: tuple[float | None, float | None], large: float | None, **more: Any) -> dict[str, Any]:
    """
    Make a row: the small model's score and confidence, the large one's score; small costs 0.002 USD, large 0.010.
    """
    outcomes = {
        "small": {"score": small[0], "confidence": small[1], "input_tokens": 100, "output_tokens": 10, "response": f"s {name}"},
        "large": {"score": large, "cost_usd": 0.010, "input_tokens": 1, "output_tokens": 1, "response": f"l {name}"},
    }

    return {"id": name, "prompt": f"prompt {name}", "outcomes": outcomes} | more


# Served: a by small (1), b by large (1), c by small (0), d by nobody, e by large (0.5).
ROWS = (
    row("a", (1.0, 0.9), 1.0),
    row("b", (0.0, 0.3), 1.0),
    row("c", (0.0, 0.5), 1.0, contaminated=True),
    row("d", (0.0, 0.0), 0.0),
    row("e", (0.0, 0.4), 0.5),
)


def written(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path = folder / "outcomes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    return path


async def evaluated(folder: Path, rows: Sequence[dict[str, Any]] = ROWS, **settings: Any) -> Evaluation:
    return await evaluate(cascade(), written(folder, rows), **settings)


class Listing:
    def __init__(self) -> None:
        self.traversals: list[Traversal] = []

    def record(self, traversal: Traversal, plan: Plan) -> None:
        assert plan.plan_digest == traversal.plan_digest
        self.traversals.append(traversal)


class TestFigures:
    async def test_quality_is_the_score_of_what_was_served(self, tmp_path: Path) -> None:
        """
        Each answer scores what its model scores in the file, and a refused walk scores nothing.
        """
        evaluation = await evaluated(tmp_path)

        assert 5 == evaluation.n
        assert pytest.approx((1 + 1 + 0 + 0 + 0.5) / 5) == evaluation.quality
        assert {"answered": 4, "refused": 1} == evaluation.outcomes

    async def test_cost_is_recorded_or_priced(self, tmp_path: Path) -> None:
        """
        A recorded cost counts as it stands, and a model without one costs its declared price for its tokens.
        """
        evaluation = await evaluated(tmp_path)

        # five small calls at (100 at 10, 10 at 100 dollars a million tokens), and two large ones
        assert pytest.approx(5 * 0.002 + 2 * 0.010) == evaluation.cost_usd
        assert "reported" == evaluation.cost_basis

    async def test_baselines(self, tmp_path: Path) -> None:
        """
        Always-best has the highest score of its own, always-cheapest the lowest bill, whatever the nodes' roles.
        """
        evaluation = await evaluated(tmp_path)
        best, cheapest = evaluation.always_best, evaluation.always_cheapest

        assert ("big", 0.7, 0.050) == (best.backend, best.quality, best.cost_usd)
        assert ("little", 0.2, 0.010) == (cheapest.backend, cheapest.quality, cheapest.cost_usd)

    async def test_best_is_who_scores_best(self, tmp_path: Path) -> None:
        """
        Where the cheap model is also the better one, it is both baselines, and so is any mix of the two.
        """
        rows = [row("a", (1.0, 0.9), 0.0), row("b", (1.0, 0.2), 0.0)]
        evaluation = await evaluated(tmp_path, rows)

        assert "little" == evaluation.always_best.backend
        assert "little" == evaluation.always_cheapest.backend
        assert (1.0, 0.004) == (evaluation.random_mix.quality, evaluation.random_mix.cost_usd)

    async def test_random_mix_calls_the_best_as_often(self, tmp_path: Path) -> None:
        """
        The mix lies on the line between the two, at the share of walks that called the best backend.
        """
        mix = (await evaluated(tmp_path)).random_mix

        assert pytest.approx(2 / 5) == mix.share
        assert pytest.approx(0.4 * 0.7 + 0.6 * 0.2) == mix.quality
        assert 0.026 == mix.cost_usd  # 0.4 of 0.050 and 0.6 of 0.010

    async def test_paths(self, tmp_path: Path) -> None:
        """
        Each path has its share, its mean score and its bill, the most walked first; together they are the whole.
        """
        evaluation = await evaluated(tmp_path)

        assert [
            (("first",), 2, 0.4, 0.5, 0.004),
            (("first", "second"), 2, 0.4, 0.75, 0.024),
            (("first", "sorry"), 1, 0.2, 0.0, 0.002),
        ] == [(path.path, path.n, path.share, path.quality, path.cost_usd) for path in evaluation.paths]
        assert pytest.approx(evaluation.cost_usd) == sum(path.cost_usd for path in evaluation.paths)

    async def test_gain_is_taken_row_by_row(self, tmp_path: Path) -> None:
        """
        The difference from always-best and its interval come of the rows' own differences: here 0, 0, -1, 0, 0.
        """
        evaluation = await evaluated(tmp_path)
        reach = 1.959964 * math.sqrt(0.2) / math.sqrt(5)  # the differences' variance is (4 * 0.04 + 0.64) / 4

        assert pytest.approx(-0.2) == evaluation.gain
        assert pytest.approx((-0.2 - reach, -0.2 + reach), abs=1e-6) == evaluation.gain_interval
        assert pytest.approx(0.030 / 0.050) == evaluation.cost_ratio

    async def test_failed_walks_score_nothing_and_are_counted(self, tmp_path: Path) -> None:
        """
        A walk that fails scores the least of its scale, costs what it cost, and is counted by its cause.
        """
        text = CASCADE.format(missing="").replace("input_bytes: 40", "cost_usd: 0.006")
        text = text.replace("model: large", "model: large, usd_per_mtok: {input: 50, output: 500}")
        text = text.replace("backend: big", "backend: big, max_tokens: 10").replace(
            "backend: little", "backend: little\n        max_tokens: 10"
        )
        evaluation = await evaluate(plan_of(text), written(tmp_path, ROWS))

        assert {"answered": 2, "failed": 2, "refused": 1} == evaluation.outcomes
        assert {"budget": 2} == evaluation.failures
        assert pytest.approx(1 / 5) == evaluation.quality

    async def test_a_request_the_graph_does_not_take_is_counted(self, tmp_path: Path) -> None:
        """
        A prompt past the graph's own limits is rejected, scores nothing and costs nothing; the baselines answer it.
        """
        long = row("f", (1.0, 1.0), 1.0, prompt="x" * 41)
        evaluation = await evaluated(tmp_path, [ROWS[0], long])

        assert {"answered": 1, "rejected": 1} == evaluation.outcomes
        assert 0.5 == evaluation.quality
        assert ((), 0.0) == (evaluation.paths[0].path, evaluation.paths[0].cost_usd)
        assert 1.0 == evaluation.always_best.quality

    async def test_scores_keep_their_scale(self, tmp_path: Path) -> None:
        """
        On a scale of 1 to 10 a refused walk scores 1, and the interval stays on the scale.
        """
        rows = [row("a", (9.0, 0.9), 9.0, score_scale=[1, 10]), row("d", (5.0, 0.0), 9.0, score_scale=[1, 10])]
        evaluation = await evaluated(tmp_path, rows)

        assert 5.0 == evaluation.quality
        assert Interval(1.0, 10.0) == evaluation.quality_interval

    async def test_absent_confidence_takes_no_wrong_edge(self, tmp_path: Path) -> None:
        """
        Without a confidence the guards are undetermined and the last edge is taken; `missing:` decides otherwise.
        """
        data = written(tmp_path, [row("a", (1.0, None), 1.0)])
        undetermined = await evaluate(cascade(), data)
        declared = await evaluate(cascade(", missing: 0.7"), data)

        assert ("first", "second") == undetermined.paths[0].path
        assert ("first",) == declared.paths[0].path


class TestRows:
    async def test_rows_that_cannot_be_judged_are_counted_by_reason(self, tmp_path: Path) -> None:
        """
        A row is left out where a model's outcome or score is missing, where its prompt came before, where it has turns.
        """
        partial = row("p", (1.0, 1.0), 1.0)
        del partial["outcomes"]["large"]
        turns = row("t", (1.0, 1.0), 1.0)
        turns["outcomes"]["small"]["responses"] = ["one", "two"]
        rows = [*ROWS, partial, turns, row("u", (None, 1.0), 1.0), row("r", (1.0, 1.0), 1.0, prompt="prompt a")]
        evaluation = await evaluated(tmp_path, rows)

        assert 5 == evaluation.n
        assert {
            "no outcome of 'large'": 1,
            "a conversation of several turns": 1,
            "no score of 'small'": 1,
            "a prompt that an earlier row has": 1,
        } == evaluation.skipped

    async def test_a_model_without_cost_or_price_is_not_free(self, tmp_path: Path) -> None:
        """
        A row whose cost nobody knows is left out, and where that is every row, the remedy is named.
        """
        rows = [row("a", (1.0, 0.9), 1.0), row("b", (1.0, 0.9), 1.0)]
        for each in rows:
            del each["outcomes"]["large"]["cost_usd"]

        with pytest.raises(SetupError, match=r"2 of them: no cost of 'large', and backend 'big' declares no usd_per_mtok"):
            await evaluated(tmp_path, rows)

    async def test_cache_of_recorded_answers_is_refused(self, tmp_path: Path) -> None:
        """
        A prompt is asked once, so that a cache would only hide which model answered; the remedy is named.
        """
        kept = "big: {{kind: recorded, model: large}}\n      kept: {{kind: cache, of: big}}"
        text = CASCADE.replace("big: {{kind: recorded, model: large}}", kept).replace("backend: big", "backend: kept")

        with pytest.raises(SetupError, match=r"node 'second' answers with cache 'kept', .*; give the node backend 'big'"):
            await evaluate(plan_of(text.format(missing="")), written(tmp_path, ROWS))

    async def test_contaminated_rows_are_counted(self, tmp_path: Path) -> None:
        """
        Rows that the models may have seen are walked, and said.
        """
        assert 1 == (await evaluated(tmp_path)).contaminated

    async def test_contaminated_rows_are_left_out(self, tmp_path: Path) -> None:
        """
        They are left out if asked, and counted under their reason.
        """
        whole, clean = await evaluated(tmp_path), await evaluated(tmp_path, contaminated=False)

        assert (whole.n - 1, 0) == (clean.n, clean.contaminated)
        assert 1 == clean.skipped["marked as known to the models"]

    async def test_limit_takes_the_first_rows(self, tmp_path: Path) -> None:
        """
        A limit walks that many rows from the top.
        """
        evaluation = await evaluated(tmp_path, limit=2)

        assert (2, 1.0) == (evaluation.n, evaluation.quality)

    async def test_several_scales_have_no_mean(self, tmp_path: Path) -> None:
        """
        Rows that are scored differently are not averaged.
        """
        with pytest.raises(SetupError, match="several scales"):
            await evaluated(tmp_path, [ROWS[0], row("z", (5.0, 0.9), 9.0, score_scale=[1, 10])])


class TestWalks:
    async def test_records_go_to_the_sinks(self, tmp_path: Path) -> None:
        """
        Every walk of the graph leaves its record, in full, and the baselines' leave none.
        """
        listing = Listing()
        await evaluated(tmp_path, sinks=[listing])

        assert 5 == len(listing.traversals)
        assert {"cascade"} == {traversal.graph for traversal in listing.traversals}
        assert 1 == sum(traversal.outcome is Outcome.REFUSED for traversal in listing.traversals)

    async def test_progress_is_told_after_each_row(self, tmp_path: Path) -> None:
        """
        Who watches is told how many rows of how many are done, and the last call says all.
        """
        told: list[tuple[int, int]] = []
        await evaluated(tmp_path, progress=lambda done, total: told.append((done, total)))

        assert [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)] == told

    async def test_figures_repeat(self, tmp_path: Path) -> None:
        """
        A second evaluation gives the same figures, time aside.
        """
        first, second = [await evaluated(tmp_path) for _ in range(2)]

        assert (first.quality, first.cost_usd, first.paths) == (second.quality, second.cost_usd, second.paths)
        assert (first.random_mix, first.gain_interval) == (second.random_mix, second.gain_interval)


class TestRefusals:
    async def test_a_graph_without_recorded_answers(self, tmp_path: Path) -> None:
        """
        A graph that calls models is not evaluated, and the remedy is said.
        """
        plan = plan_of(
            """
            meshwalk: 1
            name: live
            start: only
            backends: {real: {kind: simulated}}
            nodes: {only: {role: primary, backend: real, next: done}}
            """
        )

        with pytest.raises(SetupError, match=r"graph 'live' has no recorded answers to evaluate: .* `kind: recorded`"):
            await evaluate(plan, written(tmp_path, ROWS))

    async def test_an_answer_that_no_score_judges(self, tmp_path: Path) -> None:
        """
        Where one node may serve what the file cannot judge, that node is named.
        """
        plan = plan_of(
            """
            meshwalk: 1
            name: half
            start: first
            backends: {little: {kind: recorded, model: small}, real: {kind: simulated}}
            nodes:
              first: {role: answer, backend: little, next: second}
              second: {role: primary, backend: real, next: done}
            """
        )

        with pytest.raises(SetupError, match="node 'second' answers with backend 'real', whose answers have no scores"):
            await evaluate(plan, written(tmp_path, ROWS))

    async def test_answers_and_scores_come_from_one_file(self, tmp_path: Path) -> None:
        """
        A graph that names a file of its own is evaluated on that file and on no other.
        """
        (tmp_path / "graph.yaml").write_text(
            "meshwalk: 1\nname: own\nstart: only\n"
            "backends: {little: {kind: recorded, model: large, data: outcomes.jsonl}}\n"
            "nodes: {only: {role: primary, backend: little, next: done}}\n",
            encoding="utf-8",
        )
        data = written(tmp_path, ROWS)
        other = tmp_path / "other.jsonl"
        other.write_bytes(data.read_bytes())
        plan = compile_plan(load_graph(tmp_path / "graph.yaml"))

        assert 0.7 == pytest.approx((await evaluate(plan, data)).quality)

        with pytest.raises(SetupError, match=r"backend 'little' answers from '.*outcomes\.jsonl'"):
            await evaluate(plan, other)

    async def test_an_unknown_model(self, tmp_path: Path) -> None:
        """
        A model that the file does not have is named, with those it has.
        """
        rows = [{"id": "a", "prompt": "p", "outcomes": {"large": {"score": 1, "cost_usd": 1}}}]

        with pytest.raises(SetupError, match="has no answers of 'small'"):
            await evaluated(tmp_path, rows)


class TestStatistics:
    def test_interval_is_normal(self) -> None:
        """
        The interval is the mean and 1.96 standard errors to each side.
        """
        low, high = _interval([0.2, 0.4, 0.6, 0.8], 0.0, 1.0)
        reach = 1.959964 * math.sqrt(0.2 / 3) / 2

        assert pytest.approx((0.5 - reach, 0.5 + reach), abs=1e-6) == (low, high)

    def test_interval_of_one_value_is_the_scale(self) -> None:
        """
        One value says nothing of its spread.
        """
        assert Interval(0.0, 1.0) == _interval([0.4], 0.0, 1.0)

    def test_interval_holds_its_mean(self) -> None:
        """
        Where scores lie past their scale, it is not the scale's end that cuts the interval off.
        """
        assert Interval(-0.5, -0.5) == _interval([-0.5, -0.5], 0.0, 1.0)
        assert Interval(1.5, 1.5) == _interval([1.5, 1.5], -1.0, 1.0)

    def test_percentiles_are_values_that_were_measured(self) -> None:
        """
        A percentile is the smallest value that so many do not exceed.
        """
        assert (50, 95, 99) == _percentiles(range(100, 0, -1))
        assert (7, 7, 7) == _percentiles([7])


class TestRealFile:
    async def test_agreement_beats_the_best_model_for_less(self, graphs: Path, shared_data: Path) -> None:
        """
        On real grade-school maths, two cheap models that agree save 40 % and answer better than GPT-4 alone.
        """
        plan = compile_plan(load_graph(graphs / "gsm8k-agreement.yaml"))
        evaluation = await evaluate(plan, shared_data / "outcomes" / "gsm8k.jsonl.gz")

        assert (656, {}) == (evaluation.n, evaluation.skipped)
        assert "gpt4" == evaluation.always_best.backend
        assert pytest.approx(0.857, abs=0.001) == evaluation.always_best.quality
        assert evaluation.quality >= 0.88
        assert evaluation.cost_ratio is not None
        assert evaluation.cost_ratio <= 0.60
