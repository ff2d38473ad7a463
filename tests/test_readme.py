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
from meshwalk.trace import FORMAT


ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))


# What a part of a graph needs to be one.
REST = """\
meshwalk: 1
name: rest
start: small
limits: {cost_usd: 0.5}
backends: {little: {kind: simulated, context_tokens: 8000, usd_per_mtok: {input: 0.1, output: 0.4}}}
nodes: {small: {role: answer, backend: little, max_tokens: 200, next: done}}
"""


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


def run(*words: str, folder: Path) -> None:
    # What the README puts into /tmp goes into the test's own folder, which is new.
    *command, text = words
    command.append(text.replace("/tmp/", f"{folder}/"))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(330)
def test_shell_blocks(tmp_path: Path) -> None:
    """
    Each line of the shell blocks succeeds, one after the other: later blocks build on earlier ones.
    """
    # A server that a block starts ends with the test, wherever that ends.
    ending = "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n"
    run("bash", "-xeuo", "pipefail", "-c", ending + "\n".join(blocks("sh")), folder=tmp_path)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("text", blocks("python"), ids=lambda text: text.split("\n")[2])
def test_python_block(text: str, tmp_path: Path) -> None:
    """
    Each Python block runs as a program of its own.
    """
    run(sys.executable, "-W", "error", "-c", text, folder=tmp_path)


@pytest.mark.parametrize("text", blocks("yaml"), ids=lambda text: text.split("\n")[1])
def test_yaml_block(text: str) -> None:
    """
    The graph that is shown compiles without a warning, and so does one with the part of a graph that is shown.
    """
    text = text if text.startswith("meshwalk:") else REST + text

    assert () == compile_plan(read_graph(text.encode(), file="README.md")).warnings


def test_there_are_blocks() -> None:
    """
    The blocks are found, so that a change of fences cannot empty these tests.
    """
    assert {"sh": 10, "python": 3, "yaml": 7} == {kind: len(blocks(kind)) for kind in ("sh", "python", "yaml")}


def test_the_format_of_records_is_said() -> None:
    """
    Readers of the changelog learn which records can be read.
    """
    files = [ROOT / "CHANGELOG.md", *(ROOT / "changes").glob("+*.md")]

    assert any(
        f"Records have format {FORMAT}, and older ones are not read." in file.read_text(encoding="utf-8") for file in files
    )
