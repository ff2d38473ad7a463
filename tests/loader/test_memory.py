"""
A hostile file is refused with little memory, whatever it asks for.

Each is read by a process of its own, because the parser's memory is not Python's: only the system sees all of it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


STATUS = Path("/proc/self/status")

pytestmark = pytest.mark.skipif(not STATUS.exists(), reason="this system does not say how much memory a process took")

# The peak that getrusage gives is no less than that of the process it was started from; this one is the process's own.
READ = r"""
import re, sys, time
from pathlib import Path
from meshwalk.loader import load_graph
from meshwalk.model.problems import GraphError

def peak():
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])

before, start = peak(), time.perf_counter()
try:
    load_graph(sys.argv[1])
except GraphError as error:
    print(error.problems[-1].code, end=" ")
print(peak() - before, time.perf_counter() - start)
"""


def alias_bomb() -> bytes:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]" for number in range(1, 30)]

    return "\n".join(rows).encode()


# What each holds, what is said of it, and how many MiB reading it may take.
HOSTILE = {
    "alias bomb": (alias_bomb(), "too-many-parts", 30),
    "fifty megabytes": (b"meshwalk: 1\n" + b"#" * 50_000_000, "file-too-large", 30),
    "deep lists": (b"a: " + b"[" * 4_000_000, "too-deep", 30),
    "deep tables": (b"{a: " * 1_000_000, "too-deep", 30),
    "deep block": (b"- " * 2_000_000, "too-deep", 30),
    "no UTF-8": (b"meshwalk: 1\n#" + b"x" * 4_000_000 + b"\xff", "not-utf8", 30),
    "UTF-16": ("meshwalk: 1\n".encode("utf-16"), "not-utf8", 30),
    "many parts": (b"[" + b"x," * 2_000_000 + b"x]", "too-many-parts", 100),
}


class TestMemory:
    @pytest.mark.process
    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_file_takes_little(self, name: str, tmp_path: Path) -> None:
        """
        A file made to fill the memory is refused for what it is, quickly, and with little memory.
        """
        text, expected, most = HOSTILE[name]
        path = tmp_path / "hostile.yaml"
        path.write_bytes(text)
        said = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True, timeout=50).stdout
        code, taken, seconds = said.split()

        assert expected == code
        assert int(taken) / 1024 < most
        assert float(seconds) < 15
