"""
Tables that fit the terminal: nothing is cut inside a word or an id.

Where the columns of a table do not fit, four things happen in turn.  The texts that may stand *below* a row move to lines of
their own.  Columns that may be *dropped* go.  The texts wrap at blanks, or all but the first stand below.  At last numbers
stand below, from the right.  Only a word that is longer than the whole terminal is cut.

Outside a terminal, a row is one line, and tabs part its cells.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text


_GAP = 2
_INDENT = "    "

# A column of texts is wrapped, but to no less than this.
_MIN_WIDTH = 12


class Column(NamedTuple):
    """
    One column of a table.

    Args:
        right: For numbers.
        below: Whether its text may stand on a line of its own below the row.
        drop: The order of going where there is no room, highest first; 0 stays.
    """

    heading: str
    right: bool = False
    below: bool = False
    drop: int = 0


# Longer than any line.
_ENDLESS = 1_000_000


class PipedConsole(Console):
    """
    A console on a pipe or a file: its lines are as long as they need be.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(width=_ENDLESS, **options)


class FittedTable:
    """
    A table of plain texts that shows as much as the console is wide.
    """

    def __init__(self, title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        self.title = title
        self.columns = tuple(columns)
        self.rows = [tuple(row) for row in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if isinstance(console, PipedConsole):
            yield from self._piped()
            return
        width = options.max_width
        shown, below = self._layout(width)
        if not below and self._width(shown) <= width:
            yield self._plain(shown)
            return
        widths = self._widths(shown, width)
        yield Text(self.title, style="italic")
        yield Text()
        yield Text(self._line([self.columns[place].heading for place in shown], shown, widths)[0], style="bold", no_wrap=True)
        yield Text("─" * min(width, sum(widths) + _GAP * (len(widths) - 1)), no_wrap=True)
        for row in self.rows:
            for line in self._line([row[place] for place in shown], shown, widths):
                yield Text(line, no_wrap=True, overflow="ignore")
            for line in self._below(row, below, width):
                yield Text(line, no_wrap=True, overflow="ignore")
        yield Text()

    def _piped(self) -> Iterator[Segment]:
        headings = (column.heading for column in self.columns)
        for line in (self.title, "\t".join(headings), *("\t".join(row) for row in self.rows), ""):
            # A text of Rich's would turn tabs into blanks.
            yield Segment(f"{line}\n")

    def _layout(self, width: int) -> tuple[list[int], list[int]]:
        """
        Return the columns that stand in a row, and those that stand below it.
        """
        shown = list(range(len(self.columns)))
        if self._width(shown) <= width:
            return shown, []
        below = [place for place in shown if self.columns[place].below]
        shown = [place for place in shown if place not in below]
        for place in sorted(shown, key=lambda place: -self.columns[place].drop):
            if self._width(shown) <= width or not self.columns[place].drop:
                break
            shown.remove(place)
        # If not even the longest words fit side by side, all texts but the first stand below it.
        if sum(self._floors(shown)) + _GAP * (len(shown) - 1) > width:
            texts = [place for place in shown[1:] if not self.columns[place].right]
            shown, below = [place for place in shown if place not in texts], sorted([*texts, *below])
        # At last the numbers on the right stand below, too.
        while len(shown) > 1 and sum(self._floors(shown)) + _GAP * (len(shown) - 1) > width:
            below = sorted([shown.pop(), *below])

        return shown, below

    def _natural(self, place: int) -> int:
        return max((cell_len(row[place]) for row in self.rows), default=0)

    def _width(self, shown: Sequence[int]) -> int:
        # As the wide layout is drawn: a blank on each side of a column, but for the edges.
        wide = (max(self._natural(place), cell_len(self.columns[place].heading)) for place in shown)

        return sum(wide) + (_GAP + 1) * (len(shown) - 1) + _GAP

    def _widths(self, shown: Sequence[int], width: int) -> list[int]:
        """
        Return the width of each column: that of its texts, less where the terminal has no room for the widest.
        """
        widths = [max(self._natural(place), cell_len(self.columns[place].heading)) for place in shown]
        room = width - _GAP * (len(widths) - 1)
        floors = self._floors(shown)
        while sum(widths) > room:
            wide, at = max((wide - floor, at) for at, (wide, floor) in enumerate(zip(widths, floors, strict=True)))
            if wide <= 0:
                break
            widths[at] -= 1

        return widths

    def _floors(self, shown: Sequence[int]) -> list[int]:
        """
        Return the least width of each column: a number is never cut, nor a word.
        """
        widths = [max(self._natural(place), cell_len(self.columns[place].heading)) for place in shown]

        return [
            wide if self.columns[place].right else max(self._longest_word(place), min(wide, _MIN_WIDTH))
            for place, wide in zip(shown, widths, strict=True)
        ]

    def _longest_word(self, place: int) -> int:
        words = [word for row in self.rows for word in row[place].split()]

        return max(map(cell_len, [*words, self.columns[place].heading]))

    def _line(self, cells: Sequence[str], shown: Sequence[int], widths: Sequence[int]) -> list[str]:
        wrapped = [_wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
        lines = []
        for number in range(max(map(len, wrapped), default=0)):
            parts = []
            for place, lines_of_cell, width in zip(shown, wrapped, widths, strict=True):
                text = lines_of_cell[number] if number < len(lines_of_cell) else ""
                space = " " * (width - cell_len(text))
                parts.append(space + text if self.columns[place].right else text + space)
            lines.append((" " * _GAP).join(parts).rstrip())

        return lines

    def _below(self, row: Sequence[str], below: Sequence[int], width: int) -> Iterator[str]:
        for place in below:
            if row[place]:
                text = f"{self.columns[place].heading}: {row[place]}"
                yield from (_INDENT + line for line in _wrapped(text, width - len(_INDENT)))

    def _plain(self, shown: Sequence[int]) -> RichTable:
        made = RichTable(title=Text(self.title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for place in shown:
            column = self.columns[place]
            made.add_column(Text(column.heading), justify="right" if column.right else "left", no_wrap=True)
        for row in self.rows:
            made.add_row(*(Text(row[place]) for place in shown))

        return made


def _wrapped(text: str, width: int) -> list[str]:
    lines = textwrap.wrap(text, max(width, 1), break_on_hyphens=False)

    return lines or [""]
