"""
`meshwalk draw` and `meshwalk schema`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwalk import draw
from meshwalk.loader import load_graph
from meshwalk.loader.schema.export import cases_schema, json_schema
from tests.cli.conftest import Run


class TestDraw:
    def test_mermaid_is_the_default(self, run: Run, desk: Path) -> None:
        """
        Without a format the graph is a Mermaid flowchart on stdout.
        """
        drawn = run("draw", desk)

        assert (0, "") == (drawn.code, drawn.err)
        assert draw.mermaid(load_graph(desk)) == drawn.out

    def test_never_writes_over_the_graph(self, run: Run, desk: Path) -> None:
        """
        A picture that would take the place of its own graph is refused, and the graph stays as it was.
        """
        before = desk.read_bytes()
        drawn = run("draw", desk, "-o", desk, "--format", "svg")

        assert 2 == drawn.code
        assert "is the graph itself" in drawn.err
        assert before == desk.read_bytes()

    def test_dot(self, run: Run, desk: Path) -> None:
        """
        `--format dot` is Graphviz' language.
        """
        assert draw.dot(load_graph(desk)) == run("draw", desk, "--format", "dot").out

    @pytest.mark.parametrize(("ending", "first"), [("mmd", "flowchart TD"), ("dot", 'digraph "desk" {'), ("svg", "<svg ")])
    def test_the_ending_chooses(self, run: Run, desk: Path, tmp_path: Path, ending: str, first: str) -> None:
        """
        A file's ending says in which language it is written.
        """
        drawn = run("draw", desk, "-o", tmp_path / f"desk.{ending}")

        assert 0 == drawn.code
        assert (tmp_path / f"desk.{ending}").read_text(encoding="utf-8").startswith(first)
        assert f"desk.{ending}: graph 'desk' as" in drawn.out

    def test_svg_tells_the_bounds(self, run: Run, desk: Path) -> None:
        """
        The picture of a graph without errors says what a walk can come to.
        """
        assert "A walk comes to 3 hops, " in run("draw", desk, "--format", "svg").out

    def test_an_ending_that_says_nothing(self, run: Run, desk: Path, tmp_path: Path) -> None:
        """
        A file whose ending names no language is wrong use, and the remedy is named.
        """
        drawn = run("draw", desk, "-o", tmp_path / "desk.png")

        assert 2 == drawn.code
        assert "end it in .svg, .mmd or .dot" in drawn.err
        assert not (tmp_path / "desk.png").exists()

    def test_json(self, run: Run, desk: Path) -> None:
        """
        The document holds the drawing and what it is of.
        """
        drawn = run("draw", desk, "--json").json

        assert ("desk", "mermaid", None, True) == (drawn["graph"], drawn["format"], drawn["file"], drawn["ok"])
        assert draw.mermaid(load_graph(desk)) == drawn["text"]

    def test_a_faulty_graph_is_drawn_with_a_note(self, run: Run) -> None:
        """
        What can be read of a graph with errors is drawn, and that it has some is said beside it.
        """
        drawn = run("draw", Path(__file__).parent / "faulty.yaml")

        assert 0 == drawn.code
        assert drawn.out.startswith("flowchart TD")
        assert "note: the graph has errors (" in drawn.err

    def test_a_file_that_cannot_be_written(self, run: Run, desk: Path, tmp_path: Path) -> None:
        """
        A folder that is not there is said in one sentence.
        """
        drawn = run("draw", desk, "-o", tmp_path / "no" / "desk.mmd")

        assert (2, "") == (drawn.code, drawn.out)
        assert drawn.err.endswith("cannot be written: No such file or directory\n")


class TestWalked:
    def test_a_walk_is_drawn_over_its_graph(self, run: Run, desk: Path, traces: Path, tmp_path: Path) -> None:
        """
        `--traces` and `--traversal` mark the path that a walk took.
        """
        walk = run("traces", "list", "--traces", traces, "--outcome", "refused", "--json").json["traversals"][0]["traversal_id"]
        drawn = run("draw", desk, "-o", tmp_path / "desk.svg", "--traces", traces, "--traversal", walk)
        text = (tmp_path / "desk.svg").read_text(encoding="utf-8")

        assert (0, f"{tmp_path}/desk.svg: graph 'desk' as svg, walk {walk}\n") == (drawn.code, drawn.out)
        assert 'class="edge taken" data-from="intake" data-to="sorry"' in text
        assert 'class="edge taken" data-from="small"' not in text

    def test_another_graph_is_refused(self, run: Run, desk: Path, traces: Path) -> None:
        """
        A walk is not drawn over a graph whose edges may be others.
        """
        walk = run("traces", "list", "--traces", traces, "--json").json["traversals"][0]["traversal_id"]
        desk.write_text(desk.read_text(encoding="utf-8").replace("== 'proof'", "!= 'prose'"), encoding="utf-8")
        drawn = run("draw", desk, "--format", "svg", "--traces", traces, "--traversal", walk)

        assert 2 == drawn.code
        assert "draw the graph as it was then" in drawn.err

    def test_another_threshold_is_no_other_path(self, run: Run, desk: Path, traces: Path) -> None:
        """
        A walk is drawn over its graph however that has been tuned since.
        """
        walk = run("traces", "list", "--traces", traces, "--json").json["traversals"][0]["traversal_id"]
        desk.write_text(desk.read_text(encoding="utf-8").replace("value: 0.8", "value: 0.7"), encoding="utf-8")

        assert 0 == run("draw", desk, "--format", "svg", "--traces", traces, "--traversal", walk).code

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--format", "svg", "--traversal", "abcdef"), "a path needs both"),
            (("--format", "svg", "--traces", "."), "a path needs both"),
            (("--format", "dot", "--traces", ".", "--traversal", "abcdef"), "a walk is drawn in SVG only"),
        ],
    )
    def test_wrong_use(self, run: Run, desk: Path, options: tuple[str, ...], said: str) -> None:
        """
        A walk needs its folder, its id, and a language that shows it.
        """
        drawn = run("draw", desk, *options)

        assert 2 == drawn.code
        assert said in drawn.err


class TestSchema:
    @pytest.mark.parametrize("options", [(), ("--json",)])
    def test_prints_the_schema(self, run: Run, options: tuple[str, ...]) -> None:
        """
        The schema is one JSON document, asked for or not.
        """
        printed = run("schema", *options)

        assert 0 == printed.code
        assert json_schema() == printed.json

    def test_prints_the_schema_of_cases(self, run: Run) -> None:
        """
        `--cases` asks for the schema of files of cases.
        """
        printed = run("schema", "--cases")

        assert (0, cases_schema()) == (printed.code, printed.json)
