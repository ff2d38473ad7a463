"""
Accounts of shared budgets, to the wire and from it.
"""

from __future__ import annotations

from meshwalk.budgets import AccountReport, SpendLine, SpendPath
from meshwalk.model import Caps, ScopeKind
from meshwalk.wire.convert.values import (
    Words,
    pack_amount,
    pack_caps,
    pack_time,
    unpack_amount,
    unpack_caps,
    unpack_time,
)
from meshwalk.wire.gen.meshwalk.v1beta1 import budget_pb2 as wire
from meshwalk.wire.types import AccountInfo, AccountPage


SCOPE_KINDS: Words[ScopeKind, wire.ScopeKind.ValueType] = Words(
    "ScopeKind",
    {
        "session": wire.SCOPE_KIND_SESSION,
        "workflow": wire.SCOPE_KIND_WORKFLOW,
        "tenant": wire.SCOPE_KIND_TENANT,
    },
)

# How `budgets` writes the nodes of a path as one text; no node's name holds it.
_ARROW = " > "


def pack_account(statement: AccountReport, graph_caps: Caps) -> wire.Account:
    """
    Make a message of *statement*.
    """
    message = wire.Account(
        scope=SCOPE_KINDS.number[statement.kind],
        name=statement.name,
        caps=pack_caps(statement.caps),
        graph_caps=pack_caps(graph_caps),
        spent=pack_amount(statement.spent),
        reserved=pack_amount(statement.reserved),
        holds=statement.reservations,
        overrun=pack_amount(statement.overrun),
        assumed=pack_amount(statement.assumed),
        lines=[_pack_line(line) for line in statement.lines],
    )
    if statement.window_us is not None and statement.window_ends_unix_us is not None:
        message.window.FromMicroseconds(statement.window_us)
        message.window_ends.CopyFrom(pack_time(statement.window_ends_unix_us))

    return message


def _pack_line(line: SpendLine) -> wire.Line:
    path = line.spend_path.path.split(_ARROW)

    return wire.Line(graph=line.spend_path.graph, path=path, node=path[-1], spent=pack_amount(line.spent))


def unpack_accounts(message: wire.ListBudgetsResponse) -> AccountPage:
    """
    Read a page of accounts.
    """
    accounts = tuple(
        AccountInfo(_unpack_account(account, message.tenant), unpack_caps(account.graph_caps)) for account in message.accounts
    )

    return AccountPage(message.tenant, accounts, message.next_page_token)


def _unpack_account(message: wire.Account, tenant: str) -> AccountReport:
    windowed = message.HasField("window")

    return AccountReport(
        tenant=tenant,
        kind=SCOPE_KINDS.word(message.scope),
        name=message.name,
        caps=unpack_caps(message.caps),
        spent=unpack_amount(message.spent),
        reserved=unpack_amount(message.reserved),
        overrun=unpack_amount(message.overrun),
        assumed=unpack_amount(message.assumed),
        reservations=message.holds,
        window_us=message.window.ToMicroseconds() if windowed else None,
        window_ends_unix_us=unpack_time(message.window_ends) if windowed else None,
        lines=tuple(
            SpendLine(SpendPath(line.graph, _ARROW.join(line.path)), unpack_amount(line.spent)) for line in message.lines
        ),
    )
