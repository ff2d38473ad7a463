"""
Intervals of few resamples: whether figures are right does not hang on how finely their spread is known.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    from meshwalk.review.training import metrics  # it needs the extra [train]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_RESAMPLES", 50)
        yield
