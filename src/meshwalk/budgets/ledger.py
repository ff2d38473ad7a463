"""
The books of many accounts: holds with leases, in several scopes at once, all of it or none.

This is the oracle that every vault is tested against, so what is said here holds for all of them:

1. Times are given from outside, in microseconds since the Unix epoch.  Whatever is asked, leases that have ended by then are
   charged first, each at its worst case.
2. A hold is settled in the accounts it was taken in, even if their windows have ended since.
3. An id is its tenant's.  A hold ends once: settled, charged, or expired; what comes later for it is passed over.
4. Memory is bounded.  An account of a window is kept for an hour after the window's end, so that an operator can look at it,
   and one that counts for ever until nobody has drawn on it for thirty days; with an open hold both are kept.  Ids that were
   charged or have expired are known for a day, so that a charge that is sent again, or late, is not counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from meshwalk.budgets.account import Account
from meshwalk.budgets.judgement import Answer, Balance, make_answer, make_standing, refusal_of
from meshwalk.budgets.scopes import AccountReport, Need, Reservation, Scope, Settlement, SpendPath
from meshwalk.model import Amount, Caps, ScopeKind


KEPT_AFTER_WINDOW_US = 3_600_000_000
KEPT_IDLE_US = 30 * 24 * 3_600_000_000
KEPT_ID_US = 24 * 3_600_000_000

# The tenant, the kind of scope, its name, the length of its window and the window's number.
Key = tuple[str, ScopeKind, str, int | None, int]


class _Held(NamedTuple):
    accounts: Sequence[Account]
    need: Need
    amount: Amount
    expires_at: int
    place: SpendPath


_make_held: Callable[[tuple[Sequence[Account], Need, Amount, int, SpendPath]], _Held] = partial(tuple.__new__, _Held)


class Ledger:
    """
    Keep accounts and holds.
    """

    def __init__(self) -> None:
        self._accounts: dict[Key, Account] = {}
        self._used_at: dict[Key, int] = {}
        self._holds: dict[tuple[str, str], _Held] = {}
        self._leases: list[tuple[int, str, str]] = []
        # The ids that were charged or have expired, in order of the time until which they are known.
        self._known: dict[tuple[str, str], int] = {}
        self._caps: dict[tuple[str, ScopeKind, str], Caps] = {}
        self._sweep_at = 1024

    def look(self, now: int, scopes: Iterable[Scope]) -> tuple[Balance, ...]:
        """
        Show how *scopes* stand.
        """
        self.expire(now)

        return self._find(now, scopes)[1]

    def exchange(self, now: int, settlement: Settlement | None, hold: Reservation | None) -> Answer:
        """
        Settle one hold, then take another, if it fits in all its scopes.
        """
        self.expire(now)
        if settlement is not None:
            self._settle(settlement)
        if hold is None or not hold.scopes:
            return _NOT_ASKED
        keys, standings = self._find(now, hold.scopes)
        if (hold.scopes[0].tenant, hold.id) in self._holds:
            return Answer(None, standings)
        refusal = refusal_of(hold.need, hold.scopes, standings)
        if refusal is not None:
            return Answer(refusal, standings)

        return make_answer((None, self._take(now, hold, keys, standings)))

    def charge(
        self, now: int, id_: str, scopes: Sequence[Scope], spent: Amount, place: SpendPath, *, assumed: bool = False
    ) -> None:
        """
        Count what was spent without having been held; what goes past a cap is an overrun.

        Where *id_* is held after all, this settles it; where it was charged before, or has expired, this is passed over.
        """
        self.expire(now)
        if not scopes:
            return
        key = scopes[0].tenant, id_
        if key in self._holds:
            self._settle(Settlement(*key, spent, assumed))
        elif key in self._known:
            return
        else:
            for scope in scopes:
                self._account(key_of(scope, now), now).charge(self._caps_of(scope), spent, place, assumed=assumed)
        self._remember(key, now)

    def expire(self, now: int) -> int:
        """
        Charge every hold whose lease has ended at its worst case, and return how many there were.
        """
        while self._known and next(iter(self._known.values())) <= now:
            del self._known[next(iter(self._known))]
        count = 0
        while self._leases and self._leases[0][0] <= now:
            _, tenant, id_ = heappop(self._leases)
            held = self._holds.get((tenant, id_))
            if held is not None and held.expires_at <= now:
                count += 1
                self._settle(Settlement(tenant, id_, held.amount, assumed=True))
                self._remember((tenant, id_), now)

        return count

    def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        """
        Put *caps* in place of what graphs say; None leaves a part to them.
        """
        if caps == Caps():
            self._caps.pop((tenant, kind, name), None)
        else:
            self._caps[tenant, kind, name] = caps

    def statements(self, now: int, tenant: str) -> Iterator[AccountReport]:
        """
        Show every account of *tenant*.
        """
        self.expire(now)
        for key, account in self._accounts.items():
            if key[0] != tenant:
                continue
            _, kind, name, window_us, number = key
            yield AccountReport(
                tenant=tenant,
                kind=kind,
                name=name,
                caps=self._caps.get((tenant, kind, name), Caps()),
                spent=account.spent,
                held=account.held,
                overrun=account.overrun,
                assumed=account.assumed,
                holds=account.holds,
                window_us=window_us,
                window_ends_unix_us=None if window_us is None else (number + 1) * window_us,
                lines=account.lines(),
            )

    @property
    def holds(self) -> int:
        """
        Count what is held.
        """
        return len(self._holds)

    def _find(self, now: int, scopes: Iterable[Scope]) -> tuple[Sequence[Key], tuple[Balance, ...]]:
        """
        Name the accounts that *scopes* mean, and show how they stand.
        """
        accounts, own, keys, standings = self._accounts, self._caps, [], []
        for scope in scopes:
            key = key_of(scope, now)
            keys.append(key)
            window_us = key[3]
            resets_in_us = None if window_us is None else (key[4] + 1) * window_us - now
            # Mostly no operator has set any.
            caps = self._caps_of(scope) if own else scope.caps
            standings.append(accounts.get(key, _EMPTY).standing(caps, resets_in_us))

        return keys, tuple(standings)

    def _take(self, now: int, hold: Reservation, keys: Sequence[Key], standings: tuple[Balance, ...]) -> tuple[Balance, ...]:
        """
        Set aside what *hold* asks for, and show how the accounts, which stood as in *standings*, stand now.
        """
        id_, scopes, need, lease_us, place = hold
        amount, accounts, granted = need.amount, [], []
        for key, (caps, spent, _, resets_in_us, _) in zip(keys, standings, strict=True):
            account = self._account(key, now)
            account.hold(amount)
            accounts.append(account)
            granted.append(make_standing((caps, spent, account.held, resets_in_us, "")))
        tenant, expires_at = scopes[0].tenant, now + lease_us
        self._holds[tenant, id_] = _make_held((accounts, need, amount, expires_at, place))
        if len(self._leases) >= 2 * len(self._holds) + 1024:
            # Most of them were settled long before their lease ends.
            self._leases = [(held.expires_at, *key) for key, held in self._holds.items()]
            heapify(self._leases)
        else:
            heappush(self._leases, (expires_at, tenant, id_))

        return tuple(granted)

    def _settle(self, settlement: Settlement) -> None:
        tenant, id_, spent, assumed = settlement
        held = self._holds.pop((tenant, id_), None)
        if held is None:
            return
        # An account with a hold is never swept out.
        accounts, need, amount, _, place = held
        bounded = need.bounded
        for account in accounts:
            account.settle(amount, spent, place, bounded=bounded, assumed=assumed)

    def _remember(self, key: tuple[str, str], now: int) -> None:
        # Taken out first, so that the oldest stays in front.
        self._known.pop(key, None)
        self._known[key] = now + KEPT_ID_US

    def _caps_of(self, scope: Scope) -> Caps:
        own = self._caps.get((scope.tenant, scope.kind, scope.name))

        return scope.caps if own is None else effective(scope.caps, own)

    def _account(self, key: Key, now: int) -> Account:
        account = self._accounts.get(key)
        if account is None:
            if len(self._accounts) >= self._sweep_at:
                self._sweep(now)
            account = self._accounts[key] = Account()
        self._used_at[key] = now

        return account

    def _sweep(self, now: int) -> None:
        stale = [key for key, account in self._accounts.items() if not account.holds and now >= self._kept_until(key)]
        for key in stale:
            del self._accounts[key]
            del self._used_at[key]
        # Twice what is left, so that sweeping costs each new account no more than a constant.
        self._sweep_at = max(1024, 2 * len(self._accounts))

    def _kept_until(self, key: Key) -> int:
        window_us, number = key[3], key[4]
        if window_us is None:
            return self._used_at[key] + KEPT_IDLE_US

        return (number + 1) * window_us + KEPT_AFTER_WINDOW_US


_EMPTY = Account()
_NOT_ASKED = Answer(None, ())


def key_of(scope: Scope, now: int) -> Key:
    """
    Name the account that *scope* means at *now*.
    """
    tenant, kind, name, window_us, _, _ = scope

    return tenant, kind, name, window_us, 0 if window_us is None else now // window_us


def effective(caps: Caps, own: Caps) -> Caps:
    """
    Return the caps that hold: an operator's where set, else the graph's.
    """
    return Caps._make(theirs if mine is None else mine for theirs, mine in zip(caps, own, strict=True))
