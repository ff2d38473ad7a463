from __future__ import annotations

import pytest

from meshwalk.backends.roles import outputs_of
from meshwalk.model import Confidence, Node
from meshwalk.model.problems import Malformed, Span
from meshwalk.trace import Reply


HERE = Span("graph.yaml", 1, 1)
LABELS = ("prose", "proof", "Long Proof", "c++")


def node(confidence: Confidence | None = None) -> Node:
    return Node(name="n", role="classifier", span=HERE, use="model", backend="small", labels=LABELS, confidence=confidence)


class TestLabels:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("prose", "prose"),
            (" PROOF.\n", "proof"),
            ("**proof**", "proof"),
            ("The answer is: proof", "proof"),
            ("It is prose, plain prose.", "prose"),
            ("long  proof", "Long Proof"),
            ("C++!", "c++"),
        ],
    )
    def test_the_label_that_is_named(self, text: str, expected: str) -> None:
        """
        The label that stands in a reply counts, however it is set; the longest of those that contain one another.
        """
        assert {"label": expected} == outputs_of(node(), Reply(text))

    @pytest.mark.parametrize("text", ["", "poem", "proofs", "waterproof", "prose or proof", "a long proof, a proof", "c"])
    def test_a_reply_that_means_none_or_two_is_malformed(self, text: str) -> None:
        """
        A reply that names no label, or more than one, fails, and is not quoted where errors are recorded.
        """
        with pytest.raises(Malformed) as caught:
            outputs_of(node(), Reply(text))

        assert f"(of {len(text)} characters)" in str(caught.value)
        assert not text or f"'{text}'" not in str(caught.value)

    def test_a_stated_confidence_is_no_label(self) -> None:
        """
        How sure the model says it is becomes a signal of its own, and no part of the label.
        """
        stated = Confidence("stated", HERE, r"PROOF OF SURENESS: ([0-9.]+)", missing=0.0)

        assert {"label": "prose", "confidence": 0.75} == outputs_of(node(stated), Reply("prose PROOF OF SURENESS: 0.75"))
        assert {"label": "prose", "confidence": 0.0} == outputs_of(node(stated), Reply("prose"))
