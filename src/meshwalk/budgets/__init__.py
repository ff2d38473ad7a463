"""
Budgets: caps, reservations and spending as pure accounting; shared storage lives in `vaults`.

A call's worst case is reserved before the call and settled afterwards at its real cost, so a cap holds whatever the call turns
out to cost.  This package has no clock and does no I/O; the stores in `vaults` keep the same accounts for many processes.
"""

from __future__ import annotations

from meshwalk.budgets.account import Account
from meshwalk.budgets.judgement import Answer, Balance, Refusal, judge, make_balance, refusal_of
from meshwalk.budgets.ledger import Ledger
from meshwalk.budgets.readings import pressure, used_share
from meshwalk.budgets.scopes import (
    AccountReport,
    Need,
    Reservation,
    Scope,
    Settlement,
    SpendLine,
    SpendPath,
    make_need,
    make_reservation,
    make_settlement,
)
from meshwalk.budgets.wording import usd
from meshwalk.model.signals import REQUEST


__all__ = [
    "REQUEST",
    "Account",
    "AccountReport",
    "Answer",
    "Balance",
    "Ledger",
    "Need",
    "Refusal",
    "Reservation",
    "Scope",
    "Settlement",
    "SpendLine",
    "SpendPath",
    "judge",
    "make_balance",
    "make_need",
    "make_reservation",
    "make_settlement",
    "pressure",
    "refusal_of",
    "usd",
    "used_share",
]
