"""
Walk the cases of a folder of dialects through meshwalk, and say which of them come out as they should.

    python run.py FOLDER [--json] [--kind KIND] [--only TEXT] [--keys FILE] [--jobs N] [--show]

It uses the meshwalk of the interpreter that runs it, in one process.  Every case has stub servers of its own on loopback, a graph
that is made for it in a temporary folder, and a bound on its time.  The format is told in the docstring of `test_dialects.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import email.utils
import json
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import yaml

import meshwalk
from meshwalk import GraphError, Message, RequestError, ResponseFormat, Sampling, SetupError, Tool, ToolCall, WalkStopped


CASE_SECONDS = 8.0
JOBS = 6
KEY = "k-dialect-0123456789"
BASES = ("none", "reported", "estimated", "assumed", "unpriced")
ASK = "What is two and two?"

# ---- servers --------------------------------------------------------------------------------------------------------


def encoded(body: Any) -> bytes:
    if body is None:
        return b""
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def header_value(given: Any) -> str:
    if isinstance(given, dict):
        kind, ahead = next(iter(given.items()))
        at = time.time() + float(ahead)
        return {"epoch_ms": f"{at * 1000:.0f}", "epoch_s": f"{at:.0f}", "http_date": email.utils.formatdate(at, usegmt=True)}[
            kind
        ]
    return str(given)


def head(answer: dict[str, Any], content_type: str | None, more: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {answer.get('status', 200)} Said"]
    given = answer.get("content_type", content_type)
    if given is not None:
        lines.append(f"Content-Type: {given}")
    lines += [f"{name}: {header_value(value)}" for name, value in (answer.get("headers") or {}).items()]
    lines += [f"{name}: {value}" for name, value in more.items()]

    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def numbered(value: Any, number: int) -> Any:
    """Write *number* wherever a text of a repeated event has `{i}`."""
    if isinstance(value, str):
        return value.replace("{i}", str(number))
    if isinstance(value, list):
        return [numbered(one, number) for one in value]
    if isinstance(value, dict):
        return {key: numbered(one, number) for key, one in value.items()}
    return value


def steps_of(events: list[Any], separator: str) -> list[Any]:
    """Turn events into bytes to write, seconds to wait (float) and "cut"."""
    found: list[Any] = []
    for event in events:
        if isinstance(event, str):
            found.append(event.encode())
        elif set(event) == {"pause"}:
            found.append(float(event["pause"]))
        elif set(event) == {"cut"}:
            found.append("cut")
        elif set(event) == {"data"}:
            found.append(f"data: {event['data']}{separator}".encode())
        elif set(event) == {"repeat", "events"}:
            for number in range(event["repeat"]):
                found += steps_of(numbered(event["events"], number), separator)
        else:
            found.append(b"data: " + json.dumps(event).encode() + separator.encode())

    return found


class Stub:
    """Serve one case: each server is a list of answers, of which the last one stays."""

    def __init__(self, servers: dict[str, list[dict[str, Any]]]) -> None:
        self.servers = servers
        self.seen: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
        self.urls: dict[str, str] = {}
        self._open: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Stub:
        for name in self.servers:
            server = await asyncio.start_server(partial(self._taken, name), "127.0.0.1", 0)
            self._open.append(server)
            self.urls[name] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._open:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _taken(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(name, reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        if not first.startswith("POST"):
            # Whoever stands in front asks for its health, and for what it serves.
            raw = encoded({"status": "ok", "data": [{"id": "m-1", "object": "model"}]})
            writer.write(head({}, "application/json", {"Content-Length": str(len(raw))}) + raw)
            await writer.drain()
            return first.startswith("GET")
        headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines if line}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        seen, answers = self.seen[name], self.servers[name]
        answer = answers[min(len(seen), len(answers) - 1)]
        seen.append({"line": first, "headers": headers, "body": json.loads(body) if body else None})
        if answer.get("delay"):
            await asyncio.sleep(float(answer["delay"]))
        if "stream" not in answer:
            raw = encoded(answer.get("body"))
            writer.write(head(answer, "application/json", {"Content-Length": str(len(raw))}) + raw)
            await writer.drain()
            return not answer.get("close")
        writer.write(head(answer, "text/event-stream", {"Transfer-Encoding": "chunked"}))
        steps = steps_of(answer["stream"], answer.get("separator", "\n\n"))
        if answer.get("writes") == "one":
            steps = [b"".join(step for step in steps if isinstance(step, bytes))]
        elif answer.get("writes") == "bytes":
            steps = [bytes([byte]) for step in steps for byte in step]
        for step in steps:
            if isinstance(step, float):
                await writer.drain()
                await asyncio.sleep(step)
            elif step == "cut":
                await writer.drain()
                return False
            elif step:
                writer.write(b"%x\r\n%b\r\n" % (len(step), step))
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return not answer.get("close")


def servers_of(server: Any) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Return the answers of each server by name, and the names of the model's endpoints where it has several."""
    if isinstance(server, dict) and "endpoints" in server:
        named = {name: one if isinstance(one, list) else [one] for name, one in server["endpoints"].items()}
        return named, list(named)
    return {"main": server if isinstance(server, list) else [server]}, []


