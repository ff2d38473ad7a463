"""
The entry point: one command run, its errors told, its exit code returned.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TextIO, cast

from meshwalk.cli.output import WRONG_USE, Misuse, Stdout, Unwritten, complain, report


# The exit codes that a shell gives programs ended by Ctrl-C or by a closed pipe.
_INTERRUPTED, _PIPE_CLOSED = 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command that *argv* (or the process's own command line) asks for, and return its exit code.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    as_json = "--json" in words
    # gRPC's C core writes lines of its own to stderr beside the error it raises, which we say in a sentence.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Plugins of pydantic have nothing to do with graphs, and it would search every installed package for them.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        with redirect_stdout(cast("TextIO", Stdout(sys.stdout))):
            return _run(words, as_json=as_json)
    except Unwritten as lost:
        # The interpreter's last flush must not complain, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(lost.error, BrokenPipeError):
            return _PIPE_CLOSED
        complain(f"error: {lost}")
        return WRONG_USE


def _run(words: Sequence[str], *, as_json: bool) -> int:
    # Imported modules stay until the end, so a search of the collector through them finds nothing.
    gc.disable()
    from cyclopts import CycloptsError

    from meshwalk.cli.command_line import worded
    from meshwalk.cli.commands import app, command_of

    gc.enable()
    try:
        code: int | None = app(words)(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        said = worded(error, words)
        return report(Misuse(f"{said} (`{command_of(words)} --help` says more)"), as_json=as_json)
    except Misuse as error:
        return report(error, as_json=as_json)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:
        # Only who fails waits for the model of graphs, which its errors are a part of.
        from meshwalk.model.problems import MeshwalkError

        if not isinstance(error, MeshwalkError):
            raise
        return report(error, as_json=as_json)

    return code or 0
