"""
The front door of the classifiers that are no rule of the house and no backend's: trained weights, a service, a function.

All of them are asked alike (`backends.base.Classifier`), and what a service or a function gives is held to what its node
declares (`declared`): a signal that is missing, of another type, outside its range or none of its members makes the hop fail
as `malformed`, so that no guard ever reads it.
"""

from __future__ import annotations

from meshwalk.backends.base import Classifier
from meshwalk.model import Node
from meshwalk.problems import SetupError


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
            from meshwalk.classifiers.trained import open_trained  # noqa: PLC0415

            return await open_trained(node, folder=folder)
        case "http":
            # aiohttp takes as long to import as everything else together.
            from meshwalk.classifiers.http import open_http  # noqa: PLC0415

            return open_http(node)
        case "python":
            from meshwalk.classifiers.python import open_python  # noqa: PLC0415

            return open_python(node)
        case _:
            raise SetupError(f"node '{node.name}' is no classifier that has anything to open")


def opens(node: Node) -> bool:
    """
    Tell whether *node* is a classifier that has to be opened before it is asked.
    """
    return node.role == "classifier" and node.use in ("weights", "http", "python")


__all__ = ["Classifier", "open_classifier", "opens"]
