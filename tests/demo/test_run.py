"""
The demo's own run; the whole of it is `make demo`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from meshwalk.demo.questions import QUESTIONS, TUNING_QUESTIONS, Question
from meshwalk.demo.run import CALLS, DRAWS, GRAPHS, Arm, alone, as_good_by_chance, clipped, comparison, show, spend
from meshwalk.loader import load_graph
from meshwalk.plan import compile_plan


GRAPH = """
meshwalk: 1
name: small-demo
start: intake
limits: {cost_usd: 0.05}
backends:
  little: {kind: simulated, confidence: 0.9, usd_per_mtok: {input: 1, output: 1}}
  great: {kind: python, function: "meshwalk.demo.solver:answer", context_tokens: 8000, usd_per_mtok: {input: 10, output: 30}}
nodes:
  intake:
    role: classifier
    use: features
    next:
      - {to: primary, when: "signals.complexity >= 0.07"}
      - {to: screen}
  screen: {role: answer, backend: little, max_tokens: 40, confidence: {from: recorded}, next: done, on_error: primary}
  primary: {role: primary, backend: great, max_tokens: 100, next: done}
"""


def test_a_graph_of_one_node_alone(graphs: Path) -> None:
    """
    The comparison asks the same nodes, at the same prices, and nothing else.
    """
    graph = load_graph(graphs / "demo.yaml")

    for node, backend in (("screen", "small"), ("primary", "solver")):
        plan = compile_plan(alone(graph, node))

        assert [node] == [own.name for own in plan.nodes]
        assert graph.backends[backend].price == plan.nodes[0].price


def test_the_packaged_graphs_are_those_that_ship_beside_the_readme(graphs: Path) -> None:
    """
    The copies that the wheel carries are the files of the same name in `graphs/`, byte for byte.
    """
    packaged = {path.name: path.read_bytes() for path in GRAPHS.iterdir()}

    assert {"demo.yaml", "support-desk.yaml"} == packaged.keys()
    assert {name: (graphs / name).read_bytes() for name in packaged} == packaged


@pytest.mark.process
@pytest.mark.timeout(240)
def test_runs_in_any_folder(tmp_path: Path) -> None:
    """
    The demo needs nothing of its folder, fits 100 columns, and its routed walks beat random choices of the same cost.
    """
    pytest.importorskip("xllamacpp")
    done = subprocess.run(
        [sys.executable, "-m", "meshwalk.demo"], cwd=tmp_path, capture_output=True, text=True, timeout=230, check=False
    )

    assert 0 == done.returncode, done.stderr
    assert "The session's account:" in done.stdout
    assert [] == [line for line in done.stdout.splitlines() if len(line) > 100]
    rows = (re.split(r" {2,}", line.strip()) for line in done.stdout.splitlines() if f" of {len(QUESTIONS)} " in line)
    right = {name: float(shown.partition(" of ")[0]) for name, shown, *_ in rows}

    assert right["always the small model"] < right["random, of the same cost"] < right["routed"]
    assert len(QUESTIONS) == right["always the primary"]


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.anyio
async def test_fits_the_terminal(width: int, tmp_path: Path) -> None:
    """
    At the widths of terminals no line is longer, and what is cut bears a mark.
    """
    file = tmp_path / "demo.yaml"
    file.write_text(GRAPH, encoding="utf-8")
    console = Console(width=width, record=True, file=StringIO())
    text = "What is 19 * 27, if you count each of the apples that lie on the table of the kitchen of a friend?"
    long = Question(text, ("513",))
    await show(file, console, (long,))
    shown = console.export_text().splitlines()
    (row,) = (line for line in shown if "  What is 19 * 27" in line)

    assert max(map(len, shown)) <= width
    assert "…" in row


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("short", False, "short       "),
        ("The capital of Peru", False, "The capital…"),
        ("is Lisbon, of course", True, "…of course  "),
        ("Donaudampfschifffahrt", False, "Donaudampfs…"),
        ("Donaudampfschifffahrt", True, "…schifffahrt"),
    ],
)
def test_a_cut_is_marked(text: str, end: bool, expected: str) -> None:
    """
    A text that is too long ends, or begins, with an ellipsis at a word.
    """
    assert expected == clipped(text, 12, end=end)


@pytest.mark.anyio
async def test_shows_answers_and_reasons(tmp_path: Path) -> None:
    """
    Every question is routed and checked, the arms are compared, and one walk is explained.
    """
    file = tmp_path / "demo.yaml"
    file.write_text(GRAPH, encoding="utf-8")
    console = Console(width=200, record=True, file=StringIO())
    questions = (Question("What is 19 * 27?", ("513",)), Question("What is the capital of Greece?", ("Athens",)))
    await show(file, console, questions)
    shown = console.export_text().splitlines()

    assert ["right", "What is 19 * 27?", "intake > primary", "513."] in [re.split(r" {2,}", line) for line in shown]
    assert any(line.startswith("wrong  What is the capital of Greece?") for line in shown)
    assert any(line.split()[:4] == ["routed", "1", "of", "2"] for line in shown)
    assert any("signals.complexity >= 0.07" in line for line in shown)


class TestComparison:
    SCREEN = Arm((True, False, False, False), (0.1,) * 4)
    PRIMARY = Arm((True, True, True, True), (1.0,) * 4)
    ROUTED = Arm((True, True, True, False), (0.1, 1.1, 1.1, 0.1))

    def test_random_mixes_are_expected_values(self) -> None:
        """
        A mix sends its share of each question to the primary, so it has that share of both arms' right answers and costs.
        """
        rows = comparison(self.ROUTED, self.SCREEN, self.PRIMARY, 2).rows

        assert ("routed", "3 of 4", "2.400000", "2") == rows[0]
        assert ("2.5 of 4", "2.200000", "2") == rows[3][1:]
        # 2.4 USD lie (2.4 - 0.4) / (4 - 0.4) of the way from the one to the other: 1 + 3 x 0.556 right answers.
        assert ("2.7 of 4", "2.400000", "2.22") == rows[4][1:]

    def test_chance_is_counted(self) -> None:
        """
        Of the six choices of two questions, three take two of those that only the primary answers right.
        """
        counted = as_good_by_chance(self.ROUTED, self.SCREEN, self.PRIMARY, 2)

        assert 0.45 < counted / DRAWS < 0.55


@pytest.mark.anyio
async def test_a_session_shifts_near_its_ceiling(graphs: Path) -> None:
    """
    The same question goes to the primary until the session is near its ceiling, and to the small model from then on.
    """
    console = Console(width=200, record=True, file=StringIO())
    await spend(graphs / "support-desk.yaml", console)
    shown = console.export_text()
    ways = [line.partition("intake > ")[2].split()[0] for line in shown.splitlines() if "intake > " in line]

    assert ["primary", "screen"] == ways
    assert f"to {CALLS} " in shown
    assert "of 0.16 USD are spent." in shown


def test_thresholds_were_not_chosen_on_what_is_reported() -> None:
    """
    No question that is reported on was tried before.
    """
    assert set() == {question.text for question in QUESTIONS} & {question.text for question in TUNING_QUESTIONS}
