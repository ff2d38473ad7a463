"""
`meshwalk decide`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run


GRAPH = """
meshwalk: 1
name: desk
start: intake
request:
  tier: {type: string, enum: [free, paid], default: free}
thresholds:
  hard: {value: 0.5, range: [0, 1]}
backends:
  s: {kind: openai, model: m, base_url: "${NOBODY_SETS_THIS}", usd_per_mtok: {input: 1, output: 1}}
nodes:
  intake:
    role: classifier
    use: features
    next:
      - {to: large, when: "signals.complexity > thresholds.hard || request.tier == 'paid'"}
      - {to: small}
  small:
    role: answer
    backend: s
    max_tokens: 10
    confidence: {from: mean_token_probability, missing: 0}
    next:
      - {to: large, when: "output.confidence < 0.5"}
      - {to: done}
  large: {role: answer, backend: s, max_tokens: 10, next: done}
"""

TEXT = """\
signals.tokens = 5
signals.depth = 1.5
signals.ambiguity = 0.1875
signals.complexity = 0.1542

intake → small
    to large: signals.complexity > thresholds.hard: not held (0.1542 <= 0.5), 0.3458 away by signals.complexity
    to small: held
small would be called first (backend s), for at most 0.000556 USD; behind it
    to large: output.confidence < 0.5, needs output.confidence
    to done: otherwise
"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "desk.yaml"
    path.write_text(GRAPH, encoding="utf-8")

    return path


def test_shows_the_way_to_the_first_call(run: Run, graph: Path) -> None:
    """
    The signals, each edge with its reason and distance, and the needs of the edges behind; no address is needed.
    """
    result = run("decide", graph, "Where is my order?")

    assert 0 == result.code
    assert TEXT.splitlines() == result.out.splitlines()


def test_signals_alone(run: Run, graph: Path) -> None:
    """
    With --signals there is nothing else.
    """
    result = run("decide", graph, "Where is my order?", "--signals", "--json")

    assert ["signals"] == list(result.json)
    assert {"tokens", "depth", "ambiguity", "complexity"} == result.json["signals"].keys()


def test_attributes_count(run: Run, graph: Path) -> None:
    """
    An attribute that is set decides as it would in a walk.
    """
    document = run("decide", graph, "Where is my order?", "--set", "tier=paid", "--json").json

    assert (["intake", "large"], "large", "s") == (document["path"], document["next"], document["backend"])
    assert "request.tier" == document["hops"][0]["edges"][0]["change"]


def test_a_walk_without_calls(run: Run, tmp_path: Path) -> None:
    """
    A walk that ends before any call says so, and a graph without classifiers has no signals.
    """
    path = tmp_path / "no.yaml"
    path.write_text("meshwalk: 1\nname: no\nstart: a\nnodes:\n  a: {role: refusal, reason: closed}\n", encoding="utf-8")
    result = run("decide", path, "hi")

    assert 0 == result.code
    assert [
        "no classifier runs before the first call",
        "",
        "a",
        "the walk would end: refused, closed",
    ] == result.out.splitlines()
