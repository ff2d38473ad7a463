"""
Tables at the widths that terminals have.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from meshwalk.cli.show import table, trace_table
from meshwalk.cli.tables import Column, FittedTable
from meshwalk.cli.traces import unique_length
from meshwalk.records.hops import hops_of
from tests.support.records import climbed, triage, walked


WIDTHS = (80, 100, 120)
FOLDER = Path(__file__).with_name("widths")

Golden = Callable[[Path, str], None]


def printed(renderable: RenderableType, width: int) -> str:
    """
    Print *renderable* on a console of *width*, without the blanks at the ends of lines.
    """
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(renderable)

    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


@pytest.mark.parametrize("width", WIDTHS)
def test_a_trace_at_usual_widths(width: int, golden: Golden) -> None:
    """
    A whole walk is readable in a terminal of 80, 100 and 120 columns.
    """
    plan = triage()
    traversal = walked(climbed, plan=plan)
    text = printed(trace_table(traversal, hops_of(traversal, plan), plan), width)

    golden(FOLDER / f"trace-{width}.txt", text)
    assert max(map(len, text.splitlines())) <= width


class TestLayout:
    ROW = ("walk-1", "12.5", "a text of several words that is long")

    def table(self, **more: tuple[str, ...]) -> FittedTable:
        """
        Make a table of one row of an id, a number and a text.
        """
        return table("Walks", ("id", "ms", "text"), [self.ROW], right=(1,), **more)

    def test_wide_enough_is_one_row(self) -> None:
        """
        A row that fits stands in one line.
        """
        assert " walk-1   12.5   a text of several words that is long" in printed(self.table(), 80).splitlines()

    def test_texts_go_below(self) -> None:
        """
        A text that may stand below its row does so under its heading, wrapped at blanks.
        """
        assert ["walk-1  12.5", "    text: a text of", "    several words that", "    is long", ""] == printed(
            self.table(below=("text",)), 24
        ).splitlines()[-5:]

    def test_columns_are_dropped(self) -> None:
        """
        A column that may go goes where there is no room, and stays where there is.
        """
        assert "12.5" not in printed(self.table(drop=("ms",)), 48)
        assert "12.5" in printed(self.table(drop=("ms",)), 80)

    def test_what_is_named_last_is_dropped_first(self) -> None:
        """
        Of several that may go, only as many go as must.
        """
        made = table("T", ("a", "b", "c"), [("aaaaaaaa", "bbbbbbbb", "cccccccc")], drop=("a", "b"))

        assert "aaaaaaaa" in printed(made, 26)
        assert "bbbbbbbb" not in printed(made, 26)

    def test_texts_wrap_at_last(self) -> None:
        """
        Where nothing can go, the widest text wraps at blanks under its own column.
        """
        lines = printed(self.table(), 40).splitlines()

        assert "walk-1  12.5  a text of several words" in lines
        assert "              that is long" in lines


WORD = st.text("abcdefgh-/>.=", min_size=1, max_size=30)
CELL = st.lists(WORD, max_size=8).map(" ".join)


@given(rows=st.lists(st.tuples(WORD, CELL, CELL), min_size=1, max_size=4), width=st.integers(40, 160))
def test_no_word_is_cut(rows: list[tuple[str, str, str]], width: int) -> None:
    """
    At any width each word of each row is there whole.
    """
    made = FittedTable("T", [Column("id"), Column("text"), Column("more", below=True)], rows)
    words = printed(made, width).split()

    assert [] == [word for row in rows for cell in row for word in cell.split() if word not in words]


class TestIds:
    def test_sixteen_characters_are_enough_for_most(self) -> None:
        """
        Ids that differ early are shown as short as ids ever are.
        """
        assert 16 == unique_length(["a" * 32, "b" * 32])

    def test_ids_that_begin_alike_are_told_apart(self) -> None:
        """
        Where two ids of a list begin with more characters alike, as many more are shown.
        """
        assert 21 == unique_length(["a" * 20 + "b" * 12, "a" * 20 + "c" * 12, "d" * 32])
