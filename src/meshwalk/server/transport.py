"""
The bounds of connections: what gRPC itself is told, and the descriptors that a process has for them.
"""

from __future__ import annotations

import errno
import logging
import os
import sys


_log = logging.getLogger(__name__)

# A request may have twice the bytes of its messages, so that one past the limit gets an error that names the field, and not one
# of gRPC's own.
_LEAST_MESSAGE_BYTES = 256 << 10

# Of a few KB each.
_PENDING_CALLS = 10_000

# Of one connection; a caller's library waits with further ones.
MAX_STREAMS = 4_096
MAX_CONNECTIONS = 10_000
IDLE_SECONDS = 120
HANDSHAKE_SECONDS = 5

# The share of a process's descriptors that callers may take: models, vaults and files need the others.
_CALLERS_SHARE = 0.5


def receive_bytes(input_bytes: int) -> int:
    """
    Return the most bytes of a request or frame that is received, where a graph takes *input_bytes* of messages.
    """
    return max(_LEAST_MESSAGE_BYTES, 2 * input_bytes)


def transport_options(input_bytes: int, *, share_port: bool) -> tuple[tuple[str, int], ...]:
    """
    Return the options of a gRPC server.

    Args:
        input_bytes: The most bytes of messages that any of its graphs takes.
    """
    return (
        ("grpc.max_receive_message_length", receive_bytes(input_bytes)),
        ("grpc.max_send_message_length", -1),
        # Two servers on one port would share its calls unnoticed, so only those share it that were told to.
        ("grpc.so_reuseport", int(share_port)),
        # A caller whose connection broke silently is noticed, so that its walks are cancelled.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # Calls that come while the event loop is held up.  Past these gRPC drops calls as cancelled, of which no caller knows
        # that it may try again; up to them this server answers, if only that it has no room.
        ("grpc.server.max_pending_requests", _PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", _PENDING_CALLS),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        ("grpc.max_allowed_incoming_connections", max_connections()),
        # A connection without calls is closed; a caller's library opens another when it needs one.
        ("grpc.max_connection_idle_ms", IDLE_SECONDS * 1_000),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1_000),
        # The rest of the handshake, within HTTP/2.
        ("grpc.http2.settings_timeout", HANDSHAKE_SECONDS * 1_000),
    )


def max_connections() -> int:
    """
    Return the most connections that callers may have to this process.
    """
    return min(MAX_CONNECTIONS, max(1, int(_descriptors() * _CALLERS_SHARE)))


def raise_descriptor_limit() -> None:
    """
    Let this process open as many files and connections as the system lets it.
    """
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 (other systems have no such module)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        _log.warning("the limit of open files stays at %d: %s", soft, error)


def descriptors_left() -> bool:
    """
    Tell whether this process can open one more file or connection.
    """
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno not in (errno.EMFILE, errno.ENFILE)

    return True


def _descriptors() -> int:
    if sys.platform == "win32":
        return MAX_CONNECTIONS
    import resource  # noqa: PLC0415 (other systems have no such module)

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    return 2 * MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else soft
