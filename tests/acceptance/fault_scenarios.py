"""
Scenarios of model servers that misbehave, as people read them: what is served and asked, `----`, and what came of it.

A file names its graph first; a block begins with a sentence after `#` and ends at an empty line.

    little: reset | ok "Paris" 10+5      what the server under ${LITTLE_URL} answers (see `testing.faulty`); `nobody` listens
    set nodes.small.deadline=150ms       change the graph
    chance 0.9                           where every choice by chance falls; without such a line in the middle
    only mesh                            the doors it goes through: mesh, route, stream; without such a line all of them

What is done, in order; without such a line one request is routed:

    ask cost_usd=0.001 session=b         route a request, and wait for its end
    begin little                         route a request, and wait until this server was asked
    queue great                          route a request, and wait until it waits for a place at this backend; without a name,
                                         until it can get no further by itself
    leave                                give up the request that was begun last; `leave first` the one begun first
    open NAME                            let the servers go on that hold for NAME
    later 10s                            let so much time pass at once

`pytest --rewrite` writes what came of it anew, and the diff is what a reviewer reads.  Money is no matter of the golden text
alone: `Books` prices what the servers logged, knowing nothing of the engine, and both sums must be equal to the nano-dollar.
"""

from __future__ import annotations

import math
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from meshwalk.backends.roles import estimate_tokens
from meshwalk.budgets import usd
from meshwalk.plan import Plan
from meshwalk.records.hops import Hop, hops_of
from meshwalk.testing.faulty.script import Seen
from meshwalk.testing.faulty.server import FaultyServer
from meshwalk.trace import Attempt, Traversal


PROMPT = "Where does the Seine meet the Oise?"

# What a message costs at most besides its bytes.
MESSAGE_TOKENS = 16


class Step(NamedTuple):
    """
    Do one thing.
    """

    verb: str
    name: str = ""
    options: Mapping[str, str] = {}


class Scenario(NamedTuple):
    """
    Say what is served, asked and changed, and what should come of it.

    Args:
        servers: What each serves, by its name in small letters.
        changes: Values of the graph to replace, by their dotted paths.
        doors: Through which it is routed.
    """

    sentence: str
    graph: Path
    servers: Mapping[str, str]
    changes: Mapping[str, str]
    steps: Sequence[Step]
    chance: float
    doors: tuple[str, ...]
    expected: str

    @property
    def document(self) -> dict[str, Any]:
        """
        Return the graph's document, changed.
        """
        document: dict[str, Any] = yaml.safe_load(self.graph.read_text(encoding="utf-8"))
        for path, value in self.changes.items():
            *folders, last = path.split(".")
            inside = document
            for folder in folders:
                inside = inside[folder]
            inside[last] = yaml.safe_load(value)

        return document

    @property
    def names(self) -> list[str]:
        """
        Name the servers that the graph calls.
        """
        return [name.lower() for name in re.findall(r"\$\{(\w+)_URL\}", self.graph.read_text(encoding="utf-8"))]


def read_scenarios(path: Path) -> Iterator[Scenario]:
    """
    Read a file of scenarios.
    """
    head, *blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
    graph = path.parent / head.removeprefix("graph ").strip()
    for block in blocks:
        given, _, expected = block.partition("\n----")
        yield _read(given.splitlines(), graph, expected.strip("\n"))


def _read(lines: list[str], graph: Path, expected: str) -> Scenario:
    sentence = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    servers: dict[str, str] = {}
    changes: dict[str, str] = {}
    steps: list[Step] = []
    chance = 0.5
    doors: tuple[str, ...] = ("mesh", "route", "stream")
    for line in lines:
        word, _, rest = line.partition(" ")
        match word:
            case "#":
                pass
            case "set":
                path, _, value = rest.partition("=")
                changes[path] = value
            case "chance":
                chance = float(rest)
            case "only":
                doors = tuple(rest.split())
            case "ask" | "begin" | "queue" | "leave" | "open" | "later":
                steps.append(_step(word, rest.split()))
            case _:
                assert word.endswith(":"), f"{line!r} is no line of a scenario"
                servers[word[:-1]] = rest

    return Scenario(sentence, graph, servers, changes, steps or [Step("ask")], chance, doors, expected)


