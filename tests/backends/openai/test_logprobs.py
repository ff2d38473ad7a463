"""
Log-probabilities are read in every shape, and a number that is none makes its margin unknown and no more.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from meshwalk.backends.openai.logprobs import TokenChance, of_answer, read_logprobs


HALF, TENTH = math.log(0.5), math.log(0.1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"content": [{"token": "a", "logprob": HALF}]}, [("a", 0.5, None)]),
        ([{"token": "a", "logprob": HALF, "top_logprobs": [{"logprob": HALF}, {"logprob": TENTH}]}], [("a", 0.5, 0.4)]),
        ({"content": [{"token": "a", "logprob": HALF, "top_logprobs": {"a": HALF, "b": TENTH}}]}, [("a", 0.5, 0.4)]),
        ([{"token": "a", "logprob": HALF, "top_logprobs": [{"logprob": HALF}, {"logprob": None}]}], [("a", 0.5, None)]),
        ({"content": [{"token": "a", "logprob": None}, 3, {"token": "b", "logprob": 1e-6}]}, [("b", 1.0, None)]),
        ({"tokens": ["a", "b"], "token_logprobs": [None, HALF], "top_logprobs": None}, [("b", 0.5, None)]),
        ([{"token": "a", "logprob": -9999.0}], [("a", 0.0, None)]),
        ({"content": None}, []),
        (None, []),
    ],
)  # fmt: skip
def test_every_shape_is_read(given: Any, expected: list[tuple[str, float, float | None]]) -> None:
    """
    A list of tokens, a list for each property, alternatives as a list or as an object.
    """
    found = read_logprobs(given)

    assert len(expected) == len(found)
    for (text, chance, margin), token in zip(expected, found, strict=True):
        assert (text, margin is None) == (token[0], token[2] is None)
        assert pytest.approx((chance, margin or 0)) == (token[1], token[2] or 0)


def test_the_answers_tokens_are_the_last() -> None:
    """
    Tokens of thoughts before it and of marks behind it are no part of an answer.
    """
    tokens = [TokenChance(text, 0.5) for text in ("t ", "Fo", "t ", "Fo", "ur.", "<end>")]

    assert tokens[3:5] == of_answer(tokens, "Four.")
    assert [] == of_answer(tokens, "Five.")
