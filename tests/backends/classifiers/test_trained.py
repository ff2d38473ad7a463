from __future__ import annotations

import math
from pathlib import Path

import pytest

from meshwalk.backends.classifiers import embedding, open_classifier
from meshwalk.backends.classifiers.embedding import DIMS, READ_CHARACTERS, installed_version, open_embedding
from meshwalk.backends.classifiers.trained import TrainedClassifier
from meshwalk.backends.roles.wording import wording
from meshwalk.model import Attribute, Node
from meshwalk.model.problems import SetupError, Span
from meshwalk.model.weights import Embedding
from meshwalk.trace import Message
from tests.support.classifiers import weights_of, weights_text


pytestmark = pytest.mark.anyio

HERE = Span("graph.yaml", 1, 1)
ASK = (Message("system", "Be brief."), Message("user", "Is it so?"))


def node(weights: str | None = "weights.json", heads: tuple[str, ...] = ("weak", "strong")) -> Node:
    writes = {head: Attribute(head, "number", HERE, range=(0.0, 1.0)) for head in heads}

    return Node(name="intake", role="classifier", span=HERE, use="weights", weights=weights, writes=writes)


def here() -> Embedding:
    return Embedding("wordllama", installed_version(), DIMS)


class TestTrained:
    async def test_scores_are_those_of_the_weights(self, tmp_path: Path) -> None:
        """
        A classifier without an embedding scores the wording of what is asked, and waits for nobody.
        """
        (tmp_path / "weights.json").write_bytes(weights_text())
        opened = await open_classifier(node(), folder=str(tmp_path))

        assert not opened.waits
        assert weights_of().scores(wording(ASK)) == await opened.classify(ASK, {}, "")
        await opened.aclose()

    async def test_an_embedding_comes_first(self, tmp_path: Path) -> None:
        """
        A classifier that was trained with one embeds the last user message.
        """
        weights = weights_of(embedding=here())
        (tmp_path / "weights.json").write_bytes(weights_text(weights))
        opened = await open_classifier(node(), folder=str(tmp_path))
        assert isinstance(opened, TrainedClassifier)
        vector = open_embedding(here(), "a test")(["Is it so?"])[0]

        assert weights.scores(wording(ASK), vector) == opened.scores(ASK)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (None, "cannot be read: No such file"),
            (b"{}", "holds no weights: it has no 'format'"),
            (weights_text(weights_of(embedding=Embedding("wordllama", "0.0.1", DIMS))), "was trained with wordllama 0.0.1"),
            (weights_text(weights_of(embedding=here()._replace(dims=4))), "was trained on 4 dimensions"),
        ],
    )
    async def test_what_cannot_be_opened(self, tmp_path: Path, text: bytes | None, expected: str) -> None:
        """
        Weights that are not there, are none, or were trained on other vectors are refused when the mesh opens.
        """
        if text is not None:
            (tmp_path / "weights.json").write_bytes(text)

        with pytest.raises(SetupError, match=expected):
            await open_classifier(node(), folder=str(tmp_path))

    async def test_without_the_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Where wordllama is not installed, the remedy is named.
        """
        (tmp_path / "weights.json").write_bytes(weights_text(weights_of(embedding=here())))
        monkeypatch.setattr(embedding, "installed_version", lambda: "")

        with pytest.raises(SetupError, match=r"pip install 'meshwalk\[classify\]', or train with --no-embedding"):
            await open_classifier(node(), folder=str(tmp_path))

    async def test_weights_that_changed_meanwhile(self, tmp_path: Path) -> None:
        """
        Heads that are not those the graph was checked with are refused.
        """
        (tmp_path / "weights.json").write_bytes(weights_text())

        with pytest.raises(SetupError, match="have changed since the graph was loaded"):
            await open_classifier(node(heads=("weak",)), folder=str(tmp_path))

    async def test_a_stored_plan_names_no_file(self) -> None:
        """
        A plan from a store can be replayed and not run.
        """
        with pytest.raises(SetupError, match="names no 'weights:'"):
            await open_classifier(node(None))


class TestEmbedding:
    async def test_vectors_are_of_length_1_and_in_order(self) -> None:
        """
        Each text has a vector of length 1, whichever texts are embedded beside it, and nothing has none.
        """
        embed = open_embedding(here(), "a test")
        texts = ["a long question about the history of law in ancient Rome", "2 + 2?", "", "prove it"]
        together = embed(texts)

        assert [DIMS] * 4 == [len(vector) for vector in together]
        assert pytest.approx([1, 1, 0, 1]) == [math.hypot(*vector) for vector in together]
        assert [pytest.approx(embed([text])[0], abs=1e-6) for text in texts] == together

    async def test_of_a_long_text_the_ends_are_read(self) -> None:
        """
        What stands in the middle of a very long text does not count.
        """
        embed = open_embedding(here(), "a test")
        ends = ["start " * READ_CHARACTERS, "end " * READ_CHARACTERS]

        assert embed(["".join(ends)]) == embed(["and in the middle another ".join(ends)])