# ---- graphs ---------------------------------------------------------------------------------------------------------


def merged(base: Any, more: Any) -> Any:
    """Lay *more* over *base*; null takes a key away."""
    if not isinstance(base, dict) or not isinstance(more, dict):
        return copy.deepcopy(more)
    found = dict(base)
    for key, value in more.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)

    return found


def addressed(value: Any, urls: dict[str, str]) -> Any:
    """Write the addresses of the stub servers: `@main` is one's /v1, `@main:` what its paths begin with."""
    if isinstance(value, str) and value.startswith("@"):
        name, colon, rest = value[1:].partition(":")
        return urls[name] + rest if colon else urls[name] + "/v1"
    if isinstance(value, list):
        return [addressed(one, urls) for one in value]
    if isinstance(value, dict):
        return {key: addressed(one, urls) for key, one in value.items()}
    return value


def respelt(value: Any, keys: dict[str, str]) -> Any:
    """Write the keys that a case proposes as the product calls them."""
    if isinstance(value, list):
        return [respelt(one, keys) for one in value]
    if isinstance(value, dict):
        return {keys.get(key, key): respelt(one, keys) for key, one in value.items()}
    return value


def graph_of(case: dict[str, Any], endpoints: list[str], urls: dict[str, str], keys: dict[str, str]) -> dict[str, Any]:
    model: dict[str, Any] = {"kind": "openai", "model": "m-1", "usd_per_mtok": {"input": 1, "output": 10}}
    if endpoints:
        model["endpoints"] = [{"name": name, "base_url": f"@{name}"} for name in endpoints]
    else:
        model["base_url"] = "@main"
    graph: dict[str, Any] = {
        "meshwalk": 1,
        "name": "dialect",
        "start": "ask",
        "limits": {"cost_usd": 5, "input_bytes": 200_000, "deadline": "6s"},
        "backends": {"model": model},
        "nodes": {"ask": {"role": "primary", "backend": "model", "max_tokens": 1000, "next": "done"}},
    }
    request = case.get("request") or {}
    node = {key: request[key] for key in ("max_tokens", "stream") if key in request} | (case.get("node") or {})
    if "retries" in node:
        node.setdefault("backoff", {"first": "20ms", "most": "50ms"})
    graph = merged(graph, case.get("graph") or {})
    graph["nodes"]["ask"] = merged(graph["nodes"]["ask"], node)
    graph["backends"]["model"] = merged(graph["backends"]["model"], case.get("backend") or {})
    needed = {key: keys[key] for key in case.get("needs") or () if key in keys}

    found: dict[str, Any] = addressed(respelt(graph, needed) if needed else graph, urls)

    return found


# ---- requests -------------------------------------------------------------------------------------------------------


def schema_text(given: Any) -> str:
    return "" if given is None else given if isinstance(given, str) else json.dumps(given)


def form_of(request: dict[str, Any]) -> tuple[tuple[Tool, ...], str, ResponseFormat | None]:
    tools = tuple(
        Tool(one["name"], one.get("description", ""), schema_text(one.get("parameters"))) for one in request.get("tools") or ()
    )
    wanted = request.get("response_format")
    kept = None
    if wanted is not None:
        kept = ResponseFormat(
            wanted["kind"], wanted.get("name", ""), schema_text(wanted.get("schema")), wanted.get("strict", False)
        )

    return tools, request.get("tool_choice", ""), kept


def said_by(done: Any) -> Message:
    """Return the assistant's message of an earlier walk, as a caller would put it into the conversation."""
    own = getattr(done, "message", None)

    return own if isinstance(own, Message) else Message("assistant", done.answer, tool_calls=done.tool_calls)


