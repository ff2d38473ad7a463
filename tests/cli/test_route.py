"""
`meshwalk route`: over a graph file.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import ModuleType

import pytest

from meshwalk.backends import ChatRequest
from meshwalk.trace import Reply, ToolCall
from tests.cli.conftest import Run


async def wish(request: ChatRequest) -> Reply:
    calls = (ToolCall("c1", "look", '{"at": "Rome"}'),) if request.prompt == "Rome?" else ()

    return Reply("", finish_reason="tool_calls", tool_calls=calls)


class TestAnswer:
    def test_people_get_the_answer_and_the_hops(self, run: Run, desk: Path) -> None:
        """
        The answer stands first, a table of hops and what it all came to behind it.
        """
        ran = run("route", desk, "Say hello.")
        lines = ran.out.splitlines()

        assert (0, "") == (ran.code, ran.err)
        assert "simulated" in lines[0]
        assert [] == [node for node in ("intake", "small", "done") if node not in ran.out]
        assert "USD (reported)" in lines[-1]

    def test_json_shape(self, run: Run, desk: Path) -> None:
        """
        The document has the agreed keys, for the walk, its hops and the edges considered.
        """
        walk = run("route", desk, "Say hello.", "--session", "s-17", "--json").json
        first, second = walk["hops"]

        assert {
            *("traversal_id", "trace_id", "graph", "plan_digest", "outcome", "answer", "path"),
            *("cost_usd", "latency_us", "engine_us", "hops"),
        } <= walk.keys()
        assert ("desk", "answered", ["intake", "small"]) == (walk["graph"], walk["outcome"], walk["path"])
        assert {
            *("node", "role", "status", "started_us", "latency_us", "engine_us", "cost_usd", "usage", "outputs"),
            *("edge", "considered"),
        } <= first.keys()
        assert {
            *("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens", "cache_write_tokens"),
        } == second["usage"].keys()
        assert 0.9 == second["outputs"]["confidence"]
        assert [
            {"to": "sorry", "guard": "request.task == 'proof'", "verdict": "not_held"},
            {"to": "large", "guard": "request.correctness == 'strict' || request.draft", "verdict": "not_held"},
            {"to": "small", "guard": "otherwise", "verdict": "held"},
        ] == first["considered"]
        assert "small" == first["edge"]

    def test_tools_that_the_model_wishes_to_call(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        They stand beside the answer, for people and in the document; a walk without any has no such key.
        """
        module = ModuleType("wishing")
        monkeypatch.setitem(sys.modules, "wishing", module)
        module.wish = wish  # type: ignore[attr-defined]
        graph = tmp_path / "wishing.yaml"
        graph.write_text(
            "{meshwalk: 1, name: wishing, start: only, backends: {own: {kind: python, function: 'wishing:wish'}},"
            " nodes: {only: {role: primary, backend: own, next: done}}}",
            encoding="utf-8",
        )
        document, shown = run("route", graph, "Rome?", "--json").json, run("route", graph, "Rome?").out
        plain = run("route", graph, "Hello", "--json").json

        assert [{"id": "c1", "name": "look", "arguments": '{"at": "Rome"}'}] == document["tool_calls"]
        assert 'calls look({"at": "Rome"})' in shown
        assert "tool_calls" not in plain

    def test_cost_is_the_sum_of_the_hops(self, run: Run, desk: Path) -> None:
        """
        The bill adds up, and each part of it is a number of dollars.
        """
        walk = run("route", desk, "Say hello.", "--json").json

        assert 0 < walk["cost_usd"]
        assert pytest.approx(sum(hop["cost_usd"] for hop in walk["hops"])) == walk["cost_usd"]

    def test_prompt_from_stdin(self, run: Run, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        `-` reads the prompt from stdin.
        """
        graph = tmp_path / "kept.yaml"
        graph.write_text(desk.read_text(encoding="utf-8") + "record: {content: true}\n", encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", io.StringIO("What is this?"))
        ran = run("route", graph, "-", "--traces", tmp_path / "t", "--json")
        shown = run("traces", "show", ran.json["traversal_id"], "--traces", tmp_path / "t", "--json")

        assert "What is this?" == shown.json["messages"][0]["content"]

    def test_prompt_that_looks_like_an_option(self, run: Run, desk: Path) -> None:
        """
        Behind `--` a prompt may begin with a dash.
        """
        assert 0 == run("route", desk, "--", "--7 degrees, is that cold?").code
        assert 2 == run("route", desk, "--7 degrees, is that cold?").code


class TestNoAnswer:
    def test_refusal_is_1(self, run: Run, desk: Path) -> None:
        """
        A refusal is an answer of no, with its reason.
        """
        ran = run("route", desk, "Prove it.", "--set", "task=proof")

        assert 1 == ran.code
        assert "refused: we do not prove" == ran.out.splitlines()[0]

    def test_failure_is_1(self, run: Run, desk: Path) -> None:
        """
        A walk that failed is shown with its hops like any other, and why.
        """
        ran = run("route", desk, "Say hello.", "--set", "correctness=strict", "--json")

        assert 1 == ran.code
        assert ("failed", "malformed") == (ran.json["outcome"], ran.json["hops"][-1]["error_class"])
        assert "large" in ran.json["reason"]


class TestAttributes:
    @pytest.mark.parametrize(
        ("given", "path"),
        [("draft=true", "large"), ("draft=false", "small"), ("patience=2.5", "small"), ("task=prose", "small")],
    )
    def test_values_have_their_declared_type(self, run: Run, desk: Path, given: str, path: str) -> None:
        """
        The same text is a bool, a number or a word as the graph declares it.
        """
        assert path == run("route", desk, "Hi.", "--set", given, "--json").json["path"][-1]

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("draft=yes", "--set draft=yes: 'draft' takes true or false"),
            ("patience=much", "--set patience=much: 'patience' takes a number"),
            ("patience=11", "attributes.patience: is 11, and 'patience' lies in 0 to 10"),
            ("task=rhyme", "attributes.task: is 'rhyme', and 'task' takes one of: prose, proof"),
            ("tasks=prose", "graph 'desk' declares no attribute 'tasks'; did you mean 'task'?"),
            ("task", "--set takes NAME=VALUE, and 'task' has no '='"),
        ],
    )
    def test_values_that_do_not_fit(self, run: Run, desk: Path, given: str, said: str) -> None:
        """
        What a graph does not take is wrong use, and the attribute is named.
        """
        ran = run("route", desk, "Hi.", "--set", given)

        assert (2, "") == (ran.code, ran.out)
        assert said in ran.err

    def test_given_twice(self, run: Run, desk: Path) -> None:
        """
        Two values for one attribute are a mistake, not a choice.
        """
        ran = run("route", desk, "Hi.", "--set", "task=prose", "--set", "task=proof")

        assert (2, "error: --set gives 'task' twice\n") == (ran.code, ran.err)

    def test_every_fault_is_named(self, run: Run, desk: Path) -> None:
        """
        Several values that do not fit are told of at once.
        """
        ran = run("route", desk, "Hi.", "--set", "draft=yes", "--set", "patience=much", "--set", "task")

        assert 2 == ran.code
        assert [] == [name for name in ("--set draft=yes", "--set patience=much", "has no '='") if name not in ran.err]


class TestLimits:
    def test_cost_limit_is_held(self, run: Run, desk: Path) -> None:
        """
        A walk that may not cost what its call might is stopped before the call.
        """
        ran = run("route", desk, "Say hello.", "--max-cost-usd", "0.00000001", "--json")

        assert 1 == ran.code
        assert "denied" == ran.json["hops"][-1]["status"]

    @pytest.mark.parametrize(
        ("option", "value", "said"),
        [
            ("--deadline", "soon", "--deadline takes a duration such as 300ms, 4s or 2m, and 'soon' is none"),
            ("--deadline", "0s", "--deadline is 0s, which is no time at all"),
            ("--max-cost-usd", "-1", "--max-cost-usd takes an amount in USD from 0 to 9223372036, and -1 is none"),
            ("--max-cost-usd", "nan", "--max-cost-usd takes an amount"),
            ("--max-cost-usd", "1e300", "and 1e+300 is none"),
            ("--max-hops", "0", "--max-hops takes a whole number from 1 to 9223372036854775807, and '0' is none"),
            ("--max-hops", "1.5", "and '1.5' is none"),
            ("--max-output-tokens", "9" * 20, "--max-output-tokens takes a whole number"),
        ],
    )
    def test_limits_that_are_none(self, run: Run, desk: Path, option: str, value: str, said: str) -> None:
        """
        A limit that cannot be one is wrong use, with the option or the field named.
        """
        ran = run("route", desk, "Hi.", f"{option}={value}")

        assert 2 == ran.code
        assert said in ran.err


class TestWrongUse:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("desk.yaml",), "route takes GRAPH and PROMPT, and the words given are 1"),
            (("desk.yaml", "say", "hello"), "quote a prompt of several words"),
            (("--target", "127.0.0.1:1", "desk.yaml", "hi"), "route takes PROMPT with --target"),
            (
                ("desk.yaml", "hi", "--messages", "c.json"),
                "route takes GRAPH with --messages, and the words given are 2",
            ),
            (("desk.yaml", "-", "--messages", "-"), "stdin holds either the prompt or the messages"),
            (("desk.yaml", "hi", "--tools", "none.json"), "--tools none.json cannot be read"),
            (("desk.yaml", "hi", "--response-format", "jsn"), "--response-format jsn cannot be read"),
            (("--target", "127.0.0.1:1", "hi", "--traces", "t"), "are the server's to choose"),
            (("desk.yaml", "hi", "--data", "nowhere.jsonl"), "there is none called 'nowhere.jsonl'"),
            (("desk.yaml", "hi", "--graph", "desk"), "--graph names a graph of a server"),
        ],
    )
    def test_words_that_do_not_go_together(self, run: Run, words: tuple[str, ...], said: str) -> None:
        """
        Options and words that make no sense together are said to.
        """
        ran = run("route", *words)

        assert (2, "") == (ran.code, ran.out)
        assert said in ran.err

    def test_empty_prompt(self, run: Run, desk: Path) -> None:
        """
        An empty prompt is refused at the gate, with its field.
        """
        ran = run("route", desk, " ", "--json")

        assert 2 == ran.code
        assert ["messages[0].content"] == [violation["field"] for violation in ran.json["error"]["violations"]]

    def test_server_that_is_not_there(self, run: Run) -> None:
        """
        A target where nobody answers is said in a sentence.
        """
        ran = run("route", "--target", "127.0.0.1:1", "Hi.")

        assert 2 == ran.code
        assert "error: no answer from 127.0.0.1:1" in ran.err
