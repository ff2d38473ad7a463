"""
`meshwalk route --stream`: the answer as it comes.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from meshwalk.backends import ChatRequest
from meshwalk.cli import main
from meshwalk.trace import Reply
from tests.cli.conftest import Run


GRAPH = """\
{meshwalk: 1, name: slow, start: only, backends: {own: {kind: simulated, output_tokens: 40}},
 nodes: {only: {role: primary, backend: own, max_tokens: 64, stream: live, next: done}}}
"""


async def echo(request: ChatRequest) -> Reply:
    form = request.form
    shape = None if form is None or form.response_format is None else form.response_format.kind
    tools = [] if form is None else [tool.name for tool in form.tools]
    choice = "" if form is None else form.tool_choice

    return Reply(json.dumps([[message.role for message in request.messages], tools, choice, shape]))


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """
    Give a graph whose one node streams.
    """
    path = tmp_path / "slow.yaml"
    path.write_text(GRAPH, encoding="utf-8")

    return path


@pytest.fixture
def echoing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    Give a graph that answers with what its model was sent.
    """
    module = ModuleType("echoing")
    module.echo = echo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "echoing", module)
    path = tmp_path / "echoing.yaml"
    path.write_text(
        "{meshwalk: 1, name: echoing, start: only, backends: {own: {kind: python, function: 'echoing:echo'}},"
        " nodes: {only: {role: primary, backend: own, next: done}}}",
        encoding="utf-8",
    )

    return path


class Flushes(io.StringIO):
    """
    A stdout that keeps what had been written at each flush.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def flush(self) -> None:
        self.seen.append(self.getvalue())


def test_people_see_the_answer_once(run: Run, slow: Path) -> None:
    """
    The pieces make up the answer, which is not printed again; the table follows.
    """
    streamed, whole = run("route", slow, "Hi.", "--stream"), run("route", slow, "Hi.")

    assert (0, "") == (streamed.code, streamed.err)
    assert whole.out.splitlines()[:2] == streamed.out.splitlines()[:2]
    assert "USD" in streamed.out.splitlines()[-1]


def test_pieces_are_not_held_back(slow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Each piece is flushed, so that it is seen before the next one is there.
    """
    monkeypatch.setattr(sys, "stdout", stdout := Flushes())
    main(["route", str(slow), "Hi.", "--stream"])
    answer = stdout.getvalue().splitlines()[0]
    parts = {text for text in stdout.seen if len(text) < len(answer)}

    assert len(parts) > 1


def test_json_is_a_line_an_event(run: Run, slow: Path) -> None:
    """
    Hops, pieces and the result come as one line each; the pieces are the answer.
    """
    ran = run("route", slow, "Hi.", "--stream", "--json")
    events = [json.loads(line) for line in ran.out.splitlines()]
    kinds = [event["event"] for event in events]

    assert ["hop_started", "committed", "answer_delta"] == list(dict.fromkeys(kinds))[:3]
    assert ("hop_finished" in kinds, "result") == (True, kinds[-1])
    assert events[-1]["answer"] == "".join(event["text"] for event in events if event["event"] == "answer_delta")
    assert run("route", slow, "Hi.", "--json").json.keys() | {"event"} == events[-1].keys()


def test_no_answer(run: Run, desk: Path) -> None:
    """
    A refusal is told as without a stream; a walk that fails is an error on one line.
    """
    refused = run("route", desk, "Prove it.", "--set", "task=proof", "--stream")
    failed = run("route", desk, "Hi.", "--set", "correctness=strict", "--stream", "--json")

    assert (1, "refused: we do not prove") == (refused.code, refused.out.splitlines()[0])
    assert 1 == failed.code
    assert "malformed" == json.loads(failed.out.splitlines()[-1])["error"]["cause"]


def test_messages_tools_and_format(run: Run, echoing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A conversation, its tools and its format reach the model, streamed or not.
    """
    chat = '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]'
    (tmp_path / "tools.json").write_text('[{"name": "look"}]', encoding="utf-8")
    (tmp_path / "chat.json").write_text(chat, encoding="utf-8")
    words = ("--tools", tmp_path / "tools.json", "--tool-choice", "look", "--response-format", "json")
    said = '[["system", "user"], ["look"], "look", "json_object"]'
    monkeypatch.setattr(sys, "stdin", io.StringIO(chat))

    assert said == run("route", echoing, "--messages", tmp_path / "chat.json", *words).out.splitlines()[0]
    assert said == run("route", echoing, "--messages", "-", *words, "--stream").out.splitlines()[0]
