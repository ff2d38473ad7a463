"""
Accounts of shared budgets as people and programs read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group

from meshwalk.budgets import AccountReport, SpendLine, usd
from meshwalk.cli.output import counted, visible_name
from meshwalk.cli.shapes import wall_time
from meshwalk.cli.show import table
from meshwalk.cli.tables import FittedTable
from meshwalk.model import Amount, Caps
from meshwalk.wire.types import AccountInfo


_HEADINGS = (
    "scope", "name", "window until", "USD", "calls", "hops", "tokens in", "tokens out", "reserved USD", "holds",
    "overrun USD", "assumed USD",
)  # fmt: skip


def accounts_tables(accounts: Sequence[AccountInfo], *, lines: bool) -> Group:
    """
    Show a row an account, and if asked, where each was spent.
    """
    tables = [table("Budgets", _HEADINGS, [_row(account) for account in accounts], right=range(3, len(_HEADINGS)))]
    if lines:
        tables += [_lines_table(account.statement) for account in accounts]

    return Group(*tables)


def _row(account: AccountInfo) -> tuple[str, ...]:
    one, caps = account.statement, in_force(account)
    ends = "for ever" if one.window_ends_unix_us is None else wall_time(one.window_ends_unix_us)

    return (
        one.kind,
        visible_name(one.name),
        ends,
        _of(usd(one.spent.cost_nano_usd), None if caps.cost_nano_usd is None else usd(caps.cost_nano_usd)),
        _of(one.spent.calls, caps.calls),
        _of(one.spent.hops, caps.hops),
        _of(one.spent.input_tokens, caps.input_tokens),
        _of(one.spent.output_tokens, caps.output_tokens),
        usd(one.reserved.cost_nano_usd),
        str(one.reservations),
        usd(one.overrun.cost_nano_usd),
        usd(one.assumed.cost_nano_usd),
    )


def _of(spent: str | int, cap: str | int | None) -> str:
    return str(spent) if cap is None else f"{spent} of {cap}"


def _lines_table(one: AccountReport) -> FittedTable:
    rows = [
        (
            visible_name(line.spend_path.graph),
            " > ".join(visible_name(node) for node in line.spend_path.path.split(" > ")),
            usd(line.spent.cost_nano_usd),
            str(line.spent.calls),
            str(line.spent.hops),
            str(line.spent.input_tokens),
            str(line.spent.output_tokens),
        )
        for line in one.lines
    ]

    return table(
        f"Where {one.kind} {visible_name(one.name)} was spent",
        ("graph", "path", "USD", "calls", "hops", "tokens in", "tokens out"),
        rows,
        right=range(2, 7),
    )


def in_force(account: AccountInfo) -> Caps:
    """
    Return the caps that hold, as far as they are known: an operator's where set, else the graphs'.
    """
    pairs = zip(account.statement.caps, account.graph_caps, strict=True)

    return Caps._make(graphs if own is None else own for own, graphs in pairs)


def caps_text(caps: Caps) -> str:
    """
    Write *caps* for people.
    """
    money = () if caps.cost_nano_usd is None else (f"{usd(caps.cost_nano_usd)} USD",)
    words = (("input_tokens", "input token"), ("output_tokens", "output token"), ("calls", "call"), ("hops", "hop"))

    return ", ".join([*money, *(counted(cap, word) for part, word in words if (cap := getattr(caps, part)) is not None)])


def account_document(account: AccountInfo) -> dict[str, Any]:
    """
    Return an account, with null where there is no cap or no end.
    """
    one = account.statement
    ends = one.window_ends_unix_us

    return {
        "scope": one.kind,
        "name": one.name,
        "window_s": None if one.window_us is None else one.window_us / 1e6,
        "window_ends": None if ends is None else wall_time(ends),
        "caps": caps_document(one.caps),
        "graph_caps": caps_document(account.graph_caps),
        "spent": amount_document(one.spent),
        "reserved": amount_document(one.reserved),
        "holds": one.reservations,
        "overrun": amount_document(one.overrun),
        "assumed": amount_document(one.assumed),
        "lines": [_line_document(line) for line in one.lines],
    }


def _line_document(line: SpendLine) -> dict[str, Any]:
    path = line.spend_path.path.split(" > ")

    return {"graph": line.spend_path.graph, "path": path, "node": path[-1], **amount_document(line.spent)}


def amount_document(amount: Amount) -> dict[str, Any]:
    """
    Return the used amounts, money in USD.
    """
    cost, *rest = amount

    return {"cost_usd": cost / 1e9, **dict(zip(Amount._fields[1:], rest, strict=True))}


def caps_document(caps: Caps) -> dict[str, Any]:
    """
    Return *caps*, money in USD, null where there is none.
    """
    cost, *rest = caps

    return {"cost_usd": None if cost is None else cost / 1e9, **dict(zip(Caps._fields[1:], rest, strict=True))}
