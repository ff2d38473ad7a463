"""
Small graphs as text, for tests of what the loader makes of them.
"""

from __future__ import annotations

from meshwalk.loader import read_graph
from meshwalk.model import Graph
from meshwalk.model.problems import Problem


HEAD = "meshwalk: 1\nname: small\nstart: a\n"
BACKENDS = "backends:\n  s: {kind: simulated}\n"
NODES = "nodes:\n  a: {role: answer, backend: s, next: done}\n"


def read(text: str) -> Graph:
    return read_graph(text.encode(), file="g.yaml")


def read_sound(text: str) -> Graph:
    graph = read(text)
    assert () == graph.problems

    return graph


def with_node(keys: str) -> Graph:
    """
    Read a graph whose only node has *keys* beside its role, backend and next.
    """
    return read(HEAD + BACKENDS + f"nodes:\n  a: {{role: answer, backend: s, next: done, {keys}}}\n")


def places(problems: tuple[Problem, ...]) -> list[tuple[str, int, int]]:
    return [(problem.code, problem.span.line, problem.span.column) for problem in problems]
