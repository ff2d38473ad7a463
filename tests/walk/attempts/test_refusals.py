from __future__ import annotations

import pytest

from meshwalk.walk.attempts.refusals import Refused, limited, no_place, none_well, queue_full, resting


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        (
            queue_full("big", 1, 2),
            Refused(
                "overloaded",
                "backend 'big' has 1 call under way and 2 waiting, as many as it may have; raise `concurrency` or "
                "the `length` of `queue`, or give the node an on_error edge for overloaded",
            ),
        ),
        (
            no_place("big", 3),
            Refused(
                "overloaded",
                "backend 'big' had no place in time, with 3 calls under way; raise `concurrency` or the `wait` of "
                "`queue`, or give the node an on_error edge for overloaded",
            ),
        ),
        (
            none_well("big", ("east", "west"), 1_500_000),
            Refused(
                "unreachable",
                "backend 'big' is left alone after its failures (endpoints east, west); it is probed from 1.5 s on; "
                "give the node an on_error edge for unreachable",
                1_500_000,
            ),
        ),
        (
            none_well("big", ("",), None),
            Refused(
                "unreachable",
                "backend 'big' is left alone after its failures; a call is finding out whether it is back; give the "
                "node an on_error edge for unreachable",
            ),
        ),
        (
            resting("big", "east", "overloaded", 2_000_000),
            Refused(
                "overloaded",
                "backend 'big' (endpoint east) asked to be left alone for 2 s; call it less often, or give the node "
                "an on_error edge for overloaded",
                2_000_000,
            ),
        ),
        (
            resting("big", "", "unreachable", -1),
            Refused(
                "rate_limited",
                "backend 'big' asked to be left alone for 0 s; call it less often, or give the node an on_error edge "
                "for rate_limited",
                -1,
            ),
        ),
        (
            limited("big", "tokens_per_minute", 600, 250_000, 1),
            Refused(
                "rate_limited",
                "backend 'big' may have 600 tokens a minute and has room for this one behind the 1 call waiting in "
                "0.25 s; raise `tokens_per_minute`, or give the node an on_error edge for rate_limited",
                250_000,
            ),
        ),
        (
            limited("big", "requests_per_minute", 6, 10_000_000, 0),
            Refused(
                "rate_limited",
                "backend 'big' may have 6 requests a minute and has room for this one in 10 s; raise "
                "`requests_per_minute`, or give the node an on_error edge for rate_limited",
                10_000_000,
            ),
        ),
    ],
    ids=lambda value: value.error_class if isinstance(value, Refused) else "",
)
def test_a_refusal_names_the_thing_and_the_remedy(refused: Refused, expected: Refused) -> None:
    """
    A refusal says which backend, why, when it may go better, and what to write.
    """
    assert expected == refused
