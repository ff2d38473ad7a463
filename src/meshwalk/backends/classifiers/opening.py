"""
A classifier opened from what its node declares.
"""

from __future__ import annotations

from meshwalk.backends.base import Classifier
from meshwalk.model import Node
from meshwalk.model.problems import SetupError


async def open_classifier(node: Node, *, folder: str = ".") -> Classifier:
    """
    Make ready what the classifier *node* uses.

    Args:
        folder: Where the graph's relative paths start.

    Raises:
        SetupError: If something it needs is not here: a package, a file, an environment variable.
    """
    match node.use:
        case "weights":
            from meshwalk.backends.classifiers.trained import open_trained  # noqa: PLC0415

            return await open_trained(node, folder=folder)
        case "http":
            # aiohttp takes as long to import as everything else together.
            from meshwalk.backends.classifiers.http import open_http  # noqa: PLC0415

            return open_http(node)
        case "python":
            from meshwalk.backends.classifiers.python import open_python  # noqa: PLC0415

            return open_python(node)
        case _:
            raise SetupError(f"node '{node.name}' is no classifier that has anything to open")


def opens(node: Node) -> bool:
    """
    Tell whether *node* is a classifier that has to be opened before it is asked.
    """
    return node.role == "classifier" and node.use in ("weights", "http", "python")
