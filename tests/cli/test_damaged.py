"""
Commands that open a store whose bytes are damaged.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize("command", [["traces", "list"], ["traces", "export"], ["replay"]])
@pytest.mark.parametrize("damage", [b"\xff\xfe", b"\x00\x00", b"ab"])
def test_damaged_bytes_are_told_without_a_traceback(traces: Path, run: Run, command: list[str], damage: bytes) -> None:
    """
    Bytes of the schema that are overwritten end a command with exit code 2 and one sentence.
    """
    file = traces / "traces.sqlite"
    raw = bytearray(file.read_bytes())
    at = raw.index(b"CREATE TABLE traversals")
    raw[at : at + 60] = damage * 30
    file.write_bytes(raw)
    ran = run(*command, "--traces", str(traces))

    assert 2 == ran.code
    assert "Traceback" not in ran.err
    assert "cannot be read" in ran.err or "holds no traces" in ran.err
