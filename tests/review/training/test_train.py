from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meshwalk.backends.outcomes import load_outcomes
from meshwalk.model.problems import SetupError
from meshwalk.model.weights import Embedding, read_weights
from meshwalk.review.training.fit import Prompts, Recipe, fit, scored
from meshwalk.review.training.train import Training, measure, train
from tests.support.training_data import taught, written


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    return train(written(tmp_path_factory.mktemp("data"), taught()), embedded=False)


class TestTrain:
    def test_the_stronger_model_is_found(self, training: Training) -> None:
        """
        Of two models the one with the higher mean score is the strong one.
        """
        assert {"weak": "small", "strong": "large"} == dict(training.weights.models)

    def test_what_can_be_learnt_is_learnt(self, training: Training) -> None:
        """
        Where the length of a prompt decides, the held-out rows are told apart and the scores are calibrated.
        """
        weak = training.heads["weak"]

        assert weak.auroc.low > 0.7
        assert weak.log_loss.value < weak.guess
        assert weak.ece.value < 0.15
        assert training.apgr["strong - weak"].low > 0.55
        assert {"strong - weak", "prompt length"} == training.apgr.keys()
        assert training.ahead is not None
        assert training.ahead.low < 0 < training.ahead.high, "here length is all there is to know"

    @pytest.mark.slow
    def test_nothing_is_found_where_there_is_nothing(self, tmp_path: Path) -> None:
        """
        Outcomes that have nothing to do with the prompts give figures no better than chance: what is held out is held out.
        """
        rows = taught(120)
        shuffled = np.random.default_rng(5).permutation(len(rows))
        for row, other in zip(taught(120), shuffled, strict=True):
            rows[other]["outcomes"] = row["outcomes"]
        found = train(written(tmp_path, rows), embedded=False)

        assert found.heads["weak"].auroc.low < 0.5 < found.heads["weak"].auroc.high
        assert found.apgr["strong - weak"].low < 0.5

    def test_the_same_file_and_seed_give_the_same_weights(self, training: Training, tmp_path: Path) -> None:
        """
        Training is repeatable to the byte.
        """
        path = written(tmp_path, taught())

        assert training.text() == train(path, embedded=False).text()

    def test_the_file_is_what_was_learnt(self, training: Training) -> None:
        """
        The text reads back as the weights, and names what they were trained on without its folder.
        """
        assert training.weights == read_weights(training.text())
        assert b'"file":"outcomes.jsonl"' in training.text()
        assert str(Path.cwd()).encode() not in training.text()

    def test_categories_become_topics(self, tmp_path: Path) -> None:
        """
        Where rows have categories, the weights guess them, and the table of them is a baseline.
        """
        found = train(written(tmp_path, taught(80, topics=True)), embedded=False)

        assert found.weights.topics is not None
        assert ("proof", "prose") == found.weights.topics.names
        assert "table of categories" in found.apgr

    def test_further_heads(self, tmp_path: Path) -> None:
        """
        A head may learn from any model of the file; scores are brought to 0..1 by their scale, and who waits is told how far.
        """
        told: list[tuple[str, int, int]] = []
        rows = [row | {"score_scale": [1, 10]} for row in taught(80)]
        for row in rows:
            row["outcomes"] = {name: {"score": 1 + 9 * each["score"]} for name, each in row["outcomes"].items()}
            row["outcomes"]["third"] = {"score": 5.5}
        found = train(
            written(tmp_path, rows),
            weak="small",
            strong="large",
            others={"other": "third"},
            embedded=False,
            progress=lambda *step: told.append(step),
        )

        assert (0.5, "third") == (found.heads["other"].right, found.weights.models["other"])

        assert ("fitting", 6, 6) == told[-1]
        assert sorted(done for _, done, _ in told) == [done for _, done, _ in told]


def only(model: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"outcomes": {model: row["outcomes"][model]}} for row in rows]


