"""
One account: what was spent, what is held, and what went past its bound.

At every moment, for each part that all who draw on it cap, and while nobody lowers that cap,

    spent + held ≤ cap + overrun
"""

from __future__ import annotations

from meshwalk.budgets.judgement import Standing
from meshwalk.budgets.scopes import Line, Place
from meshwalk.model import Amount, Caps


# Past this many places an account tells no more of them apart, so that a graph that loops cannot fill a vault.
MOST_LINES = 1_000
OTHERS = Place("", "(others)")

_PARTS = range(len(Amount._fields))


class Account:
    """
    Keep one account.
    """

    __slots__ = ("_lines", "assumed", "held", "holds", "overrun", "spent")

    def __init__(self) -> None:
        self.spent = [0] * len(_PARTS)
        self.held = [0] * len(_PARTS)
        self.overrun = [0] * len(_PARTS)
        self.assumed = [0] * len(_PARTS)
        self.holds = 0
        self._lines: dict[Place, list[int]] = {}

    def hold(self, amount: Amount) -> None:
        """
        Set *amount* aside.
        """
        held = self.held
        for part in _PARTS:
            held[part] += amount[part]
        self.holds += 1

    def settle(self, held: Amount, spent: Amount, place: Place, *, bounded: tuple[bool, ...], assumed: bool) -> None:
        """
        Replace *held* by *spent*; what goes past a bound is an overrun.

        Args:
            bounded: Of each part, whether *held* bounded it; what nothing bounds cannot overrun.
        """
        for part in _PARTS:
            self.held[part] -= held[part]
            self.spent[part] += spent[part]
            if bounded[part] and spent[part] > held[part]:
                self.overrun[part] += spent[part] - held[part]
            if assumed:
                self.assumed[part] += spent[part]
        self.holds -= 1
        self._enter(place, spent)

    def charge(self, caps: Caps, spent: Amount, place: Place, *, assumed: bool) -> None:
        """
        Count what was *spent* without having been held; what does not fit *caps* any more is an overrun.
        """
        for part in _PARTS:
            cap = caps[part]
            if cap is not None:
                room = max(0, cap - self.spent[part] - self.held[part])
                self.overrun[part] += max(0, spent[part] - room)
            self.spent[part] += spent[part]
            if assumed:
                self.assumed[part] += spent[part]
        self._enter(place, spent)

    def standing(self, caps: Caps, resets_in_us: int | None = None) -> Standing:
        """
        Show how it stands under *caps*.
        """
        return Standing(caps, Amount(*self.spent), Amount(*self.held), resets_in_us)

    def lines(self) -> tuple[Line, ...]:
        """
        List where it was spent, the dearest first.
        """
        lines = [Line(place, Amount._make(spent)) for place, spent in self._lines.items()]

        return tuple(sorted(lines, key=lambda line: (*(-part for part in line.spent), line.place)))

    def _enter(self, place: Place, spent: Amount) -> None:
        if not any(spent):
            return
        if place not in self._lines and len(self._lines) >= MOST_LINES:
            place = OTHERS
        line = self._lines.setdefault(place, [0] * len(_PARTS))
        for part in _PARTS:
            line[part] += spent[part]
