"""
What servers were seen to send, as cases in files: each comes out as its file says.

A file has a kind and its cases.  A case has what the server answers, what is asked, what is laid over a graph of one node, and
what is expected; `run` walks them, here and from the command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.dialects import run


HERE = Path(__file__).parent
CASES = run.read(HERE / "cases", "", "")


@pytest.mark.parametrize("case", CASES, ids=[f"{case['kind']}: {case['name']}" for case in CASES])
async def test_a_dialect_is_read_as_it_is_meant(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The outcome, the words, the tokens and the money are those that the case expects.
    """
    monkeypatch.setenv("DIALECT_KEY", run.KEY)
    found = await run.run_case(case, {}, tmp_path)

    assert ("passed", []) == (found["state"], found["why"])
