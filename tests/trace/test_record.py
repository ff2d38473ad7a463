"""
What a finished record says of itself.
"""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model import Limits
from meshwalk.trace import (
    Attempt,
    Basis,
    Began,
    Cancelled,
    Entry,
    Facts,
    Failed,
    Finish,
    FullTrace,
    Granted,
    Message,
    Outcome,
    Replied,
    Request,
    Source,
    TimedOut,
    Traversal,
    Usage,
    total_usage,
    weakest,
)
from tests.support.random_records import traversals


def record(*entries: Entry, finish: Finish = Finish(Outcome.ANSWERED, 1)) -> Traversal:
    began = Began(0, Facts((), 5, 1), Limits(), ())
    steps = [(entry, ()) for entry in (began, *entries[:-1])]

    trace = FullTrace(["intake", "small"], [*steps, (entries[-1], (finish,))], [])

    return Traversal(Source("triage", "4", "p", "s"), "t-1", "a", "b", "", sampled=True, began_unix_us=1, trace=trace)


PAID = Attempt(100, 700, "ok", usage=Usage(10, 3), cost_nano_usd=40, basis="reported")
LOST = Attempt(900, 200, "timeout", usage=Usage(10, 0), cost_nano_usd=60, basis="assumed")


def test_costs_and_tokens_of_all_attempts_count() -> None:
    """
    A failed hop's calls cost as much as a successful one's.
    """
    done = record(Failed(0, 1_200, "timeout", "late", (LOST,)), Replied(1, 2_000, {}, (PAID,)))

    assert 100 == done.cost_nano_usd
    assert 1e-7 == done.cost_usd
    assert Usage(20, 3) == done.usage
    assert "assumed" == done.basis


def test_engine_time_is_what_no_call_took() -> None:
    """
    The walk's latency less its calls' is the engine's own.
    """
    done = record(Granted(0, 50, ()), Replied(1, 1_000, {}, (PAID,)))

    assert 1_000 == done.latency_us
    assert 300 == done.engine_us


@pytest.mark.parametrize(
    "closing",
    [
        Replied(0, 1, {}, (PAID,)),
        Failed(0, 1, "overloaded", "busy", (PAID,)),
        TimedOut(0, 1, "late", (PAID,)),
        Cancelled(0, 1, (PAID,)),
    ],
)
def test_every_way_to_close_a_hop_keeps_its_attempts(closing: Entry) -> None:
    """
    However a hop ended, its calls are on the record.
    """
    assert [PAID] == list(record(closing).attempts())


def test_answer_is_the_node_whose_reply_was_served() -> None:
    """
    The finishing wish names the hop, and the path its node.
    """
    reply = Replied(1, 5, {})

    assert "small" == record(reply).answer_node
    assert "" == record(reply, finish=Finish(Outcome.REFUSED)).answer_node


def test_repr_shows_the_way_and_the_end() -> None:
    """
    A record's window shows its path and its outcome.
    """
    assert "<Traversal t-1 triage: intake > small, answered>" == repr(record(Replied(1, 5, {})))


@pytest.mark.slow
@given(traversals())
def test_record_begins_and_ends(traversal: Traversal) -> None:
    """
    Every record gives the entry it began with and the wish it ended with.
    """
    assert traversal.steps[0][0] == traversal.began
    assert traversal.finish.outcome is traversal.outcome


@given(st.lists(st.sampled_from(get_args(Basis))))
def test_a_cost_is_as_sure_as_its_weakest_part(bases: list[Basis]) -> None:
    """
    Unpriced outweighs assumed, assumed outweighs estimated, estimated outweighs reported, and nothing was paid without a call.
    """
    order = ["none", "reported", "estimated", "assumed", "unpriced"]
    expected = max(bases, key=order.index, default="none")

    assert expected == weakest(iter(bases))


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 5)))
def test_usage_adds_up(counts: list[tuple[int, int, int, int, int]]) -> None:
    """
    Tokens in and tokens out are summed apart, and so are those of them that were cached and that nobody sees.
    """
    total = total_usage(PAID._replace(usage=Usage._make(parts)) for parts in counts)

    assert Usage._make(map(sum, zip((0, 0, 0, 0, 0), *counts, strict=True))) == total


def test_request_without_attributes_has_none() -> None:
    """
    A request's attributes can be read even if the caller sent none.
    """
    assert {} == Request((Message("user", "why?"),)).attributes