def messages_of(request: dict[str, Any], earlier: list[Any]) -> Any:
    given = request.get("messages", ASK)
    if isinstance(given, str):
        return given
    found = []
    for one in given:
        if "reply" in one:
            found.append(said_by(earlier[one["reply"]]))
            continue
        call_id = one.get("tool_call_id", "")
        if "answers" in one:
            walk, call = one["answers"]
            call_id = earlier[walk].tool_calls[call].id
        calls = tuple(ToolCall(call["id"], call["name"], call["arguments"]) for call in one.get("tool_calls") or ())
        found.append(Message(one["role"], one.get("content", ""), one.get("name", ""), calls, call_id))

    return found


# ---- one case -------------------------------------------------------------------------------------------------------


class Sink:
    def __init__(self) -> None:
        self.kept: list[Any] = []

    def record(self, traversal: Any, plan: Any) -> None:
        self.kept.append(traversal)


class Walk:
    """Hold what came of one walk."""

    def __init__(self) -> None:
        self.done: Any = None
        self.error: Exception | None = None
        self.pieces: list[str] = []
        self.seconds = 0.0
        self.record: Any = None

    @property
    def outcome(self) -> str:
        if self.done is not None:
            return str(self.done.outcome.name).lower()
        kinds = ((WalkStopped, "failed"), (RequestError, "invalid"), (GraphError, "graph"), (SetupError, "setup"))

        return next((word for kind, word in kinds if isinstance(self.error, kind)), f"crash ({type(self.error).__name__})")

    def attempts(self, backend: str) -> list[Any]:
        return (
            []
            if self.record is None
            else [one for one in self.record.attempts() if one.backend == backend and one.status != "denied"]
        )

    def told(self, backend: str) -> dict[str, Any]:
        """Say in plain words what came of it, for people and for comparing."""
        calls = self.attempts(backend)
        failed = [one.error_class for one in calls if one.error_class]
        found: dict[str, Any] = {
            "outcome": self.outcome,
            "error_class": failed[-1] if failed else getattr(self.error, "error_class", ""),
            "classes": [one.error_class for one in calls],
            "usage": {
                "input": sum(one.usage.input_tokens for one in calls),
                "output": sum(one.usage.output_tokens for one in calls),
                "cached": sum(one.usage.cached_input_tokens for one in calls),
                "reasoning": sum(one.usage.reasoning_tokens for one in calls),
            },
            "cost_nano_usd": sum(one.cost_nano_usd for one in calls),
            "basis": BASES[max((BASES.index(one.basis) for one in calls), default=0)],
            "model": calls[-1].model if calls else "",
            "attempts": len(calls),
            "within": round(self.seconds, 2),
        }
        if self.done is not None:
            found |= {
                "answer": self.done.answer,
                "finish_reason": self.done.finish_reason,
                "path": list(self.done.path),
                "tool_calls": [{"id": one.id, "name": one.name, "arguments": one.arguments} for one in self.done.tool_calls],
            }
        if self.error is not None:
            found |= {
                "error": type(self.error).__name__,
                "words": str(self.error),
                "partial": getattr(self.error, "partial", ""),
            }
            if self.record is not None:
                found["path"] = list(self.record.path)
        if calls and "words" not in found:
            found["words"] = " ".join(filter(None, (one.message for one in calls)))

        return found


def is_range(wanted: Any) -> bool:
    return (
        isinstance(wanted, list)
        and len(wanted) == 2
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in wanted)
    )


def fits(wanted: Any, got: Any) -> bool:
    if is_range(wanted):
        return isinstance(got, int | float) and wanted[0] <= got <= wanted[1]
    if isinstance(wanted, list) and not isinstance(got, list):
        return got in wanted

    return bool(wanted == got)


