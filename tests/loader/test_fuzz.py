"""
Whatever the document says, the loader and the topology answer with problems.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk import draw
from meshwalk.checks import topology
from meshwalk.loader import read_graph
from meshwalk.loader.schema.backends import BACKEND_SHAPES
from meshwalk.loader.schema.budgets import BudgetShape
from meshwalk.loader.schema.edges import EdgeShape, ErrorEdgeShape
from meshwalk.loader.schema.graph import NODE_SHAPES, GraphShape
from meshwalk.model import Graph
from meshwalk.model.problems import GraphError, in_file_order, render


NAMES = st.sampled_from(["a", "b", "c", "done", "for", "a-b", ""])
WORDS = st.sampled_from(
    [
        *(
            "answer",
            "primary",
            "classifier",
            "refusal",
            "verifier",
            "prescreen",
            "openai",
            "simulated",
            "features",
            "agreement",
        ),
        *("text", "timeout", "stated", "4s", "(", "{{ prompt }}", "{{", "x.y:z", "string", "number", "\x7f", "\u2028", "é"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | NAMES | WORDS | st.text(max_size=5)


def tables(*keys: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(keys) | st.text(max_size=6), VALUES, max_size=8)


VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["to", "when", "class", "answer", "else", "from", "pattern", "p50", "input"]), inner, max_size=4
        )
    ),
    max_leaves=6,
)
EDGES = tables(*EdgeShape.known_keys(), *ErrorEdgeShape.known_keys())
NODES = st.one_of(
    *(
        st.fixed_dictionaries(
            {"role": st.just(role)},
            optional={
                key: (NAMES | st.lists(EDGES, max_size=3) if key in {"next", "on_error"} else VALUES)
                for key in shape.known_keys()
                if key != "role"
            },
        )
        for role, shape in NODE_SHAPES.items()
    ),
    tables("role", "next"),
    VALUES,
)
BACKENDS = st.one_of(
    *(
        st.fixed_dictionaries({"kind": st.just(kind)}, optional={key: VALUES for key in shape.known_keys() if key != "kind"})
        for kind, shape in BACKEND_SHAPES.items()
    ),
    VALUES,
)
BUDGETS = st.fixed_dictionaries({}, optional=dict.fromkeys(BudgetShape.known_keys(), VALUES)) | VALUES
GRAPHS = st.fixed_dictionaries(
    {"meshwalk": st.just(1) | SCALARS, "start": NAMES, "nodes": st.dictionaries(NAMES, NODES, max_size=5) | VALUES},
    optional={
        **{key: VALUES for key in GraphShape.known_keys() if key not in {"meshwalk", "start", "nodes", "backends", "budgets"}},
        "budgets": st.dictionaries(st.sampled_from(["session", "workflow", "tenant", "request", "a"]), BUDGETS) | VALUES,
        "backends": st.dictionaries(NAMES, BACKENDS, max_size=3) | VALUES,
        "strat": VALUES,
    },
)


def examined(text: bytes) -> Graph | None:
    try:
        graph = read_graph(text, file="g.yaml", hashes={})
    except GraphError:
        return None
    problems = in_file_order([*graph.problems, *topology.check(graph)])
    lines = {"g.yaml": text.decode().split("\n")}
    for problem in problems:
        assert problem.span.line >= 1
        assert problem.span.column >= 1
        assert problem.span.length >= 1
        assert render(problem, lines)

    return graph


class TestFuzz:
    @given(GRAPHS)
    @settings(max_examples=150, deadline=None)
    def test_any_document_is_answered_with_problems(self, document: Any) -> None:
        """
        A document of our keys with any values gives a graph with problems, and can be drawn.
        """
        graph = examined(json.dumps(document).replace("NaN", ".nan").replace("Infinity", ".inf").encode())
        if graph is not None:
            assert draw.mermaid(graph)
            assert draw.dot(graph)

    @given(VALUES)
    @settings(deadline=None)
    def test_any_value_is_answered(self, document: Any) -> None:
        """
        A document that has nothing to do with us is answered as well.
        """
        examined(json.dumps(document).encode())

    @given(st.data())
    @settings(max_examples=100, deadline=None)
    def test_any_slip_in_a_sound_graph_is_answered(self, data: st.DataObject) -> None:
        """
        A sound graph with a piece of its text overwritten gives a graph or an error, never a crash.
        """
        text = _SOUND
        start = data.draw(st.integers(0, len(text) - 1))
        length = data.draw(st.integers(0, 8))
        slip = data.draw(st.text(alphabet=st.sampled_from("ab:{}[],-'\" \n#&*!|>%@\t01.~"), max_size=4))
        examined((text[:start] + slip + text[start + length :]).encode())


_SOUND = """meshwalk: 1
name: small
start: a
request: {task: {type: string, enum: [x, y], default: x}}
thresholds: {t: 0.5, u: {value: 1, range: [0, 2]}}
limits: {hops: 4, deadline: 2s, cost_usd: 0.5}
budgets: {session: {cost_usd: 1, window: 1h, away: open}, tenant: {calls: 9}}
backends:
  s: {kind: simulated, latency: {p50: 1ms, p99: 2ms}, usd_per_mtok: {input: 1, output: 2}}
nodes:
  a: {role: classifier, use: features, next: [{to: b, when: "signals.depth > 1"}, {to: c}]}
  b:
    role: answer
    backend: s
    max_tokens: 5
    prompt: "say {{ prompt }} for {{ request.task }}"
    confidence: {from: stated, pattern: "([0-9])", missing: 0}
    next:
      - {to: done, when: output.confidence > 0.5, id: sure}
      - {to: c}
    on_error:
      - {class: [timeout], to: c}
      - {to: d}
  c: {role: primary, backend: s, max_tokens: 5, next: done, on_error: [{to: done, answer: b, else: d}]}
  d: {role: refusal, reason: nobody}
"""
