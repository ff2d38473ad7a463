"""
The entry point of the demo.

Without an argument it runs on the packaged graphs; with the path of a graph that has a primary it shows that one.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import anyio
from rich.console import Console

from meshwalk.demo.run import demonstrate, show


_PAGE_WIDTH = 100


def main() -> None:
    """
    Run the demo on the packaged graphs, or on the graph named on the command line.
    """
    logging.basicConfig(level=logging.WARNING)
    console = Console()
    if not console.is_terminal:
        # Narrow enough for a page.
        console = Console(width=_PAGE_WIDTH)
    if len(sys.argv) > 1:
        anyio.run(show, Path(sys.argv[1]), console)
    else:
        anyio.run(demonstrate, console)


if __name__ == "__main__":
    main()
