"""
Fit the weights of a classifier: logistic heads by scikit-learn, and a softmax over topics where rows have categories.

Three settings are chosen by cross-validation over three folds: the weight of the features beside the embedding, the penalty,
and the share of a score that comes by way of the topics.  The setting with the highest mean APGR wins (log-loss chooses worse,
since it cares most for rows on which both models are sure); without a pair of heads to compare, the one with the lowest
log-loss.  The choice sees only rows that are trained on.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from meshwalk.model.weights import Embedding, Head, Scaling, Topics, Weights
from meshwalk.review.training.metrics import Floats, Rows, apgr, log_loss


CLIP = 3.0

# Pairs of the features' factor and of scikit-learn's C (the larger, the weaker the penalty).
CANDIDATES = ((0.05, 0.05), (0.1, 0.05), (0.1, 0.1), (0.2, 0.02), (0.2, 0.05))
# Without an embedding the features carry all, and are not held back for it.
CANDIDATES_ALONE = ((0.5, 0.05), (0.5, 0.5), (1.0, 0.05), (1.0, 0.5))
SHARES = (0.35, 0.7)

_TOPIC_C = 10.0
_TOPIC_ROUNDS = 30
_ROUNDS = 300
# Of a topic with few rows the rate is drawn to that of all rows, as if it had this many more of them.
_PRIOR_ROWS = 5.0
_PARTS = 3
_DIGITS = 6


class Prompts(NamedTuple):
    """
    Prompts as numbers.

    Args:
        measured: The features of each, by column as *names* says.
        embedded: The embedding of each, with no columns where there is none.
        topics: The category of each as a number, or nothing.
    """

    names: tuple[str, ...]
    measured: Floats
    embedded: Floats
    topics: Rows | None = None
    topic_names: tuple[str, ...] = ()

    def of(self, rows: Rows) -> Prompts:
        """
        Return some of the rows.
        """
        topics = None if self.topics is None else self.topics[rows]

        return self._replace(measured=self.measured[rows], embedded=self.embedded[rows], topics=topics)


class Recipe(NamedTuple):
    """
    The parameters of a fit.
    """

    factor: float
    c: float
    share: float = 0.0


def fit(prompts: Prompts, right: Mapping[str, Floats], recipe: Recipe, embedding: Embedding | None, seed: int) -> Weights:
    """
    Fit a head for each of *right*: how right a model's answer to each prompt was, from 0 to 1.
    """
    scaling = _scaling(prompts, recipe.factor)
    vectors = _vectors(prompts, scaling)
    topics = _topics(prompts, vectors, recipe.share, seed) if recipe.share else None
    heads = []
    for name, target in right.items():
        bias, weights = _logistic(vectors, target, recipe.c, seed)
        rates = () if topics is None else _rates(prompts, target)
        heads.append(Head(name, _short(bias), tuple(map(_short, weights)), rates))

    return Weights(tuple(heads), scaling, embedding, topics)


def choose(prompts: Prompts, right: Mapping[str, Floats], pair: tuple[str, str] | None, seed: int) -> Recipe:
    """
    Choose a recipe by threes.

    Args:
        pair: The heads of the weak and the strong model, whose difference decides; None where there are none.
    """
    count = len(prompts.measured)
    parts = np.random.default_rng(seed).permutation(count) % _PARTS
    shares = (0.0,) if prompts.topics is None else SHARES
    merits: dict[Recipe, list[float]] = {}
    for part in range(_PARTS):
        kept, held = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
        mine, theirs = prompts.of(kept), prompts.of(held)
        targets = {name: target[kept] for name, target in right.items()}
        judged = {name: target[held] for name, target in right.items()}
        by_topic = _by_topic(mine, theirs, targets, seed) if prompts.topics is not None else {}
        for factor, c in CANDIDATES if prompts.embedded.shape[1] else CANDIDATES_ALONE:
            scaling = _scaling(mine, factor)
            vectors, others = _vectors(mine, scaling), _vectors(theirs, scaling)
            alone = {name: _scored(others, *_logistic(vectors, target, c, seed)) for name, target in targets.items()}
            for share in shares:
                scores = {name: (1 - share) * own + share * by_topic.get(name, own) for name, own in alone.items()}
                merits.setdefault(Recipe(factor, c, share), []).append(_merit(scores, judged, pair))

    return max(merits, key=lambda recipe: float(np.mean(merits[recipe])))


def scored(weights: Weights, prompts: Prompts) -> dict[str, Floats]:
    """
    Score *prompts* as `Weights.scores` does, many at once.
    """
    vectors = _vectors(prompts, weights.scaling)
    found = {head.name: _scored(vectors, head.bias, np.array(head.weights)) for head in weights.heads}
    topics = weights.topics
    if topics is not None:
        probabilities = _probabilities(topics, vectors)
        for head in weights.heads:
            found[head.name] = (1 - topics.share) * found[head.name] + topics.share * (probabilities @ np.array(head.rates))

    return found


def _merit(scores: Mapping[str, Floats], right: Mapping[str, Floats], pair: tuple[str, str] | None) -> float:
    if pair is not None:
        weak, strong = pair
        merit = apgr(scores[strong] - scores[weak], right[strong] - right[weak])
        if np.isfinite(merit) and (right[strong] - right[weak]).sum() > 0:
            return merit

    return -float(np.mean([log_loss(scores[name], right[name]) for name in scores]))


def _by_topic(mine: Prompts, theirs: Prompts, targets: Mapping[str, Floats], seed: int) -> dict[str, Floats]:
    scaling = _scaling(mine, CANDIDATES[0][0])
    topics = _topics(mine, _vectors(mine, scaling), 1.0, seed)
    probabilities = _probabilities(topics, _vectors(theirs, scaling))

    return {name: probabilities @ np.array(_rates(mine, target)) for name, target in targets.items()}


# ---- the parts of a fit ---------------------------------------------------------------------------------------------


def _scaling(prompts: Prompts, factor: float) -> Scaling:
    mean = prompts.measured.mean(axis=0)
    deviation = prompts.measured.std(axis=0)
    # A feature that never varies says nothing, and must not be blown up by what first varies.
    deviation[deviation < 1e-9] = 1.0

    return Scaling(prompts.names, _shortened(mean), _shortened(deviation), CLIP, factor)


def _vectors(prompts: Prompts, scaling: Scaling) -> Floats:
    distance = (prompts.measured - np.array(scaling.mean)) / np.array(scaling.scale)

    return np.hstack([prompts.embedded, scaling.factor * np.clip(distance, -scaling.clip, scaling.clip)])


def _logistic(vectors: Floats, target: Floats, c: float, seed: int) -> tuple[float, Floats]:
    # A row that is 0.3 right stands for a right one of weight 0.3 and a wrong one of weight 0.7.
    good, bad = np.flatnonzero(target > 0), np.flatnonzero(target < 1)
    if not len(good) or not len(bad):
        # Nothing to tell apart: always say what always was, and not quite for sure.
        return (3.0 if len(good) else -3.0), np.zeros(vectors.shape[1])
    labels = np.concatenate([np.ones(len(good)), np.zeros(len(bad))])
    counts = np.concatenate([target[good], 1 - target[bad]])
    model = LogisticRegression(C=c, max_iter=_ROUNDS, random_state=seed)
    with warnings.catch_warnings():
        # Weights that have not settled after that many rounds differ in digits that do not matter.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors[np.concatenate([good, bad])], labels, sample_weight=counts)

    return float(model.intercept_[0]), np.asarray(model.coef_[0], dtype=np.float64)


def _scored(vectors: Floats, bias: float, weights: Floats) -> Floats:
    return 1 / (1 + np.exp(-(vectors @ weights + bias)))


def _topics(prompts: Prompts, vectors: Floats, share: float, seed: int) -> Topics:
    assert prompts.topics is not None
    model = LogisticRegression(C=_TOPIC_C, max_iter=_TOPIC_ROUNDS, random_state=seed)
    with warnings.catch_warnings():
        # Neither that nor topics that few of these rows have is worth a word to who trains.
        warnings.simplefilter("ignore", UserWarning)
        # Topics are guesses anyhow, and single precision finds them in half the time.
        model.fit(vectors.astype(np.float32), prompts.topics)
    bias, weights = np.zeros(len(prompts.topic_names)), np.zeros((len(prompts.topic_names), vectors.shape[1]))
    # A topic that none of these rows has is never likely.
    bias[:] = -50.0
    if len(model.classes_) == 2:
        # Of two topics scikit-learn fits the second against the first.
        bias[model.classes_] = [0.0, float(model.intercept_[0])]
        weights[model.classes_[1]] = model.coef_[0]
    else:
        bias[model.classes_], weights[model.classes_] = model.intercept_, model.coef_

    return Topics(prompts.topic_names, _shortened(bias), tuple(_shortened(row) for row in weights), share)


def _probabilities(topics: Topics, vectors: Floats) -> Floats:
    reach = vectors @ np.array(topics.weights).T + np.array(topics.bias)
    probabilities = np.exp(reach - reach.max(axis=1, keepdims=True))

    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))


def _rates(prompts: Prompts, target: Floats) -> tuple[float, ...]:
    assert prompts.topics is not None
    length = len(prompts.topic_names)
    counts, sums = np.bincount(prompts.topics, minlength=length), np.bincount(prompts.topics, target, minlength=length)

    return _shortened((sums + _PRIOR_ROWS * target.mean()) / (counts + _PRIOR_ROWS))


def _short(number: float) -> float:
    # More digits would make the file larger and no decision better.
    return float(f"{number:.{_DIGITS}g}")


def _shortened(numbers: Floats | Sequence[float]) -> tuple[float, ...]:
    return tuple(_short(float(number)) for number in numbers)
