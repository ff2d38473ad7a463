"""
What every call has in common: its deadline, its trace context, and how it fails.
"""

from __future__ import annotations

import functools
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc.aio
from grpc_status import rpc_status

from meshwalk.model.problems import MeshwalkError, RequestError, Violation
from meshwalk.server.lenient_decode import Unreadable
from meshwalk.wire import errors
from meshwalk.wire.gen.meshwalk.v1beta1 import error_pb2


_log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]

_Service = TypeVar("_Service")
_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")

# A walk ends a little before its caller stops waiting, so that the caller hears of which record and why; a tenth of what
# is left, and never more than a slow network needs to carry a reply.
_MARGIN = 0.1
_WIDEST_MARGIN_US = 10_000


def deadline_us(context: Context) -> int | None:
    """
    Return the time that a walk for this call has, or None if the caller waits for ever.
    """
    seconds = remaining(context)

    return None if seconds is None else within_us(seconds)


def remaining(context: Context) -> float | None:
    """
    Return how many seconds this call has left, or None if the caller waits for ever.
    """
    seconds = context.time_remaining()

    # A time past a thousand years is how "for ever" looks after some proxies.
    return None if seconds is None or seconds > 3e10 else seconds


def within_us(seconds: float) -> int:
    """
    Return the time that a walk has whose caller waits for *seconds* more.
    """
    left = int(seconds * 1e6)

    return left - min(int(left * _MARGIN), _WIDEST_MARGIN_US)


def traceparent(context: Context) -> str:
    """
    Return the caller's W3C trace context header, or nothing.
    """
    for key, value in context.invocation_metadata() or ():
        if key == "traceparent":
            return value if isinstance(value, str) else ""

    return ""


def answers(
    handler: Callable[[_Service, _Request, Context], Awaitable[_Reply]],
) -> Callable[[_Service, _Request, Context], Awaitable[_Reply]]:
    """
    Turn what *handler* raises into a rich status: a house error as it is, anything else as one stable sentence.
    """

    @functools.wraps(handler)
    async def answered(service: _Service, request: _Request, context: Context) -> _Reply:
        try:
            if isinstance(request, Unreadable):
                raise RequestError([Violation("request", f"cannot be read: {request.why}")])  # noqa: TRY301
            return await handler(service, request, context)
        except Exception as error:  # noqa: BLE001 (no input makes the server die)
            failure = failure_of(handler.__name__, error)
        said = rpc_status.to_status(errors.pack_status(failure))
        return await context.abort(said.code, said.details, said.trailing_metadata)

    return answered


def failure_of(call: str, error: Exception) -> error_pb2.Failure:
    """
    Return what the caller of *call* is told of *error*; what is a fault of ours goes into the log.
    """
    if isinstance(error, MeshwalkError) and errors.speakable(error):
        return errors.pack_failure(error)
    # The error's own text may quote a prompt, so only its type and its places are logged.
    places = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s failed unexpectedly with %s at\n%s", call, type(error).__name__, places)

    return errors.pack_failure(errors.internal())
