"""
The demo's primary, which answers exactly or says that it cannot.
"""

from __future__ import annotations

import pytest

from meshwalk.backends.base import ChatRequest
from meshwalk.demo.questions import QUESTIONS, TUNING_QUESTIONS, Question
from meshwalk.demo.solver import UNKNOWN, answer, solve
from meshwalk.trace import Message, Usage


@pytest.mark.parametrize("question", [*QUESTIONS, *TUNING_QUESTIONS], ids=lambda question: question.text)
def test_every_question_is_answered_right(question: Question) -> None:
    """
    The primary of the demo answers each of its questions.
    """
    assert question.is_right(solve(question.text))


@pytest.mark.parametrize(
    ("question", "solved"),
    [
        ("What is 7 / 2?", "3.5"), ("What is 6 / 3?", "2"), ("What is -4 - 9?", "-13"), ("What is 12.5 % of 80?", "10"),
        ("What is the median of 1, 2, 3, 10?", "2.5"), ("Write 4 in Roman numerals.", "IV"), ("Write 0 in binary.", "0"),
        ("How many hours are in a week?", "168"), ("Solve for x: 2*x + 1 = 4.", "x = 1.5"),
    ],
)  # fmt: skip
def test_answers_are_computed(question: str, solved: str) -> None:
    """
    Other numbers than the demo's are worked out, too.
    """
    assert f"The answer is {solved}." == solve(question)


@pytest.mark.parametrize("question", ["What is 1 / 0?", "What is the capital of Atlantis?", "Why?", "", "What is 2 ** 9999?"])
def test_what_it_cannot_answer_it_says(question: str) -> None:
    """
    Nothing is made up.
    """
    assert UNKNOWN == solve(question)


@pytest.mark.anyio
async def test_tokens_are_counted_as_four_bytes() -> None:
    """
    What was read and written is counted, so that the call has a price.
    """
    reply = await answer(ChatRequest((Message("user", "What is 2 + 2?"),)))

    assert ("The answer is 4.", Usage(4, 4)) == (reply.text, reply.usage)
