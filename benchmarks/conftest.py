"""
How benchmarks ask: the `compare` fixture, the table at the end, and `BENCH_JSON`.

With `--benchmark-disable` every question is asked once, with one go of each arm: that shows that it works, and measures
nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Answer, Compare, Worker, table


ROOT = Path(__file__).resolve().parents[1]
ANSWERS = pytest.StashKey[list[Answer]]()


@pytest.fixture
def compare(request: pytest.FixtureRequest) -> Iterator[Compare]:
    """
    Give the means to compare two arms.
    """
    compare = Compare(request.node, request.config.stash[ANSWERS], timed=not request.config.getoption("benchmark_disable"))
    yield compare
    compare.clock.close()


@pytest.fixture(scope="session")
def langgraph() -> Iterator[Worker]:
    """
    Give the same walk in LangGraph, which lives in an environment of its own.
    """
    python = python_of("langgraph")
    if python is None:
        pytest.skip("LangGraph has an environment of its own, which `make bench` makes")
    with Worker(python, ROOT / "benchmarks" / "langgraph_worker.py") as worker:
        yield worker


@pytest.fixture(scope="session")
def litellm() -> Path | None:
    """
    Give the interpreter of LiteLLM's own environment, or None where that is not made.
    """
    return python_of("litellm")


def python_of(name: str) -> Path | None:
    """
    Find the interpreter of the environment *name*; `make bench` makes it.
    """
    python = ROOT / ".venvs" / name / "bin" / "python"

    return python if python.exists() else None


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ANSWERS] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    answers = config.stash[ANSWERS]
    if answers:
        terminalreporter.section("answers")
        for line in table(answers):
            terminalreporter.write_line(line)
    target = os.environ.get("BENCH_JSON")
    if target:
        Path(target).write_text(json.dumps([answer.document() for answer in answers], indent=2) + "\n", encoding="utf-8")
