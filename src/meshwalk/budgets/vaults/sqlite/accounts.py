"""
The accounts that one transaction touches: each is read once, kept by `budgets.Account`, and written back at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from meshwalk.budgets import Account, SpendPath
from meshwalk.budgets.account import MAX_LINES, OTHERS
from meshwalk.budgets.ledger import KEPT_AFTER_WINDOW_US, KEPT_IDLE_US, Key
from meshwalk.budgets.vaults.sqlite.database import PARTS, SUM_COLUMNS, SUMS
from meshwalk.model import Amount


_HOUR_US = 3_600_000_000

_KEY = ("tenant", "kind", "name", "window_us", "number")
_FOUND = f"SELECT {', '.join(_KEY)}, account, forget_at, places, holds, {', '.join(SUM_COLUMNS)} FROM accounts WHERE"  # noqa: S608 (our own names)
_BY_KEY = f"{_FOUND} {' AND '.join(f'{name} = ?' for name in _KEY)}"
_BY_ROW = f"{_FOUND} account = ?"
_INSERT = f"INSERT INTO accounts ({', '.join(_KEY)}, forget_at) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 (our own names)
_UPDATE = f"UPDATE accounts SET forget_at = ?, places = ?, holds = ?, {', '.join(f'{name} = ?' for name in SUM_COLUMNS)} WHERE account = ?"  # noqa: S608, E501 (our own names)
_ADD = f"UPDATE lines SET {', '.join(f'{part} = {part} + ?' for part in PARTS)} WHERE account = ? AND graph = ? AND path = ?"  # noqa: S608 (our own names)
_ENTER = f"INSERT INTO lines ({', '.join(PARTS)}, account, graph, path) VALUES ({', '.join('?' * (len(PARTS) + 3))})"  # noqa: S608 (our own names)


class Page:
    """
    Keep one account's row.

    Args:
        places: How many lines it has.
    """

    __slots__ = ("account", "entries", "forget_at", "places", "row")

    def __init__(self, row: int, forget_at: int, places: int, account: Account) -> None:
        self.row = row
        self.forget_at = forget_at
        self.places = places
        self.account = account
        self.entries: list[tuple[SpendPath, Amount]] = []


class Accounts:
    """
    Turn the pages that a transaction needs.
    """

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self._connection = connection
        self._now = now
        self._by_key: dict[Key, Page | None] = {}
        self._by_row: dict[int, Page] = {}
        self._touched: set[Page] = set()
        self.made = 0

    def find(self, key: Key) -> Page | None:
        """
        Return the page of *key*, if it has one.
        """
        if key not in self._by_key:
            tenant, kind, name, window_us, number = key
            self._by_key[key] = self._read(_BY_KEY, tenant, kind, name, window_us or 0, number)

        return self._by_key[key]

    def draw(self, key: Key) -> Page:
        """
        Return the page of *key*, to be written to; it is kept for its time from now on.
        """
        page = self.find(key)
        if page is None:
            page = self._by_key[key] = self._make(key)
        if key[3] is None and page.forget_at < self._now + KEPT_IDLE_US:
            # An hour more, so that the index by it is not written to at every call.
            page.forget_at = self._now + KEPT_IDLE_US + _HOUR_US
        self._touched.add(page)

        return page

    def of_row(self, row: int) -> Page:
        """
        Return the page of *row*, to be written to.
        """
        page = self._by_row.get(row) or self._read(_BY_ROW, row)
        assert page is not None, "an account with a hold is kept"
        self._touched.add(page)

        return page

    def write(self) -> None:
        """
        Write back what was touched.
        """
        rows = []
        for page in self._touched:
            self._write_lines(page)
            account = page.account
            totals = (*account.spent, *account.held, *account.overrun, *account.assumed)
            rows.append((page.forget_at, page.places, account.holds, *totals, page.row))
        self._connection.executemany(_UPDATE, rows)

    def _read(self, statement: str, *key: object) -> Page | None:
        found = self._connection.execute(statement, key).fetchone()
        if found is None:
            return None
        tenant, kind, name, window_us, number, row, forget_at, places, holds, *totals = found
        page = Page(row, forget_at, places, account_of(holds, totals))
        # It is asked for by either name, and is one page.
        self._by_row[row] = self._by_key[tenant, kind, name, window_us or None, number] = page

        return page

    def _make(self, key: Key) -> Page:
        tenant, kind, name, window_us, number = key
        forget_at = self._now if window_us is None else (number + 1) * window_us + KEPT_AFTER_WINDOW_US
        row = self._connection.execute(_INSERT, (tenant, kind, name, window_us or 0, number, forget_at)).lastrowid
        assert row is not None
        page = self._by_row[row] = Page(row, forget_at, 0, Account())
        self.made += 1

        return page

    def _write_lines(self, page: Page) -> None:
        for place, spent in page.entries:
            if not any(spent) or self._add(page, place, spent):
                continue
            if page.places >= MAX_LINES:
                if self._add(page, OTHERS, spent):
                    continue
                place = OTHERS  # noqa: PLW2901 (as in `budgets.Account`)
            page.places += 1
            self._connection.execute(_ENTER, (*spent, page.row, *place))

    def _add(self, page: Page, place: SpendPath, spent: Amount) -> bool:
        return self._connection.execute(_ADD, (*spent, page.row, *place)).rowcount > 0


def account_of(holds: int, totals: list[int]) -> Account:
    """
    Make an account of what its row says.
    """
    account = Account()
    account.holds = holds
    account.spent, account.held, account.overrun, account.assumed = _split(totals)

    return account


def _split(totals: list[int]) -> Iterator[Amount]:
    width = len(PARTS)

    return (Amount._make(totals[start : start + width]) for start in range(0, width * len(SUMS), width))
