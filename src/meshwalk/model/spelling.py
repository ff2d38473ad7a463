"""
Words that are near to one that is not known, for the question whether they were meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache


def nearest(word: str, candidates: Iterable[str], likeness: float = 0.6) -> str | None:
    """
    Return the candidate that *word* was most likely meant to be, or None if none is near.

    Args:
        likeness: How much they must have in common, 1 being all; what is only asked may be further off than what is acted on.
    """
    # Matching takes time quadratic in the lengths, and nobody mistypes a name of a hundred characters.
    return _nearest(word, tuple(candidates), likeness) if len(word) <= 100 else None


@lru_cache(maxsize=4096)
def _nearest(word: str, candidates: tuple[str, ...], likeness: float) -> str | None:
    return next(iter(get_close_matches(word, candidates, n=1, cutoff=likeness)), None)


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """
    Ask for the candidate that *word* was most likely meant to be, or say nothing if none is near.
    """
    near = nearest(word, candidates)

    return f"did you mean '{near}'?" if near is not None else ""
