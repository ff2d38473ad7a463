"""
One account: what was spent, what is held, and what went past its bound.

At every moment, for each part that all who draw on it cap, and while nobody lowers that cap,

    spent + held ≤ cap + overrun
"""

from __future__ import annotations

from operator import gt

from meshwalk.budgets.judgement import Balance, make_standing
from meshwalk.budgets.scopes import SpendLine, SpendPath
from meshwalk.model import Amount, Caps


# Past this many places an account tells no more of them apart, so that a graph that loops cannot fill a vault.
MAX_LINES = 1_000
OTHERS = SpendPath("", "(others)")

_NOTHING = Amount()


class Account:
    """
    Keep one account.
    """

    __slots__ = ("_lines", "assumed", "held", "holds", "overrun", "spent")

    def __init__(self) -> None:
        self.spent = self.held = self.overrun = self.assumed = _NOTHING
        self.holds = 0
        self._lines: dict[SpendPath, Amount] = {}

    def hold(self, amount: Amount) -> None:
        """
        Set *amount* aside.
        """
        self.held = self.held.plus(amount) if self.holds else amount
        self.holds += 1

    def settle(self, held: Amount, spent: Amount, place: SpendPath, *, bounded: tuple[bool, ...], assumed: bool) -> None:
        """
        Replace *held* by *spent*; what goes past a bound is an overrun.

        Args:
            bounded: Of each part, whether *held* bounded it; what nothing bounds cannot overrun.
        """
        self.holds -= 1
        # Mostly it was the only one.
        self.held = self.held.less(held) if self.holds else _NOTHING
        self.spent = self.spent.plus(spent)
        if any(map(gt, spent, held)):
            over = [max(0, used - most) if bound else 0 for used, most, bound in zip(spent, held, bounded, strict=True)]
            self.overrun = self.overrun.plus(Amount(*over))
        if assumed:
            self.assumed = self.assumed.plus(spent)
        self._enter(place, spent)

    def charge(self, caps: Caps, spent: Amount, place: SpendPath, *, assumed: bool) -> None:
        """
        Count what was *spent* without having been held; what does not fit *caps* any more is an overrun.
        """
        room = (None if cap is None else max(0, cap - used) for cap, used in zip(caps, self.spent.plus(self.held), strict=True))
        over = (0 if left is None else max(0, part - left) for left, part in zip(room, spent, strict=True))
        self.overrun = self.overrun.plus(Amount(*over))
        self.spent = self.spent.plus(spent)
        if assumed:
            self.assumed = self.assumed.plus(spent)
        self._enter(place, spent)

    def standing(self, caps: Caps, resets_in_us: int | None = None) -> Balance:
        """
        Show how it stands under *caps*.
        """
        return make_standing((caps, self.spent, self.held, resets_in_us, ""))

    def lines(self) -> tuple[SpendLine, ...]:
        """
        List where it was spent, the dearest first.
        """
        lines = [SpendLine(place, spent) for place, spent in self._lines.items()]

        return tuple(sorted(lines, key=lambda line: (*(-part for part in line.spent), line.place)))

    def _enter(self, place: SpendPath, spent: Amount) -> None:
        lines = self._lines
        before = lines.get(place)
        if before is None:
            if spent == _NOTHING:
                return
            if len(lines) >= MAX_LINES:
                place = OTHERS
                before = lines.get(place)
        lines[place] = spent if before is None else before.plus(spent)
