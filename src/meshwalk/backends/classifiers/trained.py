"""
Trained weights as a classifier: `meshwalk train-classifier` wrote them, and scoring is plain arithmetic in this process.

A prompt is embedded (where the weights were trained with an embedding), its wording is measured, and each head gives one
signal from 0 to 1.  Nothing is asked over a network and nothing waits, so a preview and an evaluation run it as they run the
built-in features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from anyio import to_thread

from meshwalk.backends.classifiers.embedding import Embed, open_embedding
from meshwalk.backends.roles.classifier import question_text
from meshwalk.backends.roles.wording import wording
from meshwalk.model import Node, Value
from meshwalk.model.files import read_plain
from meshwalk.model.problems import SetupError
from meshwalk.model.resource import AsyncResource
from meshwalk.model.weights import NoWeights, Weights, read_weights
from meshwalk.trace import Message


# As many as the loader takes.
_MAX_BYTES = 64 << 20


class TrainedClassifier(AsyncResource):
    """
    A classifier that scores messages by the heads of *weights*.

    Args:
        embed: Embeds a text; None where the weights were trained without an embedding.
    """

    waits = False

    def __init__(self, weights: Weights, embed: Embed | None) -> None:
        self.weights = weights
        self._embed = embed

    def scores(self, messages: Sequence[Message]) -> dict[str, float]:
        """
        Score what *messages* ask.
        """
        embedded = self._embed([question_text(messages)])[0] if self._embed is not None else ()

        return self.weights.scores(wording(messages), embedded)

    async def classify(
        self,
        messages: Sequence[Message],
        attributes: Mapping[str, Value],  # noqa: ARG002 (it was trained on prompts alone)
        traceparent: str,  # noqa: ARG002
    ) -> dict[str, Value]:
        """
        Return the score of each head.
        """
        return dict(self.scores(messages))

    async def aclose(self) -> None:
        """
        Do nothing: the weights are kept for the process.
        """


async def open_trained(node: Node, *, folder: str = ".") -> TrainedClassifier:
    """
    Read the weights that *node* names, and load what embeds prompts if they need it.

    Raises:
        SetupError: If the file is not there or holds no weights, or the embedding is not the one they were trained with.
    """
    whose = f"classifier '{node.name}'"
    if node.weights is None:
        raise SetupError(f"{whose} names no 'weights:', which a plan kept in a store does not hold; open the author's graph")
    path = Path(folder, node.weights)
    try:
        weights = read_weights(await to_thread.run_sync(read_plain, path, _MAX_BYTES))
    except OSError as error:
        raise SetupError(f"{whose}: the weights '{node.weights}' cannot be read: {error.strerror or error}") from error
    except NoWeights as error:
        raise SetupError(f"{whose}: the file '{node.weights}' holds no weights: {error}") from error
    if {head.name for head in weights.heads} != set(node.writes):
        raise SetupError(f"{whose}: the heads in '{node.weights}' have changed since the graph was loaded; load it again")
    if weights.embedding is None:
        return TrainedClassifier(weights, None)
    wanted = weights.embedding

    return TrainedClassifier(weights, await to_thread.run_sync(lambda: open_embedding(wanted, whose)))
