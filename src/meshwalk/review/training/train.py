"""
Train a classifier on outcomes: which prompts a weak and a strong model answer right, told from the prompt alone.

Each head learns how right one model's answers are.  `signals.strong - signals.weak` then says how much the strong model is
worth on a prompt, and a guard compares that with a threshold.

What is reported is held out: the rows are cut in five by the hash of their ids, and each fifth is scored by weights that
were chosen and fitted on the others.  The weights that are written are fitted on all rows.  Beside the figures stand dull
baselines on the same rows, since prompt length alone, or a table of categories, already beats a random mix.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshwalk.backends.classifiers.embedding import DIMS, installed_version, open_embedding
from meshwalk.backends.outcomes import Outcomes, Row, load_outcomes
from meshwalk.backends.roles.wording import wording
from meshwalk.model.files import sha256_of
from meshwalk.model.problems import SetupError
from meshwalk.model.spelling import did_you_mean
from meshwalk.model.weights import FEATURES, MAX_TOPICS, PACKAGE, Embedding, Weights, write_weights
from meshwalk.review.training.fit import Prompts, Recipe, choose, fit, scored
from meshwalk.review.training.metrics import Figure, Floats, Rows, apgr, area, auroc, bootstrapped, ece, log_loss, over
from meshwalk.trace import Message


WEAK, STRONG = "weak", "strong"
FOLDS = 5
MIN_ROWS = 50
# Of right and of wrong answers each, so that every part of the rows has some.
_MIN_OF_EACH = 10
_MIN_OF_A_TOPIC = 5
_PRIOR_ROWS = 5.0

# Told what is being done, and how many of how many parts are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadReport:
    """
    The quality of one head on rows that it was not fitted to.

    Args:
        right: How right the model's answers are on average.
        guess: The log-loss of always saying that.
    """

    model: str
    right: float
    auroc: Figure
    log_loss: Figure
    guess: float
    ece: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """
    The learnt weights and their quality.

    Args:
        skipped: How many rows were left out, by reason.
        apgr: Of the difference of the heads, and of the dull baselines by name; empty without a pair of heads.
        ahead: How far the APGR of the difference is above the best baseline's, row by row; None without a pair.
    """

    weights: Weights
    file: str
    sha256: str
    rows: int
    skipped: Mapping[str, int]
    recipe: Recipe
    seed: int
    heads: Mapping[str, HeadReport]
    apgr: Mapping[str, Figure]
    best_baseline: str
    ahead: Figure | None

    @property
    def metrics(self) -> dict[str, Any]:
        """
        Return the figures as a file of weights keeps them.
        """
        heads = {
            name: {
                "model": head.model,
                "right": head.right,
                "auroc": head.auroc._asdict(),
                "log_loss": head.log_loss._asdict(),
                "log_loss_of_the_mean": head.guess,
                "ece": head.ece._asdict(),
            }
            for name, head in self.heads.items()
        }

        return {
            "held_out": f"{FOLDS} folds by sha256 of the ids",
            "heads": heads,
            "apgr": {name: figure._asdict() for name, figure in self.apgr.items()},
            "best_baseline": self.best_baseline,
            "ahead_of_it": None if self.ahead is None else self.ahead._asdict(),
        }

    def text(self) -> bytes:
        """
        Print the file of weights.
        """
        trained_on = {
            "file": self.file,
            "sha256": self.sha256,
            "rows": self.rows,
            "seed": self.seed,
            "recipe": self.recipe._asdict(),
        }

        return write_weights(self.weights, trained_on, self.metrics)


def train(
    data: str | Path,
    *,
    weak: str = "",
    strong: str = "",
    others: Mapping[str, str] | None = None,
    embedded: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> Training:
    """
    Train heads for the models of the outcomes file *data*.

    Args:
        weak: The weak model; with *strong* it may be left out where the file has two models.
        others: The models of further heads, by the heads' names.
        embedded: Whether prompts are embedded too, which needs wordllama.

    Raises:
        SetupError: If the file cannot teach that; with what it lacks.
    """
    told = progress or (lambda _what, _done, _all: None)
    file = load_outcomes(data)
    models = _models(file, weak, strong) | dict(others or {})
    for model in models.values():
        _known(file, model)
    rows, skipped = _usable(file, models.values())
    right = {head: np.array([_right(row, model) for row in rows]) for head, model in models.items()}
    _check_targets(file, models, right)
    embedding = Embedding(PACKAGE, installed_version(), DIMS) if embedded else None
    told("reading prompts", 0, FOLDS + 1)
    prompts = measure(rows, embedding)
    pair = (WEAK, STRONG) if {WEAK, STRONG} <= models.keys() else None

    folds = np.array([_fold(row.id, seed) for row in rows])
    held = {head: np.zeros(len(rows)) for head in models}
    dull = {name: np.zeros(len(rows)) for name in _baselines(prompts)} if pair else {}
    for fold in range(FOLDS):
        told("scoring what is held out", fold, FOLDS + 1)
        kept, mine = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        _score_held(prompts, right, pair, (kept, mine), seed, held, dull)
    told("fitting", FOLDS, FOLDS + 1)
    recipe = choose(prompts, right, pair, seed)
    weights = fit(prompts, right, recipe, embedding, seed)._replace(models=models)
    figures, best, ahead = _compared(held, dull, right, folds, seed) if pair else ({}, "", None)
    told("fitting", FOLDS + 1, FOLDS + 1)

    return Training(
        weights=weights,
        file=Path(data).name,
        sha256=sha256_of(data),
        rows=len(rows),
        skipped=skipped,
        recipe=recipe,
        seed=seed,
        heads={head: _report(model, held[head], right[head], folds, seed) for head, model in models.items()},
        apgr=figures,
        best_baseline=best,
        ahead=ahead,
    )


def measure(rows: Sequence[Row], embedding: Embedding | None) -> Prompts:
    """
    Turn the prompts of *rows* into numbers.
    """
    measured = [list(wording((Message("user", row.prompt),)).values()) for row in rows]
    vectors: list[list[float]] = [[] for _ in rows]
    if embedding is not None:
        vectors = open_embedding(embedding, "training")([row.prompt for row in rows])
    names, numbers = np.unique([row.category for row in rows], return_inverse=True)
    # Rows without a category would be a topic of their own that means nothing, and of a few rows nothing can be told.
    several = 2 <= len(names) <= min(MAX_TOPICS, len(rows) // _MIN_OF_A_TOPIC) and "" not in names

    return Prompts(
        FEATURES,
        np.array(measured, dtype=np.float64),
        np.array(vectors, dtype=np.float64).reshape(len(rows), -1),
        numbers.astype(np.int64) if several else None,
        tuple(map(str, names)) if several else (),
    )


# ---- what can teach -------------------------------------------------------------------------------------------------


def _models(file: Outcomes, weak: str, strong: str) -> dict[str, str]:
    if weak and strong:
        if weak == strong:
            raise SetupError(f"the weak and the strong model are both '{weak}'; name two")
        return {WEAK: weak, STRONG: strong}
    if len(file.models) == 1:
        raise SetupError(f"'{file.path}' has outcomes of one model only, '{file.models[0]}', and routing is between two")
    if weak or strong or len(file.models) > 2:
        raise SetupError(
            f"'{file.path}' has the models {', '.join(file.models)}; name two of them: --weak MODEL --strong MODEL"
        )
    means = {model: float(np.mean(_scores(file, model))) for model in file.models}
    low, high = sorted(means, key=lambda model: means[model])

    return {WEAK: low, STRONG: high}


def _known(file: Outcomes, model: str) -> None:
    if model not in file.models:
        remedy = did_you_mean(model, file.models) or f"it has: {', '.join(file.models)}"
        raise SetupError(f"'{file.path}' has no outcomes of '{model}'; {remedy}")


def _scores(file: Outcomes, model: str) -> list[float]:
    found = [outcome.score for row in file.rows if (outcome := row.outcomes.get(model)) and outcome.score is not None]
    if not found:
        raise SetupError(f"no row of '{file.path}' has a score of '{model}', and scores are what is learnt")

    return found


def _usable(file: Outcomes, models: Sequence[str] | Any) -> tuple[list[Row], dict[str, int]]:
    wanted = tuple(models)
    for model in wanted:
        _scores(file, model)
    rows: list[Row] = []
    reasons: Counter[str] = Counter()
    for row in file.rows:
        reason = _unusable(file, row, wanted)
        if reason:
            reasons[reason] += 1
        else:
            rows.append(row)
    if len(rows) < MIN_ROWS:
        counted = "".join(f"; {count} left out: {reason}" for reason, count in reasons.most_common())
        raise SetupError(f"'{file.path}' has {len(rows)} rows that can teach, and at least {MIN_ROWS} are needed{counted}")

    return rows, dict(reasons.most_common())


def _unusable(file: Outcomes, row: Row, models: Sequence[str]) -> str:
    if row.contaminated:
        return "marked as known to the models"
    if row.turns > 1:
        return "a conversation of several turns"
    if file.find(row.prompt) is not row:
        return "a prompt that an earlier row has"
    for model in models:
        outcome = row.outcomes.get(model)
        if outcome is None or outcome.score is None:
            return f"no score of '{model}'"

    return ""


def _right(row: Row, model: str) -> float:
    score = row.outcomes[model].score
    assert score is not None
    low, high = row.score_scale

    return min(1.0, max(0.0, (score - low) / (high - low)))


def _check_targets(file: Outcomes, models: Mapping[str, str], right: Mapping[str, Floats]) -> None:
    for head, model in models.items():
        for what, amount in (("right", right[head].sum()), ("wrong", (1 - right[head]).sum())):
            if amount < _MIN_OF_EACH:
                raise SetupError(
                    f"{amount:g} answers of '{model}' in '{file.path}' are {what}, and at least {_MIN_OF_EACH} are needed "
                    f"to tell them from the others"
                )
    if WEAK in models and right[STRONG].mean() <= right[WEAK].mean():
        raise SetupError(
            f"'{models[STRONG]}' is right no more often than '{models[WEAK]}' in '{file.path}' "
            f"({right[STRONG].mean():.4f} against {right[WEAK].mean():.4f}), so there is nothing to win by asking it; "
            f"name them the other way round, or always ask '{models[WEAK]}'"
        )


def _fold(id: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{id}".encode()).digest()[:8], "big") % FOLDS


# ---- the figures ----------------------------------------------------------------------------------------------------


def _baselines(prompts: Prompts) -> tuple[str, ...]:
    return ("prompt length",) if prompts.topics is None else ("prompt length", "table of categories")


def _score_held(
    prompts: Prompts,
    right: Mapping[str, Floats],
    pair: tuple[str, str] | None,
    fold: tuple[Rows, Rows],
    seed: int,
    held: Mapping[str, Floats],
    dull: Mapping[str, Floats],
) -> None:
    kept, mine = fold
    mine_of, targets = prompts.of(kept), {head: target[kept] for head, target in right.items()}
    weights = fit(mine_of, targets, choose(mine_of, targets, pair, seed), None, seed)
    for head, scores in scored(weights, prompts.of(mine)).items():
        held[head][mine] = scores
    for name, scores in dull.items():
        gains = targets[STRONG] - targets[WEAK]
        scores[mine] = (
            by_length(prompts, kept, mine, gains) if name == "prompt length" else by_table(prompts, kept, mine, gains)
        )


def by_length(prompts: Prompts, kept: Rows, mine: Rows, gains: Floats) -> Floats:
    """
    Score the rows *mine* by the length of their prompts, the way round that wins more on *kept*.
    """
    length = prompts.measured[:, prompts.names.index("log_characters")]
    sign = 1.0 if apgr(length[kept], gains) >= apgr(-length[kept], gains) else -1.0

    return sign * length[mine]


def by_table(prompts: Prompts, kept: Rows, mine: Rows, gains: Floats) -> Floats:
    """
    Score the rows *mine* by what the strong model gains on their category in *kept*, where few rows count less.
    """
    topics = prompts.topics
    assert topics is not None
    length = len(prompts.topic_names)
    counts, sums = np.bincount(topics[kept], minlength=length), np.bincount(topics[kept], gains, minlength=length)
    table: Floats = (sums + _PRIOR_ROWS * gains.mean()) / (counts + _PRIOR_ROWS)

    return table[topics[mine]]


def _by_fold(folds: Rows, some: Rows) -> list[Rows]:
    """
    Cut the rows *some* by fold.

    Scores are ranked among those of one fit only: each fit leans a little towards what it did not hold out, and ranking all
    together would make a classifier that knows nothing look as if it knew less.
    """
    parts = [some[folds[some] == fold] for fold in range(FOLDS)]

    return [part for part in parts if len(part)]


def _report(model: str, scores: Floats, right: Floats, folds: Rows, seed: int) -> HeadReport:
    rows = len(right)

    def ranked(some: Rows) -> float:
        return sum(len(part) * auroc(scores[part], right[part]) for part in _by_fold(folds, some)) / len(some)

    return HeadReport(
        model=model,
        right=float(right.mean()),
        auroc=bootstrapped(ranked, rows, seed),
        log_loss=bootstrapped(lambda some: log_loss(scores[some], right[some]), rows, seed),
        guess=log_loss(np.full(rows, right.mean()), right),
        ece=bootstrapped(lambda some: ece(scores[some], right[some]), rows, seed),
    )


def _compared(
    held: Mapping[str, Floats], dull: Mapping[str, Floats], right: Mapping[str, Floats], folds: Rows, seed: int
) -> tuple[dict[str, Figure], str, Figure]:
    gains = right[STRONG] - right[WEAK]
    own = held[STRONG] - held[WEAK]

    def won(scores: Floats, some: Rows) -> float:
        return over(sum(area(scores[part], gains[part]) for part in _by_fold(folds, some)), gains[some])

    def figure(scores: Floats) -> Figure:
        return bootstrapped(lambda some: won(scores, some), len(gains), seed)

    figures = {f"{STRONG} - {WEAK}": figure(own)} | {name: figure(scores) for name, scores in dull.items()}
    best = max(dull, key=lambda name: figures[name].value)

    return figures, best, bootstrapped(lambda some: won(own, some) - won(dull[best], some), len(gains), seed)
