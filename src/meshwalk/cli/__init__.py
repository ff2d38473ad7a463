"""
The command line: one file a command, every one a thin door to a room that does the work.

`--help` must be quick, so heavy rooms are imported inside commands; what stands at the top of these files is light.
`output` holds the laws of exit codes and of stdout.
"""

from meshwalk.cli.main import main


__all__ = ["main"]
