"""
Budgets, purely: what may be spent, what is promised, what was spent, and whether one more call fits.

A call's worst case is reserved before it is made and settled afterwards at what it really cost, so that a cap holds whatever
the call turns out to cost.  Nothing here owns a clock or asks anybody; `vaults` keep these books for many processes.
"""

from __future__ import annotations

from meshwalk.budgets.account import Account
from meshwalk.budgets.judgement import Answer, Balance, Refusal, judge, make_standing, refusal_of
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
    make_hold,
    make_need,
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
    "make_hold",
    "make_need",
    "make_settlement",
    "make_standing",
    "pressure",
    "refusal_of",
    "usd",
    "used_share",
]
