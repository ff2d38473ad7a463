"""
Routing by the prompt alone, scored on real outcomes: the router, the dull ways to choose, and what their difference is worth.

Each split cuts the rows in two by its own dice.  Everything is fitted, and everything that is chosen is chosen, on one half;
scores are of the other.  Halves of twenty splits share rows, so their differences are not independent: besides the plain
interval over splits there is the one corrected for that overlap (Nadeau and Bengio 2003, "Inference for the Generalization
Error"), which widens with the share of rows that are scored.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from meshwalk.backends.classifiers.embedding import DIMS, installed_version
from meshwalk.backends.outcomes import Row, load_outcomes
from meshwalk.model.weights import PACKAGE, Embedding, Weights, read_weights, write_weights
from meshwalk.review.training.fit import Prompts, choose, fit, scored
from meshwalk.review.training.metrics import Floats, Rows, apgr
from meshwalk.review.training.train import STRONG, WEAK, by_length, by_table, measure


STRONG_MODEL, WEAK_MODEL = "gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"
MODELS = {WEAK: WEAK_MODEL, STRONG: STRONG_MODEL}
EMBEDDING = Embedding(PACKAGE, installed_version(), DIMS)
ROUTER, SHUFFLE = "router", "shuffled"

_ALPHA = 10.0


class Data(NamedTuple):
    """
    Hold the rows of a file that can be judged, as numbers too.
    """

    rows: list[Row]
    prompts: Prompts
    right: Mapping[str, Floats]

    @property
    def gains(self) -> Floats:
        return self.right[STRONG] - self.right[WEAK]


class Difference(NamedTuple):
    """
    Hold a mean difference over splits: with its plain interval, and with the one corrected for splits that overlap.
    """

    mean: float
    plain: tuple[float, float]
    corrected: tuple[float, float]


def read(path: Path, most: int | None = None) -> Data:
    """
    Read the first *most* rows that are not marked as known to the models.
    """
    rows = [row for row in load_outcomes(path).rows if not row.contaminated][:most]
    right = {head: np.array([row.outcomes[model].score for row in rows], dtype=np.float64) for head, model in MODELS.items()}

    return Data(rows, measure(rows, EMBEDDING), right)


def halves(count: int, split: int) -> tuple[Rows, Rows]:
    """
    Cut *count* rows in two: which to fit on, and which to score.
    """
    order = list(range(count))
    random.Random(split).shuffle(order)

    return np.array(order[: count // 2]), np.array(order[count // 2 :])


def train_on(data: Data, kept: Rows) -> Weights:
    """
    Choose and fit on the rows *kept*, and take the weights through their file.
    """
    prompts, right = data.prompts.of(kept), {head: target[kept] for head, target in data.right.items()}
    recipe = choose(prompts, right, (WEAK, STRONG), seed=0)

    return read_weights(write_weights(fit(prompts, right, recipe, EMBEDDING, seed=0), {}, {}))


def compared(data: Data, split: int) -> tuple[dict[str, float], Weights]:
    """
    Return the APGR of each way to choose on the half that is scored, and the router's weights.
    """
    kept, held = halves(len(data.rows), split)
    weights = train_on(data, kept)
    scores = scored(weights, data.prompts.of(held))
    worth = scores[STRONG] - scores[WEAK]
    gains = data.gains[kept]
    found = {ROUTER: worth, SHUFFLE: np.random.default_rng(split).permutation(worth)}
    found["prompt length"] = by_length(data.prompts, kept, held, gains)
    if data.prompts.topics is not None:
        found["subject table"] = by_table(data.prompts, kept, held, gains)
    found["TF-IDF ridge"] = _by_words(data, kept, held)

    return {name: apgr(ranks, data.gains[held]) for name, ranks in found.items()}, weights


def _by_words(data: Data, kept: Rows, held: Rows) -> Floats:
    words = TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=(1, 2))
    known = words.fit_transform([data.rows[row].prompt for row in kept])
    ridge = Ridge(alpha=_ALPHA).fit(known, data.gains[kept])

    return np.asarray(ridge.predict(words.transform([data.rows[row].prompt for row in held])))


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """
    Compare two ways split by split, where half of the rows are scored.
    """
    each = np.array(ours) - np.array(theirs)
    count, mean, deviation = len(each), float(each.mean()), float(each.std(ddof=1))
    reach = float(stats.t.ppf(0.975, count - 1)) * deviation
    plain, corrected = reach * math.sqrt(1 / count), reach * math.sqrt(1 / count + 1)

    return Difference(mean, (mean - plain, mean + plain), (mean - corrected, mean + corrected))


def between(scores: Floats, share: float) -> float:
    """
    Return a threshold that about *share* of *scores* reach, half way between two of them.
    """
    ranked = np.unique(scores)
    at = min(len(ranked) - 2, max(0, int(len(ranked) * (1 - share))))

    return float((ranked[at] + ranked[at + 1]) / 2)
