"""
The ledger of one walk: what may be spent, what is promised, what was spent.

A call's worst case is reserved before it is made and settled afterwards at what it really cost, so that a limit holds
whatever the call turns out to cost.  A provider that charges more than its bound is charged in truth, and the difference is
counted as an overrun.  At every moment

    spent + reserved ≤ limit + Σ overruns

and the same for output tokens.  Money is whole nano-dollars.  The ledger is pure: it owns no clock and asks nobody.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from meshwalk.model import Limits
from meshwalk.trace import View


REQUEST = "request"


class Need(NamedTuple):
    """
    State a call's worst case; None cannot be bounded.
    """

    cost_nano_usd: int | None
    output_tokens: int | None


class Ledger:
    """
    Keep the request scope of one walk.

    Args:
        limits: Its `cost_nano_usd` and `output_tokens` are the caps; None is no cap.

    `used_nano_usd` and `used_tokens` count what is spent and what is reserved.
    """

    __slots__ = (
        "_cost_limit", "_held", "_token_limit", "overrun_nano_usd", "overrun_tokens", "spent_nano_usd", "spent_tokens",
        "used_nano_usd", "used_tokens",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self._cost_limit = limits.cost_nano_usd
        self._token_limit = limits.output_tokens
        self._held: dict[Hashable, tuple[int, int]] = {}
        self.spent_nano_usd = 0
        self.spent_tokens = 0
        self.used_nano_usd = 0
        self.used_tokens = 0
        self.overrun_nano_usd = 0
        self.overrun_tokens = 0

    def reserve(self, key: Hashable, need: Need) -> str:
        """
        Hold *need* under *key*; return nothing if granted, else the sentence that says why not.

        Raises:
            ValueError: If *key* holds a reservation already.
        """
        if key in self._held:
            raise ValueError(f"{key!r} holds a reservation already; settle it first")
        refusal = self._refusal(need)
        if not refusal:
            cost, tokens = self._held[key] = (need.cost_nano_usd or 0, need.output_tokens or 0)
            self.used_nano_usd += cost
            self.used_tokens += tokens

        return refusal

    def settle(self, key: Hashable, cost_nano_usd: int, output_tokens: int) -> None:
        """
        Replace what *key* holds by what was really spent.

        Raises:
            KeyError: If *key* holds nothing: every reservation is settled once.
        """
        held_cost, held_tokens = self._held.pop(key)
        self.spent_nano_usd += cost_nano_usd
        self.spent_tokens += output_tokens
        self.used_nano_usd += cost_nano_usd - held_cost
        self.used_tokens += output_tokens - held_tokens
        if self._cost_limit is not None:
            self.overrun_nano_usd += max(0, cost_nano_usd - held_cost)
        if self._token_limit is not None:
            self.overrun_tokens += max(0, output_tokens - held_tokens)

    def holds(self, key: Hashable) -> bool:
        """
        Tell whether *key* holds a reservation.
        """
        return key in self._held

    @property
    def open(self) -> tuple[Hashable, ...]:
        """
        Return the keys that hold a reservation.
        """
        return tuple(self._held)

    def view(self) -> View:
        """
        Show the scope as it stands.
        """
        return View(REQUEST, self._cost_limit, self.used_nano_usd, self._token_limit, self.used_tokens)

    def _refusal(self, need: Need) -> str:
        if self._cost_limit is not None:
            if need.cost_nano_usd is None:
                return (
                    "cannot be bounded in cost (declare usd_per_mtok, and max_tokens or context_tokens), and the cost is capped"
                )
            left = self._cost_limit - self.used_nano_usd
            if need.cost_nano_usd > left:
                return f"may cost up to {usd(need.cost_nano_usd)} USD and {usd(left)} of {usd(self._cost_limit)} are left"
        if self._token_limit is not None:
            if need.output_tokens is None:
                return "cannot be bounded in output (declare max_tokens), and output tokens are capped"
            left = self._token_limit - self.used_tokens
            if need.output_tokens > left:
                return f"may write up to {need.output_tokens} tokens and {left} of {self._token_limit} are left"

        return ""


def usd(nano_usd: int) -> str:
    """
    Write nano-dollars as dollars, exactly and without trailing zeros.
    """
    sign, whole = ("-", -nano_usd) if nano_usd < 0 else ("", nano_usd)
    text = f"{sign}{whole // 1_000_000_000}.{whole % 1_000_000_000:09}"

    return text.rstrip("0").rstrip(".")
