"""
The commands, put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from cyclopts import App, Parameter


_COMMANDS = ("check", "test", "decide", "draw", "diff", "schema", "serve", "evaluate", "train-classifier", "replay", "route")
# Each of these has commands of its own.
_GROUPS = ("traces", "budget", "keys")

_USAGES = {
    "route": "Usage: meshwalk route [OPTIONS] (GRAPH | --target HOST:PORT) (PROMPT | --messages FILE)",
    "serve": "Usage: meshwalk serve [OPTIONS] (GRAPH... | --config server.yaml)",
}


def app(words: Sequence[str]) -> App:
    """
    Put the commands together; where *words* begin with the name of one, only that is imported.
    """
    commands = App(
        name="meshwalk",
        help="Walk inference requests over a declared graph of models.",
        version=_version,
        # The list of commands has no markup; Rich's Markdown takes as long to import as all else that prints it.
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(show_default=_default),
    )
    known = (*_COMMANDS, *_GROUPS)
    for name in words[:1] if words and words[0] in known else known:
        if name in _GROUPS:
            commands.command(_found(name)())
        else:
            commands.command(_found(name), help_format="markdown", usage=_USAGES.get(name))

    return commands


def _default(value: Any) -> str | None:
    # The help leaves out an empty default and a flag that is off.
    return None if value in (None, "", False, ()) else str(value)


def command_of(words: Sequence[str]) -> str:
    """
    Return the command that *words* begin with, as its help is asked for.
    """
    if not words or words[0] not in (*_COMMANDS, *_GROUPS):
        return "meshwalk"
    below = words[1:2] if words[0] in _GROUPS and words[1:2] and words[1].isalpha() else ()

    return " ".join(("meshwalk", words[0], *below))


def _found(name: str) -> Any:
    module = name.replace("-", "_")

    return getattr(import_module(f"meshwalk.cli.{module}"), module)


def _version() -> str:
    from meshwalk import __version__

    return __version__
