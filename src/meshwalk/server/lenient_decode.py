"""
Requests that cannot be decoded, or are too large to be, as values that handlers refuse.

gRPC itself answers bytes that it cannot decode with UNKNOWN and logs a traceback for each, so that a broken caller fills the
log.  Here the handler gets an `UndecodableRequest` or an `OversizedRequest`, and refuses it as it refuses any other request.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError

from meshwalk.model.problems import Violation
from meshwalk.server.receiving import Receiving
from meshwalk.server.request_sizes import UNSCANNED_BYTES, oversize


class UndecodableRequest:
    """
    A request that could not be decoded.

    Args:
        reason: The decoder's own words.
    """

    def __init__(self, reason: str, body: bytes) -> None:
        self.reason = reason
        self.body = body


class OversizedRequest:
    """
    A request that was not decoded, because it passes a bound.

    Args:
        violation: The field that has too much.
    """

    def __init__(self, violation: Violation, body: bytes) -> None:
        self.violation = violation
        self.body = body


class ServiceRegistrar:
    """
    The part of a grpc.aio server that generated code registers services at.

    With each request of any method, a grpc.aio server waits anew for every method that was registered by name.  A method behind
    a generic handler costs the others nothing, so all services are registered that way.

    Args:
        receiving: The calls of the server, which each handler's calls are counted with.
        lenient: Decode to an `UndecodableRequest` or `OversizedRequest` instead of raising, and send replies that are bytes
            already as they are.
        bounded: Refuse calls past the limit of *receiving*.
    """

    def __init__(self, server: grpc.aio.Server, receiving: Receiving, *, lenient: bool = True, bounded: bool = True) -> None:
        self._server = server
        self._receiving = receiving
        self._lenient = lenient
        self._bounded = bounded

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """
        Ignore the handlers: `add_registered_method_handlers` gets the same by name.
        """

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """
        Register the handlers of one service.
        """
        methods = descriptor_pool.Default().FindServiceByName(service).methods_by_name
        received = {name: self._received(handler, methods[name].input_type) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, received),))

    def _received(self, handler: Any, descriptor: Any) -> Any:
        """
        Return a handler that reads its requests itself, whatever kind *handler* is of.
        """
        read, write = handler.request_deserializer, handler.response_serializer
        if self._lenient:
            read, write = _lenient_reader(read, descriptor), _lenient_writer(write)
        if handler.stream_stream is not None:
            # The services of gRPC itself are written as generators.
            is_generator = inspect.isasyncgenfunction(handler.stream_stream)
            handle = (self._receiving.generator if is_generator else self._receiving.stream)(handler.stream_stream)
            return grpc.stream_stream_rpc_method_handler(handle, read, write)
        if handler.unary_stream is not None:
            handle = self._receiving.unary(handler.unary_stream, bounded=self._bounded)
            return grpc.stream_stream_rpc_method_handler(handle, read, write)

        return grpc.stream_unary_rpc_method_handler(
            self._receiving.unary(handler.unary_unary, bounded=self._bounded), read, write
        )


def _lenient_reader(read: Callable[[bytes], Any], descriptor: Any) -> Callable[[bytes], Any]:
    def lenient(body: bytes) -> Any:
        if len(body) >= UNSCANNED_BYTES and (violation := oversize(descriptor, body)) is not None:
            return OversizedRequest(violation, body)
        try:
            return read(body)
        except DecodeError as error:
            return UndecodableRequest(str(error), body)

    return lenient


def _lenient_writer(write: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def lenient(reply: Any) -> bytes:
        return reply if isinstance(reply, bytes) else write(reply)

    return lenient
