"""
Servers that are not ours, each a program of its own: started on a free port, waited for, and ended by its process id.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


ENVIRONMENTS = Path(__file__).parents[2] / ".venvs"
_SECONDS = 90


def free_port() -> int:
    """
    Return a port that nobody listens on.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))

        return int(listener.getsockname()[1])


@contextmanager
def started(command: Sequence[str | Path], *, ready: str, folder: Path, **variables: str) -> Iterator[None]:
    """
    Run *command* until the context is left; it is entered once *ready* answers.

    Args:
        folder: Its working folder, where its output is written, too.
        variables: Its environment beside a path and this folder as its home.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "output.txt"
    environment = {"PATH": os.defpath, "HOME": str(folder), "NO_PROXY": "*"} | variables
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait(process, ready, log)
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _SECONDS
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > until:
            raise AssertionError(f"it does not serve {url}:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
