"""
Every fault at its place: a corpus of bad graphs, whose comments say what must be found where.

A line ends with `# expect code@column …` for each fault on it; the golden files beside hold what is printed.  Together they
hold every code that a graph can be told of, so that no check stands without a graph that fails it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwalk.loader import load_graph, source_lines
from meshwalk.loader.messages.faults import _KINDS_OF_WORD
from meshwalk.loader.parts import calls
from meshwalk.model.problems import GraphError, Problem, render
from meshwalk.plan import Plan, examine
from tests.support.files import Golden


ROOT = Path(__file__).resolve().parents[3]
BAD = ROOT / "tests" / "graphs" / "bad"
CORPUS = sorted(path.stem for path in BAD.glob("*.yaml"))

_EXPECTED = re.compile(r"# expect (.+)$")


# Where the codes of graphs stand; files of cases, tables of prices and settings of servers have their own.
SAYING = [
    *(path for path in (ROOT / "src/meshwalk/loader").rglob("*.py") if not path.name.startswith(("case", "price", "server"))),
    *(ROOT / "src/meshwalk/guards").glob("*.py"),
    *(ROOT / "src/meshwalk/checks").glob("*.py"),
    ROOT / "src/meshwalk/plan/compile.py",
]
# Words of HTTP that are spelt as codes are.
NO_CODES = {"utf-8-sig", "api-key", *calls._OWN_HEADERS, *calls._SECRET_HEADERS}

# What no small text file can show; the tests of these rooms ask for it.
NOT_HERE = {
    "file-too-large": "takes four megabytes",
    "not-utf8": "is no text that could be quoted",
    "guard-too-long": "takes four thousand characters",
    "unpriced-row": "takes a table of another package",
    "bad-hash": "is about the settings of a server",
    "unknown-algorithm": "is about the settings of a server",
    "unknown-right": "is about the settings of a server",
    "file-outside": "takes a file outside the corpus",
    "not-allowed": "takes a list of what is allowed",
    "metadata-address": "has an address of its own in tests/loader/parts/test_trust.py",
}


def found_in(path: Path) -> tuple[Plan | None, tuple[Problem, ...]]:
    try:
        return examine(load_graph(path))
    except GraphError as error:
        return None, error.problems


def codes_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", node.value)
        ):
            yield node.value


def known_codes() -> set[str]:
    """
    Collect the codes as the source spells them, and those that it puts together.
    """
    spelt = {code for path in SAYING for code in codes_in(path)}
    put_together = {f"unknown-{kind}" for kind in (*_KINDS_OF_WORD.values(), "node", "backend")}
    of_cases = {"unknown-error", "unknown-outcome", "unknown-cause"}

    return (spelt | put_together) - of_cases - NO_CODES


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
        codes = {code for name in CORPUS for code, _, _ in expected_in(BAD / f"{name}.yaml")}

        assert [] == [code for code in codes if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)]

    def test_none_is_accepted(self) -> None:
        """
        No graph here passes without a word, and at least sixty are refused.
        """
        found = [found_in(BAD / f"{name}.yaml") for name in CORPUS]
        refused = [problems for plan, problems in found if plan is None]

        assert len(refused) >= 60
        assert all(any(problem.severity == "error" for problem in problems) for problems in refused)
        assert all(problems for _, problems in found)

    def test_every_code_is_here(self) -> None:
        """
        Each code that a graph can be told of is expected by some graph, but for a few with their reasons.
        """
        expected = {code for name in CORPUS for code, _, _ in expected_in(BAD / f"{name}.yaml")}

        assert known_codes() - set(NOT_HERE) == expected

    def test_each_has_an_idea_of_its_own(self) -> None:
        """
        No two graphs are the same but for their names.
        """
        texts = {name: (BAD / f"{name}.yaml").read_text(encoding="utf-8") for name in CORPUS}

        assert len(CORPUS) == len({text.replace(name, "") for name, text in texts.items()})

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
