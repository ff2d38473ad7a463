"""
The ledger in the file: the operations of `budgets.Ledger`, on rows of SQLite.

The same rule grants or refuses, applied to the rows as they are.  Every transaction first charges the leases that have ended.
The tables and columns were named before reservations were: `holds` is the table of reservations.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from meshwalk.budgets import Account, Answer, Balance, Need, Reservation, Scope, Settlement, SpendPath, refusal_of
from meshwalk.budgets.ledger import KEPT_ID_US, account_key, effective_caps
from meshwalk.budgets.vaults.base import Claim
from meshwalk.budgets.vaults.sqlite.accounts import Accounts
from meshwalk.budgets.vaults.sqlite.database import PARTS
from meshwalk.model import Amount, Caps, ScopeKind


_PARTS = ", ".join(PARTS)
_RESERVATION_COLUMNS = f"accounts, {_PARTS}, graph, path"
_RESERVE = f"INSERT INTO holds (tenant, id, {_RESERVATION_COLUMNS}, expires_at) VALUES ({', '.join('?' * (len(PARTS) + 6))})"  # noqa: S608 (our own names)
_FIND_RESERVATION = f"SELECT {_RESERVATION_COLUMNS} FROM holds WHERE tenant = ? AND id = ?"  # noqa: S608 (our own names)
_ENDED = f"SELECT tenant, id, {_RESERVATION_COLUMNS} FROM holds WHERE expires_at <= ? ORDER BY expires_at, tenant, id"  # noqa: S608 (our own names)
_CAPS = f"SELECT {_PARTS} FROM caps WHERE tenant = ? AND kind = ? AND name = ?"  # noqa: S608 (our own names)
_SET_CAPS = f"REPLACE INTO caps (tenant, kind, name, {_PARTS}) VALUES ({', '.join('?' * (len(PARTS) + 3))})"  # noqa: S608 (our own names)


class SqliteLedger:
    """
    Accounts, reservations and claims within one transaction at *now_us*; `close` writes pending changes.
    """

    def __init__(self, connection: sqlite3.Connection, now_us: int) -> None:
        self._connection = connection
        self._now_us = now_us
        self._accounts = Accounts(connection, now_us)
        self._caps: dict[tuple[str, str, str], Caps | None] = {}
        self._expire()

    def balances(self, scopes: Sequence[Scope]) -> tuple[Balance, ...]:
        """
        Return the balances of *scopes*.
        """
        return tuple(map(self._balance, scopes))

    def exchange(self, settlement: Settlement | None, reservation: Reservation | None) -> Answer:
        """
        Settle one reservation, then make another if it fits in all its scopes.
        """
        if settlement is not None:
            self._settle(*settlement)
        if reservation is None or not reservation.scopes:
            return Answer(None, ())
        if not self._is_open(reservation):
            balances = self.balances(reservation.scopes)
            refusal = refusal_of(reservation.need, reservation.scopes, balances)
            if refusal is not None:
                return Answer(refusal, balances)
            self._reserve(reservation)

        return Answer(None, self.balances(reservation.scopes))

    def charge(self, id_: str, scopes: Sequence[Scope], spent: Amount, spend_path: SpendPath, *, assumed: bool) -> None:
        """
        Add spending that has no reservation, unless *id_* was charged before.
        """
        if not scopes:
            return
        tenant = scopes[0].tenant
        if not self._settle(tenant, id_, spent, assumed=assumed):
            if self._one("SELECT 1 FROM known WHERE tenant = ? AND id = ?", tenant, id_):
                return
            for scope in scopes:
                row = self._accounts.for_update(account_key(scope, self._now_us))
                row.account.charge(self._caps_of(scope), spent, spend_path, assumed=assumed)
                row.new_spending.append((spend_path, spent))
        self._remember_id(tenant, id_)

    def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        """
        Override the caps of graphs; None leaves a part to the graph.
        """
        if caps == Caps():
            self._do("DELETE FROM caps WHERE tenant = ? AND kind = ? AND name = ?", tenant, kind, name)
        else:
            self._do(_SET_CAPS, tenant, kind, name, *caps)
        self._caps.clear()

    def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        """
        Claim an idempotency key, or return the claim that exists.
        """
        claim = self._one("SELECT owner, fingerprint, result FROM claims WHERE tenant = ? AND id = ?", tenant, key)
        if claim:
            return Claim._make(claim)
        self._do(
            "INSERT INTO claims (tenant, id, owner, fingerprint, forget_at) VALUES (?, ?, ?, ?, ?)",
            *(tenant, key, owner, fingerprint, self._now_us + lease_us),
        )

        return Claim(owner, fingerprint)

    def finish(self, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        """
        Store a result for retries, or release the key.
        """
        if result is None:
            self._do("DELETE FROM claims WHERE tenant = ? AND id = ? AND owner = ?", tenant, key, owner)
        else:
            self._do(
                "UPDATE claims SET result = ?, forget_at = ? WHERE tenant = ? AND id = ? AND owner = ?",
                *(result, self._now_us + keep_us, tenant, key, owner),
            )

    def sweep(self, max_accounts: int) -> None:
        """
        Delete up to *max_accounts* accounts that are due to be forgotten.
        """
        stale = self._connection.execute(
            "SELECT account FROM accounts WHERE forget_at <= ? AND holds = 0 ORDER BY forget_at LIMIT ?",
            (self._now_us, max_accounts),
        ).fetchall()
        self._connection.executemany("DELETE FROM lines WHERE account = ?", stale)
        self._connection.executemany("DELETE FROM accounts WHERE account = ?", stale)

    def close(self) -> int:
        """
        Write pending changes, and return the number of new accounts.
        """
        self._accounts.write()

        return self._accounts.created

    def _expire(self) -> None:
        self._do("DELETE FROM claims WHERE forget_at <= ?", self._now_us)
        self._do("DELETE FROM known WHERE forget_at <= ?", self._now_us)
        # In order of their end: an account lists the first paths that it sees.
        for tenant, id_, *columns in self._connection.execute(_ENDED, (self._now_us,)).fetchall():
            self._end(columns, None, assumed=True)
            self._remember_id(tenant, id_)
        self._do("DELETE FROM holds WHERE expires_at <= ?", self._now_us)

    def _is_open(self, reservation: Reservation) -> bool:
        return bool(self._one("SELECT 1 FROM holds WHERE tenant = ? AND id = ?", reservation.scopes[0].tenant, reservation.id))

    def _reserve(self, reservation: Reservation) -> None:
        id_, scopes, need, lease_us, spend_path = reservation
        rows = [self._accounts.for_update(account_key(scope, self._now_us)) for scope in scopes]
        for row in rows:
            row.account.reserve(need.amount)
        row_ids = ",".join(str(row.row_id) for row in rows)
        self._do(_RESERVE, scopes[0].tenant, id_, row_ids, *need, *spend_path, self._now_us + lease_us)

    def _settle(self, tenant: str, id_: str, spent: Amount, assumed: bool = False) -> bool:
        columns = self._one(_FIND_RESERVATION, tenant, id_)
        if columns:
            self._do("DELETE FROM holds WHERE tenant = ? AND id = ?", tenant, id_)
            self._end(columns, spent, assumed=assumed)

        return bool(columns)

    def _end(self, columns: Sequence[Any], spent: Amount | None, *, assumed: bool) -> None:
        """
        Settle the reservation read as *columns*; None for *spent* stands for its worst case.
        """
        row_ids, *parts, graph, path = columns
        need, spend_path = Need._make(parts), SpendPath(graph, path)
        bounded = tuple(part is not None for part in need)
        spent = need.amount if spent is None else spent
        for row_id in row_ids.split(","):
            row = self._accounts.by_id(int(row_id))
            row.account.settle(need.amount, spent, spend_path, bounded=bounded, assumed=assumed)
            row.new_spending.append((spend_path, spent))

    def _remember_id(self, tenant: str, id_: str) -> None:
        self._do("REPLACE INTO known (tenant, id, forget_at) VALUES (?, ?, ?)", tenant, id_, self._now_us + KEPT_ID_US)

    def _balance(self, scope: Scope) -> Balance:
        key = account_key(scope, self._now_us)
        row = self._accounts.find(key)
        resets_in_us = None if scope.window_us is None else (key[4] + 1) * scope.window_us - self._now_us

        return (_EMPTY if row is None else row.account).balance(self._caps_of(scope), resets_in_us)

    def _caps_of(self, scope: Scope) -> Caps:
        key = scope.tenant, scope.kind, scope.name
        if key not in self._caps:
            caps = self._one(_CAPS, *key)
            self._caps[key] = Caps._make(caps) if caps else None
        operator_caps = self._caps[key]

        return scope.caps if operator_caps is None else effective_caps(scope.caps, operator_caps)

    def _one(self, statement: str, *values: object) -> tuple[Any, ...]:
        return self._connection.execute(statement, values).fetchone() or ()

    def _do(self, statement: str, *values: object) -> None:
        self._connection.execute(statement, values)


_EMPTY = Account()
