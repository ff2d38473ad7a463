"""
What servers send, laden with words that must not be kept: none of them is found afterwards where the graph records no content.

Each case of the dialects is walked with a canary in its prompts, its answers and its errors; the errors repeat the key and the
address as well.  Outcomes do not matter here: whatever comes of a walk, it leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

import meshwalk
from meshwalk import MeshwalkError, Message, Plan, Traversal
from meshwalk.records.telemetry import Telemetry, environment
from meshwalk.records.telemetry.export import Sampled
from meshwalk.records.telemetry.otlp import Encoder
from tests.dialects import run


CASES = run.read(Path(__file__).parent / "cases", "", "")

PROMPT, ANSWER, WORDS = "canaryprompt0815", "canaryanswer0815", "canarywords0815"
KEY, PLACE = "sk-canarykey-0123456789-swordfish", "tenant-canaryplace-4711"
ECHO = f"{WORDS} {PROMPT} {KEY} {KEY[:9]}*** {PLACE} /{PLACE}/v1/chat/completions %2F{PLACE.upper()}%2Fv1"

# Parts of secrets, in small letters: none may be kept whoever allows content.
SECRETS = (KEY, KEY[:9], KEY[-12:], PLACE, "canarykey", "canaryplace")

# Keys whose texts are of the protocol, so that an answer is still read as what it is.
PROTOCOL = frozenset(
    {"object", "role", "type", "code", "status", "id", "index", "name", "error_code", "err_code", "error_type"}
)
ERRORS = frozenset(
    {"error", "errors", "message", "msg", "detail", "error_message", "error_msg", "status_msg", "model", "refusal"}
)
REASONS = frozenset({"finish_reason", "native_finish_reason", "finishReason", "done_reason"})

SIDE_BY_SIDE = 8


def laden(value: Any, everything: bool, within: str = "") -> Any:
    """
    Put canaries into the texts of an answer; into those of the protocol too, if that is asked for.
    """
    if isinstance(value, dict):
        return {key: _laden_field(key, field, everything, within) for key, field in value.items()}
    if isinstance(value, list):
        return [laden(one, everything, within) for one in value]
    if not isinstance(value, str) or not value.strip():
        return value
    if within == "error":
        return f"{value} {ECHO}"

    return value if within == "protocol" else f"{value} {ANSWER}"


def _laden_field(key: str, field: Any, everything: bool, within: str) -> Any:
    if key in PROTOCOL | REASONS and isinstance(field, str) and not everything:
        return field
    if key == "message" and isinstance(field, dict):
        return laden(field, everything)
    if key in ERRORS or (everything and key in REASONS):
        within = "error"

    return laden(field, everything, within)


def laden_answer(answer: dict[str, Any], everything: bool) -> dict[str, Any]:
    """
    Put canaries into one answer of a server: its body, its events and its headers.
    """
    made = dict(answer)
    body = made.get("body")
    if isinstance(body, str) and not body.lstrip().startswith(("{", "[", "data", ":")):
        made["body"] = f"{body} {ECHO}"
    elif not isinstance(body, str):
        made["body"] = laden(body, everything)
    if "stream" in made:
        made["stream"] = [event if _is_step(event) else laden(event, everything) for event in made["stream"]]
    if everything:
        made["headers"] = {**(made.get("headers") or {}), "X-Request-Id": ECHO, "Server": ECHO}

    return made


def _is_step(event: Any) -> bool:
    return not isinstance(event, dict) or bool(set(event) & {"pause", "cut", "data", "repeat"})


def laden_request(request: dict[str, Any]) -> dict[str, Any]:
    """
    Put a canary into the messages of a request.
    """
    messages = request.get("messages", run.ASK)
    if isinstance(messages, str):
        return {**request, "messages": f"{messages} {PROMPT}"}

    return {**request, "messages": [{**one, "content": f"{one.get('content', '')} {PROMPT}"} for one in messages]}


class Spans(SpanProcessor):
    """
    Keep spans as JSON.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.texts.append(span.to_json())


class Encoding:
    """
    Encode each record for a collector.
    """

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self._encoder = Encoder(environment.resource(), environment.scope())

    def record(self, traversal: Traversal, plan: Plan) -> None:
        self.texts.append(self._encoder.encode([Sampled(traversal, plan)]).body)


