"""
Account reports for operators, read from the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from meshwalk.budgets import AccountReport, SpendLine, SpendPath
from meshwalk.budgets.vaults.sqlite.accounts import account_of
from meshwalk.budgets.vaults.sqlite.database import PARTS, SUM_COLUMNS
from meshwalk.model import Amount, Caps, ScopeKind


_PARTS = ", ".join(PARTS)
_FROM_SELECTION = "FROM accounts WHERE tenant = :tenant AND kind = ifnull(:kind, kind) AND name = ifnull(:name, name)"
_ACCOUNTS = f"SELECT account, kind, name, window_us, number, holds, {', '.join(SUM_COLUMNS)} {_FROM_SELECTION}"
_LINES = f"SELECT account, graph, path, {_PARTS} FROM lines WHERE account IN (SELECT account {_FROM_SELECTION})"  # noqa: S608 (our own names)
_LINES_BY_SPENDING = f"{_LINES} ORDER BY {', '.join(f'{part} DESC' for part in PARTS)}, graph, path"
_CAPS = f"SELECT kind, name, {_PARTS} FROM caps WHERE tenant = :tenant"  # noqa: S608 (our own names)


def reports(connection: sqlite3.Connection, tenant: str, kind: ScopeKind | None, name: str | None) -> Iterator[AccountReport]:
    """
    Report the accounts of *tenant*.
    """
    selection = {"tenant": tenant, "kind": kind, "name": name}
    caps = {(kind_, name_): Caps._make(parts) for kind_, name_, *parts in connection.execute(_CAPS, selection)}
    lines: dict[int, list[SpendLine]] = {}
    for row, graph, path, *spent in connection.execute(_LINES_BY_SPENDING, selection):
        lines.setdefault(row, []).append(SpendLine(SpendPath(graph, path), Amount._make(spent)))
    for row, kind_, name_, window_us, number, reservations, *totals in connection.execute(_ACCOUNTS, selection):
        account = account_of(reservations, totals)
        yield AccountReport(
            tenant=tenant,
            kind=kind_,
            name=name_,
            caps=caps.get((kind_, name_), Caps()),
            spent=account.spent,
            reserved=account.reserved,
            overrun=account.overrun,
            assumed=account.assumed,
            reservations=reservations,
            window_us=window_us or None,
            window_ends_unix_us=(number + 1) * window_us if window_us else None,
            lines=tuple(lines.get(row, ())),
        )