def _step(verb: str, words: list[str]) -> Step:
    names = [word for word in words if "=" not in word]

    return Step(verb, "".join(names), dict(word.split("=", 1) for word in words if "=" in word))


def given_text(path: Path, answers: Sequence[str]) -> str:
    """
    Return the text of a file with *answers* below its scenarios.
    """
    head, *blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
    given = [block.partition("\n----")[0] for block in blocks]

    return "\n\n".join([head, *(f"{said}\n----\n{answer}" for said, answer in zip(given, answers, strict=True))]) + "\n"


def nobody() -> socket.socket:
    """
    Take a port that nobody listens on, for as long as the socket lives.
    """
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))

    return taken


# ---- what came of it --------------------------------------------------------------------------------------------------------


def told(said: str, traversal: Traversal, plan: Plan, spans: Sequence[ReadableSpan], pauses: Iterator[float]) -> Iterator[str]:
    """
    Tell of one walk what does not depend on how fast the machine is.

    Args:
        said: The answer, or what was passed on of one.
        pauses: What its engine asked to sleep before a retry, in seconds, one after the other.
    """
    finish = traversal.finish
    end = f"{finish.outcome.value}{f' ({finish.cause})' if finish.cause else ''}"
    by = f" by {traversal.answer_node}" if traversal.answer_node else ""
    yield f"{' → '.join(traversal.path)}: {end}{by}{said and f': {said!r}'}"
    for hop in hops_of(traversal, plan):
        yield from _told_of_hop(hop, pauses)
    yield from _told_of_spans(spans)


def _told_of_hop(hop: Hop, pauses: Iterator[float]) -> Iterator[str]:
    outputs = ", ".join(f"{name} {_short(value)}" for name, value in hop.outputs.items() if name in _OUTPUTS)
    error = f" {hop.error_class}" if hop.error_class and hop.error_class != hop.status else ""
    prefix_verdict = (
        f", {'passed on' if hop.prefix_verdict.committed else 'stopped'} after {hop.prefix_verdict.tokens}"
        if hop.prefix_verdict
        else ""
    )
    yield f"{hop.node:<8} {hop.status}{error}{prefix_verdict}{outputs and f', {outputs}'}"
    for attempt in hop.attempts:
        yield f"  {_told_of_attempt(attempt, pauses)}"


_OUTPUTS = ("confidence", "qualified", "agree", "score")


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _told_of_attempt(attempt: Attempt, pauses: Iterator[float]) -> str:
    where = f"{attempt.backend}/{attempt.endpoint}" if attempt.endpoint else attempt.backend
    marks = [
        attempt.status if attempt.error_class in {"", attempt.status} else f"{attempt.status} {attempt.error_class}",
        *(["hedge"] if attempt.hedge else []),
        *([f"after {_pause(next(pauses))}"] if attempt.backoff_us else []),
        *([f"{attempt.tokens_seen} tokens seen"] if attempt.tokens_seen else []),
        *(["from the cache"] if attempt.cache_age_us is not None else []),
    ]
    incoming, outgoing, cached, reasoning, _ = attempt.usage
    parts = "".join(f", {count} {part}" for count, part in ((cached, "cached"), (reasoning, "reasoning")) if count)
    usage = f" {incoming}+{outgoing}{parts and f' ({parts[2:]})'}" if any(attempt.usage) else ""

    return f"{where}: {', '.join(marks)}; {attempt.basis}{usage}, {usd(attempt.cost_nano_usd)}"


def _pause(seconds: float) -> str:
    # A little of it has gone by before it is asked for.
    return f"{math.ceil(seconds * 100) * 10} ms"


