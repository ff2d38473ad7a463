"""
The documentation is current: pages that the code writes, and the picture on the front page.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from meshwalk import Mesh
from meshwalk.draw import svg
from meshwalk.loader import load_graph
from meshwalk.plan import compile_plan
from meshwalk.testing import RecordList, ScriptedBackend
from meshwalk.trace import Reply, TokenProbabilities, Usage


ROOT = Path(__file__).resolve().parents[2]

Golden = Callable[[Path, str], None]


@pytest.mark.slow
@pytest.mark.process
def test_written_pages_are_current() -> None:
    """
    What `docs/generate.py` writes is what is committed.
    """
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stderr


def test_keys_of_graphs_have_words() -> None:
    """
    Every key that the reference lists says what it is for.
    """
    text = (ROOT / "docs" / "reference" / "graph.md").read_text(encoding="utf-8")
    mute = re.findall(r"^\| `(\w+)`[^|]*\|[^|]*\|[^|]*\|\s*\|$", text, re.MULTILINE)

    # Those whose values name the part itself need none.
    assert {"kind", "role"} >= set(mute)


@pytest.mark.anyio
async def test_the_picture_of_the_front_page_is_current(golden: Golden) -> None:
    """
    The README shows the quickstart as it is drawn now, with a walk whose small model was doubtful.
    """
    graph = load_graph(ROOT / "graphs" / "quickstart.yaml")
    plan = compile_plan(graph)
    doubtful = Reply("The opposite of cold is lukewarm.", usage=Usage(40, 8), probabilities=TokenProbabilities(0.41, 0.1, None))
    backends = {
        "small": ScriptedBackend.replying(doubtful),
        "large": ScriptedBackend.replying(Reply("The opposite of cold is hot.", usage=Usage(20, 8))),
    }
    records = RecordList()
    async with Mesh(plan, backends=backends, sinks=[records]) as mesh:
        done = await mesh.route("What is the opposite of cold?")

    assert ["intake", "screen", "primary"] == list(done.path)
    # Ids are drawn by chance.
    done.traversal.traversal_id = "01a22e0f7e7bbf67df5067881bf4f63d"
    golden(ROOT / "docs" / "images" / "quickstart-walk.svg", svg(graph, done.traversal, bounds=plan.bounds))


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(180)
def test_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    """
    The documentation is built with warnings as errors, broken links among them.
    """
    if importlib.util.find_spec("sphinx") is None:
        pytest.skip("sphinx is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", ROOT / "docs", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
