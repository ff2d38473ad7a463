"""
Checking and compiling a large graph against reading its YAML.

The bottom arm is `yaml.load(text, CSafeLoader)`, libyaml's parser and PyYAML's plain values, which is the least that
anything reading the file has to do.  The top arm is all of `meshwalk check`: bytes to `Graph`, every check, every guard
compiled.  A graph is checked once in its author's hands, so the top arm forgets what earlier rounds have taught the guards.
"""

from __future__ import annotations

import random
from functools import _lru_cache_wrapper
from importlib import import_module
from typing import Any

import pytest
import yaml

from harness import Compare, at_most, each
from meshwalk import loader, plan
from meshwalk.guards import syntax


NODES, EDGES = 1_000, 5_000

_TASKS = ("retrieval", "reasoning", "formatting", "validation")
_HEAD = f"""\
meshwalk: 1
name: large
start: n0
request:
  task: {{type: string, enum: [{", ".join(_TASKS)}], default: reasoning}}
  region: {{type: string}}
thresholds:
  low: {{value: 0.25, range: [0, 1]}}
  high: {{value: 0.75, range: [0, 1]}}
limits: {{hops: 40, deadline: 60s, cost_usd: 1.0}}
backends:
  model: {{kind: simulated, context_tokens: 32000, usd_per_mtok: {{input: 0.05, output: 0.15}}}}
nodes:
  n0: {{role: classifier, use: features, next: n1}}
"""
_NODE = """\
  n{index}:
    role: answer
    backend: model
    max_tokens: 256
    deadline: 4s
    confidence: {{from: mean_token_probability, missing: 0}}
    next:
"""
_GUARDS = (
    "output.confidence >= thresholds.{level}",
    "request.task == '{task}' && output.confidence < 0.{digits}",
    "signals.complexity > 0.{digits} && elapsed < duration('{seconds}s')",
    "has(request.region) && request.region in ['eu', 'us{digits}'] || deadline.left > duration('{seconds}s')",
    "budget.request.left_fraction < 0.{digits} ? true : request.urgency == 'realtime'",
)


def large_graph(nodes: int, edges: int) -> bytes:
    """
    Write a graph whose nodes each lead to a few of the next forty, by guards of every kind.
    """
    dice = random.Random(7)
    lines = [_HEAD]
    for index in range(1, nodes):
        following = [f"n{other}" for other in range(index + 1, min(nodes, index + 40))] or ["done"]
        lines.append(_NODE.format(index=index))
        lines += [f'      - {{to: {dice.choice(following)}, when: "{_guard(dice)}"}}\n' for _ in range(edges // nodes - 1)]
        lines.append(f"      - {{to: {following[0]}}}\n")

    # The classifier has one edge; the last node has those that are missing for it.
    short = edges - (nodes - 1) * (edges // nodes) - 1
    lines[-1:-1] = [f'      - {{to: done, when: "{_guard(dice)}"}}\n' for _ in range(short)]

    return "".join(lines).encode()


def _guard(dice: random.Random) -> str:
    return dice.choice(_GUARDS).format(
        level=dice.choice(("low", "high")),
        task=dice.choice(_TASKS),
        digits=dice.randrange(10, 99),
        seconds=dice.randrange(1, 60),
    )


def forget() -> None:
    """
    Empty every memory of the guards' room, as in a process that has just begun.
    """
    rooms: list[Any] = [import_module(f"meshwalk.guards.{name}") for name in ("tokens", "check", "compile", "faults")]
    for room in rooms:
        for known in vars(room).values():
            if isinstance(known, _lru_cache_wrapper):
                known.cache_clear()
    checker: Any = syntax.checker()
    checker.parse.cache_clear()
    checker.judge.cache_clear()


@pytest.mark.timeout(300)  # one round takes seconds
def test_check(compare: Compare) -> None:
    """
    How much longer does it take to check and compile a graph of 1,000 nodes and 5,000 edges than to parse its YAML?
    """
    text = large_graph(NODES, EDGES)

    def checked() -> None:
        forget()
        made, problems = plan.examine(loader.read_graph(text, file="large.yaml"))

        assert made is not None, problems[:3]
        assert (NODES, EDGES) == (len(made.nodes), sum(len(node.next) for node in made.nodes))

    compare(each(checked), each(lambda: yaml.load(text, yaml.CSafeLoader)), at_most(25), rounds=5)


@pytest.mark.timeout(300)  # one round takes seconds
def test_refuse(compare: Compare) -> None:
    """
    How much longer than to parse its YAML does it take to refuse that graph where hundreds of guards misspell a signal?
    """
    text = large_graph(NODES, EDGES).replace(b"signals.complexity", b"hop.n500.confidense")

    def refused() -> None:
        forget()
        made, problems = plan.examine(loader.read_graph(text, file="large.yaml"))

        assert made is None
        assert text.count(b"confidense") == sum(problem.code == "unknown-signal" for problem in problems)

    compare(each(refused), each(lambda: yaml.load(text, yaml.CSafeLoader)), at_most(25), rounds=5)
