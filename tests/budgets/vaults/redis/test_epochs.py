"""
The check that a server still has what it was told.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshwalk.budgets.vaults.redis.epochs import EpochTracker


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
