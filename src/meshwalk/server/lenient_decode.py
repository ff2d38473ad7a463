"""
Bytes that are no message: the caller's fault, and told so.

gRPC answers them with UNKNOWN and logs a traceback for each, so that a broken caller fills the log.  Here they reach the
handler as what they are, and it refuses them as it refuses any other request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError


class Unreadable:
    """
    Stand for a request that could not be read.
    """

    def __init__(self, why: str, body: bytes) -> None:
        self.why = why
        self.body = body


class Registrar:
    """
    Register services at *server*, so that none costs the others anything.

    A grpc.aio server waits for every method that it knows by name anew with each request of any; what it asks its generic
    handlers for costs nobody else, so that is how all services are registered.

    Args:
        careful: Whether their readers give an `Unreadable` instead of raising, and their writers take bytes too.
    """

    def __init__(self, server: grpc.aio.Server, *, careful: bool = True) -> None:
        self._server = server
        self._careful = careful

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """
        Pass over what `add_registered_method_handlers` gets by name.
        """

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """
        Register the handlers of one service.
        """
        if self._careful:
            handlers = {
                name: handler._replace(
                    request_deserializer=_careful(handler.request_deserializer),
                    response_serializer=_written(handler.response_serializer),
                )
                for name, handler in handlers.items()
            }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))


def _careful(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def careful(body: bytes) -> Any:
        try:
            return read(body)
        except DecodeError as error:
            return Unreadable(str(error), body)

    return careful


def _written(write: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def written(reply: Any) -> bytes:
        return reply if isinstance(reply, bytes) else write(reply)

    return written
