"""
The user's own async function as a backend: `async def answer(request: ChatRequest) -> Reply | str`.

A text is a reply that says nothing of tokens, cost or confidence.  To fail with a class of its choice the function raises a
`BackendError`.  Whatever else it raises is mapped here: connection errors to `Unreachable`, the rest to `Malformed`; both
count as billable, since the function may have paid someone before it failed.  Errors name the type of what was raised
and not its text, which may hold the prompt.  A function that asks to exit has failed too: it answers one call, and does
not decide for the process that serves many.  Cancellation passes, as it must.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from anyio import get_cancelled_exc_class

from meshwalk.backends.base import ChatRequest
from meshwalk.cancelling import asked_to_stop
from meshwalk.imports import import_named
from meshwalk.model import PythonSpec, is_unicode
from meshwalk.problems import BackendError, Malformed, SetupError, Unreachable
from meshwalk.trace import Reply


Function = Callable[[ChatRequest], Awaitable[Reply | str]]

# By what was raised, the first that fits.
_FOREIGN: tuple[tuple[type[BaseException], type[BackendError]], ...] = (
    (ConnectionError, Unreachable),
    (Exception, Malformed),
    (BaseException, Malformed),
)


class PythonBackend:
    """
    Answer with what *function* returns.
    """

    waits = True

    def __init__(self, name: str, function: Function) -> None:
        self.name = name
        self._function = function

    async def chat(self, request: ChatRequest) -> Reply:
        """
        Call the function.

        Raises:
            BackendError: Its own, or `Malformed` or `Unreachable` for whatever else went wrong in it.
        """
        try:
            given: object = await self._function(request)
        except BackendError:
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, get_cancelled_exc_class()) and asked_to_stop():
                raise
            house = next(house for foreign, house in _FOREIGN if isinstance(error, foreign))
            message = f"the function of backend '{self.name}' raised {type(error).__name__}"
            raise house(message, backend=self.name, billable=True) from error
        if isinstance(given, str):
            given = Reply(given)
        if isinstance(given, Reply) and not (isinstance(given.text, str) and is_unicode(given.text)):
            message = f"the function of backend '{self.name}' returned a reply whose text is no Unicode text"
            raise Malformed(message, backend=self.name, billable=True)
        if not isinstance(given, Reply):
            message = f"the function of backend '{self.name}' returned {type(given).__name__}, not a Reply or a text"
            raise Malformed(message, backend=self.name, billable=True)

        return given

    async def aclose(self) -> None:
        """
        Do nothing: what the function holds is the user's to let go of.
        """


def open_python(spec: PythonSpec) -> PythonBackend:
    """
    Import the function that *spec* names as `package.module:function`.

    Raises:
        SetupError: If it cannot be imported, or is not an async function.
    """
    whose = f"backend '{spec.name}'"
    found = import_named(spec.function, whose)
    if not callable(found) or not (inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(type(found).__call__)):
        raise SetupError(
            f"{whose}: '{spec.function}' is not an async function; write 'async def', so that a walk can cancel it"
        )

    return PythonBackend(spec.name, found)
