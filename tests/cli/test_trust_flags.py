"""
The trust in a graph, as commands and Python take it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwalk import GraphError, Trust, load
from tests.cli.conftest import Run


class TestFlags:
    @pytest.mark.parametrize("command", [("check",), ("decide", "Say hello."), ("test",)])
    def test_a_command_takes_a_graph_at_its_word(self, tmp_path: Path, run: Run, command: tuple[str, ...]) -> None:
        """
        A file outside is refused by the commands that need a whole graph, and --allow-files lets it be.
        """
        (tmp_path / "graphs").mkdir()
        (tmp_path / "prices.csv").write_text("model,input_usd_per_mtok,output_usd_per_mtok\nm,1,2\n")
        graph = tmp_path / "graphs" / "desk.yaml"
        graph.write_text(OUTSIDE)
        graph.with_suffix(".cases.yaml").write_text(CASES)
        name, *words = command

        assert "[file-outside]" in run(name, str(graph), *words).err + run(name, str(graph), *words).out
        assert 0 == run(name, str(graph), *words, "--allow-files").code

    def test_so_does_python(self, tmp_path: Path) -> None:
        """
        `load` and `Mesh.from_file` take the trust in a graph.
        """
        (tmp_path / "graphs").mkdir()
        (tmp_path / "prices.csv").write_text("model,input_usd_per_mtok,output_usd_per_mtok\nm,1,2\n")
        graph = tmp_path / "graphs" / "desk.yaml"
        graph.write_text(OUTSIDE)

        with pytest.raises(GraphError, match="lies outside"):
            load(graph)
        assert "desk" == load(graph, trust=Trust(files=True)).plan.name


OUTSIDE = """
meshwalk: 1
name: desk
start: small
limits: {cost_usd: 1, deadline: 10s}
prices: ../prices.csv
backends:
  little: {kind: openai, model: m, base_url: "http://127.0.0.1:9/v1", usd_per_mtok: {input: 1, output: 2}}
nodes:
  small: {role: primary, backend: little, max_tokens: 10, next: done}
"""

CASES = """
cases:
  - name: hello
    given: {messages: Say hello., replies: {small: {text: Hello.}}}
    expect: {served: small}
"""
