"""
What an operator sees: every account of a tenant, as the file shows it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from meshwalk.budgets import AccountReport, SpendLine, SpendPath
from meshwalk.budgets.vaults.sqlite.accounts import account_of
from meshwalk.budgets.vaults.sqlite.database import PARTS, SUM_COLUMNS
from meshwalk.model import Amount, Caps, ScopeKind


_PARTS = ", ".join(PARTS)
_CHOSEN = "FROM accounts WHERE tenant = :tenant AND kind = ifnull(:kind, kind) AND name = ifnull(:name, name)"
_ACCOUNTS = f"SELECT account, kind, name, window_us, number, holds, {', '.join(SUM_COLUMNS)} {_CHOSEN}"
_LINES = f"SELECT account, graph, path, {_PARTS} FROM lines WHERE account IN (SELECT account {_CHOSEN})"  # noqa: S608 (our own names)
_DEAREST_FIRST = f"{_LINES} ORDER BY {', '.join(f'{part} DESC' for part in PARTS)}, graph, path"
_CAPS = f"SELECT kind, name, {_PARTS} FROM caps WHERE tenant = :tenant"  # noqa: S608 (our own names)


def statements(
    connection: sqlite3.Connection, tenant: str, kind: ScopeKind | None, name: str | None
) -> Iterator[AccountReport]:
    """
    Show the accounts of *tenant*.
    """
    chosen = {"tenant": tenant, "kind": kind, "name": name}
    caps = {(of, named): Caps._make(parts) for of, named, *parts in connection.execute(_CAPS, chosen)}
    lines: dict[int, list[SpendLine]] = {}
    for row, graph, path, *spent in connection.execute(_DEAREST_FIRST, chosen):
        lines.setdefault(row, []).append(SpendLine(SpendPath(graph, path), Amount._make(spent)))
    for row, of, named, window_us, number, holds, *totals in connection.execute(_ACCOUNTS, chosen):
        account = account_of(holds, totals)
        yield AccountReport(
            tenant=tenant,
            kind=of,
            name=named,
            caps=caps.get((of, named), Caps()),
            spent=account.spent,
            held=account.held,
            overrun=account.overrun,
            assumed=account.assumed,
            holds=holds,
            window_us=window_us or None,
            window_ends_unix_us=(number + 1) * window_us if window_us else None,
            lines=tuple(lines.get(row, ())),
        )
