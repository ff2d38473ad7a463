"""
What can become of a guard if a signal has no value: nothing that some request brings about is left out.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.guards.check import check
from meshwalk.guards.evaluate import evaluate
from meshwalk.guards.suppose import FALSE, LACKING, OWED, TRUE, Supposition, outcomes, reads
from meshwalk.guards.tree import Expr
from meshwalk.model import Value
from tests.guards.guard_samples import VISIBLE, contexts, trees


SLOTS = sorted({signal.slot for signal in VISIBLE.values() if signal.optional})


@given(tree=trees(), context=contexts(), blamed=st.sampled_from(SLOTS), absent=st.sets(st.sampled_from(SLOTS)))
def test_no_verdict_is_left_out(tree: Expr, context: dict[str, Value | None], blamed: str, absent: set[str]) -> None:
    """
    Whatever the signals are, a guard comes to a verdict that was foreseen.
    """
    seen = context | dict.fromkeys({blamed, *absent})
    verdict = evaluate(tree, seen.get)
    bits = LACKING | OWED if verdict is None else TRUE if verdict else FALSE

    assert outcomes(tree, Supposition(blamed, frozenset(absent))) & bits


@given(tree=trees(), context=contexts(), blamed=st.sampled_from(SLOTS))
def test_what_is_not_owed_is_not_undetermined_for_it(tree: Expr, context: dict[str, Value | None], blamed: str) -> None:
    """
    Where everything else has a value, a guard is undetermined only if the missing one was to blame.
    """
    seen = {slot: 1.0 if value is None and slot == "signals.tokens" else value for slot, value in context.items()}
    seen[blamed] = None
    others = [slot for slot, value in seen.items() if value is None and slot != blamed]
    verdict = evaluate(tree, seen.get)

    assert verdict is not None or others or outcomes(tree, Supposition(blamed)) & OWED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("signals.tokens > 1", OWED),
        ("has(signals.tokens)", FALSE),
        ("has(signals.tokens) && signals.tokens > 1", FALSE),
        ("!has(signals.tokens) || signals.tokens > 1", TRUE),
        ("has(signals.tokens) ? signals.tokens > 1 : 1 > 2", FALSE),
        ("request.size > 1 && signals.tokens > 1", FALSE | OWED),
        ("request.size > 1 || signals.depth > 1", TRUE | FALSE | LACKING),
        ("hop.small.agree && signals.tokens > 1", FALSE | OWED),
        ("thresholds.confident > 0.5", TRUE),
    ],
)
def test_verdicts(text: str, expected: int) -> None:
    """
    `has` is false of what is absent, false absorbs what stands beside it, and only reads of the absent value are owed.
    """
    assert expected == outcomes(check(text, VISIBLE).tree, Supposition("signals.tokens"))


def test_known_values_decide_a_leaf() -> None:
    """
    A text of which all values are known decides the conditions that read nothing else.
    """
    tree = check("request.task == 'retrieval' || request.task in ['reasoning']", VISIBLE).tree

    assert TRUE == outcomes(tree.parts[0], Supposition("", known={"request.task": ("retrieval",)}))  # type: ignore[union-attr]
    assert FALSE == outcomes(tree.parts[1], Supposition("", known={"request.task": ("retrieval",)}))  # type: ignore[union-attr]
    assert TRUE == outcomes(tree, Supposition("", known={"request.task": ("retrieval",)}))


def test_has_reads_no_value() -> None:
    """
    Asking whether a signal has a value does not read it.
    """
    tree = check("has(signals.tokens) && signals.depth > 1", VISIBLE).tree

    assert ["signals.depth"] == [name.signal.name for name in reads(tree)]
