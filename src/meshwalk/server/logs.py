"""
The log of a server on stderr: lines for people, or a JSON document a line.

Everything is logged by `logging`, and what a line is about stands in its extras, whose names begin with `meshwalk.`.  No line
holds a prompt, an answer or a provider's words: of an exception only its type and its places are written, since its text may
quote one.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import orjson

from meshwalk.model.serving import LogFormat, LogLevel


_PREFIX = "meshwalk."


@contextmanager
def logging_to_stderr(log_format: LogFormat, level: LogLevel) -> Iterator[None]:
    """
    Write the lines of meshwalk at *level* and above to stderr, until the context is left.
    """
    logger, handler = logging.getLogger("meshwalk"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    # A handler of the root logger would write each line again.
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class TextFormatter(logging.Formatter):
    """
    A line for people: the time, the level, the message, and what it is about.
    """

    def format(self, record: logging.LogRecord) -> str:
        """
        Return the line of *record*.
        """
        about = " ".join(f"{name}={value}" for name, value in _extras(record).items())
        line = f"{_time(record)} {record.levelname.lower()}: {record.getMessage()}" + (f" [{about}]" if about else "")
        places = _places(record)

        return f"{line}\n{places}" if places else line


class JsonFormatter(logging.Formatter):
    """
    A JSON document on one line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """
        Return the document of *record*.
        """
        document = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **_extras(record),
        }
        if places := _places(record):
            document["exception"] = places

        return orjson.dumps(document, default=str).decode()


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name.removeprefix(_PREFIX): value for name, value in vars(record).items() if name.startswith(_PREFIX)}


def _places(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""

    return "".join([*traceback.format_tb(record.exc_info[2]), record.exc_info[0].__name__])
