"""
What is prepared for the usual signal gives what the slow way gives, for whatever a classifier gives.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from meshwalk.backends.classifiers.declared import as_declared, declarer
from meshwalk.model import Attribute
from meshwalk.model.problems import Malformed, Span


HERE = Span("graph.yaml", 1, 1)


def said(take: Any, *given: object) -> object:
    try:
        return take(*given)
    except Malformed as error:
        return str(error)


@pytest.mark.parametrize("range_", [None, (0.0, 1.0), (0.0, math.inf)])
@pytest.mark.parametrize(
    "given",
    [
        *({"risk": value} for value in (0.4, 1.0, 1.5, -1.0, 1, True, "0.4", None, math.nan, math.inf, -math.inf)),
        {"risk": 0.4, "more": 1},
        {},
        [("risk", 0.4)],
        None,
    ],
)
def test_prepared_and_not_prepared_say_the_same(range_: tuple[float, float] | None, given: object) -> None:
    """
    One number in range is taken at once, and all else is looked at as closely as ever.
    """
    writes = {"risk": Attribute("risk", "number", HERE, range=range_)}

    assert said(as_declared, "triage", given, writes) == said(declarer("triage", writes), given)
