"""
The questions of the demo, and what counts as a right answer.
"""

from __future__ import annotations

import pytest

from meshwalk.demo.questions import QUESTIONS, TUNING_QUESTIONS, Question


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("The answer is 52.", True), ("52", True), ("It costs 52 now", True), ("It costs 520", False), ("152", False),
        ("52.5", False), ("1,52", False), ("", False),
    ],
)  # fmt: skip
def test_accepted_texts_are_whole_words(answer: str, right: bool) -> None:
    """
    A number is right where it stands alone, not as a part of another.
    """
    assert right == Question("What?", ("52",)).is_right(answer)


@pytest.mark.parametrize("question", [*QUESTIONS, *TUNING_QUESTIONS], ids=lambda question: question.text)
def test_repeating_a_question_is_no_answer(question: Question) -> None:
    """
    No question holds a text that is accepted as its answer.
    """
    assert not question.is_right(question.text)
