"""
Every option that names a file refuses what is none, and no command waits for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.files import ROOT


# Each command line that reads a file; FILE stands for it, GRAPH and GSM8K for graphs that are well.
READING = [
    "check FILE",
    "test FILE",
    "decide FILE hello",
    "draw FILE",
    "diff FILE GRAPH",
    "diff GRAPH FILE",
    "serve FILE --listen 127.0.0.1:0",
    "route FILE hello",
    "route GRAPH --messages FILE",
    "route GRAPH hello --tools FILE",
    "route GRAPH hello --response-format FILE",
    "evaluate FILE FILE",
    "evaluate GSM8K FILE",
    "route GSM8K hello --data FILE",
    "evaluate --confidences FILE",
    "train-classifier FILE -o OUT/weights.json",
    "budget show --vault sqlite:FILE",
    "traces list --traces FILE",
    "route GRAPH hello --traces FILE",
    "replay --traces FILE",
]
WRITING = ["draw GRAPH -o FILE.svg", "traces export --traces TRACES -o FILE.svg"]


def a_folder(path: Path) -> None:
    path.mkdir()


def a_named_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _put_in(word: str, places: Mapping[str, Path]) -> str:
    for name, path in places.items():
        word = word.replace(name, str(path))

    return word


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [a_folder, a_named_pipe, a_device])
@pytest.mark.parametrize("command", READING)
def test_what_is_no_file_is_refused(command: str, make: Callable[[Path], None], desk: Path, tmp_path: Path, run: Run) -> None:
    """
    A folder, a named pipe and a device end a command with an error that names it.
    """
    if make is a_folder and "--traces" in command:
        pytest.skip("traces are kept in a folder")
    path = tmp_path / "named.yaml"
    make(path)
    places = {"FILE": path, "GRAPH": desk, "GSM8K": ROOT / "graphs" / "gsm8k-agreement.yaml", "OUT": tmp_path}
    words = [_put_in(word, places) for word in command.split()]

    done = run(*words)

    assert 2 == done.code
    assert "named.yaml" in done.err
    assert "Traceback" not in done.err


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [a_folder, a_named_pipe])
@pytest.mark.parametrize("command", WRITING)
def test_what_is_no_file_is_not_written(
    command: str, make: Callable[[Path], None], desk: Path, traces: Path, tmp_path: Path, run: Run
) -> None:
    """
    A folder and a named pipe that nobody reads are refused as a place for output.
    """
    path = tmp_path / "named"
    make(path.with_suffix(".svg"))
    words = [_put_in(word, {"FILE": path, "GRAPH": desk, "TRACES": traces}) for word in command.split()]

    done = run(*words)

    assert (2, True) == (done.code, "named.svg" in done.err)
