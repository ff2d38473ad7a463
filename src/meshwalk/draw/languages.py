"""
A graph in the two languages that most tools read: Mermaid and Graphviz' DOT.

`next` edges solid with their guards, in the order they are tried; `on_error` edges
dashed with their classes.  An author's text is never a part of either language: what could end a label, start markup or
be read as an entity is written as one.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshwalk.draw.arrows import arrows, lines, printable, strangers
from meshwalk.model import DONE, Graph, Role


def mermaid(graph: Graph) -> str:
    """
    Draw *graph* as a Mermaid flowchart.
    """
    # A name could be a word of the language (`end`, `style`), so nodes go by numbers there.
    ids = {name: f"n{position}" for position, name in enumerate([*graph.nodes, *strangers(graph)])}
    rows = ["flowchart TD", "    start(( ))"]
    for node in graph.nodes.values():
        opening, closing = _MERMAID_SHAPES[node.role]
        label = "<br/>".join(_mermaid_text(line) for line in lines(node))
        rows.append(f'    {ids[node.name]}{opening}"{label}"{closing}')
    rows += [f'    {ids[name]}["{_mermaid_text(name)}"]' for name in strangers(graph) if name != DONE]
    rows += [f'    {ids[DONE]}(["done"])'] if DONE in ids else []
    rows += [f"    start --> {ids[graph.start]}"] if graph.start in ids else []
    for arrow in arrows(graph):
        line = "-.->" if arrow.dashed else "-->"
        label = f'|"{_mermaid_text(arrow.label)}"|' if arrow.label else ""
        rows.append(f"    {ids[arrow.origin]} {line}{label} {ids[arrow.to]}")

    return "\n".join(rows) + "\n"


def dot(graph: Graph) -> str:
    """
    Draw *graph* in Graphviz' language.
    """
    rows = [
        f"digraph {_dot_text(graph.name)} {{",
        "    rankdir=TB;",
        '    node [fontname="sans-serif"]; edge [fontname="sans-serif", fontsize=10];',
        # No node of a graph can have this name, which is no identifier.
        '    ">" [shape=point];',
    ]
    for node in graph.nodes.values():
        label = "\\n".join(_dot_text(line)[1:-1] for line in lines(node))
        rows.append(f'    {_dot_text(node.name)} [label="{label}", shape={_DOT_SHAPES[node.role]}];')
    rows += [f"    {_dot_text(DONE)} [shape=doublecircle];"] if DONE in strangers(graph) else []
    rows += [f'    ">" -> {_dot_text(graph.start)};'] if graph.start else []
    for arrow in arrows(graph):
        style = ", style=dashed" if arrow.dashed else ""
        rows.append(f"    {_dot_text(arrow.origin)} -> {_dot_text(arrow.to)} [label={_dot_text(arrow.label)}{style}];")

    return "\n".join([*rows, "}"]) + "\n"


# ---- the two languages ----------------------------------------------------------------------------------------------

_MERMAID_SHAPES: Mapping[Role, tuple[str, str]] = {
    "classifier": ("{{", "}}"),
    "prescreen": ("[/", "/]"),
    "answer": ("[", "]"),
    "primary": ("[[", "]]"),
    "verifier": ("{", "}"),
    "refusal": (">", "]"),
}
_DOT_SHAPES: Mapping[Role, str] = {
    "classifier": "hexagon",
    "prescreen": "parallelogram",
    "answer": "box",
    "primary": "box3d",
    "verifier": "diamond",
    "refusal": "octagon",
}


def _mermaid_text(text: str) -> str:
    # Mermaid has no escape but its entities, `#` and a number; letters and a few marks are safe as they are.
    return "".join(char if char.isalnum() or char in " _.,=+()" else f"#{ord(char)};" for char in printable(text))


def _dot_text(text: str) -> str:
    # Graphviz reads HTML entities and backslashes in every label.
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")

    return f'"{escaped}"'
