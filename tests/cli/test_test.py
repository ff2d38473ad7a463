"""
`meshwalk test`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.files import shipped


CASES = """\
cases:
- name: a sure answer is served
  given: {messages: Say hello., replies: {small: {text: Hello., confidence: 0.9, usage: {input: 4, output: 5}}}}
  expect: {path: [intake, small, done], served: small}
- name: proofs are refused
  given: {messages: Prove it., attributes: {task: proof}}
  expect: {outcome: refused, reason: we do not prove}
"""

WRONG = """\
- name: doubt is served, too
  given: {messages: Say hello., replies: {small: {text: Hello?, confidence: 0.7}, large: {text: Hello.}}}
  expect: {path: [intake, small, done]}
"""


@pytest.fixture
def cases(desk: Path) -> Path:
    """
    Give the desk's cases, which pass and take three of its six edges.
    """
    path = desk.with_name("desk.cases.yaml")
    path.write_text(CASES, encoding="utf-8")

    return path


@pytest.fixture
def wrong(cases: Path) -> Path:
    """
    Give cases of which one fails.
    """
    cases.write_text(CASES + WRONG, encoding="utf-8")

    return cases


@pytest.mark.usefixtures("cases")
class TestPassing:
    def test_says_what_is_covered(self, run: Run, desk: Path) -> None:
        """
        Cases that pass are counted, and the edges they do not take are named.
        """
        tested = run("test", desk)

        assert (0, "") == (tested.code, tested.err)
        assert [
            f"{desk}: ok, 2 of 2 cases passed, 3 of 6 edges taken (50.0%)",
            "  not taken: edge 2 of intake, to large (request.correctness == 'strict' || request.draft)",
            "  not taken: edge 2 of small, to large (otherwise)",
            "  not taken: edge 1 of large, to done (otherwise)",
        ] == tested.out.splitlines()

    def test_json(self, run: Run, desk: Path) -> None:
        """
        The document holds every case and the coverage.
        """
        tested = run("test", desk, "--json")
        (graph,) = tested.json["graphs"]

        assert (0, True, True) == (tested.code, tested.json["ok"], graph["ok"])
        assert ("desk", str(desk)) == (graph["graph"], graph["file"])
        assert [
            {
                "name": "a sure answer is served",
                "ok": True,
                "path": ["intake", "small"],
                "outcome": "answered",
                "cost_usd": 0.000014,
                "failures": [],
            },
            {
                "name": "proofs are refused",
                "ok": True,
                "path": ["intake", "sorry"],
                "outcome": "refused",
                "cost_usd": 0,
                "failures": [],
            },
        ] == graph["cases"]
        assert (6, 3, 0.5) == tuple(graph["coverage"][key] for key in ("edges", "covered", "share"))
        assert {"node": "small", "section": "next", "edge": 1, "to": "large", "guard": "otherwise"} == graph["coverage"][
            "missing"
        ][1]

    def test_enough_coverage(self, run: Run, desk: Path) -> None:
        """
        A share that is reached is enough.
        """
        assert 0 == run("test", desk, "--min-coverage", "0.5").code

    def test_too_little_coverage(self, run: Run, desk: Path) -> None:
        """
        A share that is not reached ends with 1, though every case passed.
        """
        tested = run("test", desk, "--min-coverage", "0.51")

        assert 1 == tested.code
        assert f"{desk}: failed, 2 of 2 cases passed" in tested.out
        assert "  that is less than --min-coverage 0.51" in tested.out
        assert "  not taken: edge 2 of small, to large (otherwise)" in tested.out
        assert run("test", desk, "--min-coverage", "0.51", "--json").json["ok"] is False

    def test_naming_the_cases_names_the_graph(self, run: Run, desk: Path, cases: Path) -> None:
        """
        A shell's `*.yaml` gives the cases beside the graphs; each graph is tested once.
        """
        assert 1 == len(run("test", cases, desk, "--json").json["graphs"])


@pytest.mark.usefixtures("wrong")
class TestFailing:
    def test_shows_expected_and_actual(self, run: Run, desk: Path, wrong: Path) -> None:
        """
        A case that fails ends with 1 and shows both paths and why they part.
        """
        tested = run("test", desk)

        assert 1 == tested.code
        assert [
            "FAILED doubt is served, too",
            f"  {wrong}:10:12: the path is intake > small > large > done, expected intake > small > done",
            "      small → done: output.confidence >= thresholds.sure: not held (0.7 < 0.8)",
            "      small → large: held (otherwise)",
            f"{desk}: failed, 2 of 3 cases passed, 3 of 6 edges taken (50.0%)",
        ] == tested.out.splitlines()[:5]

    def test_json(self, run: Run, desk: Path, wrong: Path) -> None:
        """
        The document says of a failure what was expected, where, and why it did not come.
        """
        tested = run("test", desk, "--json")
        case = tested.json["graphs"][0]["cases"][2]
        (failure,) = case["failures"]

        assert (1, False, False) == (tested.code, tested.json["ok"], case["ok"])
        assert ("path", str(wrong), 10, 12) == tuple(failure[key] for key in ("expectation", "file", "line", "column"))
        assert "small → large: held (otherwise)" == failure["why"][1]

    def test_one_decision_is_explained_once(self, run: Run, desk: Path, wrong: Path) -> None:
        """
        What several failures of a case come of is told under the first.
        """
        wrong.write_text(CASES + WRONG.replace("small, done]", "small, done], takes: small -> done"), encoding="utf-8")
        tested = run("test", desk)

        assert f"{wrong}:10:48: 'small -> done' is not taken: 'small' is left by edge 2 of small to large" in tested.out
        assert 1 == tested.out.count("small → large: held (otherwise)")


class TestWrongUse:
    def test_faulty_cases(self, run: Run, desk: Path, cases: Path) -> None:
        """
        Cases with faults cannot be walked: each fault is printed with its line, and the exit code is 2.
        """
        cases.write_text(CASES.replace("served: small", "served: smal").replace("task: proof", "tsk: proof"), encoding="utf-8")
        tested = run("test", desk)

        assert (2, "") == (tested.code, tested.out)
        assert f"{cases}:4:49: 'served' of 'expect' of case 'a sure answer is served' names 'smal'" in tested.err
        assert "help: did you mean 'small'?" in tested.err
        assert ["unknown-node", "unknown-attribute"] == [
            problem["code"] for problem in run("test", desk, "--json").json["error"]["problems"]
        ]

    def test_faulty_graph(self, run: Run, desk: Path, cases: Path) -> None:
        """
        A graph with errors is not walked, and its faults come together with those of other graphs' cases.
        """
        other = desk.with_name("other.yaml")
        other.write_text(desk.read_text(encoding="utf-8").replace("next: done", "next: don"), encoding="utf-8")
        cases.write_text("cases: 3\n", encoding="utf-8")
        tested = run("test", desk, other, "--json")

        assert 2 == tested.code
        assert ["no-cases", "unknown-node"] == [problem["code"] for problem in tested.json["error"]["problems"]]

    def test_graph_without_cases(self, run: Run, desk: Path) -> None:
        """
        A graph with no cases beside it is told where they would stand.
        """
        tested = run("test", desk)

        assert (2, "") == (tested.code, tested.out)
        assert f"the cases of '{desk}' in '{desk.with_name('desk.cases.yaml')}' cannot be read" in tested.err

    @pytest.mark.parametrize("share", ["1.5", "-0.1", "nan"])
    def test_share_out_of_range(self, run: Run, desk: Path, share: str) -> None:
        """
        A share is from 0 to 1.
        """
        tested = run("test", desk, "--min-coverage", share)

        assert 2 == tested.code
        assert f"--min-coverage takes a share from 0 to 1, and {share} is none" in tested.err


def test_shipped_graphs_do_as_their_cases_say(run: Run, graphs: Path) -> None:
    """
    Every graph that ships has cases, they pass, and they take every edge.
    """
    tested = run("test", *shipped(graphs), "--min-coverage", "1", "--json")

    assert (0, True) == (tested.code, tested.json["ok"])
    assert {1.0} == {graph["coverage"]["share"] for graph in tested.json["graphs"]}
