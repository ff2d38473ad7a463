"""
The user's own functions, found by the name a graph gives them: `package.module:function`.
"""

from __future__ import annotations

from importlib import import_module

from meshwalk.model.problems import SetupError


def import_named(name: str, whose: str) -> object:
    """
    Import what *name* names.

    Args:
        whose: What of the graph names it, for the error.

    Raises:
        SetupError: If there is no such module, or nothing of that name in it.
    """
    module_name, _, path = name.partition(":")
    try:
        value: object = import_module(module_name)
    except (Exception, SystemExit) as error:
        raise SetupError(
            f"{whose}: '{name}' cannot be imported ({type(error).__name__}: {error}); "
            f"its module must be installed or lie in a folder of PYTHONPATH"
        ) from error
    for part in path.split("."):
        if not hasattr(value, part):
            raise SetupError(f"{whose}: '{name}' cannot be found: module '{module_name}' has no '{path}'")
        value = getattr(value, part)

    return value
