"""
One account: its spending, its reservations, and its overrun.

Invariant, for each part that every spender caps, while nobody lowers that cap:

    spent + reserved ≤ cap + overrun
"""

from __future__ import annotations

from operator import gt

from meshwalk.budgets.judgement import Balance, make_balance
from meshwalk.budgets.scopes import SpendLine, SpendPath
from meshwalk.model import Amount, Caps


# An account lists at most this many spend paths, so that a graph with loops cannot fill a vault.
MAX_LINES = 1_000
OTHERS = SpendPath("", "(others)")

_NOTHING = Amount()


class Account:
    """
    The amounts of one account.
    """

    __slots__ = ("_lines", "assumed", "overrun", "reservations", "reserved", "spent")

    def __init__(self) -> None:
        self.spent = self.reserved = self.overrun = self.assumed = _NOTHING
        self.reservations = 0
        self._lines: dict[SpendPath, Amount] = {}

    def reserve(self, amount: Amount) -> None:
        """
        Add *amount* to the reserved total.
        """
        self.reserved = self.reserved.plus(amount) if self.reservations else amount
        self.reservations += 1

    def settle(
        self, reserved: Amount, spent: Amount, spend_path: SpendPath, *, bounded: tuple[bool, ...], assumed: bool
    ) -> None:
        """
        Replace *reserved* by *spent*; the excess over a bound is an overrun.

        Args:
            bounded: For each part, whether *reserved* bounded it; an unbounded part cannot overrun.
        """
        self.reservations -= 1
        # Usually it was the only reservation.
        self.reserved = self.reserved.less(reserved) if self.reservations else _NOTHING
        self.spent = self.spent.plus(spent)
        if any(map(gt, spent, reserved)):
            over = [
                max(0, used - bound) if is_bounded else 0
                for used, bound, is_bounded in zip(spent, reserved, bounded, strict=True)
            ]
            self.overrun = self.overrun.plus(Amount(*over))
        if assumed:
            self.assumed = self.assumed.plus(spent)
        self._enter(spend_path, spent)

    def charge(self, caps: Caps, spent: Amount, spend_path: SpendPath, *, assumed: bool) -> None:
        """
        Add *spent* without a reservation; the part that exceeds *caps* is an overrun.
        """
        headroom = (
            None if cap is None else max(0, cap - used) for cap, used in zip(caps, self.spent.plus(self.reserved), strict=True)
        )
        over = (0 if left is None else max(0, part - left) for left, part in zip(headroom, spent, strict=True))
        self.overrun = self.overrun.plus(Amount(*over))
        self.spent = self.spent.plus(spent)
        if assumed:
            self.assumed = self.assumed.plus(spent)
        self._enter(spend_path, spent)

    def balance(self, caps: Caps, resets_in_us: int | None = None) -> Balance:
        """
        Return its balance under *caps*.
        """
        return make_balance((caps, self.spent, self.reserved, resets_in_us, ""))

    def lines(self) -> tuple[SpendLine, ...]:
        """
        List its spending by path, the most expensive first.
        """
        lines = [SpendLine(spend_path, spent) for spend_path, spent in self._lines.items()]

        return tuple(sorted(lines, key=lambda line: (*(-part for part in line.spent), line.spend_path)))

    def _enter(self, spend_path: SpendPath, spent: Amount) -> None:
        lines = self._lines
        before = lines.get(spend_path)
        if before is None:
            if spent == _NOTHING:
                return
            if len(lines) >= MAX_LINES:
                spend_path = OTHERS
                before = lines.get(spend_path)
        lines[spend_path] = spent if before is None else before.plus(spent)
