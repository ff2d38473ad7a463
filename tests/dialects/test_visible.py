"""
The cost basis of a call and what was mended for it, where people look: tables, JSON, and spans.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import meshwalk
from meshwalk.cli import main
from meshwalk.records.telemetry import Telemetry
from tests.dialects import run


CHOICES = [{"message": {"content": "Nine."}, "finish_reason": "EOS"}]
# Nobody counted the output; thoughts stand beside it; more input came than the bound of the call allows.
UNCOUNTED = {"body": {"choices": CHOICES, "usage": {"prompt_tokens": 40, "completion_tokens": 0}}}
BESIDE = {
    "body": {
        "choices": CHOICES,
        "usage": {"prompt_tokens": 40, "completion_tokens": 5, "total_tokens": 145, "reasoning_tokens": 100},
    }
}
OVERRUN = {"body": {"choices": CHOICES, "usage": {"prompt_tokens": 900_000, "completion_tokens": 5}}}


def walked(answer: dict[str, Any], folder: Path) -> tuple[str, list[dict[str, Any]]]:
    """
    Walk once before a server that gives *answer*; return the id of the walk, and the attributes of the spans of its calls.
    """
    exporter = InMemorySpanExporter()

    async def walk() -> str:
        async with run.Stub({"main": [answer]}) as stub:
            graph = run.graph_of({}, [], stub.urls, {})
            (folder / "graph.yaml").write_text(json.dumps(graph))
            spans = Telemetry(SimpleSpanProcessor(exporter), resource=Resource({}))
            async with meshwalk.load(folder / "graph.yaml", traces=folder / "traces", sinks=[spans]) as mesh:
                return (await mesh.route("Four and five?")).traversal_id

    traversal_id = anyio.run(walk)

    return traversal_id, [dict(span.attributes or {}) for span in exporter.get_finished_spans() if span.name.startswith("chat")]


@pytest.mark.parametrize(
    ("answer", "basis", "mended"),
    [(UNCOUNTED, "estimated", ("usage",)), (BESIDE, "reported", ("usage",)), (OVERRUN, "reported", ("input_overrun",))],
    ids=["uncounted", "beside", "overrun"],
)
def test_basis_and_mended_are_seen(
    answer: dict[str, Any], basis: str, mended: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    `traces show` has both in its table and in its JSON, and so has the span of the call.
    """
    traversal_id, (span,) = walked(answer, tmp_path)
    assert 0 == main(["traces", "show", traversal_id, "--traces", str(tmp_path / "traces")])
    table = capsys.readouterr().out
    assert 0 == main(["traces", "show", traversal_id, "--traces", str(tmp_path / "traces"), "--json"])
    (hop,) = json.loads(capsys.readouterr().out)["hops"]
    (attempt,) = hop["attempts"]

    assert f"mended: {', '.join(mended)}" in table
    assert f" {basis}" in table
    assert (basis, list(mended)) == (attempt["cost_basis"], attempt["mended"])
    assert (basis, list(mended)) == (span["meshwalk.cost_basis"], list(span["meshwalk.mended"]))
    assert ("input_overrun" in mended) == ("meshwalk.overrun_usd" in span)
