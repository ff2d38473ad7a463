"""
Checks of a classifier's signals against what its node declares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from sys import float_info

from meshwalk.backends.labels import label
from meshwalk.model import Attribute, Value
from meshwalk.model.private_text import joined, private
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

    A text without an `enum:` is closed to what a label can be, since records hold it.

    Raises:
        Malformed: If *given* is no table of signals, or one is missing or not as declared.
    """
    if not isinstance(given, Mapping):
        raise Malformed(f"the classifier '{node}' gave {type(given).__name__}, not a table of signals", backend=node)
    found: dict[str, Value] = {}
    for name, declared in writes.items():
        if name not in given:
            names = ", ".join(repr(str(key)[:40]) for key in list(given)[:_QUOTED_NAMES])
            words = private(names) if names else "nothing"
            message = joined(f"the classifier '{node}' gave ", words, f" and no signal '{name}', which it declares")
            raise Malformed(message, backend=node)
        value = given[name]
        # `accepts` says what a value of a wrong type is, which only values have.
        if not isinstance(value, (str, int, float, bool)):
            raise Malformed(f"the signal '{name}' of classifier '{node}' is {type(value).__name__}", backend=node)
        if why := accepts(declared, value):
            # The reason may quote the text.
            words = joined("is not as declared, ", private(why)) if isinstance(value, str) else why
            raise Malformed(joined(f"the signal '{name}' of classifier '{node}' ", words), backend=node)
        if isinstance(value, str) and not declared.enum:
            value = label(value)
        found[name] = float(value) if declared.type == "number" else value

    return found