def subset(wanted: Any, got: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(got, dict) and all(key in got and subset(value, got[key]) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(got, list) and len(wanted) == len(got) and all(map(subset, wanted, got))

    return bool(wanted == got)


def dotted(body: Any, path: str) -> bool:
    """Tell whether a body has something at `a.b`."""
    for key in path.split("."):
        if isinstance(body, list) and key.isdigit() and int(key) < len(body):
            body = body[int(key)]
        elif isinstance(body, dict) and key in body:
            body = body[key]
        else:
            return False
    return True


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def clipped(value: Any) -> str:
    said = repr(value)

    return said if len(said) <= 90 else said[:60] + "…" + said[-25:]


def same_calls(wanted: list[dict[str, Any]], got: list[dict[str, Any]]) -> str:
    if len(wanted) != len(got):
        return f"{len(got)} tool calls for {len(wanted)}: {got}"
    for one, other in zip(wanted, got, strict=True):
        if "id" in one and one["id"] != other["id"]:
            return f"tool call id {other['id']!r} for {one['id']!r}"
        if "name" in one and one["name"] != other["name"]:
            return f"tool {other['name']!r} for {one['name']!r}"
        if "arguments" in one:
            try:
                said = json.loads(other["arguments"])
            except ValueError:
                return f"arguments {other['arguments']!r} are no JSON"
            if said != one["arguments"]:
                return f"arguments {said!r} for {one['arguments']!r}"
    return ""


PLAIN = (
    "outcome",
    "answer",
    "finish_reason",
    "cost_nano_usd",
    "basis",
    "error_class",
    "classes",
    "path",
    "partial",
    "error",
    "model",
    "attempts",
    "within",
)


def compare(expect: dict[str, Any], got: dict[str, Any], walk: Walk) -> list[str]:
    """Say what is not as *expect* has it."""
    wrong = []
    for key in PLAIN:
        if key in expect and not fits(expect[key], got.get(key)):
            wrong.append(f"{key} {clipped(got.get(key))} for {clipped(expect[key])}")
    for key, value in (expect.get("usage") or {}).items():
        if not fits(value, got["usage"][key]):
            wrong.append(f"usage.{key} {got['usage'][key]} for {value}")
    for key, text in (("answer_has", got.get("answer", "")), ("error_has", got.get("words", ""))):
        for part in [expect[key]] if isinstance(expect.get(key), str) else expect.get(key) or ():
            if part not in text:
                wrong.append(f"{key}: {part!r} is not in {text[:160]!r}")
    for key, text in (("answer_lacks", got.get("answer", "")), ("error_lacks", got.get("words", ""))):
        for part in [expect[key]] if isinstance(expect.get(key), str) else expect.get(key) or ():
            if part in text:
                wrong.append(f"{key}: {part!r} is in {text[:160]!r}")
    if "tool_calls" in expect and (why := same_calls(expect["tool_calls"], got.get("tool_calls", []))):
        wrong.append(why)
    if expect.get("arguments_are_objects"):
        wrong += [
            f"arguments {one['arguments']!r} are no object"
            for one in got.get("tool_calls", [])
            if not is_object(one["arguments"])
        ]
    # What holds for every walk, whatever the case says.
    if got["outcome"] in {"graph", "setup"} and "outcome" not in expect:
        wrong.append(f"{got['outcome']}: {got['words'][:200]}")
    if got["outcome"].startswith("crash"):
        wrong.append(f"{got['outcome']}: {str(walk.error)[:160]}")
    if walk.done is not None and walk.outcome == "answered" and "".join(walk.pieces) != walk.done.answer:
        wrong.append(f"pieces {''.join(walk.pieces)[:80]!r} for the answer {walk.done.answer[:80]!r}")
    ids = [one["id"] for one in got.get("tool_calls", [])]
    if len(set(ids)) != len(ids) or "" in ids:
        wrong.append(f"ids of tool calls are not unique: {ids}")
    if not wrong and "words" in got and walk.error is not None and expect.get("outcome") == "answered":
        wrong.append(got["words"][:200])
    elif walk.error is not None and any(part.startswith(("outcome", "usage", "cost")) for part in wrong):
        wrong.append(f"[{got['words'][:200]}]")

    return wrong


def compare_sent(expect: Any, seen: list[dict[str, Any]]) -> list[str]:
    wrong = []
    for one in [expect] if isinstance(expect, dict) else expect:
        number = one.get("call", -1)
        if one.get("if_called") and not seen:
            continue
        if not -len(seen) <= number < len(seen):
            wrong.append(f"call {number} was not made")
            continue
        call = seen[number]
        body = call["body"]
        if "has" in one and not subset(one["has"], body):
            part = {key: body.get(key) for key in one["has"]} if isinstance(one["has"], dict) else body
            wrong.append(f"sent {json.dumps(part)[:400]} without {json.dumps(one['has'])[:400]}")
        wrong += [f"sent '{path}'" for path in one.get("lacks") or () if dotted(body, path)]
        if "keys" in one and sorted(body) != sorted(one["keys"]):
            wrong.append(f"sent the keys {sorted(body)} for {sorted(one['keys'])}")
        if "line" in one and call["line"] != one["line"]:
            wrong.append(f"asked for {call['line']!r} in place of {one['line']!r}")
        for name, value in (one.get("headers") or {}).items():
            if call["headers"].get(name.lower()) != value:
                wrong.append(f"header {name}: {call['headers'].get(name.lower())!r} for {value!r}")
        wrong += [f"header {name} was sent" for name in one.get("no_headers") or () if name.lower() in call["headers"]]
        wished = [wish for said in body["messages"] for wish in said.get("tool_calls") or ()]
        if one.get("unique_ids") and len({wish["id"] for wish in wished}) != len(wished):
            wrong.append(f"sent the ids {[wish['id'] for wish in wished]}")
        if one.get("answers_match"):
            answered = [said["tool_call_id"] for said in body["messages"] if said["role"] == "tool"]
            if sorted(answered) != sorted(wish["id"] for wish in wished):
                wrong.append(f"tool messages answer {answered} of {[wish['id'] for wish in wished]}")
        if one.get("arguments_are_objects"):
            given = [wish["function"]["arguments"] for wish in wished]
            wrong += [f"sent the arguments {text!r}" for text in given if not is_object(text)]
    return wrong


async def walked(mesh: Any, request: dict[str, Any], earlier: list[Any], case: dict[str, Any]) -> Walk:
    walk, began = Walk(), time.monotonic()
    sampling = dict(request.get("sampling") or {})
    if "stop" in sampling:
        sampling["stop"] = tuple(sampling["stop"])
    tools, tool_choice, response_format = form_of(request)
    try:
        walk.done = await mesh.route(
            messages_of(request, earlier),
            session=request.get("session", ""),
            tools=tools,
            tool_choice=tool_choice,
            response_format=response_format,
            sampling=Sampling(**sampling),
            on_delta=walk.pieces.append,
        )
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except Exception as error:  # noqa: BLE001 (whatever else comes out is a fault of the product, and told as one)
        walk.error = error
    walk.seconds = time.monotonic() - began

    return walk


def needs_key(error: GraphError, case: dict[str, Any], keys: dict[str, str]) -> bool:
    """Tell whether a graph is refused for what its case proposes."""
    words = [keys.get(key, key) for key in case.get("needs") or ()]

    return any(any(f"'{word}'" in problem.message for word in words) for problem in error.problems)


async def run_case(case: dict[str, Any], keys: dict[str, str], folder: Path) -> dict[str, Any]:
    expect = case.get("expect") or {}
    servers, endpoints = servers_of(case["server"])
    walks: list[Walk] = []
    wrong: list[str] = []
    plan = case.get("walks") or [{}]
    async with Stub(servers) as stub:
        graph = graph_of(case, endpoints, stub.urls, keys)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (case.get("files") or {}).items():
            (folder / name).write_text(text, encoding="utf-8")
        (folder / "graph.yaml").write_text(json.dumps(graph, indent=1), encoding="utf-8")
        sink = Sink()
        expected: list[dict[str, Any]] = []
        try:
            mesh = meshwalk.load(folder / "graph.yaml", sinks=[sink])
            async with mesh:
                earlier: list[Any] = []
                for part in plan:
                    request = merged(case.get("request") or {}, part.get("request") or {})
                    times = part.get("times", 1)
                    if part.get("at_once"):
                        walks += await asyncio.gather(*(walked(mesh, request, earlier, case) for _ in range(times)))
                    else:
                        for _ in range(times):
                            walks.append(await walked(mesh, request, earlier, case))
                            earlier.append(walks[-1].done)
                    expected += [part.get("expect") or {}] * times
                    if part.get("wait"):
                        await asyncio.sleep(float(part["wait"]))
        except GraphError as error:
            if case.get("needs") and needs_key(error, case, keys):
                return {"state": "need", "why": [f"needs {', '.join(case['needs'])}"], "got": [str(error).split("/")[-1][:300]]}
            if not walks:
                walks.append(Walk())
                walks[-1].error = error
        except SetupError as error:
            if not walks:
                walks.append(Walk())
                walks[-1].error = error
        calls = {name: len(seen) for name, seen in stub.seen.items()}
        seen = stub.seen
    named = {one.traversal_id: one for one in sink.kept}
    for walk in walks:
        walk.record = named.get(getattr(walk.done if walk.done is not None else walk.error, "traversal_id", ""))
    backend = expect.get("of", "model")
    told = [walk.told(backend) for walk in walks]
    if len(walks) == 1 and "walks" not in case:
        wrong += compare(expect, told[0], walks[0])
    else:
        for number, (walk, got) in enumerate(zip(walks, told, strict=True)):
            mine = expected[number] if number < len(expected) else {}
            wrong += [f"walk {number}: {one}" for one in compare(mine, got, walk)][:2]
        for word in ("answered", "failed", "refused", "invalid"):
            if word in expect and not fits(expect[word], count := sum(got["outcome"] == word for got in told)):
                wrong.append(f"{count} walks {word} for {expect[word]}")
        if "total_nano_usd" in expect and not fits(
            expect["total_nano_usd"], total := sum(got["cost_nano_usd"] for got in told)
        ):
            wrong.append(f"total_nano_usd {total} for {expect['total_nano_usd']}")
    total_calls = sum(calls.values())
    if "calls" in expect:
        wanted = expect["calls"]
        if isinstance(wanted, dict):
            wrong += [
                f"calls to {name} {calls[name]} for {value}" for name, value in wanted.items() if not fits(value, calls[name])
            ]
        elif not fits(wanted, total_calls):
            wrong.append(f"calls {total_calls} for {wanted}")
    if "sent" in expect:
        wrong += compare_sent(expect["sent"], seen[endpoints[0] if endpoints else "main"])

    return {"state": "failed" if wrong else "passed", "why": wrong, "got": told[:3], "calls": calls}


# ---- all cases ------------------------------------------------------------------------------------------------------


def read(folder: Path, kind: str, only: str) -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    cases = []
    for path in sorted(folder.rglob("*.yaml")):
        page = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
        if kind and page["kind"] != kind:
            continue
        names = [case["name"] for case in page["cases"]]
        assert len(set(names)) == len(names), f"{path} has a name twice"
        for case in page["cases"]:
            whole = {"kind": page["kind"]} | case
            if page.get("graph"):
                whole["graph"] = merged(page["graph"], case.get("graph") or {})
            if page.get("request"):
                whole["request"] = merged(page["request"], case.get("request") or {})
            if only in case["name"]:
                cases.append(whole)

    return cases


async def run_all(cases: list[dict[str, Any]], keys: dict[str, str], jobs: int) -> list[dict[str, Any]]:
    free = asyncio.Semaphore(jobs)

    async def one(number: int, case: dict[str, Any], folder: Path) -> dict[str, Any]:
        async with free:
            began = time.monotonic()
            try:
                found = await asyncio.wait_for(
                    run_case(case, keys, folder / str(number)), float(case.get("seconds", CASE_SECONDS))
                )
            except TimeoutError:
                found = {"state": "failed", "why": ["it took too long"], "got": []}
            except Exception as error:  # noqa: BLE001
                found = {"state": "failed", "why": [f"{type(error).__name__}: {error}"], "got": []}
            return {
                "kind": case["kind"],
                "name": case["name"],
                "control": bool(case.get("control")),
                "seconds": round(time.monotonic() - began, 2),
            } | found

    with tempfile.TemporaryDirectory(prefix="dialects-") as folder:
        return await asyncio.gather(*(one(number, case, Path(folder)) for number, case in enumerate(cases)))


def main() -> int:
    ways = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways.add_argument("folder", type=Path)
    ways.add_argument("--json", action="store_true", help="print all results as JSON")
    ways.add_argument("--kind", default="", help="only this kind")
    ways.add_argument("--only", default="", help="only cases whose name has this text")
    ways.add_argument("--keys", type=Path, help="a YAML file: {proposed key: the product's own name for it}")
    ways.add_argument("--jobs", type=int, default=JOBS)
    ways.add_argument("--show", action="store_true", help="print what came of each case, too")
    given = ways.parse_args()
    keys = yaml.safe_load(given.keys.read_text(encoding="utf-8")) if given.keys else {}
    os.environ["DIALECT_KEY"] = KEY
    results = asyncio.run(run_all(read(given.folder, given.kind, given.only), keys, given.jobs))
    if given.json:
        print(json.dumps(results, indent=1, ensure_ascii=False))
    else:
        for one in results:
            if one["state"] != "passed":
                print(f"{one['state'].upper():6} {one['kind']}: {one['name']}: {'; '.join(one['why'])}")
            if given.show:
                print(
                    f"  {one['kind']}: {one['name']}: {one['state']}: {json.dumps(one['got'], ensure_ascii=False)[:1500]} {one.get('calls', '')}"
                )
    count = {state: sum(one["state"] == state for one in results) for state in ("passed", "failed", "need")}
    print(
        f"{count['passed']} passed, {count['failed']} failed, {count['need']} need a new key",
        file=sys.stderr if given.json else sys.stdout,
    )

    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
