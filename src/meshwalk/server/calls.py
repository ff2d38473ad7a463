"""
The deadline, the trace context and the errors of every call.
"""

from __future__ import annotations

import functools
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc.aio
from grpc_status import rpc_status

from meshwalk.model.problems import InputTooLarge, MeshwalkError, RequestError, Violation
from meshwalk.server.lenient_decode import OversizedRequest, UndecodableRequest
from meshwalk.wire import errors
from meshwalk.wire.gen.meshwalk.v1beta1 import error_pb2


_log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]

_Service = TypeVar("_Service")
_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")

# A walk ends a little before its caller stops waiting, so that the error still reaches the caller.  The margin is a tenth of
# the time left, and at most the time that a slow network needs to carry a reply.
_MARGIN = 0.1
_MAX_MARGIN_US = 10_000


def deadline_us(context: Context) -> int | None:
    """
    Return the time that a walk for this call has, in microseconds; None if the caller waits for ever.
    """
    seconds = remaining_seconds(context)

    return None if seconds is None else walk_time_us(seconds)


def remaining_seconds(context: Context) -> float | None:
    """
    Return the seconds that this call has left, or None if the caller set no deadline.
    """
    seconds = context.time_remaining()

    # A time past a thousand years is how "for ever" looks after some proxies.
    return None if seconds is None or seconds > 3e10 else seconds


def walk_time_us(seconds: float) -> int:
    """
    Return the time that a walk has if its caller waits for *seconds* more, in microseconds.
    """
    left = int(seconds * 1e6)

    return left - min(int(left * _MARGIN), _MAX_MARGIN_US)


def traceparent(context: Context) -> str:
    """
    Return the caller's W3C trace context header, or nothing.
    """
    for key, value in context.invocation_metadata() or ():
        if key == "traceparent":
            return value if isinstance(value, str) else ""

    return ""


def rich_errors(
    handler: Callable[[_Service, _Request, Context], Awaitable[_Reply]],
) -> Callable[[_Service, _Request, Context], Awaitable[_Reply]]:
    """
    Turn an exception of *handler* into a rich status: a `MeshwalkError` as it is, any other as one stable sentence.
    """

    @functools.wraps(handler)
    async def handled(service: _Service, request: _Request, context: Context) -> _Reply:
        try:
            if isinstance(request, UndecodableRequest):
                raise RequestError([Violation("request", f"cannot be read: {request.reason}")])  # noqa: TRY301
            if isinstance(request, OversizedRequest):
                raise InputTooLarge([request.violation])  # noqa: TRY301
            return await handler(service, request, context)
        except Exception as error:  # noqa: BLE001 (no input makes the server die)
            failure = failure_of(handler.__name__, error)
        status = rpc_status.to_status(errors.pack_status(failure))
        return await context.abort(status.code, status.details, status.trailing_metadata)

    return handled


def failure_of(call: str, error: Exception) -> error_pb2.Failure:
    """
    Return the failure that the caller of *call* gets for *error*; a fault of the server goes into the log.
    """
    if isinstance(error, MeshwalkError) and errors.speakable(error):
        return errors.pack_failure(error)
    # The error's own text may quote a prompt, so only its type and its stack are logged.
    stack = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s failed unexpectedly with %s at\n%s", call, type(error).__name__, stack)

    return errors.pack_failure(errors.internal())
