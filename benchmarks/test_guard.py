"""
Guards against the Python one would write by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat

import pytest

from harness import Arm, Compare, at_most
from meshwalk.guards import check, compile_test
from meshwalk.model import Value
from meshwalk.model.signals import Kind, Signal


SLOTS = {"signals.complexity": 0, "request.correctness": 1, "hop.small.confidence": 2}
VISIBLE = {
    "signals.complexity": Signal("signals.complexity", Kind.NUMBER, "signals.complexity", "node 'intake'", range=(0.0, 1.0)),
    "request.correctness": Signal("request.correctness", Kind.TEXT, "request.correctness", "the caller", ("strict", "lenient")),
    "output.confidence": Signal("output.confidence", Kind.NUMBER, "hop.small.confidence", "node 'small'", optional=True),
    "thresholds.complex": Signal("thresholds.complex", Kind.NUMBER, "", "the author", constant=0.62),
    "thresholds.confident": Signal("thresholds.confident", Kind.NUMBER, "", "the author", constant=0.8),
}
Written = Callable[[Sequence[Value | None]], object]

# A guard, and what a Python programmer who does not fear None would write.
CASES: dict[str, tuple[str, Written]] = {
    "one-comparison": ("signals.complexity >= thresholds.complex", lambda v: v[0] >= 0.62),  # type: ignore[operator]
    "two-comparisons": (
        "signals.complexity >= thresholds.complex && request.correctness == 'strict'",
        lambda v: v[0] >= 0.62 and v[1] == "strict",  # type: ignore[operator]
    ),
    "may-be-absent": ("output.confidence >= thresholds.confident", lambda v: v[2] >= 0.8),  # type: ignore[operator]
}


def asked(test: Written, values: Sequence[Value | None]) -> Arm:
    """
    Ask *test* directly: one more call between would weigh as much as what is measured.
    """

    def arm(n: int) -> None:
        for _ in repeat(None, n):
            test(values)

    return arm


@pytest.mark.parametrize("case", CASES)
def test_guard(compare: Compare, case: str) -> None:
    """
    How much longer does a compiled guard take than the same Python expression?
    """
    text, written = CASES[case]
    guard = compile_test(check(text, VISIBLE).tree, SLOTS)
    values: list[Value | None] = [0.7, "strict", 0.31]

    assert written(values) == guard(values)

    compare(asked(guard, values), asked(written, values), at_most(3))
