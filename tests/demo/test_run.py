"""
The demo's own parts; the whole of it is `make demo`.
"""

from __future__ import annotations

import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from meshwalk.demo.prompts import PROMPTS
from meshwalk.demo.run import CALLS, GRAPHS, primary_alone, show, spend
from meshwalk.loader import load_graph
from meshwalk.plan import compile_plan


GRAPH = """
meshwalk: 1
name: small-demo
start: intake
limits: {cost_usd: 0.05}
backends:
  little: {kind: simulated, confidence: 0.9, usd_per_mtok: {input: 0, output: 0}}
  great: {kind: simulated, output_tokens: 100, usd_per_mtok: {input: 10, output: 30}}
nodes:
  intake:
    role: classifier
    use: features
    next:
      - {to: primary, when: "signals.complexity >= 0.2"}
      - {to: screen}
  screen: {role: answer, backend: little, max_tokens: 40, confidence: {from: recorded}, next: done, on_error: primary}
  primary: {role: primary, backend: great, max_tokens: 100, next: done}
"""


def test_a_graph_of_the_primary_alone(graphs: Path) -> None:
    """
    What is compared with is the same primary, at the same price, and nothing else.
    """
    graph = load_graph(graphs / "quickstart.yaml")
    alone = compile_plan(primary_alone(graph))

    assert ["primary"] == [node.name for node in alone.nodes]
    assert graph.backends["large"].price == alone.nodes[0].price


def test_the_packaged_graphs_are_those_that_ship_beside_the_readme(graphs: Path) -> None:
    """
    The copies that the wheel carries are the files of the same name in `graphs/`, byte for byte.
    """
    packaged = {path.name: path.read_bytes() for path in GRAPHS.iterdir()}

    assert {"quickstart.yaml", "support-desk.yaml"} == packaged.keys()
    assert {name: (graphs / name).read_bytes() for name in packaged} == packaged


@pytest.mark.process
@pytest.mark.timeout(120)
def test_runs_in_any_folder(tmp_path: Path) -> None:
    """
    The demo needs nothing of the folder that it is started in.
    """
    done = subprocess.run(
        [sys.executable, "-m", "meshwalk.demo"], cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    )

    assert 0 == done.returncode, done.stderr
    assert f"routing {len(PROMPTS)} prompts over gRPC" in done.stdout
    assert "The session's account:" in done.stdout


@pytest.mark.anyio
async def test_shows_paths_bills_and_reasons(tmp_path: Path) -> None:
    """
    Every prompt is routed, the bill is compared, and one walk is explained.
    """
    file = tmp_path / "demo.yaml"
    file.write_text(GRAPH, encoding="utf-8")
    console = Console(width=200, record=True, file=StringIO())
    await show(file, console)
    said = console.export_text()

    assert f"routing {len(PROMPTS)} prompts over gRPC" in said
    assert len(PROMPTS) <= said.count("intake > ")
    assert "Share: 0." in said
    assert "signals.complexity >= 0.2" in said
    assert "[simulated" in said


@pytest.mark.anyio
async def test_a_session_shifts_near_its_ceiling(graphs: Path) -> None:
    """
    The same question goes to the primary until the session is near its ceiling, and to the small model from then on.
    """
    console = Console(width=200, record=True, file=StringIO())
    await spend(graphs / "support-desk.yaml", console)
    said = console.export_text()
    ways = [line.partition("intake > ")[2].split()[0] for line in said.splitlines() if "intake > " in line]

    assert ["primary", "screen"] == ways
    assert f"to {CALLS} " in said
    assert "of 0.16 USD are spent." in said
