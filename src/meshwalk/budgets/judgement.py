"""
The rule that grants or refuses a reservation.

*Denied*: spending plus need exceeds the cap, so waiting does not help.  *Contended*: the need fits beside the spending but not
beside the reservations as well, so it may fit once others have settled.  The Redis vault decides in Lua and is tested against
this rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from meshwalk.budgets.scopes import Need, Scope
from meshwalk.budgets.wording import unbounded, unfitting
from meshwalk.model import Amount, Caps
from meshwalk.model.constructors import fast_constructor


class Balance(NamedTuple):
    """
    The state of one account under the caps that apply to the caller.

    Args:
        resets_in_us: The time left in its window; None for an account without one.
        away: `open` or `local` if the vault did not answer and that policy applies.
    """

    caps: Caps
    spent: Amount
    reserved: Amount
    resets_in_us: int | None = None
    away: str = ""

    @property
    def used(self) -> Amount:
        """
        Return the sum of spending and reservations.
        """
        return self.spent.plus(self.reserved)


make_balance: Callable[[tuple[Caps, Amount, Amount, int | None, str]], Balance] = fast_constructor(Balance)


class Refusal(NamedTuple):
    """
    A scope that did not grant a need, and the reason; *position* is the index of the scope in the request.

    Args:
        away: Whether nothing is known of the scope, because its vault does not answer.
    """

    position: int
    scope: str
    contended: bool
    message: str
    resets_in_us: int | None = None
    away: bool = False


class Answer(NamedTuple):
    """
    The answer to a reservation: *refusal* is None if granted; *balances* are those of its scopes afterwards, in order.
    """

    refusal: Refusal | None
    balances: tuple[Balance, ...]


make_answer: Callable[[tuple[Refusal | None, tuple[Balance, ...]]], Answer] = fast_constructor(Answer)


def judge(need: Need, balances: Sequence[Balance]) -> tuple[int, int, bool] | None:
    """
    Return None if *need* fits in all *balances*, else the indexes of scope and part, and whether it is contended.

    A scope that denies takes precedence over one that is contended.
    """
    contended: tuple[int, int, bool] | None = None
    for position, balance in enumerate(balances):
        caps, spent, reserved, _, _ = balance
        for part, cap in _set_ones(caps):
            requested = need[part]
            if requested is None:
                return position, part, False
            left = cap - spent[part] - requested
            # A need of zero always fits, even if an overrun has passed the cap.
            if (left < 0 or left < reserved[part]) and requested:
                if left < 0:
                    return position, part, False
                contended = contended or (position, part, True)

    return contended


@lru_cache(maxsize=1024)
def _set_ones(caps: Caps) -> tuple[tuple[int, int], ...]:
    """
    List the capped parts, each with its cap; cached because a server has few different caps and applies them all the time.
    """
    return tuple([(part, cap) for part, cap in enumerate(caps) if cap is not None])


def refusal_of(need: Need, scopes: Sequence[Scope | str], balances: Sequence[Balance]) -> Refusal | None:
    """
    Judge *need*, and word the refusal if there is one; *scopes* name the balances, in the same order.
    """
    misfit = judge(need, balances)
    if misfit is None:
        return None
    position, part, contended = misfit
    scope, balance = scopes[position], balances[position]
    requested, cap = need[part], balance.caps[part]
    assert cap is not None
    kind = scope if isinstance(scope, str) else scope.kind
    name = "" if isinstance(scope, str) else scope.name
    if requested is None:
        message = unbounded(part, kind)
    else:
        message = unfitting(
            part,
            kind,
            name,
            requested=requested,
            cap=cap,
            spent=balance.spent[part],
            reserved=balance.reserved[part],
            resets_in_us=balance.resets_in_us,
        )

    return Refusal(position, kind, contended, message, balance.resets_in_us)
