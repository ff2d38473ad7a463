"""
The books in the file, as `budgets.Ledger` keeps them in memory.

What fits is judged by the same rule, on the rows as they stand.  Whatever a transaction is for, leases that have ended are
charged first: each of them costs once, and was paid for by a hold.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from meshwalk.budgets import Account, Answer, Balance, Need, Reservation, Scope, Settlement, SpendPath, refusal_of
from meshwalk.budgets.ledger import KEPT_ID_US, effective, key_of
from meshwalk.budgets.vaults.base import Claim
from meshwalk.budgets.vaults.sqlite.accounts import Accounts
from meshwalk.budgets.vaults.sqlite.database import PARTS
from meshwalk.model import Amount, Caps, ScopeKind


_PARTS = ", ".join(PARTS)
_HELD = f"accounts, {_PARTS}, graph, path"
_HOLD = f"INSERT INTO holds (tenant, id, {_HELD}, expires_at) VALUES ({', '.join('?' * (len(PARTS) + 6))})"  # noqa: S608 (our own names)
_FIND = f"SELECT {_HELD} FROM holds WHERE tenant = ? AND id = ?"  # noqa: S608 (our own names)
_ENDED = f"SELECT tenant, id, {_HELD} FROM holds WHERE expires_at <= ? ORDER BY expires_at, tenant, id"  # noqa: S608 (our own names)
_CAPS = f"SELECT {_PARTS} FROM caps WHERE tenant = ? AND kind = ? AND name = ?"  # noqa: S608 (our own names)
_SET_CAPS = f"REPLACE INTO caps (tenant, kind, name, {_PARTS}) VALUES ({', '.join('?' * (len(PARTS) + 3))})"  # noqa: S608 (our own names)


class SqliteLedger:
    """
    Keep accounts, holds and claims, in one transaction at the time *now*; `close` writes what is not written yet.
    """

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self._connection = connection
        self._now = now
        self._accounts = Accounts(connection, now)
        self._caps: dict[tuple[str, str, str], Caps | None] = {}
        self._expire()

    def look(self, scopes: Sequence[Scope]) -> tuple[Balance, ...]:
        """
        Show how *scopes* stand.
        """
        return tuple(map(self._standing, scopes))

    def exchange(self, settlement: Settlement | None, hold: Reservation | None) -> Answer:
        """
        Settle one hold, then take another, if it fits in all its scopes.
        """
        if settlement is not None:
            self._settle(*settlement)
        if hold is None or not hold.scopes:
            return Answer(None, ())
        if not self._holds(hold):
            standings = self.look(hold.scopes)
            refusal = refusal_of(hold.need, hold.scopes, standings)
            if refusal is not None:
                return Answer(refusal, standings)
            self._take(hold)

        return Answer(None, self.look(hold.scopes))

    def charge(self, id_: str, scopes: Sequence[Scope], spent: Amount, place: SpendPath, *, assumed: bool) -> None:
        """
        Count what was spent without having been held, unless it was or is.
        """
        if not scopes:
            return
        tenant = scopes[0].tenant
        if not self._settle(tenant, id_, spent, assumed=assumed):
            if self._one("SELECT 1 FROM known WHERE tenant = ? AND id = ?", tenant, id_):
                return
            for scope in scopes:
                page = self._accounts.draw(key_of(scope, self._now))
                page.account.charge(self._caps_of(scope), spent, place, assumed=assumed)
                page.entries.append((place, spent))
        self._remember(tenant, id_)

    def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        """
        Put *caps* in place of what graphs say; None leaves a part to them.
        """
        if caps == Caps():
            self._do("DELETE FROM caps WHERE tenant = ? AND kind = ? AND name = ?", tenant, kind, name)
        else:
            self._do(_SET_CAPS, tenant, kind, name, *caps)
        self._caps.clear()

    def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        """
        Claim an idempotency key, unless somebody has it.
        """
        found = self._one("SELECT owner, fingerprint, result FROM claims WHERE tenant = ? AND id = ?", tenant, key)
        if found:
            return Claim._make(found)
        self._do(
            "INSERT INTO claims (tenant, id, owner, fingerprint, forget_at) VALUES (?, ?, ?, ?, ?)",
            *(tenant, key, owner, fingerprint, self._now + lease_us),
        )

        return Claim(owner, fingerprint)

    def finish(self, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        """
        Leave a result for retries, or give the key free.
        """
        if result is None:
            self._do("DELETE FROM claims WHERE tenant = ? AND id = ? AND owner = ?", tenant, key, owner)
        else:
            self._do(
                "UPDATE claims SET result = ?, forget_at = ? WHERE tenant = ? AND id = ? AND owner = ?",
                *(result, self._now + keep_us, tenant, key, owner),
            )

    def sweep(self, most: int) -> None:
        """
        Forget *most* accounts at most whose time is over.
        """
        found = self._connection.execute(
            "SELECT account FROM accounts WHERE forget_at <= ? AND holds = 0 ORDER BY forget_at LIMIT ?", (self._now, most)
        ).fetchall()
        self._connection.executemany("DELETE FROM lines WHERE account = ?", found)
        self._connection.executemany("DELETE FROM accounts WHERE account = ?", found)

    def close(self) -> int:
        """
        Write what is not written yet, and return how many accounts are new.
        """
        self._accounts.write()

        return self._accounts.made

    def _expire(self) -> None:
        self._do("DELETE FROM claims WHERE forget_at <= ?", self._now)
        self._do("DELETE FROM known WHERE forget_at <= ?", self._now)
        # In order of their end, as the places of an account are counted in the order in which they come.
        for tenant, id_, *held in self._connection.execute(_ENDED, (self._now,)).fetchall():
            self._end(held, None, assumed=True)
            self._remember(tenant, id_)
        self._do("DELETE FROM holds WHERE expires_at <= ?", self._now)

    def _holds(self, hold: Reservation) -> bool:
        return bool(self._one("SELECT 1 FROM holds WHERE tenant = ? AND id = ?", hold.scopes[0].tenant, hold.id))

    def _take(self, hold: Reservation) -> None:
        amount, pages = hold.need.amount, [self._accounts.draw(key_of(scope, self._now)) for scope in hold.scopes]
        for page in pages:
            page.account.hold(amount)
        rows = ",".join(str(page.row) for page in pages)
        self._do(_HOLD, hold.scopes[0].tenant, hold.id, rows, *hold.need, *hold.place, self._now + hold.lease_us)

    def _settle(self, tenant: str, id_: str, spent: Amount, assumed: bool = False) -> bool:
        held = self._one(_FIND, tenant, id_)
        if held:
            self._do("DELETE FROM holds WHERE tenant = ? AND id = ?", tenant, id_)
            self._end(held, spent, assumed=assumed)

        return bool(held)

    def _end(self, held: Sequence[Any], spent: Amount | None, *, assumed: bool) -> None:
        """
        Settle what was *held* at what was *spent*; None is its worst case.
        """
        rows, *parts, graph, path = held
        need, place = Need._make(parts), SpendPath(graph, path)
        bounded = tuple(part is not None for part in need)
        spent = need.amount if spent is None else spent
        for row in rows.split(","):
            page = self._accounts.of_row(int(row))
            page.account.settle(need.amount, spent, place, bounded=bounded, assumed=assumed)
            page.entries.append((place, spent))

    def _remember(self, tenant: str, id_: str) -> None:
        self._do("REPLACE INTO known (tenant, id, forget_at) VALUES (?, ?, ?)", tenant, id_, self._now + KEPT_ID_US)

    def _standing(self, scope: Scope) -> Balance:
        key = key_of(scope, self._now)
        page = self._accounts.find(key)
        resets_in_us = None if scope.window_us is None else (key[4] + 1) * scope.window_us - self._now

        return (_EMPTY if page is None else page.account).standing(self._caps_of(scope), resets_in_us)

    def _caps_of(self, scope: Scope) -> Caps:
        key = scope.tenant, scope.kind, scope.name
        if key not in self._caps:
            found = self._one(_CAPS, *key)
            self._caps[key] = Caps._make(found) if found else None
        own = self._caps[key]

        return scope.caps if own is None else effective(scope.caps, own)

    def _one(self, statement: str, *values: object) -> tuple[Any, ...]:
        return self._connection.execute(statement, values).fetchone() or ()

    def _do(self, statement: str, *values: object) -> None:
        self._connection.execute(statement, values)


_EMPTY = Account()