class Leaks:
    """
    Walks whose records, vault, spans and logs lie in one folder.
    """

    def __init__(self, folder: Path, *, content: bool, everything: bool) -> None:
        self.folder = folder
        self.content = content
        self.everything = everything
        self.spans, self.encoding = Spans(), Encoding()
        self.walks = self.failures = 0
        self.heard: list[str] = []

    async def walk(self, number: int, case: dict[str, Any]) -> None:
        """
        Walk *case*, whatever comes of it.
        """
        servers, endpoints = run.servers_of(case["server"])
        servers = {name: [laden_answer(answer, self.everything) for answer in answers] for name, answers in servers.items()}
        if self.content:
            # A server that puts the key into its answers has it recorded nowhere, either.
            servers = json.loads(json.dumps(servers).replace(ANSWER, f"{ANSWER} {KEY} {PLACE}"))
        case = {**case, "request": {**(case.get("request") or {})}}
        async with run.Stub(servers) as stub:
            graph = run.graph_of(case, endpoints, stub.urls, {})
            model = graph["backends"]["model"]
            if "base_url" in model and not endpoints:
                os.environ[f"LEAK_URL_{number}"] = f"{next(iter(stub.urls.values()))}/{PLACE}/v1"
                model |= {"base_url": f"${{LEAK_URL_{number}}}"}
            model.setdefault("key_env", "LEAK_KEY")
            if self.content:
                graph["record"] = {"content": True}
            folder = self.folder / "graphs" / str(number)
            folder.mkdir(parents=True)
            for name, text in (case.get("files") or {}).items():
                (folder / name).write_text(text, encoding="utf-8")
            (folder / "graph.yaml").write_text(json.dumps(graph), encoding="utf-8")
            try:
                mesh = meshwalk.load(
                    folder / "graph.yaml",
                    sinks=[Telemetry(self.spans), self.encoding],
                    traces=self.folder / "traces",
                    vault=f"sqlite:{self.folder / 'vault.sqlite'}",
                )
                async with mesh:
                    await self._ask(mesh, laden_request(case["request"]), f"k-{number}")
            except MeshwalkError:
                # Some cases are about graphs that are refused.
                pass

    async def _ask(self, mesh: meshwalk.Mesh, request: dict[str, Any], key: str) -> None:
        try:
            messages: list[Message] | str = run.messages_of(request, [])
            result = await mesh.route(messages, idempotency_key=key)
        except (MeshwalkError, IndexError) as error:
            self.failures += 1
            self.heard.append(str(error))
            result = None
        self.walks += 1
        if result is not None:
            self.heard.append(result.answer)


async def leaks_of(folder: Path, *, content: bool = False, everything: bool = False) -> Leaks:
    """
    Walk all cases, several side by side.
    """
    leaks = Leaks(folder, content=content, everything=everything)
    places = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(number: int, case: dict[str, Any]) -> None:
        async with places:
            await leaks.walk(number, case)

    await asyncio.gather(*(one(number, case) for number, case in enumerate(CASES)))

    return leaks


def kept_in(folder: Path, name: str) -> bytes:
    """
    Return the bytes of all files of *folder* whose names begin with *name*, in small letters.
    """
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob(f"{name}*")) if path.is_file()).lower()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK_KEY", KEY)
    monkeypatch.setenv("DIALECT_KEY", KEY)
    # What a case sets is taken away again at the end.
    for number in range(len(CASES)):
        monkeypatch.setenv(f"LEAK_URL_{number}", "unset")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("everything", [False, True])
async def test_nothing_is_kept_where_no_content_is(everything: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Records and their log, spans, what goes to a collector and the log hold no prompt, answer, word, key or address.
    """
    caplog.set_level(logging.DEBUG)
    leaks = await leaks_of(tmp_path, everything=everything)
    kept = {
        "traces": kept_in(tmp_path / "traces", ""),
        "spans": "\n".join(leaks.spans.texts).lower().encode(),
        "otlp": b"\n".join(leaks.encoding.texts).lower(),
        "log": caplog.text.lower().encode(),
        "vault": kept_in(tmp_path, "vault.sqlite"),
    }
    # The vault holds answers for those who ask again, and nothing else.
    hits = [
        (place, word)
        for place, text in kept.items()
        for word in (PROMPT, ANSWER, WORDS, *SECRETS)
        if word.encode() in text and (place, word) != ("vault", ANSWER)
    ]

    assert [] == hits
    assert leaks.walks > 250
    assert leaks.failures > 20
    assert any(WORDS in text for text in leaks.heard), "the caller hears what a provider says"
    assert not any(secret in text.lower() for text in leaks.heard for secret in SECRETS)


@pytest.mark.timeout(120)
async def test_secrets_are_not_kept_where_content_is(tmp_path: Path) -> None:
    """
    A graph that records content has prompts, answers and providers' words in its records, and neither keys nor addresses.
    """
    leaks = await leaks_of(tmp_path, content=True)
    kept = kept_in(tmp_path / "traces", "")

    assert leaks.walks > 250
    assert [] == [word for word in (PROMPT, ANSWER, WORDS) if word.encode() not in kept]
    assert [] == [secret for secret in SECRETS if secret.encode() in kept]
