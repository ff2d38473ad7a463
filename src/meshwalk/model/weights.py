"""
The weights of a trained classifier, as plain JSON: the form of the file, and the formula of a score.

A file holds logistic heads over one vector: the unit-norm embedding of the prompt, if it was trained with one, followed by the
features of its wording (`roles.wording`), each as its distance from the training mean in training deviations, cut off at
*clip* and times *factor*.  A head's score is `1 / (1 + exp(-(bias + weights · vector)))`, from 0 to 1, and its name is the
signal that guards read.

Where the training data name a category a row, the file also holds topics: a softmax over the same vector guesses the category,
each head has a rate a topic, and its score is (1 - share) times the logistic one plus share times the mean rate of the topics
as likely as they are.

    {"format": "meshwalk-classifier", "version": 1, "kind": "logistic",
     "trained_on": {"file", "sha256", "rows", "models": {HEAD: MODEL}},
     "embedding": null | {"package": "wordllama", "version", "dims"},
     "features": {"names": […], "mean": […], "scale": […], "clip", "factor"},
     "topics": null | {"names": […], "bias": […], "weights": [[…], …], "share"},
     "heads": {HEAD: {"bias", "weights": […], "rates": […]}},
     "metrics": {…}}

Everything that scoring needs is checked when a file is read: an unknown feature, a vector of the wrong length or a number
that is none would otherwise show up as bad decisions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import mul
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson


FORMAT = "meshwalk-classifier"
VERSION = 1
PACKAGE = "wordllama"

# The features that this version of meshwalk can measure, in the order in which it measures them.
FEATURES = (
    *("log_characters", "log_words", "log_lines", "log_sentences", "word_length", "sentence_length", "long_words"),
    *("distinct_words", "capitals", "capitalised", "beyond_ascii", "digits", "log_numbers", "log_largest", "decimals"),
    *("percents", "money", "operators", "fractions", "backslashes", "brackets", "quotes", "commas", "colons", "questions"),
    *("blanks", "code", "choices", "choice_length", "numeric_choices", "all_or_none", "what", "which", "who", "when", "where"),
    *("why", "how", "how_many", "yes_or_no", "negated", "best", "statements", "following", "comparisons", "shares", "rates"),
    *("remainders", "log_depth", "ambiguity", "links", "commands"),
)

_MOST_HEADS = 64
MAX_TOPICS = 256
_LARGEST = 1e9


class NoWeights(ValueError):
    """
    The reason why a text holds no weights.
    """


class Embedding(NamedTuple):
    """
    The embedding of the prompts that a classifier was trained on.
    """

    package: str
    version: str
    dims: int


class Scaling(NamedTuple):
    """
    The scale of the features.

    Args:
        clip: How many deviations from the mean still count.
        factor: What the result is multiplied with, so that the features weigh right beside an embedding of length 1.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    clip: float
    factor: float

    def scaled(self, measured: Mapping[str, float]) -> list[float]:
        """
        Return the vector of the features *measured*.
        """
        clip, factor = self.clip, self.factor

        return [
            factor * max(-clip, min(clip, (measured[name] - mean) / scale))
            for name, mean, scale in zip(self.names, self.mean, self.scale, strict=True)
        ]


class Topics(NamedTuple):
    """
    A softmax over the categories of the training data.

    Args:
        share: How much of a head's score is its rates' and not its own.
    """

    names: tuple[str, ...]
    bias: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    share: float

    def probabilities(self, vector: Sequence[float]) -> list[float]:
        """
        Return the probability of each topic.
        """
        reach = [bias + sum(map(mul, weights, vector)) for bias, weights in zip(self.bias, self.weights, strict=True)]
        top = max(reach)
        parts = [math.exp(each - top) for each in reach]
        whole = math.fsum(parts)

        return [part / whole for part in parts]


class Head(NamedTuple):
    """
    One logistic head.

    Args:
        rates: Its rate a topic, where there are topics.
    """

    name: str
    bias: float
    weights: tuple[float, ...]
    rates: tuple[float, ...] = ()

    def score(self, vector: Sequence[float]) -> float:
        """
        Score *vector*, from 0 to 1.
        """
        reach = self.bias + sum(map(mul, self.weights, vector))

        # Written so that neither end overflows.
        return 1 / (1 + math.exp(-reach)) if reach >= 0 else math.exp(reach) / (1 + math.exp(reach))


class Weights(NamedTuple):
    """
    A whole classifier.

    Args:
        models: The model whose answers a head was trained on, for each head that was trained on one model's answers.
    """

    heads: tuple[Head, ...]
    scaling: Scaling
    embedding: Embedding | None = None
    topics: Topics | None = None
    models: Mapping[str, str] = MappingProxyType({})

    def scores(self, measured: Mapping[str, float], embedded: Sequence[float] = ()) -> dict[str, float]:
        """
        Score a prompt by each head.

        Args:
            measured: The features of its wording.
            embedded: Its embedding, where the classifier was trained with one.
        """
        vector = [*embedded, *self.scaling.scaled(measured)]

        if self.topics is None:
            return {head.name: head.score(vector) for head in self.heads}
        share, weights = self.topics.share, self.topics.probabilities(vector)

        return {head.name: (1 - share) * head.score(vector) + share * sum(map(mul, head.rates, weights)) for head in self.heads}


