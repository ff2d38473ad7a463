"""
The faults of a table of prices: every sentence, code and remedy in one place.

Each function is named for its fault, and its body is what is said.
"""
# ruff: noqa: D103 (a docstring would say the sentence a second time)

from __future__ import annotations

from collections.abc import Iterable

from meshwalk.loader.messages.faults import quoted
from meshwalk.model.problems import Problem, Span


def no_table(span: Span) -> Problem:
    return Problem(
        span,
        "no-price-table",
        "a table of prices has the keys 'version' and 'models'",
        "write models: {NAME: {input: 2.5, output: 10}}, or end the file's name in .csv if it has rows and columns",
    )


def missing_columns(span: Span, missing: Iterable[str]) -> Problem:
    return Problem(
        span,
        "missing-column",
        f"the first line of a table of prices names its columns, and this one has no {', no '.join(missing)}",
        "a table has at least: model, input_usd_per_mtok, output_usd_per_mtok",
    )


def column_twice(span: Span, name: str) -> Problem:
    return Problem(span, "duplicate-column", f"the column {quoted(name)} is named twice", "remove one of them")


def unread_column(span: Span, name: str, intended: str) -> Problem:
    return Problem(
        span, "unread-column", f"the column {quoted(name)} is not read", f"did you mean '{intended}'?", severity="warning"
    )


def bad_cell(span: Span) -> Problem:
    return Problem(
        span,
        "bad-csv",
        "this cell ends nowhere on its line",
        'a cell that starts with " ends with one, holds "" for each of its own, and stands on one line',
    )


def too_many_cells(span: Span, count: int) -> Problem:
    return Problem(
        span, "too-many-cells", f"the table has {count} columns, and this line has a cell more", 'quote a cell that holds a ","'
    )


def no_model(span: Span) -> Problem:
    return Problem(span, "no-model", "this row names no model", "write the model's name, or remove the row")


def no_price(span: Span, model: str, column: str) -> Problem:
    return Problem(
        span, "no-price", f"the row of {quoted(model)} has nothing under {column}", "write 0 if it is free, or remove the row"
    )


def row_twice(span: Span, model: str, provider: str, line: int, *, same: bool = False) -> Problem:
    whose = f" at provider {quoted(provider)}" if provider else ""

    return Problem(
        span,
        "duplicate-row",
        f"the model {quoted(model)}{whose} has a row already, in line {line}{', with the same price' if same else ''}",
        "remove one of them" if same else "remove one of them; this one was not read",
        severity="warning" if same else "error",
    )
