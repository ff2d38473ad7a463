"""
The user's own async function as a backend: `async def answer(request: ChatRequest) -> Reply | str`.

A text is a reply that says nothing of tokens, cost or confidence.  To fail with a class of its choice the function raises a
`BackendError`.  Whatever else it raises is mapped here: connection errors to `Unreachable`, the rest to `Malformed`; both
count as billable, since the function may have paid someone before it failed.  Errors name the type of what was raised
and not its text, which may hold the prompt.  A function that asks to exit has failed too: it answers one call, and does
not decide for the process that serves many.  Cancellation passes, as it must.

A reply is looked at field by field, since nothing else holds the function to the types: what could be neither recorded nor
told (half a surrogate pair, a cost past 64 bits, tokens counted in fractions) is `Malformed`, and the walk goes on as its graph
says.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from sys import float_info

from anyio import get_cancelled_exc_class

from meshwalk.backends.base import ChatRequest, words_of_others
from meshwalk.backends.cancellation import cancel_requested
from meshwalk.backends.labels import close_labels
from meshwalk.model import PythonSpec, is_unicode
from meshwalk.model.functions import import_named
from meshwalk.model.problems import BackendError, Malformed, SetupError, Unreachable
from meshwalk.model.resource import AsyncResource
from meshwalk.trace import Reply, Timing, TokenProbabilities, ToolCall, Usage


Function = Callable[[ChatRequest], Awaitable[Reply | str]]
Fits = Callable[[object], bool]

# By what was raised, the first that fits.
_FOREIGN: tuple[tuple[type[BaseException], type[BackendError]], ...] = (
    (ConnectionError, Unreachable),
    (Exception, Malformed),
    (BaseException, Malformed),
)


# Of money, and of tokens and microseconds: more than any call has, and little enough that the sums over a thousand calls have
# room in the 64 bits of messages and records.
_COST_BITS, _COUNT_BITS = 53, 40


def _is_text(value: object) -> bool:
    return isinstance(value, str) and is_unicode(value)


def _is_whole(value: object, bits: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << bits


_is_cost = partial(_is_whole, bits=_COST_BITS)
_is_count = partial(_is_whole, bits=_COUNT_BITS)


def _is_number(value: object) -> bool:
    # Of a NaN this is not true, either.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= float_info.max


def _is(kind: type[tuple[object, ...]], part: Fits) -> Fits:
    fields = getattr(kind, "_fields", None)

    def fits(value: object) -> bool:
        # Code that goes around the constructor may make a named tuple of any length.
        return isinstance(value, kind) and (fields is None or len(value) == len(fields)) and all(map(part, value))

    return fits


def _or_none(fits: Fits) -> Fits:
    return lambda value: value is None or fits(value)


_TEXT = (_is_text, "Unicode text")
_COUNTS = f"whole numbers from 0 to 2^{_COUNT_BITS} - 1"

# The check of each field of a reply, and the words for it in a message.
FIELDS: Mapping[str, tuple[Fits, str]] = {
    "text": _TEXT,
    "finish_reason": _TEXT,
    "model": _TEXT,
    "usage": (_or_none(_is(Usage, _is_count)), f"a Usage of {_COUNTS}, or None"),
    "cost_nano_usd": (_or_none(_is_cost), f"a whole number from 0 to 2^{_COST_BITS} - 1, or None"),
    "confidence": (_or_none(_is_number), "a finite number, or None"),
    "probabilities": (_or_none(_is(TokenProbabilities, _or_none(_is_number))), "TokenProbabilities of finite numbers, or None"),
    "timing": (_is(Timing, _is_count), f"a Timing of {_COUNTS}"),
    "simulated": (lambda value: isinstance(value, bool), "True or False"),
    "tool_calls": (_is(tuple, _is(ToolCall, _is_text)), "a tuple of ToolCalls of Unicode text"),
    "samples": (_is(tuple, _is_text), "a tuple of Unicode texts"),
    "cache_age_us": (_or_none(_is_count), f"a whole number from 0 to 2^{_COUNT_BITS} - 1, or None"),
    "estimated": (lambda value: isinstance(value, bool), "True or False"),
    "carried": _TEXT,
    "mended": (_is(tuple, _is_text), "a tuple of Unicode texts"),
}


class PythonBackend(AsyncResource):
    """
    A backend that answers with what *function* returns.
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
        except BackendError as error:
            error.args = (words_of_others(error, f"the function of backend '{self.name}'"),)
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, get_cancelled_exc_class()) and cancel_requested():
                raise
            kind = next(mapped for foreign, mapped in _FOREIGN if isinstance(error, foreign))
            message = f"the function of backend '{self.name}' raised {type(error).__name__}"
            raise kind(message, backend=self.name, billable=True) from error
        if isinstance(given, str):
            given = Reply(given)
        if not isinstance(given, Reply):
            message = f"the function of backend '{self.name}' returned {type(given).__name__}, not a Reply or a text"
            raise Malformed(message, backend=self.name, billable=True)
        for field, (fits, what) in FIELDS.items():
            if not fits(getattr(given, field)):
                message = f"the function of backend '{self.name}' returned a reply whose {field} is not {what}"
                raise Malformed(message, backend=self.name, billable=True)
        close_labels(given)

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
