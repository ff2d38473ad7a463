"""
Edges: each is fitted on its own, then the order they stand in is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from meshwalk.loader import faults
from meshwalk.loader.document import Piece, Scalar, Series, Table, plain
from meshwalk.loader.fit import Part, fit
from meshwalk.loader.shapes import EdgeShape, ErrorEdgeShape
from meshwalk.model import Edge
from meshwalk.problems import Problem, Span


class Edges(NamedTuple):
    """
    Hold the edges of one section; *whole* says that no edge of the text is missing.
    """

    edges: tuple[Edge, ...] = ()
    whole: bool = True


_ReadOne = Callable[[Table, str, list[Problem]], Edge | None]


def read_next(node: str, table: Table, problems: list[Problem]) -> Edges:
    """
    Read the edges under `next`.
    """
    found = _read(node, table, "next", _next_edge, problems)
    piece = table.entries.get("next")
    if found.whole and isinstance(piece, Series):
        _check_guards(node, piece, found.edges, problems)

    return found


def read_on_error(node: str, table: Table, problems: list[Problem]) -> Edges:
    """
    Read the edges under `on_error`.
    """
    found = _read(node, table, "on_error", _error_edge, problems)
    piece = table.entries.get("on_error")
    if found.whole and isinstance(piece, Series):
        _check_classes(node, piece, found.edges, problems)

    return found


def _read(node: str, table: Table, section: str, read_one: _ReadOne, problems: list[Problem]) -> Edges:
    piece = table.entries.get(section)
    match piece:
        case None:
            return Edges()
        case Scalar(value=str() as to) if to.strip():
            return Edges((Edge(to, piece.span, piece.span),))
        case Series(items=[_, *_]):
            edges = [_item(node, section, index, item, read_one, problems) for index, item in enumerate(piece.items)]
            return Edges(tuple(edge for edge in edges if edge is not None), None not in edges)
        case Scalar(value=None):
            problems.append(faults.no_value(table.key_spans[section], f"node '{node}'", section))
        case _:
            problems.append(faults.no_edges(piece.span, node, section, plain(piece)))

    return Edges(whole=False)


def _item(node: str, section: str, index: int, item: Piece, read_one: _ReadOne, problems: list[Problem]) -> Edge | None:
    subject = f"edge {index + 1} of '{node}'" if section == "next" else f"error edge {index + 1} of '{node}'"
    if isinstance(item, Table):
        return read_one(item, subject, problems)
    problems.append(faults.no_edge(item.span, subject, plain(item)))

    return None


def _next_edge(table: Table, subject: str, problems: list[Problem]) -> Edge | None:
    fitted = fit(EdgeShape, Part(table, subject, table.span), problems)
    if "to" in fitted.lost or "to" not in table.entries:
        return None
    shape = fitted.shape
    when = table.scalar("when") if shape.when is not None else None

    return Edge(
        to=shape.to,
        span=table.span,
        to_span=table.place("to"),
        when=shape.when,
        when_span=when.text_span if when else None,
        exact=when.exact if when else True,
        answer=shape.answer,
        answer_span=_place_if(table, "answer", shape.answer),
        id=shape.id,
    )


def _error_edge(table: Table, subject: str, problems: list[Problem]) -> Edge | None:
    known = " ('when' is for edges of 'next': an error edge is chosen by 'class')" if "when" in table.entries else ""
    fitted = fit(ErrorEdgeShape, Part(table, subject + known, table.span), problems)
    if "to" in fitted.lost or "to" not in table.entries:
        return None
    shape = fitted.shape

    return Edge(
        to=shape.to,
        span=table.span,
        to_span=table.place("to"),
        classes=tuple(shape.class_ or ()),
        answer=shape.answer,
        answer_span=_place_if(table, "answer", shape.answer),
        otherwise=shape.else_,
        otherwise_span=_place_if(table, "else", shape.else_),
        id=shape.id,
    )


def _place_if(table: Table, key: str, value: str | None) -> Span | None:
    return None if value is None else table.place(key)


def _written(items: Sequence[Piece], key: str) -> list[Span | None]:
    # What counts is what the author wrote: a faulty guard is a guard all the same.
    return [item.key_spans.get(key) if isinstance(item, Table) else None for item in items]


def _check_guards(node: str, piece: Series, edges: tuple[Edge, ...], problems: list[Problem]) -> None:
    guards = _written(piece.items, "when")
    if guards[-1] is not None:
        problems.append(faults.guarded_last_edge(guards[-1], node))
    for index, edge in enumerate(edges[:-1]):
        if guards[index] is None:
            problems.append(faults.unguarded_edge_not_last(edge.span, node, len(edges) - 1 - index))


def _check_classes(node: str, piece: Series, edges: tuple[Edge, ...], problems: list[Problem]) -> None:
    written = _written(piece.items, "class")
    taken: set[str] = set()
    for index, (edge, item) in enumerate(zip(edges, piece.items, strict=True)):
        if written[index] is None and index < len(edges) - 1:
            problems.append(faults.catch_all_not_last(edge.span, node))
        for place, word in enumerate(edge.classes):
            if word in taken:
                problems.append(faults.class_taken(_class_span(item, place), node, word))
            taken.add(word)


def _class_span(item: Piece, place: int) -> Span:
    assert isinstance(item, Table)
    classes = item.entries["class"]

    return classes.items[place].span if isinstance(classes, Series) else classes.span
