"""
One part of the tree fitted to its shape, with every fault at its place.

A part with faults is fitted again without them, so that later checks still see the rest of it: an unknown key does not make a
node vanish, and with it every name that refers to it.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from meshwalk.loader.messages import faults
from meshwalk.loader.schema.shape import Shape
from meshwalk.loader.yaml.document import Piece, Scalar, Series, Table, plain
from meshwalk.model.problems import Problem, Span
from meshwalk.model.spelling import nearest


ShapeT = TypeVar("ShapeT", bound=Shape)


# A table with more keys that nobody knows is no table with slips in it.
_MAX_STRANGERS = 50

# Enough for two letters swapped in a key of four (`nxet`), too much for another word.
_LIKENESS = 0.75


class Part(NamedTuple):
    """
    A part of the tree.

    Args:
        subject: Its name in sentences: `node 'screen'`.
        span: The place of faults about missing keys.
    """

    table: Table
    subject: str
    span: Span


class Findings(NamedTuple):
    """
    The findings so far: faults, and the names of parts that are not fully known because of them.
    """

    problems: list[Problem]
    broken: set[str]


class Fitted(NamedTuple, Generic[ShapeT]):
    """
    A fitted shape; *lost* names the keys whose values did not fit and were left out.
    """

    shape: ShapeT
    lost: frozenset[str]


def respelt(part: Part, known: Sequence[str], problems: list[Problem], understood: Collection[str] = ()) -> Part:
    """
    Return *part* with each misspelt key corrected, and report each.

    Args:
        understood: Unknown keys that are no misspellings; each has a remedy of its own.
    """
    missing = [key for key in known if key not in part.table.entries]
    strange = [key for key in part.table.entries if key not in known and key not in understood]
    if not missing or not 0 < len(strange) <= _MAX_STRANGERS:
        return part
    table = Table(part.table.span)
    table.merged = part.table.merged
    for key, piece in part.table.entries.items():
        intended = nearest(key, missing, _LIKENESS) if key in strange else None
        if intended is not None:
            problems.append(faults.unknown_key(part.table.key_spans[key], part.subject, key, missing))
            missing.remove(intended)
        table.entries[intended or key] = piece
        table.key_spans[intended or key] = part.table.key_spans[key]

    return part._replace(table=table)


def fit(
    shape: type[ShapeT],
    part: Part,
    problems: list[Problem],
    *,
    preset: Mapping[str, Any] = MappingProxyType({}),
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> Fitted[ShapeT]:
    """
    Fit *part* to *shape*, adding each fault to *problems*.

    Args:
        preset: Values for keys that are present and read elsewhere.
        elsewhere: The remedy for a key that is known, but not here.
    """
    data = {key: preset[key] if key in preset else plain(piece) for key, piece in part.table.entries.items()}
    lost = _without_nothing(part, data, problems, preset)
    while True:
        try:
            return Fitted(shape.model_validate(data), frozenset(lost))
        except ValidationError as error:
            for position, detail in enumerate(error.errors(include_url=False)):
                problem = _problem(detail, shape, part, elsewhere, suggest=position < _MAX_STRANGERS)
                if problem is not None:
                    problems.append(problem)
                lost |= _prune(detail, shape, data)


def part_of(piece: Piece, subject: str, span: Span, problems: list[Problem]) -> Part | None:
    """
    Return *piece* as a part, or report that it is no table of keys.

    Args:
        span: The place of its name.
    """
    match piece:
        case Table():
            return Part(piece, subject, span)
        case Scalar(value=None):
            problems.append(faults.empty_part(span, subject))
        case _:
            problems.append(faults.wrong_type(piece.span, subject, plain(piece), "a table of keys"))

    return None


def spelt_out(piece: Piece, key: str, *types: type) -> Piece:
    """
    Return a bare value of one of *types* as the table it is short for, with the value under *key*.
    """
    if not isinstance(piece, Scalar) or not isinstance(piece.value, types) or piece.value is None:
        return piece
    table = Table(piece.span)
    table.entries[key] = piece
    table.key_spans[key] = piece.span

    return table


def with_key_found(part: Part, key: str, shapes: Collection[str], known: Collection[str], problems: list[Problem]) -> Part:
    """
    Return *part* with *key* in place of an unknown key whose value is one of its words (`type: openai`), and report that.
    """
    if key in part.table.entries:
        return part
    for other, piece in part.table.entries.items():
        if other not in known and isinstance(piece, Scalar) and piece.value in shapes:
            remedy = f"you wrote {other}: {piece.value}; write {key}: {piece.value}"
            problems.append(faults.missing_key(part.table.key_spans[other], part.subject, key, remedy))
            table = Table(part.table.span)
            table.merged = part.table.merged
            table.entries = {key if one == other else one: inner for one, inner in part.table.entries.items()}
            table.key_spans = {key if one == other else one: span for one, span in part.table.key_spans.items()}
            return part._replace(table=table)

    return part


def guessed(part: Part, key: str, shapes: Mapping[str, type[ShapeT]]) -> tuple[Part, str] | None:
    """
    Return *part* with the likely word under *key*: of the shapes that miss nothing, the one that takes most of its keys.

    Such a part is still looked into, so that its other faults do not wait for this one.
    """
    table = part.table
    keys = table.entries.keys() - {key}
    taken = {word: keys & set(shape.known_keys()) for word, shape in shapes.items() if shape.needed_keys() <= {key, *keys}}
    best = max(taken, key=lambda word: len(taken[word]), default="")
    if table.merged or not best or not set().union(*taken.values()) <= taken[best]:
        return None
    whole = Table(table.span)
    whole.entries = {**table.entries, key: Scalar(best, best, table.span, table.span, exact=False)}
    whole.key_spans = {**table.key_spans, key: table.key_spans.get(key, table.span)}

    return part._replace(table=whole), best


def choose(part: Part, key: str, shapes: Mapping[str, type[ShapeT]], problems: list[Problem]) -> str | None:
    """
    Return which of *shapes* the value of *key* names; a misspelt one is a fault and taken for what it was meant to be.
    """
    piece = part.table.entries.get(key)
    if piece is None and part.table.merged:
        return None
    if piece is None:
        remedy = f"there are: {', '.join(shapes)}"
        problems.append(faults.missing_key(part.span, part.subject, key, remedy))
        return None
    value = plain(piece)
    if value is None:
        problems.append(faults.no_value(part.table.key_spans[key], part.subject, key))
        return None
    if not isinstance(value, str):
        problems.append(faults.wrong_type(piece.span, f"'{key}' of {part.subject}", value, "text"))
        return None
    if value in shapes:
        return value
    problems.append(faults.unknown_word(piece.span, f"'{key}' of {part.subject}", key, value, shapes))

    return nearest(value, shapes)


def _without_nothing(part: Part, data: dict[str, Any], problems: list[Problem], preset: Container[str]) -> set[str]:
    # A key without a value is a fault of its own, and no type takes one.
    lost = set()
    for key, piece in part.table.entries.items():
        if key in preset:
            continue
        empty = list(_nothings(part.table.key_spans[key], key, piece))
        for span, name in empty:
            problems.append(faults.no_value(span, part.subject, name))
        if empty:
            lost.add(key)
            del data[key]

    return lost


def _nothings(span: Span, key: str, piece: Piece) -> list[tuple[Span, str]]:
    match piece:
        case Scalar(value=None):
            return [(span, key)]
        case Table():
            return [empty for name, inner in piece.entries.items() for empty in _nothings(piece.key_spans[name], name, inner)]
        case Series():
            return [empty for item in piece.items for empty in _nothings(item.span, key, item)]
        case _:
            return []


def _problem(detail: Any, shape: type[Shape], part: Part, elsewhere: Mapping[str, str], *, suggest: bool) -> Problem | None:
    path = detail["loc"]
    key = str(path[-1])
    if detail["type"] == "missing":
        table, subject, span = _holder(part, path)
        # A present key that is empty, wrong or misspelt is reported elsewhere.
        there = key in table.entries or table.merged or _misspelt(key, table)
        return None if there else faults.missing_key(span, subject, key)
    if detail["type"] == "extra_forbidden":
        table, subject, _ = _holder(part, path)
        known = _keys_at(shape, path) if suggest else ()
        return faults.unknown_key(table.key_spans[key], subject, key, known, elsewhere.get(key, "") if len(path) == 1 else "")
    named = [step for step in path if isinstance(step, str)]

    return faults.from_pydantic(detail, _value_span(part.table, path), f"'{'.'.join(named)}' of {part.subject}", named[-1])


def _misspelt(key: str, table: Table) -> bool:
    return len(table.entries) <= _MAX_STRANGERS and any(nearest(other, [key]) for other in table.entries)


def _holder(part: Part, path: Sequence[Any]) -> Part:
    table, subject, span = part
    for step in path[:-1]:
        inner = table.entries[step]
        assert isinstance(inner, Table)
        table, subject, span = inner, f"'{step}' of {subject}", table.key_spans[step]

    return Part(table, subject, span)


def _keys_at(shape: type[Shape], path: Sequence[Any]) -> tuple[str, ...]:
    for step in path[:-1]:
        field = next(field for name, field in shape.model_fields.items() if (field.alias or name) == step)
        inner = [kind for kind in _members(field.annotation) if isinstance(kind, type) and issubclass(kind, Shape)]
        shape = inner[0]

    return shape.known_keys()


def _members(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *getattr(annotation, "__args__", ()))


def _value_span(table: Table, path: Sequence[Any]) -> Span:
    piece: Piece = table
    for step in path:
        if isinstance(piece, Table) and step in piece.entries:
            piece = piece.entries[step]
        elif isinstance(piece, Series) and isinstance(step, int) and step < len(piece.items):
            piece = piece.items[step]

    return piece.span


def _prune(detail: Any, shape: type[Shape], data: dict[str, Any]) -> set[str]:
    path = detail["loc"]
    if detail["type"] == "extra_forbidden":
        inner: Any = data
        for step in path[:-1]:
            inner = inner.get(step, {})  # gone already, if a worse fault was found in it
        inner.pop(path[-1], None)
        return set()
    top = str(path[0])
    data.pop(top, None)
    if top in shape.stand_ins:
        data[top] = shape.stand_ins[top]

    return {top}
