"""
Bytes that are no message: the caller's fault, and told so.

gRPC answers them with UNKNOWN and logs a traceback for each, so that a broken caller fills the log.  Here they reach the
handler as what they are, and it refuses them as it refuses any other request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError


class Unreadable:
    """
    Stand for a request that could not be read.
    """

    def __init__(self, why: str) -> None:
        self.why = why


class Registrar:
    """
    Register services at *server* with readers that give an `Unreadable` instead of raising.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """
        Pass over what `add_registered_method_handlers` gets by name.
        """

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """
        Register the handlers of one service.
        """
        careful = {
            name: handler._replace(request_deserializer=_careful(handler.request_deserializer))
            for name, handler in handlers.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, careful),))


def _careful(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def careful(body: bytes) -> Any:
        try:
            return read(body)
        except DecodeError as error:
            return Unreadable(str(error))

    return careful
