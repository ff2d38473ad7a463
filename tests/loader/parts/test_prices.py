"""
What tokens cost: tables of prices, and which prices a graph means.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.loader import load_graph, source_lines
from meshwalk.loader.messages import price_faults
from meshwalk.loader.parts.prices import PriceTable, read_table
from meshwalk.model import Graph, Price
from meshwalk.model.problems import GraphError, Problem, in_file_order, render
from meshwalk.plan import compile_plan, restore
from tests.loader.reading import BACKENDS, HEAD, NODES, places, read_sound
from tests.support.files import Golden


TABLES = Path(__file__).parents[1] / "tables"
HEADINGS = "model,provider,input_usd_per_mtok,output_usd_per_mtok,cached_input_usd_per_mtok\n"
DESK = """\
meshwalk: 1
name: desk
start: a
{prices}
backends:
  s: {{kind: simulated, context_tokens: 1000, usd_per_mtok: {price}}}
nodes:
  a: {{role: answer, backend: s, next: done}}
"""


def table_of(text: str, name: str = "t.csv") -> tuple[PriceTable, list[Problem]]:
    problems: list[Problem] = []

    return read_table(text.encode(), name, problems), problems


def desk(folder: Path, prices: str, price: str, **files: str) -> Graph:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    path = folder / "desk.yaml"
    path.write_text(DESK.format(prices=prices, price=price), encoding="utf-8")

    return load_graph(path)


class TestTables:
    def test_both_kinds_say_the_same(self) -> None:
        """
        A table of rows and columns and one of keys give the same prices, whole ones and those with parts of their own.
        """
        rows, said = table_of(HEADINGS + "small,here,0.05,0.15,\ngreat,here,2.5,10,1.25\n")
        keys, told = table_of(
            "models: {small: {input: 0.05, output: 0.15}, great: {input: 2.5, output: 10, cached_input: 1.25}}", "t.yaml"
        )
        expected = {
            "small": Price(50_000_000, 150_000_000),
            "great": Price(2_500_000_000, 10_000_000_000, 1_250_000_000),
        }

        assert [] == said == told
        assert expected == {name: rows.rows[name] for name in expected} == keys.rows

    def test_columns_are_found_by_name(self) -> None:
        """
        Columns may stand in any order, those that mean nothing are left alone, and a last cell that is missing is empty.
        """
        table, problems = table_of(
            "output_usd_per_mtok,note,reasoning_usd_per_mtok,model,input_usd_per_mtok,cached_input_usd_per_mtok\n"
            '3,"a, ""b""",4,m,1\n'
        )

        assert [] == problems
        assert {"m": Price(1_000_000_000, 3_000_000_000, None, 4_000_000_000)} == table.rows

    @pytest.mark.parametrize("name", ["faulty.csv", "faulty.yaml"])
    def test_faults_read_as_agreed(self, name: str, golden: Golden) -> None:
        """
        Every fault of a table is told with its place in the table, and hides no other row.
        """
        path = TABLES / name
        problems: list[Problem] = []
        table = read_table(path.read_bytes(), name, problems)
        lines = {name: source_lines(path)}
        printed = "\n".join(render(problem, lines) for problem in in_file_order(problems)) + "\n"

        golden(path.with_suffix(f"{path.suffix}.txt"), printed)
        assert Price(10**9, 2 * 10**9, 5 * 10**8, 3 * 10**9 if name.endswith("yaml") else None) == table.rows["good"]

    def test_every_fault_is_shown(self) -> None:
        """
        Each sentence that is said of tables alone is in a golden file or in this one.
        """
        shown = "".join(path.read_text(encoding="utf-8") for path in TABLES.glob("*.txt")) + Path(__file__).read_text("utf-8")
        codes = {
            code
            for function in vars(price_faults).values()
            if callable(function) and getattr(function, "__module__", "") == price_faults.__name__
            for code in function.__code__.co_consts
            if isinstance(code, str) and code.count("-") and " " not in code and code.islower()
        }

        assert codes
        assert [] == [code for code in codes if code not in shown]

    @pytest.mark.parametrize(
        ("text", "name", "code"),
        [
            ("", "t.csv", "no-price-table"),
            ("- a list", "t.yaml", "no-price-table"),
            ("model,input\nm,1\n", "t.csv", "missing-column"),
        ],
    )
    def test_what_is_no_table_is_refused(self, text: str, name: str, code: str) -> None:
        """
        A file without rows, keys or the columns that every table has is no table of prices.
        """
        with pytest.raises(GraphError) as refused:
            table_of(text, name)

        assert [code] == [problem.code for problem in refused.value.problems]

    def test_model_of_several_providers_needs_one(self) -> None:
        """
        Where several providers have a model, its name alone means no row, and provider/model means one.
        """
        table, problems = table_of(HEADINGS + "m,here,1,2,\nm,there,3,4,\n")

        assert [] == problems
        assert {"here/m": Price(10**9, 2 * 10**9), "there/m": Price(3 * 10**9, 4 * 10**9)} == table.rows
        assert {"m": ("here/m", "there/m")} == table.shared

    def test_whole_name_means_its_model(self) -> None:
        """
        A model whose own name looks like another's with its provider keeps it.
        """
        table, problems = table_of(HEADINGS + "m,here,1,2,\nm,there,3,4,\nhere/m,far,5,6,\n")

        assert [] == problems
        assert Price(5 * 10**9, 6 * 10**9) == table.rows["here/m"]
        assert ("there/m",) == table.shared["m"]

    @given(st.text(max_size=200), st.sampled_from(["t.csv", "t.yaml"]))
    def test_any_text_is_a_table_or_refused(self, text: str, name: str) -> None:
        """
        Whatever stands in a table, reading it ends in prices or in faults with places inside the text.
        """
        problems: list[Problem] = []
        try:
            read_table(text.encode("utf-8", "replace"), name, problems)
        except GraphError as error:
            problems += error.problems

        assert all(problem.span.line >= 1 and problem.span.column >= 1 for problem in problems)

    @given(st.text(alphabet=st.sampled_from('m1,."- \t'), max_size=60))
    def test_any_cells_are_rows_or_refused(self, text: str) -> None:
        """
        However cells are quoted, a line is a row or has a fault on it.
        """
        table, problems = table_of(HEADINGS + text)

        assert not text.strip() or table.rows or problems
        assert all(problem.span.line == 2 for problem in problems)