def read_weights(text: bytes) -> Weights:
    """
    Read the weights in *text*.

    Raises:
        NoWeights: If it holds none that this version of meshwalk can use.
    """
    try:
        document: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NoWeights(f"it is not JSON ({error})") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise NoWeights(f"it has no 'format': '{FORMAT}', which `meshwalk train-classifier` writes")
    if document.get("version") != VERSION or document.get("kind") != "logistic":
        raise NoWeights(
            f"it is of version {document.get('version')!r} and kind {document.get('kind')!r}, and this meshwalk reads version "
            f"{VERSION} of kind 'logistic'; train it again"
        )
    embedding = _embedding(document.get("embedding"))
    scaling = _scaling(_table(document, "features"))
    length = len(scaling.names) + (embedding.dims if embedding else 0)

    topics = None if document.get("topics") is None else _topics(_table(document, "topics"), length)

    return Weights(_heads(_table(document, "heads"), length, topics), scaling, embedding, topics, _models(document))


def write_weights(weights: Weights, trained_on: Mapping[str, Any], metrics: Mapping[str, Any]) -> bytes:
    """
    Print *weights* as a file that `read_weights` takes, with what they were trained on and what came of it.
    """
    scaling = weights.scaling
    document = {
        "format": FORMAT,
        "version": VERSION,
        "kind": "logistic",
        "trained_on": {**trained_on, "models": dict(weights.models)},
        "embedding": None if weights.embedding is None else weights.embedding._asdict(),
        "features": {
            "names": list(scaling.names),
            "mean": list(scaling.mean),
            "scale": list(scaling.scale),
            "clip": scaling.clip,
            "factor": scaling.factor,
        },
        "topics": None if weights.topics is None else weights.topics._asdict(),
        "heads": {
            head.name: {"bias": head.bias, "weights": head.weights, **({"rates": head.rates} if head.rates else {})}
            for head in weights.heads
        },
        "metrics": metrics,
    }

    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


# ---- what can be wrong ----------------------------------------------------------------------------------------------


def _table(fields: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = fields.get(key)
    if not isinstance(value, dict):
        raise NoWeights(f"its {key!r} is no table")

    return value


def _embedding(fields: Any) -> Embedding | None:
    if fields is None:
        return None
    fields = fields if isinstance(fields, dict) else {}
    package, version, dims = fields.get("package"), fields.get("version"), fields.get("dims")
    if package != PACKAGE or not isinstance(version, str) or type(dims) is not int or not 1 <= dims <= 4096:
        raise NoWeights(f"its 'embedding' names no package '{PACKAGE}' with a version and a number of dims")

    return Embedding(package, version, dims)


def _scaling(fields: Mapping[str, Any]) -> Scaling:
    names = fields.get("names")
    if not isinstance(names, list) or len(set(map(str, names))) < len(names):
        raise NoWeights("its 'features.names' is no list of different names")
    unknown = [name for name in names if name not in FEATURES]
    if unknown:
        raise NoWeights(f"it has a feature {unknown[0]!r} that this meshwalk cannot measure; train it again")
    mean, scale = (_numbers(fields.get(key), len(names), f"features.{key}") for key in ("mean", "scale"))
    clip, factor = (_numbers([fields.get(key)], 1, f"features.{key}")[0] for key in ("clip", "factor"))
    if min((*scale, clip), default=1.0) <= 0:
        raise NoWeights("its 'features.scale' and 'features.clip' must be above 0")

    return Scaling(tuple(names), mean, scale, clip, factor)


def _topics(fields: Mapping[str, Any], length: int) -> Topics:
    names, weights = fields.get("names"), fields.get("weights")
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_TOPICS:
        raise NoWeights(f"its 'topics.names' is no list of 1 to {MAX_TOPICS} names")
    if not isinstance(weights, list) or len(weights) != len(names):
        raise NoWeights("its 'topics.weights' has not as many rows as 'topics.names' has names")
    share = _numbers([fields.get("share")], 1, "topics.share")[0]
    if not 0 <= share <= 1:
        raise NoWeights("its 'topics.share' does not lie in 0 to 1")

    return Topics(
        tuple(map(str, names)),
        _numbers(fields.get("bias"), len(names), "topics.bias"),
        tuple(_numbers(row, length, "topics.weights") for row in weights),
        share,
    )


def _heads(heads: Mapping[str, Any], length: int, topics: Topics | None) -> tuple[Head, ...]:
    if not 1 <= len(heads) <= _MOST_HEADS:
        raise NoWeights(f"it has {len(heads)} heads, and takes 1 to {_MOST_HEADS}")
    result = []
    for name, head in heads.items():
        fields = head if isinstance(head, dict) else {}
        bias = _numbers([fields.get("bias")], 1, f"heads.{name}.bias")[0]
        weights = _numbers(fields.get("weights"), length, f"heads.{name}.weights")
        rates = _numbers(fields.get("rates"), len(topics.names), f"heads.{name}.rates") if topics else ()
        if not all(0 <= rate <= 1 for rate in rates):
            raise NoWeights(f"its 'heads.{name}.rates' do not lie in 0 to 1")
        result.append(Head(name, bias, weights, rates))

    return tuple(result)


def _models(fields: Mapping[str, Any]) -> dict[str, str]:
    trained_on = fields.get("trained_on")
    models = trained_on.get("models") if isinstance(trained_on, dict) else None

    return {str(head): str(model) for head, model in models.items()} if isinstance(models, dict) else {}


def _numbers(values: Any, length: int, what: str) -> tuple[float, ...]:
    numbers = values if isinstance(values, list) else []
    numeric = all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
    # Sums of products of these stay finite.
    if len(numbers) != length or not numeric or not all(abs(number) <= _LARGEST for number in numbers):
        raise NoWeights(f"its {what!r} is no list of {length} numbers" if length != 1 else f"its {what!r} is no number")

    return tuple(map(float, numbers))
