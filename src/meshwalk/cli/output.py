"""
The output of a command: a JSON document or text on stdout, faults on stderr, and the exit code.

Exit codes: 0 is yes, 1 is no (a graph with errors, a walk without an answer, a replay that differs), 2 is wrong use (a
command line, a file, a graph or a server that cannot be used).  With `--json`, what went wrong is a document, too, so that
whoever reads stdout always finds exactly one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

import orjson


if TYPE_CHECKING:
    from meshwalk.model.problems import MeshwalkError, Problem


OK, NO, WRONG_USE = 0, 1, 2

# A graph with more faults than this has one that causes the rest.
_SHOWN_FAULTS = 100

# Characters that a terminal obeys instead of showing them, and lone surrogates.
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

# Characters that end the line of a name, or turn its direction around.
_UNNAMED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NAME_HEAD, _NAME_TAIL = 40, 7


class Misuse(Exception):
    """
    An error of a command line that cannot be taken.

    It is no `MeshwalkError`, so that `--help` does not wait for the model of graphs, which those are a part of.
    """

    hint = "INVALID_ARGUMENT"


class Unwritten(Exception):
    """
    An error of a stdout that takes no more: a full disk, or a reader that is gone.
    """

    def __init__(self, error: OSError) -> None:
        self.error = error
        super().__init__(f"stdout cannot be written: {error.strerror or error}")


class Stdout:
    """
    A wrapper of *stream* that tells its failures from those of other files.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """
        Write *text*.
        """
        try:
            return self._stream.write(text)
        except OSError as error:
            raise Unwritten(error) from error

    def flush(self) -> None:
        """
        Write the lines that are held back.
        """
        try:
            self._stream.flush()
        except OSError as error:
            raise Unwritten(error) from error


def emit(document: Mapping[str, Any], *, on_one_line: bool = False, at_once: bool = False) -> None:
    """
    Print *document* as JSON.

    Args:
        on_one_line: For who reads line by line while the command still runs.
        at_once: Past the buffer that Python keeps for a pipe.
    """
    say(line(document) if on_one_line else orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    if at_once:
        sys.stdout.flush()


def line(document: Mapping[str, Any]) -> str:
    """
    Return *document* as one line of JSON.
    """
    return orjson.dumps(document).decode()


def say(text: str) -> None:
    """
    Print *text*; what the terminal cannot show, or would obey, is escaped.
    """
    _write(sys.stdout, text)


def say_fitted(text: str) -> None:
    """
    Print *text* for people: in a terminal, no line is cut inside a word.
    """
    from meshwalk.cli.fitting import fitted

    say(fitted(text, sys.stdout))


def say_piece(text: str) -> None:
    """
    Print *text* at once and end no line: more of it follows.
    """
    _write(sys.stdout, text, end="")
    sys.stdout.flush()


def complain(text: str) -> None:
    """
    Print *text* where it does not mix with what the command gives.
    """
    from meshwalk.cli.fitting import fitted

    sys.stdout.flush()
    # If stderr takes nothing either, the exit code still tells.
    with suppress(OSError):
        _write(sys.stderr, fitted(text, sys.stderr))


def visible(text: str) -> str:
    """
    Return *text* with what a terminal would obey written out, in escapes that JSON knows, too.

    Answers, names and reasons come from models and files; none of them may move a cursor or colour a line.
    """
    return _UNSHOWN.sub(_escaped, text)


def visible_name(name: str) -> str:
    """
    Return *name* for one line of a table: line ends and marks of direction escaped, a very long one cut in the middle.
    """
    if len(name) > _NAME_HEAD + 1 + _NAME_TAIL:
        name = f"{name[:_NAME_HEAD]}…{name[-_NAME_TAIL:]}"

    return _UNNAMED.sub(_escaped, name)


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def counted(count: int, noun: str) -> str:
    """
    Return *count* with *noun* in the singular or the plural.
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _write(stream: Any, text: str, end: str = "\n") -> None:
    # A terminal may know no UTF-8, which is no reason to die.
    encoding = stream.encoding or "utf-8"
    stream.write(visible(text).encode(encoding, "backslashreplace").decode(encoding) + end)


def write_lines(path: str, lines: Iterable[str], *, private: bool = False) -> int:
    """
    Write *lines* to the file at *path*, and return how many they were.

    Args:
        private: Whether a new file is for this user alone.

    Raises:
        SetupError: If it cannot be written.
    """
    from meshwalk.model.files import open_to_write

    count = 0
    try:
        with open_to_write(path, private=private) as file:
            for count, text in enumerate(lines, start=1):  # noqa: B007 (counted to the end)
                file.write(f"{text}\n".encode())
    except OSError as error:
        from meshwalk.model.problems import SetupError

        raise SetupError(f"'{path}' cannot be written: {error.strerror or error}") from error

    return count


def report(error: MeshwalkError | Misuse, *, as_json: bool, on_one_line: bool = False) -> int:
    """
    Say what went wrong, and return the exit code for it.
    """
    from meshwalk.model.problems import GraphError, WalkStopped

    if as_json:
        emit({"error": error_document(error)}, on_one_line=on_one_line)
    if isinstance(error, GraphError):
        complain(rendered(error.problems))
    else:
        complain(f"error: {error}")

    return NO if isinstance(error, WalkStopped) else WRONG_USE


def error_document(error: MeshwalkError | Misuse) -> dict[str, Any]:
    """
    Return *error* with what it knows besides its sentence.
    """
    from meshwalk.model.problems import GraphError, RequestError, WalkStopped

    document: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
    match error:
        case GraphError():
            document["problems"] = [problem_document(problem) for problem in error.problems]
        case RequestError():
            document["violations"] = [violation._asdict() for violation in error.violations]
        case WalkStopped():
            document |= {
                "traversal_id": error.traversal_id,
                "node": error.node,
                "cause": error.error_class,
                "scope": error.scope,
            }

    return document


def problem_document(problem: Problem) -> dict[str, Any]:
    """
    Return *problem* in the shape that editors and CI read.
    """
    return {
        "file": problem.span.file,
        "line": problem.span.line,
        "column": problem.span.column,
        "code": problem.code,
        "severity": problem.severity,
        "message": problem.message,
        "help": problem.help,
    }


def rendered(problems: Sequence[Problem]) -> str:
    """
    Print *problems* with the lines they are about, as far as those can be read; of very many, the first.
    """
    from meshwalk.loader import source_lines
    from meshwalk.model.problems import MeshwalkError, render
    from meshwalk.model.trust import UnquotedProblem

    sources: dict[str, list[str]] = {}
    for file in {problem.span.file for problem in problems if not isinstance(problem, UnquotedProblem)}:
        try:
            sources[file] = source_lines(file, problems)
        except MeshwalkError:
            # A graph that is no text, or a plan from a store, has no lines to quote.
            sources[file] = []

    rows = [render(problem, sources) for problem in problems[:_SHOWN_FAULTS]]
    if more := len(problems) - len(rows):
        rows.append(f"{counted(more, 'more fault')}; mend these first, or see all of them with `meshwalk check --json`")

    return "\n".join(rows)
