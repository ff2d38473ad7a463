from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model.weights import FEATURES, Embedding, Head, NoWeights, Scaling, Weights, read_weights, write_weights
from tests.support.classifiers import weights_of, weights_text


EMBEDDING = Embedding("wordllama", "0.4.0", 4)
WHOLE = [weights_of(), weights_of(topics=True), weights_of(topics=True, embedding=EMBEDDING)]

numbers = st.floats(-1e9, 1e9)


@st.composite
def some_weights(draw: st.DrawFn) -> Weights:
    names = draw(st.lists(st.sampled_from(FEATURES), unique=True, max_size=5))
    each = st.tuples(*[numbers] * len(names))
    scale = tuple(draw(st.lists(st.floats(1e-6, 1e6), min_size=len(names), max_size=len(names))))
    heads = draw(st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), unique=True, min_size=1, max_size=3))
    scaling = Scaling(tuple(names), draw(each), scale, draw(st.floats(0.1, 10)), draw(st.floats(0, 10)))

    return Weights(tuple(Head(head, draw(numbers), draw(each)) for head in heads), scaling)


class TestFile:
    @pytest.mark.parametrize("weights", WHOLE)
    def test_what_is_written_is_read(self, weights: Weights) -> None:
        """
        Weights come back from their file as they were.
        """
        assert weights == read_weights(weights_text(weights))

    @given(some_weights())
    def test_any_weights_come_back(self, weights: Weights) -> None:
        """
        That holds for every number a file takes, to its last digit.
        """
        assert weights == read_weights(write_weights(weights, {}, {}))

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"format": "pickle"}, "it has no 'format': 'meshwalk-classifier', which `meshwalk train-classifier` writes"),
            ({"version": 2}, "it is of version 2 and kind 'logistic', and this meshwalk reads version 1"),
            ({"kind": "forest"}, "it is of version 1 and kind 'forest'"),
            ({"embedding": {"package": "elsewhere", "version": "1", "dims": 4}}, "its 'embedding' names no package"),
            ({"embedding": {"package": "wordllama", "version": "1", "dims": 0}}, "its 'embedding' names no package"),
            ({"features": []}, "its 'features' is no table"),
            ({"heads": {}}, "it has 0 heads, and takes 1 to 64"),
            ({"heads": {"weak": {"bias": "none", "weights": [1, 2]}}}, "its 'heads.weak.bias' is no number"),
            ({"heads": {"weak": {"bias": 0, "weights": [1]}}}, "its 'heads.weak.weights' is no list of 2 numbers"),
            ({"heads": {"weak": {"bias": 0, "weights": [1, True]}}}, "its 'heads.weak.weights' is no list of 2 numbers"),
            ({"heads": {"weak": {"bias": 0, "weights": [1, 1e10]}}}, "its 'heads.weak.weights' is no list of 2 numbers"),
            ({"heads": {"weak": 1}}, "its 'heads.weak.bias' is no number"),
            ({"topics": {"names": [], "bias": [], "weights": [], "share": 0.5}}, "its 'topics.names' is no list"),
            ({"topics": {"names": ["a"], "bias": [0], "weights": [], "share": 0.5}}, "its 'topics.weights' has not as many"),
            ({"topics": {"names": ["a"], "bias": [0], "weights": [[0, 0]], "share": 2}}, "its 'topics.share' does not lie"),
            ({"topics": {"names": ["a"], "bias": [0], "weights": [[0, 0]], "share": 1}}, "its 'heads.weak.rates' is no"),
        ],
    )
    def test_what_cannot_be_used_is_said(self, change: dict[str, Any], expected: str) -> None:
        """
        A file that would score wrongly is refused, with what is wrong in it.
        """
        document = json.loads(weights_text()) | change

        with pytest.raises(NoWeights) as caught:
            read_weights(json.dumps(document).encode())

        assert str(caught.value).startswith(expected)

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"names": ["mood", "questions"]}, "it has a feature 'mood' that this meshwalk cannot measure; train it again"),
            ({"names": ["questions", "questions"]}, "its 'features.names' is no list of different names"),
            ({"mean": [1]}, "its 'features.mean' is no list of 2 numbers"),
            ({"scale": [1, 0]}, "its 'features.scale' and 'features.clip' must be above 0"),
            ({"clip": None}, "its 'features.clip' is no number"),
        ],
    )
    def test_features_that_cannot_be_used_are_said(self, change: dict[str, Any], expected: str) -> None:
        """
        So is one whose features are not ours, or cannot be scaled.
        """
        document = json.loads(weights_text())
        document["features"] |= change

        with pytest.raises(NoWeights) as caught:
            read_weights(json.dumps(document).encode())

        assert expected == str(caught.value)

    @pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"meshwalk: 1"])
    def test_another_file_is_none(self, text: bytes) -> None:
        """
        A file that is something else altogether is said to hold no weights.
        """
        with pytest.raises(NoWeights):
            read_weights(text)


class TestScores:
    def test_a_head_is_a_logistic_function(self) -> None:
        """
        A score is 1 / (1 + exp(-(bias + weights · scaled features))).
        """
        scores = weights_of().scores({"log_characters": 6.0, "questions": 1.0})

        assert pytest.approx(1 / (1 + math.exp(1.5))) == scores["weak"]
        assert pytest.approx(1 / (1 + math.exp(-1.0))) == scores["strong"]

    def test_topics_take_their_share(self) -> None:
        """
        With topics, half of the score is here the mean of the topics' rates, as likely as they are.
        """
        measured = {"log_characters": 4.0 + math.log(3), "questions": 0.5}
        # A prompt that is three times as likely a proof as prose.
        rate = 0.25 * 0.75 + 0.75 * 0.25

        assert pytest.approx(0.5 * 0.25 + 0.5 * rate) == weights_of(topics=True).scores(measured)["weak"]

    def test_what_is_far_out_is_cut_off(self) -> None:
        """
        A feature counts for no more deviations than were allowed for.
        """
        near, far = ({"log_characters": value, "questions": 0.5} for value in (7.0, 1e9))

        assert weights_of().scores(near) == weights_of().scores(far)

    @given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
    def test_scores_lie_in_0_to_1(self, bias: float, weight: float) -> None:
        """
        However large the numbers, a score lies in 0 to 1.
        """
        weights = Weights((Head("weak", bias, (weight,)),), Scaling(("questions",), (0.0,), (1.0,), 3.0, 1.0))

        assert 0 <= weights.scores({"questions": 2.0})["weak"] <= 1
