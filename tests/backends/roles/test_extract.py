from __future__ import annotations

import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.roles import extract
from meshwalk.model import Extractor


class TestNumber:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("3 + 4 = 7, so the answer is 7.", "7"),
            ("the total is $1,234.50.", "1234.5"),
            ("about 50%", "50"),
            ("x = -5", "-5"),
            ("a loss of -$7", "-7"),
            ("10-5", "5"),
            ("- 5 apples", "5"),
            ("1e3 grams", "1000"),
            (".5", "0.5"),
            ("007", "7"),
            ("-0", "0"),
            ("6/8 of it", "0.75"),
            ("1 1/2 cups", "1.5"),
            ("one in three, 1/3", "1/3"),
            ("5/0", None),
            ("none at all", None),
            ("", None),
        ],
    )
    def test_the_last_number_is_normalised(self, text: str, expected: str | None) -> None:
        """
        Without a marker the last number counts, and spellings of one value are one text.
        """
        assert expected == extract("number", text)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("4 and 5\n#### 9\nCONF: 0.80", "9"),
            ("**#### $5.00**", "5"),
            ("#### 7 packs and 2 extra", "7"),
            ("#### 1\n#### 2", "2"),
            ("half is 4, so\n#### ", None),
            ("#### Conclusion\nThe answer is 42.", "42"),
            (r"so \boxed{12} in 3 days", "12"),
            (r"\boxed{\frac{1}{3}}", "1/3"),
            (r"\boxed{1} then \boxed{2}", "2"),
            (r"\boxed{x}, 5", None),
            (r"5 in \boxed{ 6", "6"),
        ],
    )
    def test_a_marked_answer_beats_other_numbers(self, text: str, expected: str | None) -> None:
        """
        What stands after #### or in a box is the answer; a marker that was cut off leaves none.
        """
        assert expected == extract("number", text)

    @pytest.mark.parametrize("stated", ["CONF: 0.85", "Confidence = 85%", "conf:0.9"])
    def test_a_stated_confidence_is_no_answer(self, stated: str) -> None:
        """
        The number that says how sure the model is does not count.
        """
        assert "7" == extract("number", f"it is 7\n{stated}")

    def test_a_declared_pattern_is_left_out(self) -> None:
        """
        What the node's own pattern matches is no answer either.
        """
        text = "it is 7, sure at 0.9"

        assert "0.9" == extract("number", text)
        assert "7" == extract("number", text, r"sure at ([0-9.]+)")

    @given(whole=st.integers(-(10**12), 10**12), places=st.integers(0, 6))
    def test_every_decimal_is_found_as_itself(self, whole: int, places: int) -> None:
        """
        A decimal in a sentence comes back with the same value, with or without separators and trailing zeros.
        """
        value = Decimal(whole).scaleb(-places)
        plain = extract("number", f"therefore it is {value:f}")

        assert plain is not None
        assert Fraction(value) == Fraction(plain)
        assert plain == extract("number", f"so {value:,f}") == extract("number", f"#### {value:f}")

    @given(top=st.integers(0, 10**6), below=st.integers(1, 10**6), factor=st.integers(1, 100))
    def test_equal_fractions_are_equal_text(self, top: int, below: int, factor: int) -> None:
        """
        A fraction and the same fraction, not reduced, extract to one text of that value.
        """
        found = extract("number", f"{top}/{below}")

        assert found is not None
        assert Fraction(top, below) == Fraction(found)
        assert found == extract("number", f"{top * factor}/{below * factor}")


class TestChoice:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("B", "B"),
            ("(c)", "C"),
            ("b)", "B"),
            ("A. Wrong, not wrong", "A"),
            ("The answer is (D).", "D"),
            ("Answer: **B**", "B"),
            ("The correct choice is E because A is wrong", "E"),
            ("A cat sat. I think B.", "B"),
            ("it could be (A), but it is (C) after all", "C"),
            (r"\boxed{C}", "C"),
            (r"\boxed{\text{B}}", "B"),
            ("I do not know", None),
            ("I'm sure", None),
            ("K", None),
            ("", None),
        ],
    )
    def test_letter_forms_are_read(self, text: str, expected: str | None) -> None:
        """
        The usual ways to name a choice give its letter; the words "a" and "I" are no choice.
        """
        assert expected == extract("choice", text)

    @given(st.text())
    def test_a_choice_is_a_letter_from_a_to_j(self, text: str) -> None:
        """
        Whatever the text, a choice is one of ten letters or nothing.
        """
        assert extract("choice", text) in {None, *"ABCDEFGHIJ"}


class TestText:
    def test_case_space_and_edges_are_folded(self) -> None:
        """
        Two spellings of one short answer are equal.
        """
        assert "new york" == extract("text", "  New\n York. ") == extract("text", '"NEW YORK"')

    def test_nothing_but_punctuation_is_no_answer(self) -> None:
        """
        A reply without a letter or digit holds no answer.
        """
        assert extract("text", " … ?!") is None

    @given(st.text())
    def test_extracting_twice_changes_nothing(self, text: str) -> None:
        """
        An extracted text extracts to itself.
        """
        once = extract("text", text)

        assert once is None or extract("text", once) == once


@given(kind=st.sampled_from(["number", "choice", "text"]), text=st.text())
def test_any_text_is_taken(kind: Extractor, text: str) -> None:
    """
    No text makes an extractor fail, and what is found is never empty.
    """
    found = extract(kind, text)

    assert found is None or found


@pytest.mark.parametrize(
    "text", ["9" * 10**6, "1," * 10**6, "1/" * 10**6, " " * 10**6, "#" * 10**6, r"\boxed{" * 10**5, "a (" * 10**6]
)
@pytest.mark.parametrize("kind", ["number", "choice", "text"])
def test_hostile_megabytes_take_little_time(kind: Extractor, text: str) -> None:
    """
    Time does not explode on text that is made to make patterns backtrack.
    """
    began = time.process_time()
    extract(kind, text)

    assert time.process_time() - began < 2
