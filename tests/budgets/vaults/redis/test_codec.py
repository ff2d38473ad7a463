"""
The texts in which the vault in Redis writes names, amounts and paths.
"""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from meshwalk.budgets import SpendPath
from meshwalk.budgets.vaults.redis.codec import (
    MAX_VALUE,
    encode_name,
    mark_key,
    parts_words,
    read_amount,
    read_caps,
    read_report,
    read_spend_path,
    spend_path_words,
)
from meshwalk.model import Amount, Caps


ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))
WHOLE = st.integers(0, MAX_VALUE)


class TestWording:
    @given(ANY_TEXT, ANY_TEXT)
    def test_names_are_told_apart_in_plain_letters(self, one: str, other: str) -> None:
        """
        Two names are never written alike, nor with anything that Redis or a pattern gives a meaning.
        """
        assert (one == other) == (encode_name(one) == encode_name(other))
        assert re.fullmatch(r"[\w.~%-]*", encode_name(one), re.ASCII)

    @given(ANY_TEXT)
    def test_hash_tag_is_never_empty(self, tenant: str) -> None:
        """
        The first braces of a key hold something, since a cluster would take the whole key for its tag otherwise.
        """
        assert re.fullmatch(r"meshwalk:1:\{[^{}]+\}:mark", mark_key(tenant))

    @given(st.builds(SpendPath, ANY_TEXT, ANY_TEXT))
    def test_place_comes_back(self, spend_path: SpendPath) -> None:
        """
        Graph and path are told apart whatever they hold.
        """
        assert spend_path == read_spend_path(spend_path_words(spend_path).encode("utf-8", "surrogatepass"))

    @given(st.builds(Amount, WHOLE, WHOLE, WHOLE, WHOLE, WHOLE))
    def test_amount_comes_back(self, amount: Amount) -> None:
        """
        Whole numbers are written in full.
        """
        assert amount == read_amount(parts_words(amount).encode())

    @given(st.builds(Caps, *[st.none() | WHOLE] * 5))
    def test_caps_come_back(self, caps: Caps) -> None:
        """
        What is not capped stays so; nothing at all is no cap.
        """
        assert caps == read_caps(parts_words(caps).encode())
        assert Caps() == read_caps(b"")

    def test_lines_are_sorted_as_the_ledger_sorts_them(self) -> None:
        """
        The dearest line comes first, and of equal ones the first place.
        """
        zeros = b"0 0 0 0 0"
        words = [b"session:s:-:0", zeros, zeros, zeros, zeros, b"0", b""]
        lines = [b"1:gb", b"1 0 0 0 0", b"1:ga", b"1 0 0 0 0", b"1:gc", b"5 0 0 0 0"]

        assert ["c", "a", "b"] == [line.spend_path.path for line in read_report("ada", words, lines).lines]
