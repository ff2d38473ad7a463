"""
What a graph names beyond its own text is held to the trust in it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwalk.loader import load_graph, read_graph
from meshwalk.model.problems import render
from meshwalk.model.trust import Trust, UnquotedProblem


GRAPH = """
meshwalk: 1
name: desk
start: small
limits: {{cost_usd: 1, deadline: 10s}}
record: {{content: true, redact: ["desk.words:redact"]}}
backends:
  little: {{kind: openai, model: m, base_url: "{address}", key_env: LITTLE_KEY, headers: {{X-Team: "${{TEAM}}"}},
           usd_per_mtok: {{input: 1, output: 2}}}}
  mine: {{kind: python, function: "models.mine:answer", usd_per_mtok: {{input: 1, output: 2}}}}
nodes:
  small: {{role: answer, backend: little, max_tokens: 10, next: big}}
  big: {{role: primary, backend: mine, max_tokens: 10, next: done}}
"""


def faults_of(trust: Trust = Trust(), address: str = "${LITTLE_URL}/v1") -> list[tuple[str, str]]:
    graph = read_graph(GRAPH.format(address=address).encode(), file="desk.yaml", trust=trust)

    return [(problem.code, problem.message) for problem in graph.problems if problem.code != "foreign"]


class TestNames:
    def test_any_function_and_variable_is_taken_without_a_list(self) -> None:
        """
        Who says nothing trusts the names.
        """
        assert [] == faults_of()

    def test_functions_are_held_to_a_list(self) -> None:
        """
        Functions of backends and of redaction are told where they begin otherwise.
        """
        assert [
            ("not-allowed", "'record' names the function 'desk.words:redact', which is not allowed here"),
        ] == faults_of(Trust(functions=("models.",)))

    def test_variables_are_held_to_a_list(self) -> None:
        """
        Variables of addresses, keys and headers are told where they begin otherwise.
        """
        words = "backend 'little' names the environment variable '{}', which is not allowed here"

        assert [("not-allowed", words.format(name)) for name in ("LITTLE_URL", "TEAM")] == sorted(
            faults_of(Trust(variables=("LITTLE_K",)))
        )


class TestAddresses:
    @pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]:80", "metadata.google.internal"])
    def test_where_credentials_are_kept_is_warned_of(self, host: str) -> None:
        """
        No model answers at these addresses.
        """
        ((code, message),) = faults_of(address=f"http://{host}/v1")

        assert "metadata-address" == code
        assert message.startswith("backend 'little' would call ")


class TestFiles:
    @pytest.mark.parametrize(
        ("key", "text"),
        [
            ("prices: ../canary.csv", ""),
            ("", "data: ../canary.csv"),
            ("", "tokenizer: ../canary.csv"),
        ],
    )
    def test_a_file_outside_is_refused_without_a_word_of_it(self, tmp_path: Path, key: str, text: str) -> None:
        """
        The fault names the file and the folder, and shows nothing that stands in the file.
        """
        graph = self._written(tmp_path, key, text)
        faults = [problem for problem in load_graph(graph).problems if problem.severity == "error"]

        assert ["file-outside"] == [problem.code for problem in faults]
        assert "canary.csv" in faults[0].message
        assert "topsecret" not in str(faults)
        assert "file-outside" not in {problem.code for problem in load_graph(graph, trust=Trust(files=True)).problems}

    def test_lines_of_a_price_table_are_not_shown(self, tmp_path: Path) -> None:
        """
        Any file can be named as a table, so its faults come without its lines.
        """
        graph = self._written(tmp_path, "prices: table.csv", "")
        (graph.parent / "table.csv").write_text("topsecret-line\nanother topsecret\n")
        faults = [problem for problem in load_graph(graph).problems if problem.span.file.endswith("table.csv")]

        assert faults
        assert all(isinstance(problem, UnquotedProblem) for problem in faults)
        assert "topsecret" not in "".join(render(problem, {}) for problem in faults)

    def _written(self, folder: Path, key: str, text: str) -> Path:
        (folder / "graphs").mkdir()
        (folder / "canary.csv").write_text("topsecret-line\n")
        backend = f"kind: recorded, model: m, {text}" if text.startswith("data") else f"kind: simulated, {text}"
        graph = folder / "graphs" / "desk.yaml"
        graph.write_text(
            "meshwalk: 1\nname: desk\nstart: small\nlimits: {cost_usd: 1, deadline: 10s}\n"
            f"{key}\nbackends:\n  little: {{{backend.rstrip(', ')}, usd_per_mtok: {{input: 1, output: 2}}}}\n"
            "nodes:\n  small: {role: primary, backend: little, max_tokens: 10, next: done}\n"
        )

        return graph
