"""
Every fault at its place: a corpus of bad graphs, whose comments say what must be found where.

A line ends with `# expect code@column …` for each fault on it; the golden files beside hold what is printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Golden
from meshwalk import topology
from meshwalk.loader import load_graph, source_lines
from meshwalk.model import Graph
from meshwalk.problems import Problem, in_file_order, render


BAD = Path(__file__).resolve().parents[1] / "graphs" / "bad"
CORPUS = sorted(path.stem for path in BAD.glob("*.yaml"))

_EXPECTED = re.compile(r"# expect (.+)$")


def found_in(path: Path) -> tuple[Graph, tuple[Problem, ...]]:
    graph = load_graph(path)

    return graph, in_file_order([*graph.problems, *topology.check(graph)])


def expected_in(path: Path) -> Iterator[tuple[str, int, int]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        expected = _EXPECTED.search(line)
        for fault in expected[1].split() if expected else ():
            code, column = fault.split("@")
            yield code, number, int(column)


class TestCorpus:
    @pytest.mark.parametrize("name", CORPUS)
    def test_faults_are_found_where_they_are(self, name: str) -> None:
        """
        A bad graph gives exactly the faults its comments announce, each at its line and column.
        """
        path = BAD / f"{name}.yaml"
        _, problems = found_in(path)

        assert sorted(expected_in(path)) == sorted((p.code, p.span.line, p.span.column) for p in problems)

    @pytest.mark.parametrize("name", CORPUS)
    def test_faults_read_as_agreed(self, name: str, golden: Golden) -> None:
        """
        What is printed for a bad graph is what its golden file says.
        """
        path = BAD / f"{name}.yaml"
        _, problems = found_in(path)
        lines = {str(path): source_lines(path, problems)}
        printed = "\n".join(render(problem, lines) for problem in problems) + "\n"

        golden(path.with_suffix(".txt"), printed.replace(str(path), path.name).replace(str(path.parent), "."))

    def test_every_code_is_stable_kebab_case(self) -> None:
        """
        A code is words in lower case, joined by hyphens, so that scripts can hold on to it.
        """
        codes = {problem.code for name in CORPUS for problem in found_in(BAD / f"{name}.yaml")[1]}

        assert [] == [code for code in codes if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)]

    def test_ten_faults_in_one_run(self) -> None:
        """
        Ten different faults give ten problems with ten different codes.
        """
        _, problems = found_in(BAD / "ten-faults.yaml")

        assert 10 == len({problem.code for problem in problems}) == len(problems)

    def test_spans_stay_on_their_line(self) -> None:
        """
        A span never reaches past the line it points at.
        """
        for name in CORPUS:
            path = BAD / f"{name}.yaml"
            lines = source_lines(path)
            for problem in found_in(path)[1]:
                span = problem.span

                assert span.column - 1 + span.length <= max(1, len(lines[span.line - 1])), problem


class TestSecrets:
    def test_no_secret_is_repeated(self) -> None:
        """
        Neither a message nor a quoted line repeats a secret that stands in a graph.
        """
        path = BAD / "secrets.yaml"
        _, problems = found_in(path)
        lines = {str(path): source_lines(path, problems)}
        printed = "\n".join(render(problem, lines) for problem in problems)

        assert 4 == len(problems)
        assert "hunter" not in printed

    def test_other_lines_are_quoted_whole(self) -> None:
        """
        Only the place of the secret is blotted out, at its own length.
        """
        path = BAD / "secrets.yaml"
        _, problems = found_in(path)

        assert "  one: {kind: openai, model: x, api_key: *******}" in "\n".join(source_lines(path, problems))
        assert "api_key: hunter2" in "\n".join(source_lines(path))
