"""
`meshwalk evaluate`: the shape of what it prints; the figures are tested with the room that makes them.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run


GRAPH = """\
meshwalk: 1
name: pair
start: first
backends:
  little: {kind: recorded, model: small}
  big: {kind: recorded, model: large}
nodes:
  first:
    role: answer
    backend: little
    confidence: {from: recorded}
    next: [{to: done, when: output.confidence > 0.5}, {to: second}]
  second: {role: primary, backend: big, next: done}
"""


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    path = tmp_path / "pair.yaml"
    path.write_text(GRAPH, encoding="utf-8")

    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "outcomes.jsonl"
    rows = [
        {
            "id": str(number),
            "prompt": f"question {number}",
            "outcomes": {
                "small": {"score": 1 if sure else 0, "confidence": 0.9 if sure else 0.1, "cost_usd": 0.001},
                "large": {"score": 1, "cost_usd": 0.01},
            },
        }
        for number, sure in enumerate([True, True, True, False])
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    return path


def test_json_shape(run: Run, pair: Path, data: Path) -> None:
    """
    The document has the agreed keys and the figures of the walks.
    """
    ran = run("evaluate", pair, data, "--json")
    document = ran.json

    assert (0, "") == (ran.code, ran.err)
    assert {"n", "quality", "cost_usd", "baselines", "paths", "latency_ms", "outcomes", "quality_interval"} <= document.keys()
    assert (4, 1.0, 0.014) == (document["n"], document["quality"], document["cost_usd"])
    assert {
        "always_best": {"backend": "big", "quality": 1.0, "cost_usd": 0.04},
        "always_cheapest": {"backend": "little", "quality": 0.75, "cost_usd": 0.004},
        "random_mix": {"share": 0.25, "quality": 0.8125, "cost_usd": 0.013},
    } == document["baselines"]
    assert {"path": ["first"], "n": 3, "share": 0.75, "quality": 1.0, "cost_usd": 0.003} == document["paths"][0]
    assert {"p50", "p95", "p99"} == document["latency_ms"].keys()
    assert {"answered": 4} == document["outcomes"]
    assert pytest.approx(0.35) == document["against_best"]["cost_ratio"]


def test_people_get_tables(run: Run, pair: Path, data: Path) -> None:
    """
    The tables show the graph beside its baselines, and every path; no progress bar where nobody watches.
    """
    ran = run("evaluate", pair, data)

    assert "" == ran.err
    for said in ("Graph pair on 4 rows", "always the best (big)", "a random mix (25.0% the best)", "first > second", "0.350"):
        assert said in ran.out


def test_progress_where_somebody_watches(run: Run, pair: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    On a terminal a bar counts the walks on stderr, and stdout is as it would be without.
    """
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    ran = run("evaluate", pair, data, "--json")

    assert "4/4" in terminal.getvalue()
    assert 4 == ran.json["n"]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_was_left_out_is_said(run: Run, pair: Path, data: Path) -> None:
    """
    A row that cannot be judged is told of with its reason.
    """
    with data.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "x", "prompt": "new", "outcomes": {"small": {"score": 1, "cost_usd": 1}}}) + "\n")

    assert {"no outcome of 'large'": 1} == run("evaluate", pair, data, "--json").json["skipped"]
    assert "Left out: 1 row (no outcome of 'large')." in run("evaluate", pair, data).out


def test_limit(run: Run, pair: Path, data: Path) -> None:
    """
    A limit looks at the first rows only.
    """
    assert 2 == run("evaluate", pair, data, "--limit", "2", "--json").json["n"]


