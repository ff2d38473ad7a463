"""
The trust in a graph: what it may name that lies outside its folder and beyond its own text.

A graph is code: it names files, functions and environment variables.  By default its files lie in its own folder, while it may
name any function and any variable.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from meshwalk.model.files import open_plain
from meshwalk.model.problems import Problem


class OutsideFolderError(Exception):
    """
    A file that lies outside the folder of the graph that names it.
    """


class UnquotedProblem(Problem):
    """
    A fault of a file that somebody else may have written for another purpose, so that no line of it is shown.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Trust:
    """
    The trust in a graph.

    Args:
        files: Whether it may name files outside its folder.
        functions: The beginnings of the functions that it may name; None takes any.
        variables: The beginnings of the environment variables that it may name; None takes any.
    """

    files: bool = False
    functions: tuple[str, ...] | None = None
    variables: tuple[str, ...] | None = None


USUAL_TRUST = Trust()


@dataclass(frozen=True, slots=True)
class GraphFiles:
    """
    The files that a graph may name, by paths that start at *folder*.
    """

    folder: str = "."
    trust: Trust = USUAL_TRUST

    def open(self, name: str) -> BufferedReader:
        """
        Open the file of a name in a graph for reading.

        Raises:
            OSError: If it cannot be opened, or is no plain file.
            OutsideFolderError: If it lies outside the folder, whatever links lead there, and that is not trusted.
            ValueError: If no file can have that name.
        """
        path = Path(self.folder, name)
        if not self.trust.files:
            # The file that was looked at is the one that is opened.
            folder, path = Path(self.folder).resolve(), path.resolve()
            if not path.is_relative_to(folder):
                raise OutsideFolderError(name)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")

        return open_plain(path)


def refused(names: Iterable[str], allowed: tuple[str, ...] | None) -> list[str]:
    """
    Return those of *names* that begin with none of *allowed*, each once.
    """
    return [] if allowed is None else [name for name in dict.fromkeys(names) if not name.startswith(allowed)]
