"""
What tests of commands share: a command run in this process, and graphs small enough to see through.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from meshwalk.cli import main


class Ran(NamedTuple):
    """
    Hold what a command left behind.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]

DESK = """\
meshwalk: 1
name: desk
start: intake
request:
  task: {type: string, enum: [prose, proof], default: prose}
  patience: {type: number, range: [0, 10], default: 1}
  draft: {type: bool, default: false}
thresholds:
  sure: {value: 0.8, range: [0, 1]}
backends:
  little: {kind: simulated, output_tokens: 12, confidence: 0.9, usd_per_mtok: {input: 1, output: 2}}
  broken: {kind: simulated, failure: {rate: 1, class: malformed}, usd_per_mtok: {input: 1, output: 2}}
nodes:
  intake:
    role: classifier
    use: features
    next:
      - {to: sorry, when: "request.task == 'proof'"}
      - {to: large, when: "request.correctness == 'strict' || request.draft"}
      - {to: small}
  small:
    role: answer
    backend: little
    max_tokens: 64
    confidence: {from: recorded, missing: 0}
    next:
      - {to: done, when: output.confidence >= thresholds.sure}
      - {to: large}
  large: {role: primary, backend: broken, max_tokens: 64, next: done}
  sorry: {role: refusal, reason: we do not prove}
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """
    Run a command in this process.
    """

    def ran(*words: str | Path) -> Ran:
        code = main([str(word) for word in words])

        return Ran(code, *capsys.readouterr())

    return ran


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """
    Give a graph that answers, refuses or fails as it is asked to.
    """
    path = tmp_path / "desk.yaml"
    path.write_text(DESK, encoding="utf-8")

    return path


@pytest.fixture
def traces(tmp_path: Path, desk: Path, run: Run) -> Path:
    """
    Give a folder with three walks over the desk: an answer, a refusal and a failure.
    """
    folder = tmp_path / "traces"
    for more in (("--session", "s-1"), ("--set", "task=proof"), ("--set", "correctness=strict")):
        run("route", desk, "Say hello.", *more, "--traces", folder)

    return folder