def test_walks_can_be_replayed(run: Run, pair: Path, data: Path, tmp_path: Path) -> None:
    """
    With `--traces` every walk is stored, and decides the same when replayed.
    """
    run("evaluate", pair, data, "--traces", tmp_path / "traces")
    replayed = run("replay", "--traces", tmp_path / "traces", "--json")

    assert (0, 4, 4) == (replayed.code, replayed.json["total"], replayed.json["unchanged"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{}", "outcomes.jsonl:5: "),
        ("nonsense", "outcomes.jsonl:5: "),
        ('{"id": "0", "prompt": "p", "outcomes": {"small": {}}}', "outcomes.jsonl:5: the id '0' stands in an earlier row"),
    ],
)
def test_a_bad_row_is_named(run: Run, pair: Path, data: Path, line: str, said: str) -> None:
    """
    A file that cannot be right is refused with the line.
    """
    with data.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    ran = run("evaluate", pair, data)

    assert (2, "") == (ran.code, ran.out)
    assert said in ran.err


def test_a_graph_that_calls_models(run: Run, desk: Path, data: Path) -> None:
    """
    What is not recorded is not evaluated, and the remedy is named.
    """
    ran = run("evaluate", desk, data)

    assert 2 == ran.code
    assert "`kind: recorded`" in ran.err


def test_the_real_file_replays_whole(run: Run, graphs: Path, shared_data: Path, tmp_path: Path) -> None:
    """
    All 656 walks of the shipped graph over real outcomes are stored, and not one of them decides differently.
    """
    file = shared_data / "outcomes" / "gsm8k.jsonl.gz"
    evaluated = run("evaluate", graphs / "gsm8k-agreement.yaml", file, "--traces", tmp_path, "--json")
    replayed = run("replay", "--traces", tmp_path, "--json")

    assert (0, 656) == (evaluated.code, evaluated.json["n"])
    assert (0, 656, 0) == (replayed.code, replayed.json["unchanged"], replayed.json["mismatched"])


CONFIDENCES = "id,task,pseudo_label,m|answer,m|p1\n1,t,A,A,0.9\n2,t,B,A,0.3\n3,t,B,B,0.4\n4,t,C,A,0.35\n"


@pytest.fixture
def confidences(tmp_path: Path) -> Path:
    path = tmp_path / "confidences.csv"
    path.write_text(CONFIDENCES, encoding="utf-8")

    return path


class TestConfidences:
    def test_of_a_graph(self, run: Run, pair: Path, data: Path) -> None:
        """
        Each node that gives a confidence is told of, with its area and its interval.
        """
        (first,) = run("evaluate", pair, data, "--json").json["confidences"]

        assert {"node": "first", "from": "recorded", "about": "first", "n": 4, "right": 3, "auroc": 1.0} == {
            key: value for key, value in first.items() if key != "auroc_interval"
        }
        assert "1.000" in run("evaluate", pair, data).out

    def test_of_a_file(self, run: Run, confidences: Path) -> None:
        """
        A confidences file needs no graph; the document has the mean and each model.
        """
        document = run("evaluate", "--confidences", confidences, "--json").json

        assert [{"task": "t", "kind": "p1", "models": 1, "mean": 1.0}] == document["means"]
        assert [("t", "p1", "m", 4, 2, 1.0)] == [
            tuple(one[key] for key in ("task", "kind", "model", "n", "right", "auroc")) for one in document["models"]
        ]
        assert 4 == document["rows"]

    def test_people_get_a_table_a_task(self, run: Run, confidences: Path) -> None:
        """
        The table has a line for each model and one for their mean.
        """
        said = run("evaluate", "--confidences", confidences).out

        assert "AUROC on t" in said
        assert ["m", "1.000"] in [line.split() for line in said.splitlines()]
        assert ["mean", "1.000"] in [line.split() for line in said.splitlines()]

    @pytest.mark.parametrize(
        "words", [(), ("g.yaml",), ("g.yaml", "data", "--confidences", "FILE"), ("--confidences", "FILE", "--limit", "3")]
    )
    def test_one_or_the_other(self, run: Run, confidences: Path, words: tuple[str, ...]) -> None:
        """
        A graph goes with its data, a confidences file goes alone, and whoever mixes them is told which.
        """
        ran = run("evaluate", *(confidences if word == "FILE" else word for word in words))

        assert (2, "") == (ran.code, ran.out)
        assert "--confidences" in ran.err
