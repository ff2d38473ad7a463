"""
Accounts of shared budgets, to the wire and from it.
"""

from __future__ import annotations

from meshwalk.budgets import AccountReport, SpendLine, SpendPath
from meshwalk.model import Caps, ScopeKind
from meshwalk.model.problems import MeshwalkError
from meshwalk.wire.convert.enums import SCOPE_KINDS
from meshwalk.wire.convert.values import (
    pack_amount,
    pack_caps,
    pack_time,
    unpack_amount,
    unpack_caps,
    unpack_time,
)
from meshwalk.wire.gen.meshwalk.v1beta1 import budget_pb2 as wire
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2 as common
from meshwalk.wire.types import AccountInfo, AccountPage


# The separator by which `budgets` writes the nodes of a path as one text; no node's name holds it.
_ARROW = " > "


def pack_account(report: AccountReport, graph_caps: Caps) -> wire.Account:
    """
    Make a message of *report*.
    """
    message = wire.Account(
        scope=SCOPE_KINDS.number[report.kind],
        name=report.name,
        caps=pack_caps(report.caps),
        graph_caps=pack_caps(graph_caps),
        spent=pack_amount(report.spent),
        reserved=pack_amount(report.reserved),
        reservations=report.reservations,
        overrun=pack_amount(report.overrun),
        assumed=pack_amount(report.assumed),
        window_us=report.window_us,
        lines=[_pack_line(line) for line in report.lines],
    )
    if report.window_ends_unix_us is not None:
        message.window_end_time.CopyFrom(pack_time(report.window_ends_unix_us))

    return message


def _pack_line(line: SpendLine) -> wire.SpendLine:
    path = line.spend_path.path.split(_ARROW)

    return wire.SpendLine(graph=line.spend_path.graph, path=path, node=path[-1], spent=pack_amount(line.spent))


def unpack_scope_kind(number: common.ScopeKind.ValueType) -> ScopeKind:
    """
    Read the scope of a shared budget.

    Raises:
        MeshwalkError: If it is none of those, as from a peer of a later version.
    """
    kind = SCOPE_KINDS.word(number)
    if kind == "request":
        raise MeshwalkError("a walk's own limits are no shared budget, and the other side says they are")

    return kind


def unpack_accounts(message: wire.ListAccountsResponse) -> AccountPage:
    """
    Read a page of accounts.
    """
    accounts = tuple(
        AccountInfo(_unpack_account(account, message.tenant), unpack_caps(account.graph_caps)) for account in message.accounts
    )

    return AccountPage(message.tenant, accounts, message.next_page_token)


def _unpack_account(message: wire.Account, tenant: str) -> AccountReport:
    return AccountReport(
        tenant=tenant,
        kind=unpack_scope_kind(message.scope),
        name=message.name,
        caps=unpack_caps(message.caps),
        spent=unpack_amount(message.spent),
        reserved=unpack_amount(message.reserved),
        overrun=unpack_amount(message.overrun),
        assumed=unpack_amount(message.assumed),
        reservations=message.reservations,
        window_us=message.window_us if message.HasField("window_us") else None,
        window_ends_unix_us=unpack_time(message.window_end_time) if message.HasField("window_end_time") else None,
        lines=tuple(
            SpendLine(SpendPath(line.graph, _ARROW.join(line.path)), unpack_amount(line.spent)) for line in message.lines
        ),
    )
