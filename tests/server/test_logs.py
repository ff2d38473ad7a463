"""
The log of a server: lines with their extras, as text and as JSON, and never the text of an exception.
"""

from __future__ import annotations

import json
import logging

import pytest

from meshwalk.server.logs import logging_to_stderr


_log = logging.getLogger("meshwalk.tests")
SECRET = "a prompt that an error quotes"


def write(level: int = logging.WARNING) -> None:
    try:
        float(SECRET)
    except ValueError:
        _log.log(level, "a walk %s", "failed", exc_info=True, extra={"meshwalk.node": "ask"})


def test_a_json_line_has_the_message_and_its_extras(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A line is one document, with the exception's type and places, and without its text.
    """
    with logging_to_stderr("json", "warning"):
        write()
    (line,) = capsys.readouterr().err.splitlines()
    document = json.loads(line)

    assert ("warning", "meshwalk.tests", "a walk failed", "ask") == tuple(
        document[key] for key in ("level", "logger", "message", "node")
    )
    assert document["exception"].endswith("ValueError")
    assert SECRET not in line


def test_a_line_of_text_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The time, the level, the message and the extras stand on the first line.
    """
    with logging_to_stderr("text", "warning"):
        write()
    err = capsys.readouterr().err

    assert err.splitlines()[0].endswith("Z warning: a walk failed [node=ask]")
    assert SECRET not in err


def test_the_level_says_which_lines_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Lines below it are left out, and afterwards the logger is as it was.
    """
    logger = logging.getLogger("meshwalk")
    before = logger.level, logger.propagate, list(logger.handlers)
    with logging_to_stderr("text", "error"):
        write(logging.WARNING)
        write(logging.ERROR)

    assert 1 == capsys.readouterr().err.count("a walk failed")
    assert before == (logger.level, logger.propagate, list(logger.handlers))
