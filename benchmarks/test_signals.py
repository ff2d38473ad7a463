"""
Does `signals.complexity` tell the prompts that a weak model gets wrong, and does it tell more than the prompt's length?
"""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwalk.backends.outcomes import load_outcomes
from meshwalk.backends.roles import features
from meshwalk.review.auroc import area
from meshwalk.trace import Message


OUTCOMES = Path(__file__).resolve().parents[2] / "shared" / "data" / "outcomes"
WEAK = "mixtral-8x7b-instruct-v0.1"


@pytest.mark.parametrize("name", ["gsm8k", "mmlu"])
def test_complexity_and_length(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    What is the area under the ROC curve of each, for "the weak model is wrong", with DeLong's interval?
    """
    path = OUTCOMES / f"{name}.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"the outcomes are not here: {path.parent.name}/{path.name} beside the repository")
    rows = [row for row in load_outcomes(str(path)).rows if not row.contaminated and (row.outcomes[WEAK].score is not None)]
    wrong = [(row.outcomes[WEAK].score or 0) < 0.5 for row in rows]
    complexity = [float(features((Message("user", row.prompt),))["complexity"]) for row in rows]
    length = [float(len(row.prompt)) for row in rows]
    with capsys.disabled():
        for signal, values in (("complexity", complexity), ("length", length)):
            told = area(zip(values, wrong, strict=True))
            print(f"\n{name} {signal}: {told}")

    assert len(rows) > 500
