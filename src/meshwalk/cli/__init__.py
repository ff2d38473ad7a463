"""
The command line: one file a command, each a thin layer over the package that does the work.

`--help` must be quick, so heavy packages are imported inside commands; imports at the top of these files are light.
`output` states the rules for exit codes and for stdout.
"""

from meshwalk.cli.main import main


__all__ = ["main"]
