"""
Lines that fit the terminal: each is wrapped at blanks, and a quoted line of a graph shows the part that its marks are under.
"""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from collections.abc import Iterator
from typing import Any


# Behind its first line, a wrapped line stands this much further to the right.
_INDENT = "    "

# A line of a graph as a fault quotes it, and the marks under it.
_QUOTED = re.compile(r"(?P<margin> *\d+ \| )(?P<text>.*)")
_MARKS = re.compile(r"(?P<margin> *\| )(?P<blank> *)\^+")

# The mark in the place of the part that is left out.
_CUT = "… "

# A terminal narrower than this is treated as one of this width.
_NARROWEST = 40


def fitted(text: str, stream: Any) -> str:
    """
    Return *text* as it fits the terminal that *stream* writes to; as it is where that is none.
    """
    width = terminal_width(stream)

    return text if width is None else "\n".join(fit_lines(text, width))


def terminal_width(stream: Any) -> int | None:
    """
    Return the width of the terminal that *stream* writes to, or None where it is none.
    """
    # Rich reads the same variable, so tables and other lines agree.
    if not stream.isatty() and os.environ.get("TTY_COMPATIBLE") != "1":
        return None

    return max(shutil.get_terminal_size().columns, _NARROWEST)


def fit_lines(text: str, width: int) -> Iterator[str]:
    """
    Give the lines of *text*, none of them wider than *width* unless a single word is.
    """
    lines = text.split("\n")
    for position, line in enumerate(lines):
        below = lines[position + 1] if position + 1 < len(lines) else ""
        above = lines[position - 1] if position else ""
        if (quoted := _QUOTED.fullmatch(line)) and (marks := _MARKS.fullmatch(below)):
            start = _start(quoted, marks, width)
            yield _window(quoted["margin"], quoted["text"], start, width)
        elif (marks := _MARKS.fullmatch(line)) and (quoted := _QUOTED.fullmatch(above)):
            start = _start(quoted, marks, width)
            shift = start - len(_CUT) if start else 0
            yield (marks["margin"] + line[len(marks["margin"]) + shift :])[:width]
        elif len(line) <= width:
            yield line
        else:
            yield from _wrapped(line, width)


def _start(quoted: re.Match[str], marks: re.Match[str], width: int) -> int:
    """
    Return the first character of the quoted text that is shown: a word's, and not behind the marks.
    """
    room = width - len(quoted["margin"])
    column, stop = len(marks["blank"]), len(marks[0]) - len(marks["margin"])
    if max(len(quoted["text"]), stop) <= room or stop <= room - len(_CUT):
        return 0
    earliest = max(0, min(stop - room + 2 * len(_CUT), column))
    blank = quoted["text"].find(" ", earliest, column)

    return column if blank < 0 else blank + 1


def _window(margin: str, text: str, start: int, width: int) -> str:
    room = width - len(margin) - (len(_CUT) if start else 0)
    part = text[start:]
    if len(part) > room:
        blank = part.rfind(" ", 0, room - len(_CUT) + 1)
        part = part[: blank if blank > 0 else room - len(_CUT)] + " …"

    return f"{margin}{_CUT if start else ''}{part}"


def _wrapped(line: str, width: int) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())]

    return textwrap.wrap(
        line.strip(),
        width,
        initial_indent=indent,
        subsequent_indent=indent + _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [line]
