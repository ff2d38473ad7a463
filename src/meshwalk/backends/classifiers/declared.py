"""
Checks of a classifier's signals against what its node declares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from sys import float_info

from meshwalk.model import Attribute, Value
from meshwalk.model.problems import Malformed
from meshwalk.model.signals import accepts


_QUOTED_NAMES = 5


def declarer(node: str, writes: Mapping[str, Attribute]) -> Callable[[object], dict[str, Value]]:
    """
    Prepare to take what *node* gives `as_declared`: most declare one number and give a dictionary with one that is in range.
    """
    if len(writes) != 1 or any(attribute.type != "number" for attribute in writes.values()):
        return partial(as_declared, node, writes=writes)
    ((name, attribute),) = writes.items()
    least, most = attribute.range or (-float_info.max, float_info.max)
    # Excludes NaN and the infinities, even if the declared range includes them.
    least, most = max(least, -float_info.max), min(most, float_info.max)

    def declared(given: object) -> dict[str, Value]:
        if type(given) is dict and type(value := given.get(name)) is float and least <= value <= most:
            return {name: value}

        return as_declared(node, given, writes)

    return declared


def as_declared(node: str, given: object, writes: Mapping[str, Attribute]) -> dict[str, Value]:
    """
    Return the signals that *given* holds, as *writes* declares them; what nobody declared is left out.

    Raises:
        Malformed: If *given* is no table of signals, or one is missing or not as declared.
    """
    if not isinstance(given, Mapping):
        raise Malformed(f"the classifier '{node}' gave {type(given).__name__}, not a table of signals", backend=node)
    found: dict[str, Value] = {}
    for name, declared in writes.items():
        if name not in given:
            names = ", ".join(repr(str(key)[:40]) for key in list(given)[:_QUOTED_NAMES]) or "nothing"
            raise Malformed(f"the classifier '{node}' gave {names} and no signal '{name}', which it declares", backend=node)
        value = given[name]
        # `accepts` says what a value of a wrong type is, which only values have.
        if not isinstance(value, (str, int, float, bool)):
            raise Malformed(f"the signal '{name}' of classifier '{node}' is {type(value).__name__}", backend=node)
        if why := accepts(declared, value):
            raise Malformed(f"the signal '{name}' of classifier '{node}' {why}", backend=node)
        found[name] = float(value) if declared.type == "number" else value

    return found
