"""
The other end of `harness.Worker`: a loop that is told counts and answers with nanoseconds.

It runs in interpreters that have nothing of ours, so it imports the standard library only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable


def serve(run: Callable[[int], int]) -> None:
    """
    Answer each count on standard input with what *run* returns for it, until the input ends.
    """
    answer(lambda line: str(run(int(line))))


def answer(run: Callable[[str], str]) -> None:
    """
    Answer each line on standard input with what *run* returns for it, until the input ends.
    """
    for line in sys.stdin:
        print(run(line), flush=True)
