"""
`meshwalk train-classifier`: from an outcomes file to a graph that routes by what was learnt.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from meshwalk.model.weights import read_weights
from tests.cli.conftest import Run
from tests.support.training_data import taught, written


GRAPH = """\
meshwalk: 1
name: router
start: intake
thresholds: {gain: {value: 0.3, range: [-1, 1]}}
backends:
  small: {kind: recorded, model: small, usd_per_mtok: {input: 1, output: 1}}
  large: {kind: recorded, model: large, usd_per_mtok: {input: 10, output: 10}}
nodes:
  intake:
    role: classifier
    use: weights
    weights: weights.json
    next:
      - {to: large, when: "signals.strong - signals.weak >= thresholds.gain"}
      - {to: small}
  small: {role: answer, backend: small, next: done}
  large: {role: primary, backend: large, next: done}
"""


@pytest.mark.slow
def test_what_is_trained_routes(run: Run, tmp_path: Path) -> None:
    """
    Train with an embedding, write a graph, evaluate it: quality at the cost of fewer strong calls than a random mix needs.
    """
    rows = taught(100)
    for row in rows:
        for outcome in row["outcomes"].values():
            outcome |= {"input_tokens": 20, "output_tokens": 5}
    data = written(tmp_path, rows)
    (tmp_path / "router.yaml").write_text(GRAPH, encoding="utf-8")
    trained = run("train-classifier", data, "-o", tmp_path / "weights.json")

    # Progress is told line by line where no bar can be drawn.
    assert (0, "reading prompts (0 of 6)") == (trained.code, trained.err.splitlines()[0])
    assert "signals.weak" in trained.out
    assert "Above the best baseline (prompt length) by" in trained.out

    found = run("evaluate", tmp_path / "router.yaml", data, "--json").json
    others = tmp_path / "others.jsonl"
    others.write_bytes(Path(data).read_bytes().split(b"\n", 1)[1])
    unseen = run("evaluate", tmp_path / "router.yaml", others, "--json").json

    assert found["quality"] > found["baselines"]["random_mix"]["quality"] + 0.05
    assert (1, []) == (len(found["trained_on_it"]), unseen["trained_on_it"])
    assert "were trained on this file" in run("evaluate", tmp_path / "router.yaml", data).out


def test_json_shape(run: Run, tmp_path: Path) -> None:
    """
    The document holds the figures with their intervals, and the file holds the same.
    """
    target = tmp_path / "weights.json"
    document = run("train-classifier", written(tmp_path, taught(80)), "--no-embedding", "-o", target, "--json").json

    assert {"rows", "skipped", "models", "recipe", "heads", "apgr", "best_baseline", "ahead_of_it"} <= document.keys()
    assert (80, None, {"weak", "strong"}) == (document["rows"], document["embedding"], document["heads"].keys())
    assert {"value", "low", "high"} == document["heads"]["weak"]["auroc"].keys()
    assert ("weak", "strong") == tuple(head.name for head in read_weights(target.read_bytes()).heads)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--head", "third"], "--head takes NAME=MODEL, and was given 'third'"),
        (["--head", "weak=small"], "the head 'weak' is named by --weak; write --weak small"),
        (["--strong", "large"], "has the models small, large; name two of them"),
    ],
)
def test_wrong_use(run: Run, tmp_path: Path, words: list[str], expected: str) -> None:
    """
    What cannot be done is said before anything is trained.
    """
    ran = run("train-classifier", written(tmp_path, taught(60)), "-o", tmp_path / "w.json", "--no-embedding", *words)

    assert (2, "") == (ran.code, ran.out)
    assert expected in ran.err


def test_a_folder_that_is_not_there(run: Run, tmp_path: Path) -> None:
    """
    Where the weights cannot be written is said before anything is trained.
    """
    ran = run("train-classifier", written(tmp_path, taught(60)), "-o", tmp_path / "nowhere" / "weights.json")

    assert (2, "") == (ran.code, ran.out)
    assert "its folder is not there; make it first" in ran.err


def test_without_the_extra(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where scikit-learn is not installed, the remedy is named.
    """

    def nothing(name: str, *more: Any) -> Any:
        return None if name == "sklearn" else importlib.util.find_spec(name, *more)

    # The package's own name for the module is the command in it.
    monkeypatch.setattr(sys.modules["meshwalk.cli.train_classifier"], "find_spec", nothing)
    ran = run("train-classifier", written(tmp_path, taught(60)), "-o", tmp_path / "w.json")

    assert (2, "") == (ran.code, ran.out)
    assert "pip install 'meshwalk[train]'" in ran.err
