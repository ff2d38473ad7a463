"""
What is billed is what is settled, whichever way a server counts it.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.openai.usage import Billed, Counts, Seen
from meshwalk.trace import Usage


SEEN = Seen(7, 30, 10)


def billed(*stated: Any, seen: Seen = SEEN) -> Billed:
    counts = Counts()
    for usage in stated:
        counts.read(usage)

    return counts.billed(seen)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 20}, Usage(9, 20)),
        ({"input_tokens": 9, "output_tokens": 20}, Usage(9, 20)),
        ({"promptTokenCount": 9, "candidatesTokenCount": 20}, Usage(9, 20)),
        ({"prompt_tokens": 9.0, "completion_tokens": "20"}, Usage(9, 20)),
        ({"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 29, "reasoning_tokens": 5}, Usage(9, 20, 0, 5)),
        ({"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 34, "reasoning_tokens": 5}, Usage(9, 25, 0, 5)),
        ({"prompt_tokens": 9, "completion_tokens": 20, "reasoning_tokens": 25}, Usage(9, 45, 0, 25)),
        ({"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 69, "cached_tokens": 40}, Usage(49, 20, 40)),
        ({"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 100}, Usage(9, 91, 0, 71)),
        ({"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 3}, Usage(9, 20)),
        ({"prompt_tokens": 9, "completion_tokens": 20, "cached_tokens": 90}, Usage(9, 20, 9)),
        ({"input_tokens": 9, "output_tokens": 20, "cache_read_input_tokens": 90}, Usage(99, 20, 90)),
        ({"prompt_tokens": 9, "completion_tokens": 20, "cache_creation_input_tokens": 4}, Usage(9, 20, 0, 0, 4)),
        ({"prompt_tokens": 9, "total_tokens": 29}, Usage(9, 20)),
        ({"completion_tokens": 20, "total_tokens": 29}, Usage(9, 20)),
    ],
)
def test_the_total_shows_which_way_a_server_counts(stated: dict[str, Any], expected: Usage) -> None:
    """
    A part that stands beside its whole is added to it, and a total that agrees or makes no sense changes nothing.
    """
    found = billed(stated)

    assert (expected, False) == (found.usage, found.estimated)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, Usage(7, 30, 0, 10)),
        (None, Usage(7, 30, 0, 10)),
        ([9, 20], Usage(7, 30, 0, 10)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(7, 30, 0, 10)),
        ({"prompt_tokens": -1, "completion_tokens": 12.5}, Usage(7, 30, 0, 10)),
        ({"prompt_tokens": True, "completion_tokens": float("nan")}, Usage(7, 30, 0, 10)),
        ({"prompt_tokens": 0, "completion_tokens": 20}, Usage(7, 20)),
        ({"prompt_tokens": 9}, Usage(9, 30, 0, 10)),
        ({"total_tokens": 100}, Usage(7, 93)),
    ],
)
def test_what_is_no_count_is_an_estimate_of_that_part(stated: Any, expected: Usage) -> None:
    """
    Noughts for what is there, and what cannot be read, are estimated by what was seen, and the rest stands as it was stated.
    """
    found = billed(stated)

    assert (expected, True) == (found.usage, found.estimated)


def test_nought_is_believed_where_nothing_came() -> None:
    """
    An answer without a token of its own has none.
    """
    assert Billed(Usage(9, 0)) == billed({"prompt_tokens": 9, "completion_tokens": 0}, seen=Seen(7, 0))


def test_the_largest_of_each_part_stands() -> None:
    """
    Running counts are not added up, and later noughts take nothing away.
    """
    running = [{"prompt_tokens": 9, "completion_tokens": count} for count in (1, 2, 20, 0)]

    assert Usage(9, 20) == billed(*running).usage


def test_a_count_before_the_end_is_the_least() -> None:
    """
    What came after the tokens were counted is no part of that count, unless it is stated again.
    """
    counts = Counts()
    counts.read({"prompt_tokens": 9, "completion_tokens": 1})
    counts.came()
    before = counts.billed(SEEN)
    counts.restated()

    assert (Usage(9, 30, 0, 10), True) == (before.usage, before.estimated)
    assert (Usage(9, 1), False) == (counts.billed(SEEN).usage, counts.billed(SEEN).estimated)


def test_llama_cpps_timings_are_counts() -> None:
    """
    The prompt is what was read and what was kept.
    """
    counts = Counts()
    counts.read_timings({"prompt_n": 27, "cache_n": 4, "predicted_n": 3})

    assert Billed(Usage(31, 3, 4)) == counts.billed(SEEN)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.0123, 12_300_000),
        (7.5e-07, 750),
        (0, 0),
        (-1, None),
        (True, None),
        ("0.1", 100_000_000),
        ("dear", None),
        (float("nan"), None),
    ],
)
def test_a_stated_cost_is_whole_nano_dollars(given: Any, expected: int | None) -> None:
    """
    Dollars in decimals are the nano-dollars that are meant; what is no price is none.
    """
    counts = Counts()
    counts.read({"prompt_tokens": 1, "completion_tokens": 1, "cost": given})

    assert expected == counts.cost_nano_usd


COUNT = st.integers(0, 10**6)


@given(st.tuples(*[COUNT] * 6), st.builds(Seen, COUNT, COUNT, COUNT))
def test_parts_stay_within_their_whole(numbers: tuple[int, ...], seen: Seen) -> None:
    """
    Whatever a server states, cached and written input are input, and thoughts are output; nothing is below what was stated.
    """
    incoming, outgoing, total, cached, reasoning, written = numbers
    stated = {"prompt_tokens": incoming, "completion_tokens": outgoing, "total_tokens": total, "cached_tokens": cached}
    usage = billed(stated | {"reasoning_tokens": reasoning, "cache_write_tokens": written}, seen=seen).usage

    assert usage.cached_input_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert usage.reasoning_tokens <= usage.output_tokens
    assert usage.input_tokens >= incoming
    assert usage.output_tokens >= outgoing
