"""
The digests of graphs that exist: they name plans in records for as long as those are kept.
"""

from __future__ import annotations

from pathlib import Path

from meshwalk.loader import load_graph
from meshwalk.plan import compile_plan
from tests.support.files import ROOT, Golden, shipped


def test_digests_stay_as_they_are(golden: Golden) -> None:
    """
    The digests of every graph here are the golden ones; only a change to a graph's own text moves its line.
    """
    folders = (ROOT / "graphs", ROOT / "tests" / "graphs" / "good")
    # The demo's graph follows its questions.
    files = [path for folder in folders for path in shipped(folder) if path.stem != "demo"]
    plans = [(path, compile_plan(load_graph(path))) for path in files]
    lines = [f"{path.relative_to(ROOT).as_posix()} {plan.plan_digest} {plan.shape_digest}\n" for path, plan in plans]

    golden(Path(__file__).parent / "digests.txt", "".join(lines))
