"""
How accounts stood when last seen in a vault, and what was held and spent here that the vault does not know of yet.

What is untold counts against whatever window there is when somebody looks, because that is where it is charged in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from meshwalk.budgets import Balance, Scope
from meshwalk.model import Amount, Caps, ScopeKind


MAX_SIGHTINGS = 20_000

_NOTHING = Amount()

# The account in whatever window.
_Key = tuple[str, ScopeKind, str, int | None]


class _Sighting(NamedTuple):
    declared: Caps
    standing: Balance
    ends_at: int | None


class LastKnownBalances:
    """
    Remember standings for as long as their windows last, and count what is untold beside them.

    Args:
        most: How many accounts are remembered; the one seen longest ago is forgotten first.
    """

    def __init__(self, most: int = MAX_SIGHTINGS) -> None:
        self._most = most
        # How often anything was seen.
        self.notes = 0
        self._seen: dict[_Key, _Sighting] = {}
        # What is held and what was spent.
        self._untold: dict[_Key, tuple[Amount, Amount]] = {}

    def note(self, now: int, scopes: Iterable[Scope], standings: Iterable[Balance]) -> None:
        """
        Remember how *scopes* stand in the vault.
        """
        for scope, standing in zip(scopes, standings, strict=True):
            self.notes += 1
            key = _key(scope)
            self._seen.pop(key, None)
            ends_at = None if standing.resets_in_us is None else now + standing.resets_in_us
            self._seen[key] = _Sighting(scope.caps, standing, ends_at)
            if len(self._seen) > self._most:
                del self._seen[next(iter(self._seen))]

    def hold(self, scopes: Sequence[Scope], amount: Amount) -> None:
        """
        Count what is held here.
        """
        self._change(scopes, held=amount)

    def settle(self, scopes: Sequence[Scope], held: Amount, spent: Amount) -> None:
        """
        Count what was spent here in place of what was held.
        """
        self._change(scopes, held=_NOTHING.less(held), spent=spent)

    def settled(self, scopes: Sequence[Scope], held: Amount, spent: Amount) -> None:
        """
        See what was *spent* in place of what was seen *held* in the vault.
        """
        for scope in scopes:
            seen = self._seen.get(_key(scope))
            if seen is not None:
                standing = seen.standing
                left = Amount._make(max(0, part) for part in standing.held.less(held))
                self._seen[_key(scope)] = seen._replace(standing=standing._replace(spent=standing.spent.plus(spent), held=left))

    def told(self, scopes: Sequence[Scope], spent: Amount) -> None:
        """
        Count what the vault now knows of as seen there.
        """
        self._change(scopes, spent=_NOTHING.less(spent))
        for scope in scopes:
            seen = self._seen.get(_key(scope))
            if seen is not None:
                standing = seen.standing
                self._seen[_key(scope)] = seen._replace(standing=standing._replace(spent=standing.spent.plus(spent)))

    def standing(self, now: int, scope: Scope) -> Balance:
        """
        Show how *scope* stands, as far as is known here.
        """
        key = _key(scope)
        seen = self._seen.get(key)
        held, spent = self._untold.get(key, (_NOTHING, _NOTHING))
        # What an operator set is known from the vault only, and holds for the graph whose caps it was seen with.
        caps = seen.standing.caps if seen is not None and seen.declared == scope.caps else scope.caps
        if seen is not None and (seen.ends_at is None or now < seen.ends_at):
            resets_in_us = None if seen.ends_at is None else seen.ends_at - now
            held, spent = held.plus(seen.standing.held), spent.plus(seen.standing.spent)
        else:
            resets_in_us = None if scope.window_us is None else scope.window_us - now % scope.window_us

        return Balance(caps, spent, held, resets_in_us, scope.away)

    def _change(self, scopes: Sequence[Scope], held: Amount = _NOTHING, spent: Amount = _NOTHING) -> None:
        for scope in scopes:
            key = _key(scope)
            old_held, old_spent = self._untold.get(key, (_NOTHING, _NOTHING))
            new = old_held.plus(held), old_spent.plus(spent)
            if new == (_NOTHING, _NOTHING):
                self._untold.pop(key, None)
            else:
                self._untold[key] = new


def _key(scope: Scope) -> _Key:
    return scope[:4]
