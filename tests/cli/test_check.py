"""
`meshwalk check`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.files import Golden, shipped


HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _beside_the_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    # Places are printed with the path that was given, which must not be one machine's.
    monkeypatch.chdir(HERE)


def test_every_fault_is_printed_with_its_place(run: Run, golden: Golden) -> None:
    """
    A graph with more than ten different faults gets each of them, its line and its remedy, in one run.
    """
    checked = run("check", "faulty.yaml")

    assert 1 == checked.code
    assert "" == checked.err
    golden(HERE / "faulty.txt", checked.out)


def test_json_holds_every_fault(run: Run) -> None:
    """
    The document says of each fault where it is, what it is, and how it is mended.
    """
    checked = run("check", "faulty.yaml", "--json")
    problems = checked.json["problems"]

    assert 1 == checked.code
    assert checked.json["ok"] is False
    assert {"file", "line", "column", "code", "severity", "message", "help"} == problems[0].keys()
    assert [
        ("unknown-key", 4, 1),
        ("out-of-range", 7, 17),
        ("bad-duration", 9, 29),
        ("wrong-type", 12, 50),
        ("duplicate-key", 14, 3),
        ("unknown-signal", 21, 29),
        ("unknown-node", 22, 14),
        ("type-mismatch", 22, 29),
        ("guard-syntax", 29, 54),
        ("guarded-last-edge", 30, 23),
        ("unknown-member", 30, 49),
        ("unknown-backend", 33, 14),
        ("out-of-range", 34, 17),
        ("unreachable-node", 36, 3),
    ] == [(problem["code"], problem["line"], problem["column"]) for problem in problems]
    assert {"faulty.yaml"} == {problem["file"] for problem in problems}
    assert {"error"} == {problem["severity"] for problem in problems}


def test_sound_graph(run: Run, desk: Path) -> None:
    """
    A graph without faults is said to be one, with its digests.
    """
    checked = run("check", desk, "--json")
    card = checked.json["graphs"][0]

    assert 0 == checked.code
    assert (True, []) == (checked.json["ok"], checked.json["problems"])
    assert ("desk", True, 4, 6) == (card["graph"], card["ok"], card["nodes"], card["edges"])
    assert 64 == len(card["plan_digest"])
    assert "ok, graph 'desk' with 4 nodes and 6 edges" in run("check", desk).out


def test_several_graphs_are_checked_in_one_run(run: Run, desk: Path) -> None:
    """
    One faulty graph among several makes the answer no, and each is told of.
    """
    checked = run("check", desk, "faulty.yaml", "--json")

    assert 1 == checked.code
    assert [True, False] == [card["ok"] for card in checked.json["graphs"]]
    assert " errors and 0 warnings in 2 graphs" in run("check", desk, "faulty.yaml").out


def test_warnings_leave_the_answer_yes(run: Run, tmp_path: Path) -> None:
    """
    A warning is printed and counted, and the graph is still sound.
    """
    path = tmp_path / "spare.yaml"
    path.write_text(
        "meshwalk: 1\nname: spare\nstart: only\nbackends: {big: {kind: simulated}, idle: {kind: simulated}}\n"
        "nodes: {only: {role: answer, backend: big, next: done}}\n",
        encoding="utf-8",
    )
    checked = run("check", path, "--json")

    assert 0 == checked.code
    assert [("unused-backend", "warning")] == [(found["code"], found["severity"]) for found in checked.json["problems"]]
    assert checked.json["ok"] is True
    assert "0 errors and 1 warning in 1 graph" in run("check", path).out


def test_bounds(run: Run, desk: Path) -> None:
    """
    The worst that a walk can come to is told with the paths that come to it, costliest first.
    """
    checked = run("check", desk, "--json").json
    bounds = checked["bounds"]
    # Two calls of 1 MiB and 16 tokens in, at 1 USD a million, and 64 tokens out, at 2.
    cost = 2 * ((1 << 20) + 16 + 2 * 64) / 1e6

    assert bounds == checked["graphs"][0]["bounds"]
    assert (3, 600_000, 128, cost) == tuple(bounds[name] for name in ("hops", "latency_ms", "output_tokens", "cost_usd"))
    assert ["intake", "small", "large"] == bounds["paths"][0]["path"] == bounds["witness"]["cost_usd"]
    assert {} == bounds["unbounded"]
    assert "at most 3 hops, 600 s, 128 output tokens, 2.09744 USD (costliest: intake → small → large)" in run("check", desk).out


def test_unbounded(run: Run, tmp_path: Path) -> None:
    """
    What nothing bounds is null, with the reason; a graph that does not compile has no bounds.
    """
    path = tmp_path / "free.yaml"
    path.write_text(
        "meshwalk: 1\nname: free\nstart: only\nbackends: {big: {kind: simulated}}\n"
        "nodes: {only: {role: answer, backend: big, next: done}}\n",
        encoding="utf-8",
    )
    bounds = run("check", path, "--json").json["bounds"]

    assert (None, None) == (bounds["cost_usd"], bounds["output_tokens"])
    assert "backend 'big' of node 'only' has no usd_per_mtok" == bounds["unbounded"]["cost_usd"]
    assert "any number of output tokens, any cost (node 'only' has no max_tokens" in run("check", path).out
    assert run("check", "faulty.yaml", "--json").json["bounds"] is None


def test_text_that_is_no_graph(run: Run, tmp_path: Path) -> None:
    """
    A file that is not a table of keys has one fault, which is an answer and not a crash.
    """
    path = tmp_path / "list.yaml"
    path.write_text("- one\n- two\n", encoding="utf-8")

    assert 1 == run("check", path).code


def test_file_that_is_not_there(run: Run) -> None:
    """
    Nothing to check is wrong use, said in one sentence.
    """
    checked = run("check", "nowhere.yaml")

    assert (2, "") == (checked.code, checked.out)
    assert "error: the graph 'nowhere.yaml' cannot be read: No such file or directory\n" == checked.err


def test_a_missing_file_does_not_hide_the_others(run: Run, desk: Path) -> None:
    """
    What can be read is checked, and the exit code says that something could not.
    """
    checked = run("check", "nowhere.yaml", desk)
    documents = run("check", "nowhere.yaml", desk, "--json").json["graphs"]

    assert 2 == checked.code
    assert checked.out.startswith(f"{desk}: ok")
    assert "nowhere.yaml" in checked.err
    assert [False, True] == [document["ok"] for document in documents]
    assert "SetupError" == documents[0]["error"]["kind"]


def test_shipped_graphs_are_sound(run: Run, graphs: Path) -> None:
    """
    Every graph that ships has no errors and no warnings.
    """
    checked = run("check", *shipped(graphs), "--json")

    assert (0, []) == (checked.code, checked.json["problems"])


def test_cases_stand_for_their_graph(run: Run, graphs: Path) -> None:
    """
    A shell's `graphs/*.yaml` names cases too; each graph is checked once.
    """
    files = sorted(str(path) for path in graphs.glob("*.yaml"))
    checked = run("check", *files, "--json")

    assert [name for name in files if not name.endswith(".cases.yaml")] == sorted(
        card["file"] for card in checked.json["graphs"]
    )
    assert 0 == checked.code


def test_a_line_that_nobody_declared(run: Run, tmp_path: Path) -> None:
    """
    For a backend over a network the report says which bounds hold where the author declares none.
    """
    graph = tmp_path / "two.yaml"
    graph.write_text(
        """
