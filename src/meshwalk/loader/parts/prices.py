"""
Prices of tokens: tables of prices, and the rows that a graph names.

A graph may name a table (`prices: FILE`), and its backends then take their prices from rows of it by name.  A table is YAML,
`{version: …, models: {NAME: {input: …, output: …}}}`, the JSON of the litellm package (see `litellm_prices`), or CSV, whose
first line names its columns and whose other lines are models; columns that mean nothing here are left alone.

Prices are copied into the graph when it is loaded, so that a stored
plan needs no table; of the table, the plan keeps the version and the hash.

Invariants:

1. A fault of a table stands at its place in the table, and hides no other row.
2. A name means one row.  Where several providers have rows for one model, its bare name is refused and `provider/model` names
   one: which of them a backend pays cannot be guessed, and the order of a file is no reason.
3. Prices always have a version: the author's; else the table's own; else the start of the hash of the table, or of the prices.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from meshwalk.loader.messages import backend_faults, faults, price_faults, trust_faults
from meshwalk.loader.parts.fit import Part, fit, part_of, respelt, spelt_out
from meshwalk.loader.schema.prices import PriceColumns, PriceShape, PricesShape, PriceTableShape, RatesShape
from meshwalk.loader.yaml.document import MAX_BYTES, Piece, Scalar, Table, decode, read_document, resolve, split_lines
from meshwalk.model import AnyBackendSpec, Mark, Price, Rates, pricing
from meshwalk.model.problems import GraphError, Problem, Span
from meshwalk.model.spelling import nearest
from meshwalk.model.trust import GraphFiles, OutsideFolderError, UnquotedProblem


_MODEL, _PROVIDER = "model", "provider"

# One cell of a line and what ends it; quotes as RFC 4180 has them, but for line breaks.
_CELL = re.compile(r'[ \t]*(?:"((?:[^"]|"")*)"[ \t]*|([^",]*))(,|$)')

# Enough for a slip in a long name (`cached_inptu_usd_per_mtok`), too much for another column.
_LIKENESS = 0.85


class PriceTable(NamedTuple):
    """
    The content of a price file.

    Args:
        rows: By every name that means one row.
        shared: The names a backend may write instead, by a name that several rows share.
        broken: The names of rows whose own text is at fault.
        refused: The reason for each row that has no price by the token.
    """

    file: str
    version: str
    digest: str
    rows: Mapping[str, Price]
    shared: Mapping[str, tuple[str, ...]]
    broken: frozenset[str]
    refused: Mapping[str, str] = {}


class Prices:
    """
    The prices of a graph, with a note whether any row is used.

    Args:
        version: The author's name for them; empty if there is none.
        unread: Whether a table is named that cannot be read, so that nobody knows its rows.
    """

    def __init__(
        self,
        version: str = "",
        table: PriceTable | None = None,
        *,
        unread: bool = False,
        span: Span | None = None,
        stored: bool = False,
    ) -> None:
        self.version = version
        self.stored = stored
        self.table = table
        self.unread = unread
        self.span = span
        self.used = False

    def of(self, name: str, span: Span, backend: str, problems: list[Problem]) -> Price | None:
        """
        Return the price in the row called *name*, or report why there is none.
        """
        self.used = True
        table = self.table
        if table is None:
            if not self.unread:
                problems.append(backend_faults.nothing_to_look_in(span, backend, name))
        elif name in table.rows:
            return table.rows[name]
        elif name in table.shared:
            problems.append(backend_faults.shared_row(span, backend, name, table.shared[name]))
        elif name in table.refused:
            problems.append(backend_faults.refused_row(span, backend, name, table.refused[name]))
        elif name not in table.broken:
            problems.append(backend_faults.no_row(span, backend, name, table.file, table.rows))

        return None

    def version_for(self, backends: Mapping[str, AnyBackendSpec]) -> str:
        """
        Return the version of the prices of *backends*; empty if none has a price and the author named none.
        """
        version = self.version or ("" if self.table is None else self.table.version)

        return version or pricing.version_of(backends)


def read_prices(root: Table, files: GraphFiles, problems: list[Problem], *, stored: bool) -> Prices:
    """
    Read the prices of the graph in *root*, and the table it names.

    Args:
        stored: Whether the graph is a stored plan's, which holds its prices and has no files beside it.
    """
    piece = root.entries.get("prices")
    if piece is None:
        return Prices(stored=stored)
    key = root.key_spans["prices"]
    part = part_of(spelt_out(piece, "table", str), "'prices'", key, problems)
    if part is None:
        return Prices(unread=True, stored=stored)
    part = respelt(part, PricesShape.known_keys(), problems)
    fitted = fit(PricesShape, part, problems)
    shape = fitted.shape
    if shape.table is None and shape.version is None and not part.table.merged and not part.table.entries:
        problems.append(backend_faults.prices_of_nothing(key))
    if shape.table is None or stored:
        return Prices(shape.version or "", unread="table" in fitted.lost or stored, stored=stored)
    span = part.table.place("table")
    table = _opened(shape.table, files, span, problems)

    return Prices(shape.version or "", table, unread=table is None, span=span, stored=stored)


def check_use(prices: Prices, problems: list[Problem]) -> None:
    """
    Report a price table that no backend takes a price from.
    """
    if prices.table is not None and prices.span is not None and not prices.used:
        problems.append(backend_faults.nothing_taken(prices.span, prices.table.file))


def _opened(name: str, files: GraphFiles, span: Span, problems: list[Problem]) -> PriceTable | None:
    try:
        with files.open(name) as file:
            text = file.read(MAX_BYTES + 1)
    except (OSError, OutsideFolderError, ValueError) as error:
        problems.append(unread_file(span, name, files, error))
        return None
    found: list[Problem] = []
    try:
        return read_table(text, str(Path(files.folder, name)), found)
    except GraphError as error:
        found += error.problems
        return None
    finally:
        # A graph may name any file for a table, and learn its lines from what is said of them.
        problems += [UnquotedProblem(fault.span, fault.code, fault.message, fault.help, fault.severity) for fault in found]


def unread_file(span: Span, name: str, files: GraphFiles, error: Exception) -> Problem:
    """
    Return the fault of a file that a graph names and that cannot be used.
    """
    if isinstance(error, OutsideFolderError):
        return trust_faults.file_outside(span, name, files.folder)

    return faults.missing_file(span, name, files.folder, _why_unread(error))


def _why_unread(error: Exception) -> str:
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return "is not there"
        case OSError() if error.errno in {errno.EISDIR, errno.EINVAL, errno.ENXIO}:
            return "is no plain file"
        case OSError():
            return f"cannot be read ({error.strerror})"
        case _:
            return "has a name that no file can have"


# ---- tables ---------------------------------------------------------------------------------------------------------


def read_table(text: bytes, file: str, problems: list[Problem]) -> PriceTable:
    """
    Read the table of prices in *text*, and add its faults to *problems*.

    Raises:
        GraphError: If nothing in it can be read.
    """
    digest = hashlib.sha256(text).hexdigest()
    # Few tables are of that package.
    from meshwalk.loader.parts.litellm_prices import read_rows  # noqa: PLC0415

    if file.lower().endswith(".json") and (found := read_rows(text)) is not None:
        return PriceTable(file, pricing.short(digest), digest, found.prices, {}, frozenset(), found.refused)
    reader = _RowReader(file, problems)
    version = ""
    if file.lower().endswith(".csv"):
        reader.csv(decode(text, file))
    else:
        version = reader.yaml(text)

    return PriceTable(file, version or pricing.short(digest), digest, *reader.named())


# The line of the first row of each model, with its cells.
_First = dict[tuple[str, str], tuple[int, dict[str, Any]]]


class _Row(NamedTuple):
    model: str
    provider: str
    price: Price | None


class _RowReader:
    """
    A reader of rows, in the file's order.
    """

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self._file = file
        self._problems = problems
        self._rows: list[_Row] = []

    def named(self) -> tuple[dict[str, Price], dict[str, tuple[str, ...]], frozenset[str]]:
        """
        Return the rows by each unambiguous name, the names to write for each ambiguous one, and the names of faulty rows.
        """
        by_model: dict[str, list[_Row]] = {}
        for row in self._rows:
            by_model.setdefault(row.model, []).append(row)
        rows: dict[str, Price | None] = {}
        shared = {}
        for model, providers in by_model.items():
            if len(providers) == 1:
                rows[model] = providers[0].price
            else:
                shared[model] = tuple(_full(row) for row in providers if _full(row) not in by_model)
        # A text that is some model's whole name means that model.
        for row in self._rows:
            if row.provider and _full(row) not in by_model:
                rows[_full(row)] = row.price

        priced = {name: price for name, price in rows.items() if price is not None}
        return priced, shared, frozenset(rows.keys() - priced.keys())

    # ---- YAML ---------------------------------------------------------------------------------------------------

    def yaml(self, text: bytes) -> str:
        """
        Take the rows of a YAML table, and return its version.
        """
        document = read_document(text, self._file)
        self._problems += document.problems
        root = document.root
        if not isinstance(root, Table):
            raise GraphError([price_faults.no_table(root.span)])
        part = respelt(
            Part(root, "the table of prices", root.span._replace(length=1)), PriceTableShape.known_keys(), self._problems
        )
        models = part.table.entries.get("models")
        fitted = fit(PriceTableShape, part, self._problems, preset={"models": {}} if isinstance(models, Table) else {})
        if isinstance(models, Table):
            for name, piece in models.entries.items():
                self._yaml_row(name, piece, models.key_spans[name])

        return fitted.shape.version or ""

    def _yaml_row(self, name: str, piece: Piece, span: Span) -> None:
        part = part_of(piece, f"the row of '{name}'", span, self._problems)
        if part is not None:
            part = respelt(part, PriceShape.known_keys(), self._problems)
            fitted = fit(PriceShape, part, self._problems)
            price = None if fitted.lost else price_of(fitted.shape, part, self._problems)
            self._rows.append(_Row(name, "", price))
        else:
            self._rows.append(_Row(name, "", None))

    # ---- CSV ----------------------------------------------------------------------------------------------------

    def csv(self, text: str) -> None:
        """
        Take the rows of a CSV table.
        """
        lines = [(number, line) for number, line in enumerate(split_lines(text), 1) if line.strip()]
        top = Span(self._file, 1, 1)
        if not lines:
            raise GraphError([price_faults.no_table(top)])
        columns = self._columns(*lines[0])
        first: _First = {}
        for number, line in lines[1:]:
            table = self._cells(number, line, columns)
            if table is not None:
                self._csv_row(table, number, first)

    def _columns(self, number: int, line: str) -> list[str]:
        names = self._split(number, line) or []
        taken = [*PriceColumns.known_keys(), _MODEL, _PROVIDER]
        missing = [name for name in taken if name not in {column for column, _ in names}]
        needed = [name for name in (_MODEL, *PriceColumns.required()) if name in missing]
        if needed:
            raise GraphError([price_faults.missing_columns(Span(self._file, number, 1), needed)])
        seen = set()
        for name, span in names:
            if name in seen:
                self._problems.append(price_faults.column_twice(span, name))
            seen.add(name)
            intended = None if name in taken else nearest(name, missing, _LIKENESS)
            if intended is not None:
                self._problems.append(price_faults.unread_column(span, name, intended))

        return [name for name, _ in names]

    def _split(self, number: int, line: str) -> list[tuple[str, Span]] | None:
        """
        Return the cells of a line with their places; None if one of them does not end.
        """
        cells, start = [], 0
        while True:
            cell = _CELL.match(line, start)
            if cell is None:
                self._problems.append(price_faults.bad_cell(Span(self._file, number, start + 1, len(line) - start)))
                return None
            quoted, bare, end = cell.groups()
            text = bare.strip() if quoted is None else quoted.replace('""', '"')
            inside = cell.start(2) if quoted is None else cell.start(1)
            cells.append((text, Span(self._file, number, min(inside, len(line) - 1) + 1, max(1, len(text)))))
            if not end:
                return cells
            start = cell.end()

    def _cells(self, number: int, line: str, columns: list[str]) -> Table | None:
        """
        Return a line as a table of keys, without its empty cells.
        """
        cells = self._split(number, line)
        if cells is None:
            return None
        if len(cells) > len(columns):
            self._problems.append(price_faults.too_many_cells(cells[len(columns)][1], len(columns)))
            return None
        table = Table(Span(self._file, number, 1))
        for column, (text, span) in zip(columns, cells, strict=False):
            if text and column not in table.entries:
                value = text if column in (_MODEL, _PROVIDER) else resolve(text)
                table.entries[column] = Scalar(value, text, span, span, exact=True)
                table.key_spans[column] = span

        return table

    def _csv_row(self, table: Table, number: int, first: _First) -> None:
        model, provider = (cell.raw if (cell := table.scalar(key)) else "" for key in (_MODEL, _PROVIDER))
        span = table.place(_MODEL)
        if not model:
            self._problems.append(price_faults.no_model(span))
            return
        cells = {key: cell.value for key in PriceColumns.known_keys() if (cell := table.scalar(key)) is not None}
        before = first.get((model, provider))
        if before is not None:
            same = cells == before[1]
            self._problems.append(price_faults.row_twice(span, model, provider, before[0], same=same))
            return
        first[model, provider] = number, cells
        lacking = [key for key in PriceColumns.required() if key not in table.entries]
        if lacking:
            self._problems += [price_faults.no_price(span, model, key) for key in lacking]
            self._rows.append(_Row(model, provider, None))
            return
        priced = Table(table.span)
        for key in PriceColumns.known_keys():
            if key in table.entries:
                priced.entries[key], priced.key_spans[key] = table.entries[key], table.key_spans[key]
        part = Part(priced, f"the row of '{model}'", span)
        fitted = fit(PriceColumns, part, self._problems)
        price = None if fitted.lost else price_of(fitted.shape, part, self._problems)
        self._rows.append(_Row(model, provider, price))


def _full(row: _Row) -> str:
    return f"{row.provider}/{row.model}" if row.provider else row.model


def _rates(shape: RatesShape | PriceColumns) -> Rates:
    return Rates(shape.input, shape.output, shape.cached_input, shape.reasoning, shape.cache_write)


def _marks(shape: PriceShape, part: Part, problems: list[Problem]) -> tuple[Mark, ...]:
    marks = sorted(Mark(mark.input_tokens - mark.inclusive, _rates(mark)) for mark in shape.above or ())
    tokens = [mark.input_tokens for mark in marks]
    if len(set(tokens)) < len(tokens):
        problems.append(backend_faults.mark_twice(part.table.place("above"), part.subject))

    return tuple(marks)


def price_of(shape: PriceShape | PriceColumns, part: Part, problems: list[Problem]) -> Price:
    """
    Make a price of a fitted shape, and warn of one that is likely not meant.
    """
    rates = _rates(shape)
    marks: tuple[Mark, ...] = ()
    if isinstance(shape, PriceShape):
        marks = _marks(shape, part, problems)
        if shape.tier is not None:
            tier = (shape.tiers or {}).get(shape.tier)
            if tier is None:
                problems.append(backend_faults.no_tier(part.table.place("tier"), part.subject, shape.tier, shape.tiers or ()))
            else:
                rates, marks = _rates(tier), ()
    price = Price(*rates, marks)
    if price.cached_nano_per_mtok is not None and price.cached_nano_per_mtok > price.input_nano_per_mtok:
        alias = type(shape).model_fields["cached_input"].alias or "cached_input"
        problems.append(backend_faults.dear_cache(part.table.place(alias), part.subject))

    return price
