"""
`meshwalk draw` and `meshwalk schema`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Run
from meshwalk import draw
from meshwalk.loader import json_schema, load_graph


class TestDraw:
    def test_mermaid_is_the_default(self, run: Run, desk: Path) -> None:
        """
        Without a format the graph is a Mermaid flowchart on stdout.
        """
        drawn = run("draw", desk)

        assert (0, "") == (drawn.code, drawn.err)
        assert draw.mermaid(load_graph(desk)) == drawn.out

    def test_dot(self, run: Run, desk: Path) -> None:
        """
        `--format dot` is Graphviz' language.
        """
        assert draw.dot(load_graph(desk)) == run("draw", desk, "--format", "dot").out

    @pytest.mark.parametrize(("ending", "first"), [("mmd", "flowchart TD"), ("dot", 'digraph "desk" {')])
    def test_the_ending_chooses(self, run: Run, desk: Path, tmp_path: Path, ending: str, first: str) -> None:
        """
        A file's ending says in which language it is written.
        """
        drawn = run("draw", desk, "-o", tmp_path / f"desk.{ending}")

        assert 0 == drawn.code
        assert first == (tmp_path / f"desk.{ending}").read_text(encoding="utf-8").splitlines()[0]
        assert f"desk.{ending}: graph 'desk' as" in drawn.out

    def test_an_ending_that_says_nothing(self, run: Run, desk: Path, tmp_path: Path) -> None:
        """
        A file whose ending names no language is wrong use, and the remedy is named.
        """
        drawn = run("draw", desk, "-o", tmp_path / "desk.png")

        assert 2 == drawn.code
        assert "end it in .mmd or .dot" in drawn.err
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


class TestSchema:
    @pytest.mark.parametrize("options", [(), ("--json",)])
    def test_prints_the_schema(self, run: Run, options: tuple[str, ...]) -> None:
        """
        The schema is one JSON document, asked for or not.
        """
        printed = run("schema", *options)

        assert 0 == printed.code
        assert json_schema() == printed.json
