"""
The last known balances of accounts in a vault, and local reservations and spending that the vault does not know of yet.

Unsent amounts count against the window that is current on reading, because the vault will charge them there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from meshwalk.budgets import Balance, Scope
from meshwalk.model import Amount, Caps, ScopeKind


MAX_ACCOUNTS = 20_000

_NOTHING = Amount()

# An account, in any of its windows.
_Key = tuple[str, ScopeKind, str, int | None]


class _KnownBalance(NamedTuple):
    declared: Caps
    balance: Balance
    ends_at_us: int | None


class LastKnownBalances:
    """
    Balances read from a vault, valid while their windows last, and the unsent amounts beside them.

    Args:
        max_accounts: The number of accounts remembered; the one read longest ago is forgotten first.
    """

    def __init__(self, max_accounts: int = MAX_ACCOUNTS) -> None:
        self._max_accounts = max_accounts
        # Counts the balances recorded.
        self.revision = 0
        self._known: dict[_Key, _KnownBalance] = {}
        # The amounts reserved and spent.
        self._unsent: dict[_Key, tuple[Amount, Amount]] = {}

    def record(self, now_us: int, scopes: Iterable[Scope], balances: Iterable[Balance]) -> None:
        """
        Record *balances*, which the vault has answered for *scopes*.
        """
        for scope, balance in zip(scopes, balances, strict=True):
            self.revision += 1
            key = _key(scope)
            self._known.pop(key, None)
            ends_at_us = None if balance.resets_in_us is None else now_us + balance.resets_in_us
            self._known[key] = _KnownBalance(scope.caps, balance, ends_at_us)
            if len(self._known) > self._max_accounts:
                del self._known[next(iter(self._known))]

    def reserve(self, scopes: Sequence[Scope], amount: Amount) -> None:
        """
        Add a local reservation.
        """
        self._change(scopes, reserved=amount)

    def settle(self, scopes: Sequence[Scope], reserved: Amount, spent: Amount) -> None:
        """
        Replace a local reservation by its spending.
        """
        self._change(scopes, reserved=_NOTHING.less(reserved), spent=spent)

    def settle_known(self, scopes: Sequence[Scope], reserved: Amount, spent: Amount) -> None:
        """
        Replace *reserved* by *spent* in the balances known from the vault.
        """
        for scope in scopes:
            known = self._known.get(_key(scope))
            if known is not None:
                balance = known.balance
                left = Amount._make(max(0, part) for part in balance.reserved.less(reserved))
                self._known[_key(scope)] = known._replace(
                    balance=balance._replace(spent=balance.spent.plus(spent), reserved=left)
                )

    def acknowledge(self, scopes: Sequence[Scope], spent: Amount) -> None:
        """
        Move *spent*, which the vault now knows of, from the unsent amounts to the known balances.
        """
        self._change(scopes, spent=_NOTHING.less(spent))
        for scope in scopes:
            known = self._known.get(_key(scope))
            if known is not None:
                balance = known.balance
                self._known[_key(scope)] = known._replace(balance=balance._replace(spent=balance.spent.plus(spent)))

    def balance(self, now_us: int, scope: Scope) -> Balance:
        """
        Return the balance of *scope* as far as it is known here.
        """
        key = _key(scope)
        known = self._known.get(key)
        reserved, spent = self._unsent.get(key, (_NOTHING, _NOTHING))
        # An operator's caps are known from the vault only, and apply to the graph with whose caps they were read.
        caps = known.balance.caps if known is not None and known.declared == scope.caps else scope.caps
        if known is not None and (known.ends_at_us is None or now_us < known.ends_at_us):
            resets_in_us = None if known.ends_at_us is None else known.ends_at_us - now_us
            reserved, spent = reserved.plus(known.balance.reserved), spent.plus(known.balance.spent)
        else:
            resets_in_us = None if scope.window_us is None else scope.window_us - now_us % scope.window_us

        return Balance(caps, spent, reserved, resets_in_us, scope.away)

    def _change(self, scopes: Sequence[Scope], reserved: Amount = _NOTHING, spent: Amount = _NOTHING) -> None:
        for scope in scopes:
            key = _key(scope)
            old_reserved, old_spent = self._unsent.get(key, (_NOTHING, _NOTHING))
            new = old_reserved.plus(reserved), old_spent.plus(spent)
            if new == (_NOTHING, _NOTHING):
                self._unsent.pop(key, None)
            else:
                self._unsent[key] = new


def _key(scope: Scope) -> _Key:
    return scope[:4]
