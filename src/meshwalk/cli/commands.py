"""
The commands, put together.
"""

from __future__ import annotations

from cyclopts import App, Parameter

from meshwalk.cli.budget import budget
from meshwalk.cli.check import check
from meshwalk.cli.diff import diff
from meshwalk.cli.draw import draw
from meshwalk.cli.evaluate import evaluate
from meshwalk.cli.replay import replay
from meshwalk.cli.route import route
from meshwalk.cli.schema import schema
from meshwalk.cli.serve import serve
from meshwalk.cli.test import test
from meshwalk.cli.traces import traces
from meshwalk.cli.train_classifier import train_classifier


def app() -> App:
    """
    Put the commands together.
    """
    commands = App(
        name="meshwalk",
        help="Walk inference requests over a declared graph of models.",
        version=_version,
        # The list of commands has no markup; Rich's Markdown takes as long to import as all else that prints it.
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(show_default=False),
    )
    for command in (check, test, draw, diff, schema, serve, evaluate, train_classifier, replay):
        commands.command(command, help_format="markdown")
    commands.command(route, help_format="markdown", usage="Usage: meshwalk route [OPTIONS] (GRAPH | --target HOST:PORT) PROMPT")
    commands.command(traces())
    commands.command(budget())

    return commands


def _version() -> str:
    from meshwalk import __version__

    return __version__
