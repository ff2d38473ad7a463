"""
Paths of the project that tests read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


ROOT = Path(__file__).resolve().parents[2]


Golden = Callable[[Path, str], None]


def shipped(folder: Path) -> list[Path]:
    """
    List the graphs in *folder*, without the cases that stand beside them.
    """
    return sorted(path for path in folder.glob("*.yaml") if not path.name.endswith(".cases.yaml"))