def _told_of_spans(spans: Sequence[ReadableSpan]) -> Iterator[str]:
    """
    Tell of a tree of spans in one line: each with its children in brackets, those that failed with a mark.
    """
    children: dict[int, list[ReadableSpan]] = {}
    for span in spans:
        children.setdefault(0 if span.parent is None else span.parent.span_id, []).append(span)

    def tree(span: ReadableSpan) -> str:
        assert span.context is not None
        below = ", ".join(map(tree, children.get(span.context.span_id, ())))
        mark = "!" if span.status.status_code is StatusCode.ERROR else ""

        return f"{span.name.removeprefix('meshwalk.')}{mark}{f' ({below})' if below else ''}"

    roots = children.get(0) or [span for span in spans if span.name == "meshwalk.route"]
    yield f"spans    {', '.join(map(tree, roots))}"


def told_of_servers(servers: Mapping[str, FaultyServer]) -> Iterator[str]:
    """
    Tell what each server that was called saw.
    """
    for name, server in servers.items():
        if server.seen:
            connections = f" over {server.opened} connections" if server.opened > 1 else ""
            yield f"{name:<8} {'; '.join(map(_told_of_request, server.seen))}{connections}"


def _told_of_request(seen: Seen) -> str:
    bill = f"bills {seen.usage[0]}+{seen.usage[1]}" if seen.bill == "usage" else f"bills {seen.bill}"

    return f"{seen.act.verb} {seen.ended or 'under way'}, {bill}"


# ---- money ------------------------------------------------------------------------------------------------------------------


class Books:
    """
    Price what servers logged, from the graph's text alone.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        keepers = {name: spec["of"] for name, spec in document["backends"].items() if "of" in spec}
        nodes = [node for node in document["nodes"].values() if "backend" in node]
        self._nodes = {keepers.get(node["backend"], node["backend"]): node for node in nodes}
        self._backends = {
            name.lower(): (backend, spec)
            for backend, spec in document["backends"].items()
            for name in re.findall(r"\$\{(\w+)_URL\}", str(spec))
        }

    def nano_usd(self, servers: Mapping[str, FaultyServer]) -> int:
        """
        Add up what all requests cost the caller: what was told, what it can estimate of that, or else the worst.
        """
        return sum(self._cost(name, seen) for name, server in servers.items() for seen in server.seen)

    def worst(self, name: str) -> int:
        """
        Return the most that one call to a server costs, unless it charges more than it may.
        """
        backend, spec = self._backends[name]
        incoming = min(len(PROMPT.encode()) + MESSAGE_TOKENS, spec["context_tokens"])

        outgoing = self._nodes[backend]["max_tokens"]
        # Whatever part of the tokens is dearest.
        return max(self._price(name, incoming, outgoing, *parts) for parts in product((0, incoming), (0, outgoing)))

    def _cost(self, name: str, seen: Seen) -> int:
        if seen.bill == "nothing":
            return 0
        if seen.streamed and seen.ended != "answered" and seen.sent:
            # What came of it was counted.
            return self._price(name, estimate_tokens(PROMPT), seen.sent)
        if seen.bill == "unknown" or not _is_told(seen):
            return self.worst(name)
        if seen.act.options.get("usage") in {"no", "bad"}:
            return self._price(name, estimate_tokens(PROMPT), estimate_tokens(seen.act.text))

        parts = [int(seen.act.options.get(part, 0)) for part in ("cached", "reasoning")]

        return self._price(name, *seen.usage, *parts)

    def _price(self, name: str, incoming: int, outgoing: int, cached: int = 0, reasoning: int = 0) -> int:
        price = {part: Decimal(str(usd)) for part, usd in self._backends[name][1]["usd_per_mtok"].items()}
        usd = (incoming - cached) * price["input"] + cached * price.get("cached_input", price["input"])
        usd += (outgoing - reasoning) * price["output"] + reasoning * price.get("reasoning", price["output"])

        return math.ceil(usd * 1000)


def _is_told(seen: Seen) -> bool:
    """
    Tell whether the caller can know what the server counted.
    """
    options = seen.act.options

    return seen.ended == "answered" and options.get("head") != "huge"
