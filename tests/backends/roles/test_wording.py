from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.roles.classifier import READ_CHARACTERS
from meshwalk.backends.roles.wording import wording
from meshwalk.model.weights import FEATURES
from meshwalk.trace import Message


def measured(text: str) -> dict[str, float]:
    return wording((Message("user", text),))


class TestWording:
    @given(st.text())
    def test_every_feature_is_there_and_finite(self, text: str) -> None:
        """
        Whatever is asked, each feature that weights may name is measured, in their order, the same each time.
        """
        found = measured(text)

        assert list(FEATURES) == list(found)
        assert all(map(math.isfinite, found.values()))
        assert found == measured(text)

    @pytest.mark.parametrize(
        ("feature", "less", "more"),
        [
            ("log_words", "Add two numbers.", "Add two numbers and then divide what you get by the third."),
            ("long_words", "It is so.", "Constitutional jurisprudence."),
            ("log_numbers", "Tom has apples.", "Tom has 3 apples and 4 pears."),
            ("log_largest", "Tom has 3 apples.", "Tom has 3,000 apples."),
            ("money", "It costs 5.", "It costs $5."),
            ("operators", "x and y", "x + y = 3"),
            ("how_many", "Name the pears.", "How many pears are left?"),
            ("negated", "Which of these is true?", "Which of these is NOT true?"),
            ("choices", "Pick one.", "Pick one.\nA. red\nB. blue"),
            ("numeric_choices", "Pick.\nA. red\nB. blue", "Pick.\nA. 3\nB. 4"),
            ("blanks", "The sky is", "The sky is ____"),
            ("code", "Say hello", "def hello(): return 1"),
            ("yes_or_no", "Name it.", "Is it so?"),
            ("rates", "He ran a mile", "He runs three miles each day every week"),
            ("log_depth", "Add.", "Add. Then divide. Then explain why, if it is so."),
        ],
    )
    def test_a_feature_rises_with_its_cue(self, feature: str, less: str, more: str) -> None:
        """
        A text with more of what a feature is named for measures more.
        """
        assert measured(less)[feature] < measured(more)[feature]

    def test_the_last_user_message_is_read(self) -> None:
        """
        What was said before, and by whom else, does not count.
        """
        said = (Message("system", "Be brief. 5 + 5"), Message("user", "And now?"), Message("assistant", "Ten = 10"))

        assert measured("And now?") == wording(said)

    def test_nothing_to_read(self) -> None:
        """
        A request without messages measures as an empty one.
        """
        assert measured("") == wording(())

    @pytest.mark.parametrize("unit", ["a", "1", "1,", "A. ", "_", "\n", "(", "if ", "is\n", "9." * 3, "\u00e9"])
    def test_long_texts_take_no_longer(self, unit: str) -> None:
        """
        Of a long text the ends are read, whatever it is made of.
        """
        text = unit * (4_000_000 // len(unit))
        started = time.process_time()
        found = measured(text)

        assert time.process_time() - started < 1
        assert found == measured(text[:READ_CHARACTERS] + "\n" + text[-READ_CHARACTERS:])
