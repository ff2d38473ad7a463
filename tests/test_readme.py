"""
The README does what it says: its blocks are run from the repository's root, in order.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from meshwalk.loader import read_graph
from meshwalk.plan import compile_plan


ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


def run(*words: str, folder: Path) -> None:
    # What the README puts into /tmp goes into the test's own folder.
    *command, text = words
    command.append(text.replace("/tmp/", f"{folder}/"))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(330)
def test_shell_blocks(tmp_path: Path) -> None:
    """
    Each line of the shell blocks succeeds, one after the other: later blocks build on earlier ones.
    """
    run("bash", "-xeuo", "pipefail", "-c", "\n".join(blocks("sh")), folder=tmp_path)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("text", blocks("python"), ids=lambda text: text.split("\n")[2])
def test_python_block(text: str, tmp_path: Path) -> None:
    """
    Each Python block runs as a program of its own.
    """
    run(sys.executable, "-W", "error", "-c", text, folder=tmp_path)


@pytest.mark.parametrize("text", blocks("yaml"), ids=["graph"])
def test_yaml_block(text: str) -> None:
    """
    The graph that is shown compiles without a warning.
    """
    assert () == compile_plan(read_graph(text.encode(), file="README.md")).warnings


def test_there_are_blocks() -> None:
    """
    The blocks are found, so that a change of fences cannot empty these tests.
    """
    assert {"sh": 7, "python": 2, "yaml": 1} == {kind: len(blocks(kind)) for kind in ("sh", "python", "yaml")}
