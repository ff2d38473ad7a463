"""
Everything a guard may read, as a table: its type, who writes it, and whether it may have no value.

The README prints the same rows.
"""

from __future__ import annotations

import pytest

from meshwalk import loader
from meshwalk.guards import GuardFaults, check
from meshwalk.model.signals import Kind, Signal, visible


TEXT = b"""\
meshwalk: 1
name: every-role
start: intake
request:
  task: {type: string, enum: [reasoning, retrieval], default: reasoning}
  pages: {type: number, range: [0, 100]}
  urgent: {type: bool, default: false}
thresholds: {confident: {value: 0.8, range: [0, 1]}}
backends: {model: {kind: simulated, context_tokens: 32000}}
nodes:
  intake: {role: classifier, use: features, next: filter}
  filter:
    role: prescreen
    backend: model
    qualified: {matches: "yes"}
    confidence: {from: stated, pattern: "CONF: ([0-9.]+)"}
    next: small
    on_error: small
  small:
    role: answer
    backend: model
    confidence: {from: mean_token_probability, missing: 0}
    next: large
    on_error: large
  large: {role: primary, backend: model, next: judge, on_error: sorry}
  judge: {role: verifier, use: agreement, of: [small, large], extract: text, next: [{to: done, answer: large}]}
  sorry: {role: refusal, reason: nothing answered}
"""
GRAPH = loader.read_graph(TEXT, file="every-role.yaml")

# Name, type, who writes it, and whether it may be undetermined, on any edge of the graph.
EVERYWHERE = [
    ("request.urgency", Kind.TEXT, "the caller", False),
    ("request.correctness", Kind.TEXT, "the caller", False),
    ("request.task", Kind.TEXT, "the caller", False),
    ("request.pages", Kind.NUMBER, "the caller", True),
    ("request.urgent", Kind.BOOL, "the caller", False),
    ("thresholds.confident", Kind.NUMBER, "the author", False),
    ("signals.tokens", Kind.NUMBER, "node 'intake'", True),
    ("signals.depth", Kind.NUMBER, "node 'intake'", True),
    ("signals.ambiguity", Kind.NUMBER, "node 'intake'", True),
    ("signals.complexity", Kind.NUMBER, "node 'intake'", True),
    ("fits.model", Kind.BOOL, "the walk", False),
    ("elapsed", Kind.DURATION, "the engine's clock", False),
    ("deadline.left", Kind.DURATION, "the engine's clock", False),
    ("budget.request.left_usd", Kind.NUMBER, "the ledger", True),
    ("budget.request.left_fraction", Kind.NUMBER, "the ledger", True),
    ("budget.request.left_tokens", Kind.NUMBER, "the ledger", True),
    ("budget.request.pressure", Kind.NUMBER, "the ledger", False),
]

# What a node's successful visit writes: `hop.<node>.<output>`, and `output.<output>` on its own edges of `next`.
OUTPUTS = {
    "intake": [],
    "filter": [("confidence", Kind.NUMBER, True), ("qualified", Kind.BOOL, False), ("label", Kind.TEXT, False)],
    "small": [("confidence", Kind.NUMBER, False), ("finish_reason", Kind.TEXT, False), ("output_tokens", Kind.NUMBER, False)],
    "large": [("finish_reason", Kind.TEXT, False), ("output_tokens", Kind.NUMBER, False)],
    "judge": [("agree", Kind.BOOL, False), ("score", Kind.NUMBER, False)],
    "sorry": [],
}


def _rows(node: str) -> dict[str, tuple[Kind, str, bool]]:
    """
    Lay out what an edge of `next` that leaves *node* may read, by the tables.
    """
    rows = {name: (kind, writer, optional) for name, kind, writer, optional in EVERYWHERE}
    for other, outputs in OUTPUTS.items():
        rows |= {f"hop.{other}.visits": (Kind.NUMBER, "the walk", False), f"hop.{other}.status": (Kind.TEXT, "the walk", False)}
        rows |= {f"hop.{other}.{name}": (kind, f"node '{other}'", True) for name, kind, _ in outputs}
    rows |= {f"output.{name}": (kind, f"node '{node}'", optional) for name, kind, optional in OUTPUTS[node]}

    return rows


def _row(signal: Signal) -> tuple[Kind, str, bool]:
    return signal.kind, signal.writer, signal.optional


@pytest.mark.parametrize("node", OUTPUTS)
def test_what_a_guard_may_read(node: str) -> None:
    """
    The edges that leave a node read just what the tables say, of the types and from the writers they say.
    """
    assert () == GRAPH.problems

    seen = visible(GRAPH, GRAPH.nodes[node])

    assert _rows(node) == {name: _row(signal) for name, signal in seen.items()}


@pytest.mark.parametrize("node", OUTPUTS)
def test_every_name_can_be_asked_for(node: str) -> None:
    """
    A guard takes each of these names, and asks whether it has a value.
    """
    seen = visible(GRAPH, GRAPH.nodes[node])

    for name in _rows(node):
        assert (name,) == check(f"has({name})", seen).names


def test_error_edges_have_no_guards() -> None:
    """
    A guard that asks for the class of an error is told where that is written.
    """
    with pytest.raises(GuardFaults) as caught:
        check("error.class == 'timeout'", visible(GRAPH, GRAPH.nodes["small"]))

    assert "chosen by their `class:`" in caught.value.faults[0].help
