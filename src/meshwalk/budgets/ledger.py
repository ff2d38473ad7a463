"""
The ledger of many accounts: reservations with leases, atomic across several scopes.

Every vault is tested against this class as the oracle, so all of them keep these invariants:

1. The caller passes the time, in microseconds since the Unix epoch.  Every operation first charges the leases that have ended
   by then, each at its worst case.
2. A reservation is settled in the accounts it was made in, even if their windows have ended since.
3. Ids are unique within a tenant.  A reservation ends once: settled, charged, or expired; later settlements are ignored.
4. Memory is bounded.  An account with a window is kept for one hour after the window's end, so that an operator can inspect
   it.  An account without a window is kept until it has been unused for thirty days.  An open reservation keeps either.  Ids
   that were charged or have expired are remembered for a day, so that a repeated or late charge is not counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from meshwalk.budgets.account import Account
from meshwalk.budgets.judgement import Answer, Balance, make_answer, make_balance, refusal_of
from meshwalk.budgets.scopes import AccountReport, Need, Reservation, Scope, Settlement, SpendPath
from meshwalk.model import Amount, Caps, ScopeKind
from meshwalk.model.constructors import fast_constructor


KEPT_AFTER_WINDOW_US = 3_600_000_000
KEPT_IDLE_US = 30 * 24 * 3_600_000_000
KEPT_ID_US = 24 * 3_600_000_000

# Tenant, kind of scope, scope name, length of the window, number of the window.
AccountKey = tuple[str, ScopeKind, str, int | None, int]


class _OpenReservation(NamedTuple):
    accounts: Sequence[Account]
    need: Need
    amount: Amount
    expires_at_us: int
    spend_path: SpendPath


_make_open_reservation = fast_constructor(_OpenReservation)


class Ledger:
    """
    Accounts and open reservations, kept in memory.
    """

    def __init__(self) -> None:
        self.accounts: dict[AccountKey, Account] = {}
        self._used_at: dict[AccountKey, int] = {}
        self._open: dict[tuple[str, str], _OpenReservation] = {}
        self._leases: list[tuple[int, str, str]] = []
        # The ids that were charged or have expired, with the time at which each is forgotten, in that order.
        self._known: dict[tuple[str, str], int] = {}
        self._caps: dict[tuple[str, ScopeKind, str], Caps] = {}
        self._sweep_at = 1024

    def balances(self, now_us: int, scopes: Iterable[Scope]) -> tuple[Balance, ...]:
        """
        Return the balances of *scopes*.
        """
        self.expire(now_us)

        return self._find(now_us, scopes)[1]

    def exchange(self, now_us: int, settlement: Settlement | None, reservation: Reservation | None) -> Answer:
        """
        Settle one reservation, then make another if it fits in all its scopes.
        """
        self.expire(now_us)
        if settlement is not None:
            self._settle(settlement)
        if reservation is None or not reservation.scopes:
            return _NOTHING_RESERVED
        keys, balances = self._find(now_us, reservation.scopes)
        if (reservation.scopes[0].tenant, reservation.id) in self._open:
            return Answer(None, balances)
        refusal = refusal_of(reservation.need, reservation.scopes, balances)
        if refusal is not None:
            return Answer(refusal, balances)

        return make_answer((None, self._reserve(now_us, reservation, keys, balances)))

    def charge(
        self, now_us: int, id_: str, scopes: Sequence[Scope], spent: Amount, spend_path: SpendPath, *, assumed: bool = False
    ) -> None:
        """
        Add spending that has no reservation; the excess over a cap is an overrun.

        If *id_* has an open reservation, this settles it.  If it was charged before, or has expired, the call is ignored.
        """
        self.expire(now_us)
        if not scopes:
            return
        key = scopes[0].tenant, id_
        if key in self._open:
            self._settle(Settlement(*key, spent, assumed))
        elif key in self._known:
            return
        else:
            for scope in scopes:
                self._account(account_key(scope, now_us), now_us).charge(
                    self._caps_of(scope), spent, spend_path, assumed=assumed
                )
        self._remember_id(key, now_us)

    def expire(self, now_us: int) -> int:
        """
        Charge every reservation whose lease has ended at its worst case, and return how many there were.
        """
        while self._known and next(iter(self._known.values())) <= now_us:
            del self._known[next(iter(self._known))]
        count = 0
        while self._leases and self._leases[0][0] <= now_us:
            _, tenant, id_ = heappop(self._leases)
            opened = self._open.get((tenant, id_))
            if opened is not None and opened.expires_at_us <= now_us:
                count += 1
                self._settle(Settlement(tenant, id_, opened.amount, assumed=True))
                self._remember_id((tenant, id_), now_us)

        return count

    def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        """
        Override the caps of graphs; None leaves a part to the graph.
        """
        if caps == Caps():
            self._caps.pop((tenant, kind, name), None)
        else:
            self._caps[tenant, kind, name] = caps

    def reports(self, now_us: int, tenant: str) -> Iterator[AccountReport]:
        """
        Report every account of *tenant*.
        """
        self.expire(now_us)
        for key, account in self.accounts.items():
            if key[0] != tenant:
                continue
            _, kind, name, window_us, number = key
            yield AccountReport(
                tenant=tenant,
                kind=kind,
                name=name,
                caps=self._caps.get((tenant, kind, name), Caps()),
                spent=account.spent,
                reserved=account.reserved,
                overrun=account.overrun,
                assumed=account.assumed,
                reservations=account.reservations,
                window_us=window_us,
                window_ends_unix_us=None if window_us is None else (number + 1) * window_us,
                lines=account.lines(),
            )

    @property
    def reservations(self) -> int:
        """
        Return the number of open reservations.
        """
        return len(self._open)

    def _find(self, now_us: int, scopes: Iterable[Scope]) -> tuple[Sequence[AccountKey], tuple[Balance, ...]]:
        """
        Return the keys of the accounts of *scopes*, and their balances.
        """
        accounts, operator_caps, keys, balances = self.accounts, self._caps, [], []
        for scope in scopes:
            key = account_key(scope, now_us)
            keys.append(key)
            window_us = key[3]
            resets_in_us = None if window_us is None else (key[4] + 1) * window_us - now_us
            # Usually no operator has set any.
            caps = self._caps_of(scope) if operator_caps else scope.caps
            balances.append(accounts.get(key, _EMPTY).balance(caps, resets_in_us))

        return keys, tuple(balances)

    def _reserve(
        self, now_us: int, reservation: Reservation, keys: Sequence[AccountKey], balances: tuple[Balance, ...]
    ) -> tuple[Balance, ...]:
        """
        Make *reservation*, and return the balances after it; *balances* are those before it.
        """
        id_, scopes, need, lease_us, spend_path = reservation
        amount, accounts, granted = need.amount, [], []
        for key, (caps, spent, _, resets_in_us, _) in zip(keys, balances, strict=True):
            account = self._account(key, now_us)
            account.reserve(amount)
            accounts.append(account)
            granted.append(make_balance((caps, spent, account.reserved, resets_in_us, "")))
        tenant, expires_at_us = scopes[0].tenant, now_us + lease_us
        self._open[tenant, id_] = _make_open_reservation((accounts, need, amount, expires_at_us, spend_path))
        if len(self._leases) >= 2 * len(self._open) + 1024:
            # Most entries belong to reservations that were settled long ago.
            self._leases = [(opened.expires_at_us, *key) for key, opened in self._open.items()]
            heapify(self._leases)
        else:
            heappush(self._leases, (expires_at_us, tenant, id_))

        return tuple(granted)

    def _settle(self, settlement: Settlement) -> None:
        tenant, id_, spent, assumed = settlement
        opened = self._open.pop((tenant, id_), None)
        if opened is None:
            return
        # An account with an open reservation is never swept out.
        accounts, need, amount, _, spend_path = opened
        bounded = need.bounded
        for account in accounts:
            account.settle(amount, spent, spend_path, bounded=bounded, assumed=assumed)

    def _remember_id(self, key: tuple[str, str], now_us: int) -> None:
        # Removed first, so that the oldest stays in front.
        self._known.pop(key, None)
        self._known[key] = now_us + KEPT_ID_US

    def _caps_of(self, scope: Scope) -> Caps:
        operator_caps = self._caps.get((scope.tenant, scope.kind, scope.name))

        return scope.caps if operator_caps is None else effective_caps(scope.caps, operator_caps)

    def _account(self, key: AccountKey, now_us: int) -> Account:
        account = self.accounts.get(key)
        if account is None:
            if len(self.accounts) >= self._sweep_at:
                self._sweep(now_us)
            account = self.accounts[key] = Account()
        self._used_at[key] = now_us

        return account

    def _sweep(self, now_us: int) -> None:
        stale = [key for key, account in self.accounts.items() if not account.reservations and now_us >= self._kept_until(key)]
        for key in stale:
            del self.accounts[key]
            del self._used_at[key]
        # Twice the remaining number, so that sweeping costs each new account a constant at most.
        self._sweep_at = max(1024, 2 * len(self.accounts))

    def _kept_until(self, key: AccountKey) -> int:
        window_us, number = key[3], key[4]
        if window_us is None:
            return self._used_at[key] + KEPT_IDLE_US

        return (number + 1) * window_us + KEPT_AFTER_WINDOW_US


_EMPTY = Account()
_NOTHING_RESERVED = Answer(None, ())


def account_key(scope: Scope, now_us: int) -> AccountKey:
    """
    Return the key of the account of *scope* at *now_us*.
    """
    tenant, kind, name, window_us, _, _ = scope

    return tenant, kind, name, window_us, 0 if window_us is None else now_us // window_us


def effective_caps(caps: Caps, operator_caps: Caps) -> Caps:
    """
    Return the caps in force: the operator's where set, else the graph's.
    """
    return Caps._make(graph_cap if own_cap is None else own_cap for graph_cap, own_cap in zip(caps, operator_caps, strict=True))
