"""
The guard language, a checked subset of CEL.

`check` turns an author's text into a typed tree or says everything that is wrong with it, `compile_test` turns the tree into
a fast function of a walk's values, and `runs` says which of several guards need not be tried one by one.  `evaluate` is the
slow meaning that both must agree with, `explain` says on demand why a guard held or did not, and `outcomes` what can become of
one where a signal has no value.  It is `compile_test` and not `compile`, which is Python's own word for something near.
"""

from __future__ import annotations

from meshwalk.guards.check import Checked, check
from meshwalk.guards.compile import Test, compile_test
from meshwalk.guards.evaluate import Lookup, evaluate
from meshwalk.guards.faults import GuardFault, GuardFaults
from meshwalk.guards.runs import Run, runs
from meshwalk.guards.suppose import LACKING, OWED, TRUE, Supposition, outcomes, reads
from meshwalk.guards.tree import Expr, Name, canonical


__all__ = [
    "LACKING",
    "OWED",
    "TRUE",
    "Checked",
    "Expr",
    "GuardFault",
    "GuardFaults",
    "Lookup",
    "Name",
    "Run",
    "Supposition",
    "Test",
    "canonical",
    "check",
    "compile_test",
    "evaluate",
    "outcomes",
    "reads",
    "runs",
]
