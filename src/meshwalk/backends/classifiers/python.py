"""
The user's own async function as a classifier: `async def classify(messages, attributes) -> dict`.

It is given the messages and the request's attributes, and returns each signal that its node declares, by name.  To fail with
a class of its choice it raises a `BackendError`; whatever else it raises is mapped as a backend's function's is
(`backends.python`): connection errors to `Unreachable`, the rest to `Malformed`, by the type of what was raised and without
its text, which may hold the prompt.

A function that only calculates may say so with an attribute, `judge.waits = False`: it is then called without a time limit,
which costs more than most rules do, and previews and evaluations ask it as they ask meshwalk's own rules.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence

from anyio import get_cancelled_exc_class

from meshwalk.backends.base import words_of_others
from meshwalk.backends.cancellation import cancel_requested
from meshwalk.backends.classifiers.declared import declarer
from meshwalk.model import Attribute, Node, Value
from meshwalk.model.functions import import_named
from meshwalk.model.problems import BackendError, Malformed, SetupError, Unreachable
from meshwalk.model.resource import AsyncResource
from meshwalk.trace import Message


Function = Callable[[Sequence[Message], Mapping[str, Value]], Awaitable[Mapping[str, Value]]]


class PythonClassifier(AsyncResource):
    """
    A classifier whose values *function* returns.
    """

    def __init__(self, name: str, function: Function, writes: Mapping[str, Attribute]) -> None:
        self.name = name
        self._function = function
        self._declared = declarer(name, writes)
        self.waits = bool(getattr(function, "waits", True))

    async def classify(
        self,
        messages: Sequence[Message],
        attributes: Mapping[str, Value],
        traceparent: str,  # noqa: ARG002 (a function runs in our own span)
    ) -> dict[str, Value]:
        """
        Call the function.

        Raises:
            BackendError: Its own, or `Malformed` or `Unreachable` for whatever else went wrong in it.
        """
        try:
            given: object = await self._function(messages, attributes)
        except BackendError as error:
            error.args = (words_of_others(error, f"the function of classifier '{self.name}'"),)
            raise
        except ConnectionError as error:
            raise Unreachable(self._raised(error), backend=self.name) from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, get_cancelled_exc_class()) and cancel_requested():
                raise
            raise Malformed(self._raised(error), backend=self.name) from error

        return self._declared(given)

    async def aclose(self) -> None:
        """
        Do nothing: what the function holds is the user's to let go of.
        """

    def _raised(self, error: BaseException) -> str:
        return f"the function of classifier '{self.name}' raised {type(error).__name__}"


def open_python(node: Node) -> PythonClassifier:
    """
    Import the function that *node* names as `package.module:function`.

    Raises:
        SetupError: If it cannot be imported, or is not an async function.
    """
    whose = f"classifier '{node.name}'"
    found = import_named(node.function or "", whose)
    if not callable(found) or not (inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(type(found).__call__)):
        raise SetupError(
            f"{whose}: '{node.function}' is not an async function; write 'async def', so that a walk can cancel it"
        )

    return PythonClassifier(node.name, found, node.writes)
