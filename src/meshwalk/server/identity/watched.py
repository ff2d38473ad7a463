"""
Files that may be replaced while a server runs.
"""

from __future__ import annotations

from pathlib import Path


class WatchedFiles:
    """
    The files at *paths*, as they were when they were last looked at.

    Their time, size and number are compared: one that is written anew, or a link to another, has changed.
    """

    def __init__(self, *paths: str) -> None:
        self._paths = [Path(path) for path in paths]
        self._before = self._now()

    def changed(self) -> bool:
        """
        Return whether one of them has changed since they were last looked at.
        """
        now = self._now()
        before, self._before = self._before, now

        return now != before

    def _now(self) -> list[tuple[int, int, int] | None]:
        return [_state(path) for path in self._paths]


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None

    return found.st_mtime_ns, found.st_size, found.st_ino