meshwalk: 1
name: two
start: first
backends:
  plain: {kind: openai, base_url: "http://127.0.0.1:1/v1", model: m}
  narrow: {kind: openai, base_url: "http://127.0.0.1:1/v1", model: m, concurrency: 4, queue: {length: 2, wait: 1s}}
  pretend: {kind: simulated}
nodes:
  first: {role: answer, backend: pretend, max_tokens: 8, next: second}
  second: {role: answer, backend: narrow, max_tokens: 8, next: last}
  last: {role: primary, backend: plain, max_tokens: 8, next: done}
""",
        encoding="utf-8",
    )
    document = run("check", graph, "--json").json

    assert {
        "narrow": {"declared": True, "concurrency": 4, "queue_length": 2, "queue_wait_ms": 1000},
        "plain": {"declared": False, "concurrency": 100, "queue_length": 100, "queue_wait_ms": 5000},
    } == document["graphs"][0]["lines"]
    assert (
        "calls to plain: at most 100 at once, and 100 waiting for at most 5 s (nothing is declared)" in run("check", graph).out
    )


def test_variables_that_a_graph_reads(run: Run, tmp_path: Path) -> None:
    """
    The names of environment variables are listed, with the one that an address is read from where the graph states none.
    """
    graph = tmp_path / "named.yaml"
    graph.write_text(
        """
meshwalk: 1
name: named
start: ask
backends:
  plain: {kind: openai, model: m, key_env: PLAIN_KEY, context_tokens: 1000}
  headed: {kind: openai, model: m, base_url: "http://${HOST}/v1", headers: {X-Team: "${TEAM}"}, context_tokens: 1000}
nodes:
  ask: {role: answer, backend: plain, max_tokens: 5, next: done, on_error: last}
  last: {role: primary, backend: headed, max_tokens: 5, next: done}
""",
        encoding="utf-8",
    )
    checked = run("check", graph)

    assert "\n  read from the environment: HOST, OPENAI_BASE_URL, PLAIN_KEY, TEAM" in checked.out
    assert ["HOST", "OPENAI_BASE_URL", "PLAIN_KEY", "TEAM"] == run("check", graph, "--json").json["graphs"][0]["environment"]
