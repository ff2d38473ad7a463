"""
How a refusal reads: what was asked, what is left of what, and what may help.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.budgets import REQUEST, Balance, Need, Scope, refusal_of, usd
from meshwalk.model import Amount, Caps


MINUTE = 60_000_000
PRICED = "declare usd_per_mtok, and max_tokens or context_tokens"
SESSION = Scope("ada", "session", "s-17")


def message(need: Need, scope: Scope | str, balance: Balance) -> str:
    refusal = refusal_of(need, [scope], [balance])
    assert refusal is not None

    return refusal.message


class TestUsd:
    @pytest.mark.parametrize(
        ("nano", "text"),
        [(0, "0"), (1, "0.000000001"), (9_000_000, "0.009"), (10_000_000_000, "10"), (-1_500_000_000, "-1.5")],
    )
    def test_examples(self, nano: int, text: str) -> None:
        """
        Dollars are written exactly, and no longer than they need to be.
        """
        assert text == usd(nano)

    @given(nano=st.integers(-(10**18), 10**18))
    def test_is_exact(self, nano: int) -> None:
        """
        No nano-dollar is lost on the way to the text.
        """
        whole, _, rest = usd(abs(nano)).partition(".")

        assert abs(nano) == int(whole) * 10**9 + int(rest.ljust(9, "0"))
        assert usd(nano).startswith("-") == (nano < 0)


class TestDenied:
    @pytest.mark.parametrize(
        ("need", "caps", "expected"),
        [
            (
                Need(cost_nano_usd=9_000_000),
                Caps(cost_nano_usd=3_120_000),
                "may cost up to 0.009 USD and 0.00312 of 0.00312 are left",
            ),
            (Need(input_tokens=9), Caps(input_tokens=3), "may send up to 9 tokens and 3 of 3 are left"),
            (Need(output_tokens=9), Caps(output_tokens=3), "may write up to 9 tokens and 3 of 3 are left"),
            (Need(calls=1), Caps(calls=0), "makes 1 model call and 0 of 0 are left"),
            (Need(calls=2), Caps(calls=1), "makes 2 model calls and 1 of 1 are left"),
            (Need(hops=1), Caps(hops=0), "makes 1 hop and 0 of 0 are left"),
            (Need(hops=2), Caps(hops=1), "makes 2 hops and 1 of 1 are left"),
        ],
    )
    def test_every_part_in_its_own_words(self, need: Need, caps: Caps, expected: str) -> None:
        """
        A sentence that begins with a node's name says what is asked and what is left.
        """
        assert expected == message(need, REQUEST, Balance(caps, Amount(), Amount()))

    @pytest.mark.parametrize(
        ("scope", "end"),
        [
            (SESSION, "are left of session 's-17'"),
            (Scope("ada", "tenant", ""), "are left of the tenant"),
            (Scope("ada", "session", "a\nb"), r"are left of session 'a\nb'"),
        ],
    )
    def test_names_the_scope(self, scope: Scope, end: str) -> None:
        """
        A shared scope is named, on one line whatever its caller called it.
        """
        assert message(Need(calls=1), scope, Balance(Caps(calls=0), Amount(), Amount())).endswith(end)

    @pytest.mark.parametrize(
        ("left_us", "end"),
        [
            (1, "1 s"),
            (119_000_001, "2 min"),
            (90 * MINUTE, "90 min"),
            (120 * MINUTE + 1, "3 h"),
            (24 * 60 * MINUTE, "24 h"),
            (240 * 60 * MINUTE, "10 days"),
        ],
    )
    def test_says_when_the_window_ends(self, left_us: int, end: str) -> None:
        """
        The time of the next window is rounded up, so that nobody comes too early.
        """
        balance = Balance(Caps(calls=0), Amount(), Amount(), left_us)

        assert message(Need(calls=1), SESSION, balance).endswith(f"; a new window begins in {end}")

    def test_nothing_is_left_after_an_overrun(self) -> None:
        """
        Below nothing there is no figure that helps.
        """
        balance = Balance(Caps(calls=2), Amount(calls=3), Amount())

        assert "makes 1 model call and 0 of 2 are left" == message(Need(calls=1), REQUEST, balance)


class TestContended:
    def test_says_what_others_hold(self) -> None:
        """
        What may fit soon says so, without pointing at a window that need not end first.
        """
        balance = Balance(Caps(cost_nano_usd=10**9), Amount(), Amount(cost_nano_usd=8 * 10**8), 5 * MINUTE)
        expected = (
            "may cost up to 0.3 USD and 0.2 of 1 are left of session 's-17' while 0.8 are reserved for calls under way; "
            "try again when they are settled"
        )

        assert expected == message(Need(cost_nano_usd=3 * 10**8), SESSION, balance)


class TestUnbounded:
    @pytest.mark.parametrize(
        ("need", "caps", "expected"),
        [
            (
                Need(cost_nano_usd=None),
                Caps(cost_nano_usd=1),
                f"cannot be bounded in cost ({PRICED}), and the cost{{of}} is capped",
            ),
            (
                Need(input_tokens=None),
                Caps(input_tokens=1),
                "cannot be bounded in input (declare context_tokens), and input tokens{of} are capped",
            ),
            (
                Need(output_tokens=None),
                Caps(output_tokens=1),
                "cannot be bounded in output (declare max_tokens), and output tokens{of} are capped",
            ),
            (Need(calls=None), Caps(calls=1), "cannot be bounded in model calls, and model calls{of} are capped"),
            (Need(hops=None), Caps(hops=1), "cannot be bounded in hops, and hops{of} are capped"),
        ],
    )
    def test_says_how_to_bound_it(self, need: Need, caps: Caps, expected: str) -> None:
        """
        What is not bounded under a cap is refused with the keys that bound it.
        """
        balance = Balance(caps, Amount(), Amount())

        assert expected.format(of="") == message(need, REQUEST, balance)
        assert expected.format(of=" of its session") == message(need, SESSION, balance)