class TestRefusals:
    @pytest.mark.parametrize(
        ("rows", "options", "expected"),
        [
            (only("small", taught()), {}, "has outcomes of one model only, 'small'"),
            (taught(40), {}, "has 40 rows that can teach, and at least 50 are needed"),
            (taught(), {"weak": "smal", "strong": "large"}, "has no outcomes of 'smal'; did you mean 'small'"),
            (taught(), {"weak": "small"}, "has the models small, large; name two of them: --weak MODEL --strong MODEL"),
            (taught(), {"weak": "small", "strong": "small"}, "the weak and the strong model are both 'small'"),
            (taught(), {"weak": "large", "strong": "small"}, "'small' is right no more often than 'large'"),
            ([row | {"contaminated": True} for row in taught()], {}, "160 left out: marked as known to the models"),
            ([row | {"prompt": "same"} for row in taught()], {}, "159 left out: a prompt that an earlier row has"),
            (
                [row | {"outcomes": {"small": {}, "large": {"score": 1}}} for row in taught()],
                {},
                "no row of .* has a score of 'small', and scores are what is learnt",
            ),
            (
                [row | {"outcomes": {"small": row["outcomes"]["small"], "large": {"score": 1}}} for row in taught()],
                {},
                "0 answers of 'large' in .* are wrong, and at least 10 are needed",
            ),
            (
                [row | {"outcomes": {**row["outcomes"], "third": {"score": 1}}} for row in taught()],
                {},
                "has the models small, large, third; name two of them",
            ),
        ],
    )
    def test_what_cannot_teach_is_said(
        self, tmp_path: Path, rows: list[dict[str, Any]], options: dict[str, str], expected: str
    ) -> None:
        """
        A file that cannot teach is refused, with what it lacks and what to do.
        """
        with pytest.raises(SetupError, match=expected):
            train(written(tmp_path, rows), weak=options.get("weak", ""), strong=options.get("strong", ""), embedded=False)


class TestFit:
    @pytest.mark.parametrize("topics", [False, True])
    def test_many_at_once_score_as_one_by_one(self, tmp_path: Path, *, topics: bool) -> None:
        """
        The scores that are compared while training are those that a walk gives, to the ninth digit.
        """
        prompts, right = numbers(tmp_path, topics=topics)
        weights = fit(prompts, right, Recipe(0.1, 0.1, 0.5 if topics else 0.0), None, seed=0)
        at_once = scored(weights, prompts)
        for row, measured in enumerate(prompts.measured.tolist()):
            alone = weights.scores(dict(zip(prompts.names, measured, strict=True)))

            assert pytest.approx(alone, abs=1e-9) == {head: float(scores[row]) for head, scores in at_once.items()}

    def test_a_row_that_is_half_right_counts_half(self, tmp_path: Path) -> None:
        """
        Two rows that are half right teach what one right and one wrong row of the same prompt teach.
        """
        prompts, right = numbers(tmp_path)
        twice = prompts.of(np.repeat(np.arange(len(right["weak"])), 2))
        halves = fit(twice, {"weak": np.full(len(twice.measured), 0.5)}, Recipe(0.1, 0.1), None, seed=0)
        whole = fit(
            twice, {"weak": np.asarray(np.arange(len(twice.measured)) % 2, dtype=np.float64)}, Recipe(0.1, 0.1), None, seed=0
        )

        assert pytest.approx(halves.heads[0].weights, abs=1e-3) == whole.heads[0].weights

    def test_one_kind_of_answer_teaches_no_difference(self, tmp_path: Path) -> None:
        """
        Where every answer is right the score is one for all.
        """
        prompts, right = numbers(tmp_path)
        weights = fit(prompts, {"weak": np.ones(len(right["weak"]))}, Recipe(0.1, 0.1), None, seed=0)

        assert 1 == len(set(scored(weights, prompts)["weak"].tolist()))


def numbers(folder: Path, *, topics: bool = False, embedding: Embedding | None = None) -> tuple[Prompts, dict[str, Any]]:
    rows = load_outcomes(written(folder, taught(60, topics=topics))).rows
    models = {"weak": "small", "strong": "large"}
    right = {head: np.array([row.outcomes[model].score for row in rows], dtype=np.float64) for head, model in models.items()}

    return measure(rows, embedding), right
