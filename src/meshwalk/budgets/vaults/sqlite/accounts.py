"""
The account rows that one transaction touches: each is read once, changed as a `budgets.Account`, and written back at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from meshwalk.budgets import Account, SpendPath
from meshwalk.budgets.account import MAX_LINES, OTHERS
from meshwalk.budgets.ledger import KEPT_AFTER_WINDOW_US, KEPT_IDLE_US, AccountKey
from meshwalk.budgets.vaults.sqlite.database import PARTS, SUM_COLUMNS, SUMS
from meshwalk.model import Amount


_HOUR_US = 3_600_000_000

_KEY = ("tenant", "kind", "name", "window_us", "number")
_SELECT = f"SELECT {', '.join(_KEY)}, account, forget_at, places, holds, {', '.join(SUM_COLUMNS)} FROM accounts WHERE"  # noqa: S608 (our own names)
_BY_KEY = f"{_SELECT} {' AND '.join(f'{name} = ?' for name in _KEY)}"
_BY_ID = f"{_SELECT} account = ?"
_INSERT = f"INSERT INTO accounts ({', '.join(_KEY)}, forget_at) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 (our own names)
_UPDATE = f"UPDATE accounts SET forget_at = ?, places = ?, holds = ?, {', '.join(f'{name} = ?' for name in SUM_COLUMNS)} WHERE account = ?"  # noqa: S608, E501 (our own names)
_ADD_TO_LINE = (
    f"UPDATE lines SET {', '.join(f'{part} = {part} + ?' for part in PARTS)} WHERE account = ? AND graph = ? AND path = ?"  # noqa: S608 (our own names)
)
_INSERT_LINE = f"INSERT INTO lines ({', '.join(PARTS)}, account, graph, path) VALUES ({', '.join('?' * (len(PARTS) + 3))})"  # noqa: S608 (our own names)


class AccountRow:
    """
    One row of the table of accounts, with the spending to be added to its lines.

    Args:
        line_count: The number of its rows in the table of lines.
    """

    __slots__ = ("account", "forget_at_us", "line_count", "new_spending", "row_id")

    def __init__(self, row_id: int, forget_at_us: int, line_count: int, account: Account) -> None:
        self.row_id = row_id
        self.forget_at_us = forget_at_us
        self.line_count = line_count
        self.account = account
        self.new_spending: list[tuple[SpendPath, Amount]] = []


class Accounts:
    """
    The account rows of one transaction at *now_us*.

    Attributes:
        created: The number of accounts inserted by this transaction.
    """

    def __init__(self, connection: sqlite3.Connection, now_us: int) -> None:
        self._connection = connection
        self._now_us = now_us
        self._by_key: dict[AccountKey, AccountRow | None] = {}
        self._by_id: dict[int, AccountRow] = {}
        self._changed: set[AccountRow] = set()
        self.created = 0

    def find(self, key: AccountKey) -> AccountRow | None:
        """
        Return the row of *key*, or None if there is none.
        """
        if key not in self._by_key:
            tenant, kind, name, window_us, number = key
            self._by_key[key] = self._read(_BY_KEY, tenant, kind, name, window_us or 0, number)

        return self._by_key[key]

    def for_update(self, key: AccountKey) -> AccountRow:
        """
        Return the row of *key* for writing, inserted if need be; its retention starts anew.
        """
        row = self.find(key)
        if row is None:
            row = self._by_key[key] = self._create(key)
        if key[3] is None and row.forget_at_us < self._now_us + KEPT_IDLE_US:
            # One hour more, so that the index over this column is not written with every call.
            row.forget_at_us = self._now_us + KEPT_IDLE_US + _HOUR_US
        self._changed.add(row)

        return row

    def by_id(self, row_id: int) -> AccountRow:
        """
        Return the row *row_id* for writing.
        """
        row = self._by_id.get(row_id) or self._read(_BY_ID, row_id)
        assert row is not None, "an account with a reservation is kept"
        self._changed.add(row)

        return row

    def write(self) -> None:
        """
        Write the changed rows back.
        """
        values = []
        for row in self._changed:
            self._write_lines(row)
            account = row.account
            totals = (*account.spent, *account.reserved, *account.overrun, *account.assumed)
            values.append((row.forget_at_us, row.line_count, account.reservations, *totals, row.row_id))
        self._connection.executemany(_UPDATE, values)

    def _read(self, statement: str, *key: object) -> AccountRow | None:
        values = self._connection.execute(statement, key).fetchone()
        if values is None:
            return None
        tenant, kind, name, window_us, number, row_id, forget_at_us, line_count, reservations, *totals = values
        row = AccountRow(row_id, forget_at_us, line_count, account_of(reservations, totals))
        # Both lookups must give the same object.
        self._by_id[row_id] = self._by_key[tenant, kind, name, window_us or None, number] = row

        return row

    def _create(self, key: AccountKey) -> AccountRow:
        tenant, kind, name, window_us, number = key
        forget_at_us = self._now_us if window_us is None else (number + 1) * window_us + KEPT_AFTER_WINDOW_US
        row_id = self._connection.execute(_INSERT, (tenant, kind, name, window_us or 0, number, forget_at_us)).lastrowid
        assert row_id is not None
        row = self._by_id[row_id] = AccountRow(row_id, forget_at_us, 0, Account())
        self.created += 1

        return row

    def _write_lines(self, row: AccountRow) -> None:
        for spend_path, spent in row.new_spending:
            if not any(spent) or self._add_to_line(row, spend_path, spent):
                continue
            if row.line_count >= MAX_LINES:
                if self._add_to_line(row, OTHERS, spent):
                    continue
                spend_path = OTHERS  # noqa: PLW2901 (as in `budgets.Account`)
            row.line_count += 1
            self._connection.execute(_INSERT_LINE, (*spent, row.row_id, *spend_path))

    def _add_to_line(self, row: AccountRow, spend_path: SpendPath, spent: Amount) -> bool:
        return self._connection.execute(_ADD_TO_LINE, (*spent, row.row_id, *spend_path)).rowcount > 0


def account_of(reservations: int, totals: list[int]) -> Account:
    """
    Return an account with the values of its row.
    """
    account = Account()
    account.reservations = reservations
    account.spent, account.reserved, account.overrun, account.assumed = _split(totals)

    return account


def _split(totals: list[int]) -> Iterator[Amount]:
    width = len(PARTS)

    return (Amount._make(totals[start : start + width]) for start in range(0, width * len(SUMS), width))
