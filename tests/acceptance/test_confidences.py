"""
Real logit confidences of ten models on three tasks: how well each kind tells right answers from wrong ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run, run


__all__ = ["run"]

# The mean over ten models of p1, margin and entropy, as it was measured before by other means.
KNOWN = {
    "mmlu_10k": (0.801, 0.805, 0.778),
    "cosmosqa_10k": (0.867, 0.870, 0.848),
    "hellaswag_10k": (0.796, 0.792, 0.777),
}


def test_the_known_figures(run: Run, shared_data: Path) -> None:
    """
    `evaluate --confidences` finds the figures that are known, and entropy is the worst of the three everywhere.
    """
    document = run("evaluate", "--confidences", shared_data / "outcomes" / "uncertainty_bench.csv.gz", "--json").json
    means = {(one["task"], one["kind"]): one for one in document["means"]}

    assert 14_955 == document["rows"]
    for task, known in KNOWN.items():
        found = [means[task, kind] for kind in ("p1", "margin", "entropy")]
        assert [10, 10, 10] == [one["models"] for one in found]
        assert pytest.approx(known, abs=0.002) == tuple(one["mean"] for one in found)
        assert found[2]["mean"] < min(found[0]["mean"], found[1]["mean"])
    assert 90 == len(document["models"])
    assert all(one["auroc_interval"][0] < one["auroc"] < one["auroc_interval"][1] for one in document["models"])
