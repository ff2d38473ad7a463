"""
The events of a streamed walk, the same in process and over the wire; the last is the `RouteResult`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from meshwalk.model import Role
from meshwalk.records.hops import Hop
from meshwalk.records.results import RouteResult


class HopStarted(NamedTuple):
    """
    A hop that starts.
    """

    hop: int
    node: str
    role: Role
    started_us: int


class HopFinished(NamedTuple):
    """
    A hop that has ended, and the edge by which it was left.
    """

    hop: Hop


class Committed(NamedTuple):
    """
    A hop whose reply will be served, even if it breaks off: its pieces follow as they come.
    """

    hop: int


class AnswerDelta(NamedTuple):
    """
    A piece of the answer.
    """

    hop: int
    text: str


# The events before the last, and all of them.
Progress = HopStarted | HopFinished | Committed | AnswerDelta
Event = Progress | RouteResult

# A piece stays far below any limit on the size of a message, even with 4 bytes a character.
DELTA_CHARACTERS = 4_096


def answer_deltas(hop: int, answer: str) -> Iterator[AnswerDelta]:
    """
    Yield *answer* in pieces, for a graph that did not stream it.
    """
    for start in range(0, len(answer), DELTA_CHARACTERS):
        yield AnswerDelta(hop, answer[start : start + DELTA_CHARACTERS])
