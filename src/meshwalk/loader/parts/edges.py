"""
Edges: each is fitted on its own, then the order they stand in is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from meshwalk.loader.messages import edge_faults, faults
from meshwalk.loader.parts.fit import Part, fit, respelt
from meshwalk.loader.schema.edges import EdgeShape, ErrorEdgeShape
from meshwalk.loader.yaml.document import Piece, Scalar, Series, Table, plain
from meshwalk.model import Edge
from meshwalk.model.problems import Problem, Span


class Edges(NamedTuple):
    """
    The edges read from one section; *whole* is true if all of its edges could be read.
    """

    edges: tuple[Edge, ...] = ()
    whole: bool = True


class _Read(NamedTuple):
    """
    One edge with the table it was read from, its keys spelt right.
    """

    edge: Edge
    table: Table


_OF_NEXT = {"when": "an error edge is chosen by its 'class'; guards are for edges of 'next'"}
_OF_ERRORS = {"class": "classes are for edges of 'on_error'", "else": "'else' is for edges of 'on_error'"}

_ReadOne = Callable[[Part, list[Problem]], _Read | None]
_Check = Callable[[str, Sequence[_Read], list[Problem]], None]


def read_next(node: str, table: Table, problems: list[Problem]) -> Edges:
    """
    Read the edges under `next`.
    """
    return _read(node, table, "next", _next_edge, _check_guards, problems)


def read_on_error(node: str, table: Table, problems: list[Problem]) -> Edges:
    """
    Read the edges under `on_error`.
    """
    return _read(node, table, "on_error", _error_edge, _check_classes, problems)


def _read(node: str, table: Table, section: str, read_one: _ReadOne, check: _Check, problems: list[Problem]) -> Edges:
    piece = table.entries.get(section)
    match piece:
        case None:
            return Edges()
        case Scalar(value=str() as to) if to.strip():
            return Edges((Edge(to, piece.span, piece.span),))
        case Series(items=[_, *_]):
            items = [_item(node, section, index, item, read_one, problems) for index, item in enumerate(piece.items)]
            known = [read for read in items if read is not None]
            if len(known) == len(items):
                check(node, known, problems)
            return Edges(tuple(read.edge for read in known), len(known) == len(items))
        case Scalar(value=None):
            problems.append(faults.no_value(table.key_spans[section], f"node '{node}'", section))
        case _:
            problems.append(edge_faults.no_edges(piece.span, node, section, plain(piece)))

    return Edges(whole=False)


def _item(node: str, section: str, index: int, item: Piece, read_one: _ReadOne, problems: list[Problem]) -> _Read | None:
    subject = f"edge {index + 1} of '{node}'" if section == "next" else f"error edge {index + 1} of '{node}'"
    if isinstance(item, Table):
        return read_one(Part(item, subject, item.span), problems)
    problems.append(edge_faults.no_edge(item.span, subject, plain(item)))

    return None


def _next_edge(part: Part, problems: list[Problem]) -> _Read | None:
    part = respelt(part, EdgeShape.known_keys(), problems)
    table = part.table
    fitted = fit(EdgeShape, part, problems, elsewhere=_OF_ERRORS)
    if "to" in fitted.lost or "to" not in table.entries:
        return None
    shape = fitted.shape
    when = table.scalar("when") if shape.when is not None else None
    edge = Edge(
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

    return _Read(edge, table)


def _error_edge(part: Part, problems: list[Problem]) -> _Read | None:
    part = respelt(part, ErrorEdgeShape.known_keys(), problems)
    table = part.table
    fitted = fit(ErrorEdgeShape, part, problems, elsewhere=_OF_NEXT)
    if "to" in fitted.lost or "to" not in table.entries:
        return None
    shape = fitted.shape
    edge = Edge(
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

    return _Read(edge, table)


def _place_if(table: Table, key: str, value: str | None) -> Span | None:
    return None if value is None else table.place(key)


# The checks below look at the author's text: a faulty guard is a guard all the same.


def _check_guards(node: str, read: Sequence[_Read], problems: list[Problem]) -> None:
    last = read[-1].table.key_spans.get("when")
    if last is not None:
        problems.append(edge_faults.guarded_last_edge(last, node))
    for index, (edge, table) in enumerate(read[:-1]):
        if "when" not in table.key_spans:
            problems.append(edge_faults.unguarded_edge_not_last(edge.span, node, len(read) - 1 - index))


def _check_classes(node: str, read: Sequence[_Read], problems: list[Problem]) -> None:
    taken: set[str] = set()
    for index, (edge, table) in enumerate(read):
        if "class" not in table.key_spans and index < len(read) - 1:
            problems.append(edge_faults.catch_all_not_last(edge.span, node))
        for place, word in enumerate(edge.classes):
            if word in taken:
                problems.append(edge_faults.class_taken(_class_span(table, place), node, word))
            taken.add(word)


def _class_span(table: Table, place: int) -> Span:
    classes = table.entries["class"]

    return classes.items[place].span if isinstance(classes, Series) else classes.span
