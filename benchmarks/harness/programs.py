"""
Programs that run beside the test: an arm in another interpreter, and the servers that arms call.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self


HERE = Path(__file__).parents[1]


class Worker:
    """
    Run an arm in another interpreter: *script* is told a count a line and answers with the nanoseconds it took.

    Raises:
        RuntimeError: If the script ends instead of answering; with what it said.
    """

    def __init__(self, python: Path, script: Path, *arguments: str) -> None:
        self._script = script
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            encoding="utf-8",
        )

    def __call__(self, n: int) -> float:
        return int(self.ask(str(n))) / n

    def hear(self) -> str:
        """
        Return the next line that the script says by itself.

        Raises:
            RuntimeError: If the script ends instead; with what it said.
        """
        assert self._process.stdout is not None
        heard = self._process.stdout.readline()
        if not heard:
            self._process.wait()
            self._said.seek(0)
            raise RuntimeError(f"{self._script.name} ended instead of answering: {self._said.read().strip()}")

        return heard.rstrip("\n")

    def ask(self, line: str) -> str:
        """
        Say *line* and return the line that answers it.

        Raises:
            RuntimeError: If the script ends instead of answering; with what it said.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it is gone, and what it said is read below

        return self.hear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # The script's input ends, and so does its loop.
        self._process.communicate()
        self._said.close()


class Served(NamedTuple):
    """
    Name a server that runs: where it listens, and which process it is.
    """

    port: int
    pid: int


@contextmanager
def served(script: str, *arguments: str, first_line: str = "") -> Iterator[Served]:
    """
    Run a server of this folder until its input ends.
    """
    with subprocess.Popen(
        [sys.executable, HERE / script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(first_line)
        process.stdin.flush()
        yield Served(int(process.stdout.readline()), process.pid)
        process.stdin.close()
