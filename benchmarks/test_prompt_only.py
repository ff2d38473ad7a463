"""
What a router that sees the prompt alone is worth on real outcomes, beside the dull ways to choose.

The figure is the APGR over that of the best dull way, as the mean of twenty fixed splits, and the goal is that its interval
over the splits stays above 0.  The interval corrected for overlapping splits, the other figures and a shuffle of the router's
own decisions (as many strong calls, other rows) stand in the note.  On the first split a graph is walked at three thresholds
over every row that is scored, and gives exactly the calls and the quality that the scores say.
"""

from __future__ import annotations

import faulthandler
from pathlib import Path
from statistics import fmean

import pytest

from harness import Compare, at_least
from meshwalk.loader import load_graph
from meshwalk.mesh import Mesh
from meshwalk.model.weights import Weights, write_weights
from meshwalk.plan import compile_plan, with_thresholds
from meshwalk.review.training.fit import scored
from meshwalk.review.training.train import STRONG, WEAK
from meshwalk.trace import Message, Request
from prompt_only import ROUTER, SHUFFLE, STRONG_MODEL, WEAK_MODEL, Data, between, compared, difference, halves, read


SPLITS = 20
SHARES = (0.2, 0.5, 0.8)
# Of a run that only shows that it works.
FEW_ROWS = 400

OUTCOMES = Path(__file__).resolve().parents[2] / "shared" / "data" / "outcomes"

GRAPH = f"""
meshwalk: 1
name: router
start: intake
thresholds: {{gain: {{value: 0, range: [-1, 1]}}}}
backends:
  weak: {{kind: recorded, model: {WEAK_MODEL}, usd_per_mtok: {{input: 0.6, output: 0.6}}}}
  strong: {{kind: recorded, model: {STRONG_MODEL}, usd_per_mtok: {{input: 10, output: 30}}}}
nodes:
  intake:
    role: classifier
    use: weights
    weights: weights.json
    next:
      - {{to: strong, when: "signals.strong - signals.weak >= thresholds.gain"}}
      - {{to: weak}}
  weak: {{role: answer, backend: weak, next: done}}
  strong: {{role: primary, backend: strong, next: done}}
"""


async def walked(folder: Path, outcomes: Path, data: Data, rows: list[int], threshold: float) -> tuple[int, float]:
    """
    Walk *rows* over the graph in *folder*; return how many went to the strong model, and how right the answers were.
    """
    graph = with_thresholds(load_graph(folder / "router.yaml"), {"gain": threshold})
    calls, quality = 0, 0.0
    async with Mesh(compile_plan(graph), outcomes=outcomes) as mesh:
        for row in rows:
            done = await mesh.walk(Request((Message("user", data.rows[row].prompt),)))
            served = done.traversal.answer_node
            calls += served == STRONG
            quality += data.right[served][row]

    return calls, quality


def check_walks(compare: Compare, folder: Path, outcomes: Path, data: Data, weights: Weights) -> None:
    """
    Hold what a graph does at three thresholds to what the scores of the first split say.
    """
    (folder / "router.yaml").write_text(GRAPH, encoding="utf-8")
    (folder / "weights.json").write_bytes(write_weights(weights, {}, {}))
    held = halves(len(data.rows), 0)[1]
    scores = scored(weights, data.prompts.of(held))
    worth = scores[STRONG] - scores[WEAK]
    for share in SHARES if compare.timed else SHARES[:1]:
        threshold = between(worth, share)
        sent = worth >= threshold
        quality = float((sent * data.right[STRONG][held] + ~sent * data.right[WEAK][held]).sum())

        assert (int(sent.sum()), quality) == compare.run(walked(folder, outcomes, data, held.tolist(), threshold))


@pytest.mark.timeout(1800)  # twenty fits of two heads and fifty-seven topics, each with its choice by threes
@pytest.mark.parametrize("name", ["gsm8k", "mmlu"])
def test_prompt_only(compare: Compare, tmp_path: Path, name: str) -> None:
    """
    By how much more APGR than the best dull way does a graph with a trained classifier win, at the least?
    """
    # This takes minutes by design, all of them in Python; the test's own time limit still ends it.
    faulthandler.cancel_dump_traceback_later()
    outcomes = OUTCOMES / f"{name}.jsonl.gz"
    if not outcomes.is_file():
        pytest.skip(f"the real outcomes are not here: no {name}.jsonl.gz in shared/data/outcomes beside the repository")
    data = read(outcomes, None if compare.timed else FEW_ROWS)
    found: dict[str, list[float]] = {}
    for split in range(SPLITS if compare.timed else 1):
        figures, weights = compared(data, split)
        if split == 0:
            check_walks(compare, tmp_path, outcomes, data, weights)
        for way, figure in figures.items():
            found.setdefault(way, []).append(figure)

    assert {ROUTER, SHUFFLE, "prompt length", "TF-IDF ridge"} <= found.keys()
    if not compare.timed:
        return

    best = max(found.keys() - {ROUTER, SHUFFLE}, key=lambda way: fmean(found[way]))
    ahead, shuffled = difference(found[ROUTER], found[best]), difference(found[ROUTER], found[SHUFFLE])
    note = (
        f"APGR {', '.join(f'{way} {fmean(its):.4f}' for way, its in found.items())}; over {best} {ahead.mean:+.4f} "
        f"({ahead.plain[0]:+.4f} to {ahead.plain[1]:+.4f} over splits, {ahead.corrected[0]:+.4f} to "
        f"{ahead.corrected[1]:+.4f} corrected for their overlap), over the shuffle {shuffled.mean:+.4f} "
        f"({shuffled.corrected[0]:+.4f} to {shuffled.corrected[1]:+.4f} corrected)"
    )
    compare.report(ahead.plain[0], ahead.plain, at_least(0), rounds=SPLITS, unit="", note=note)
