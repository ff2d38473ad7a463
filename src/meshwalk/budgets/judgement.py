"""
Whether a need fits: the one rule of granted, denied and contended.

*Denied*: what is spent and the need exceed the cap, so waiting does not help.  *Contended*: the need fits beside what is spent
and not beside what is reserved, so it may fit once others have settled.  Vaults that decide elsewhere (in Redis) are tested
against this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from meshwalk.budgets.scopes import Need, Scope
from meshwalk.budgets.wording import unbounded, unfitting
from meshwalk.model import Amount, Caps


class Balance(NamedTuple):
    """
    Show how one account stands under the caps that hold for the one who asks.

    Args:
        resets_in_us: What is left of its window; None if it counts for ever.
        away: `open` or `local` where the vault did not answer and that policy holds.
    """

    caps: Caps
    spent: Amount
    held: Amount
    resets_in_us: int | None = None
    away: str = ""

    @property
    def used(self) -> Amount:
        """
        Return what is spent and what is reserved.
        """
        return self.spent.plus(self.held)


# Each walk makes several; the constructor that takes the fields one by one needs twice the time.
make_standing: Callable[[tuple[Caps, Amount, Amount, int | None, str]], Balance] = partial(tuple.__new__, Balance)


class Refusal(NamedTuple):
    """
    Say which scope did not grant a need, and why; *position* is its place among those asked.
    """

    position: int
    scope: str
    contended: bool
    message: str
    resets_in_us: int | None = None


class Answer(NamedTuple):
    """
    Answer a hold: *refusal* is None if it was granted; *standings* are its scopes, in their order, as they now stand.
    """

    refusal: Refusal | None
    standings: tuple[Balance, ...]


# As for standings.
make_answer: Callable[[tuple[Refusal | None, tuple[Balance, ...]]], Answer] = partial(tuple.__new__, Answer)


def judge(need: Need, standings: Sequence[Balance]) -> tuple[int, int, bool] | None:
    """
    Return None if *need* fits everywhere, else where it does not.

    That is the scope's position, the part's, and whether it is contended.  A scope that denies comes before one that is only
    contended.
    """
    contended: tuple[int, int, bool] | None = None
    for position, standing in enumerate(standings):
        caps, spent, held, _, _ = standing
        for part, cap in _set_ones(caps):
            asked = need[part]
            if asked is None:
                return position, part, False
            left = cap - spent[part] - asked
            # Asking for nothing always fits, even where an overrun has gone past the cap.
            if (left < 0 or left < held[part]) and asked:
                if left < 0:
                    return position, part, False
                contended = contended or (position, part, True)

    return contended


@lru_cache(maxsize=1024)
def _set_ones(caps: Caps) -> tuple[tuple[int, int], ...]:
    """
    List the parts that *caps* cap, each with its cap; a server has few different ones, and judges by them all the time.
    """
    return tuple([(part, cap) for part, cap in enumerate(caps) if cap is not None])


def refusal_of(need: Need, scopes: Sequence[Scope | str], standings: Sequence[Balance]) -> Refusal | None:
    """
    Judge *need*, and say in words what is refused; *scopes* name the standings.
    """
    found = judge(need, standings)
    if found is None:
        return None
    position, part, contended = found
    scope, standing = scopes[position], standings[position]
    asked, cap = need[part], standing.caps[part]
    assert cap is not None
    kind = scope if isinstance(scope, str) else scope.kind
    name = "" if isinstance(scope, str) else scope.name
    if asked is None:
        message = unbounded(part, kind)
    else:
        message = unfitting(
            part,
            kind,
            name,
            asked=asked,
            cap=cap,
            spent=standing.spent[part],
            held=standing.held[part],
            resets_in_us=standing.resets_in_us,
        )

    return Refusal(position, kind, contended, message, standing.resets_in_us)
