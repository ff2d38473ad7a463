"""
The parts of the vault in Redis that ask nobody: how things are written, what is remembered, and what is worth telling.
"""

from __future__ import annotations

import re

import pytest
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
from meshwalk.budgets.vaults.redis.epochs import EpochTracker
from meshwalk.budgets.vaults.redis.library import library
from meshwalk.budgets.vaults.redis.risks import risks_of
from meshwalk.model import Amount, Caps


ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))
WHOLE = st.integers(0, MAX_VALUE)
KEEPS_ALL = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory": "0", "maxmemory-policy": "noeviction"}


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


class TestMemories:
    def test_first_answer_begins_the_memory(self) -> None:
        """
        Who knew nothing misses nothing.
        """
        memories = EpochTracker()

        assert not memories.shows_loss("ada", memories.current("ada"), b"e", 7)
        assert memories.shows_loss("ada", memories.current("ada"), b"f", 8)

    def test_each_loss_is_told_once(self) -> None:
        """
        Answers to calls that were sent before a loss was seen do not tell it again.
        """
        memories = EpochTracker()
        memories.shows_loss("ada", None, b"e", 7)
        sent = memories.current("ada")

        assert [True, False, False] == [memories.shows_loss("ada", sent, b"f", seq) for seq in (1, 2, 3)]
        assert not memories.shows_loss("ada", memories.current("ada"), b"f", 4)
        assert memories.shows_loss("ada", memories.current("ada"), b"f", 1)

    @given(st.lists(st.integers(0, 5)), st.data())
    def test_answers_in_any_order_are_no_loss(self, waits: list[int], data: st.DataObject) -> None:
        """
        A server that counts on loses nothing, whichever answer comes first.
        """
        memories, under_way = EpochTracker(), []
        for seq, wait in enumerate(waits, start=1):
            under_way.append((memories.current("ada"), seq))
            while len(under_way) > wait:
                before, answered = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))

                assert not memories.shows_loss("ada", before, b"e", answered)

    def test_tenants_are_remembered_apart(self) -> None:
        """
        Each tenant has books of its own.
        """
        memories = EpochTracker()
        memories.shows_loss("ada", None, b"e", 7)

        assert not memories.shows_loss("bob", memories.current("bob"), b"f", 1)


class TestRisks:
    @pytest.mark.parametrize(
        ("changed", "replicas", "said"),
        [
            ({}, "0", []),
            ({"maxmemory-policy": "allkeys-lru"}, "0", []),
            ({"maxmemory": "1", "maxmemory-policy": "volatile-ttl"}, "0", ["when its memory is full (volatile-ttl)"]),
            ({"appendfsync": "no"}, "0", ["a crash may take minutes"]),
            ({"appendonly": "no", "save": "60 1"}, "2", ["since its last snapshot", "does not wait for its 2 replica(s)"]),
            ({"appendonly": "no"}, "0", ["neither append-only file nor snapshots"]),
        ],
    )
    def test_each_way_to_forget_is_a_sentence(self, changed: dict[str, str], replicas: str, said: list[str]) -> None:
        """
        What a setting puts at risk is told with the setting that would mend it, and nothing else is.
        """
        risks = risks_of("redis://r:1/0", {**KEEPS_ALL, **changed}, {"connected_slaves": replicas})

        assert len(said) == len(risks)
        assert all(words in risk for words, risk in zip(said, risks, strict=True))

    def test_silence_is_a_risk(self) -> None:
        """
        A server that does not tell its settings is not taken to keep anything.
        """
        assert 1 == len(risks_of("redis://r:1/0", None, {}))


class TestLibrary:
    def test_name_follows_the_text(self) -> None:
        """
        Every function is called by the library's name, which is a hash.
        """
        head = re.match(r"#!lua name=(meshwalk_[0-9a-f]{12})\n", library().text)

        assert head
        assert f"{head[1]}_" == library().prefix
        assert library().text.count(head[1]) == 2