class TestVersions:
    CSV = HEADINGS + "m,here,1,2,0.5\n"

    def test_authors_word_comes_first(self, tmp_path: Path) -> None:
        """
        The version in the graph names the prices, then the table's own, then the start of the table's hash.
        """
        own = 'version: "9"\nmodels: {m: {input: 1, output: 2}}'
        named = desk(tmp_path, 'prices: {table: p.yaml, version: "2026-11"}', "m", p_yaml=own)
        table = desk(tmp_path, "prices: p.yaml", "m", p_yaml=own)
        hashed = desk(tmp_path, "prices: p.csv", "m", p_csv=self.CSV)
        digest = sha256(self.CSV.encode()).hexdigest()

        assert () == named.problems == table.problems == hashed.problems
        assert ["2026-11", "9", f"sha256:{digest[:12]}"] == [graph.prices for graph in (named, table, hashed)]
        assert digest == hashed.hashes["prices"]

    def test_prices_in_the_graph_are_named_after_themselves(self, tmp_path: Path) -> None:
        """
        Prices that nobody named have the same version while they are the same, and another when one of them changes.
        """
        one, same, other = (
            desk(tmp_path, said, f"{{input: 1, output: {output}}}")
            for said, output in (("", "2"), ("description: told", "2.0"), ("", "3"))
        )

        assert one.prices.startswith("sha256:")
        assert one.prices == same.prices != other.prices

    def test_graph_without_prices_has_no_version(self) -> None:
        """
        Where no backend has a price, there is nothing to name.
        """
        assert "" == read_sound(HEAD + BACKENDS + NODES).prices

    def test_stored_plan_needs_no_table(self, tmp_path: Path) -> None:
        """
        A plan compiled again from its stored form has its prices and their version, though the table is gone.
        """
        graph = desk(tmp_path, 'prices: {table: p.csv, version: "2026-11"}', "here/m", p_csv=self.CSV)
        plan = compile_plan(graph)
        (tmp_path / "p.csv").unlink()
        again = restore(plan.canonical)

        assert Price(10**9, 2 * 10**9, 5 * 10**8) == again.graph.backends["s"].price
        assert ("2026-11", plan.plan_digest) == (again.graph.prices, again.plan_digest)

    def test_other_prices_are_another_plan(self, tmp_path: Path) -> None:
        """
        A table that says another thing, and one that is called otherwise, change the digest.
        """
        rows = (self.CSV, self.CSV.replace("0.5", "0.6"), self.CSV)
        versions = ("1", "1", "2")
        digests = [
            compile_plan(desk(tmp_path, f'prices: {{table: p.csv, version: "{version}"}}', "m", p_csv=csv)).plan_digest
            for csv, version in zip(rows, versions, strict=True)
        ]

        assert 3 == len(set(digests))


class TestUse:
    def test_fault_of_a_table_stops_the_graph(self, tmp_path: Path) -> None:
        """
        A graph whose table has a fault is at fault there, and not where it names the row.
        """
        graph = desk(tmp_path, "prices: p.csv", "m", p_csv=HEADINGS + "m,here,free,2,\n")

        assert [("wrong-type", 2, 8)] == places(graph.problems)
        assert str(tmp_path / "p.csv") == graph.problems[0].span.file

    def test_table_that_is_none_is_told_once(self, tmp_path: Path) -> None:
        """
        What is wrong with a whole table is told in its place, and backends are not blamed for its rows.
        """
        graph = desk(tmp_path, "prices: p.csv", "m", p_csv="name,price\nm,1\n")

        assert ["missing-column"] == [problem.code for problem in graph.problems]
