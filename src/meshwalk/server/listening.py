"""
The places that a server may listen at, and the sockets it listens with.

Everybody who reaches a port without TLS and identities may spend from every budget, so such a port is for this machine alone
unless its operator says otherwise.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meshwalk.model.problems import SetupError
from meshwalk.wire.address import checked_address, is_local, socket_path


def check_listening(listen: str, *, guarded: bool, insecure: bool) -> str:
    """
    Check that a server may listen at *listen*, and return a warning if only *insecure* allows it.

    Args:
        guarded: Whether callers are known, and what they send is encrypted.

    Raises:
        SetupError: If it is no address, or others would reach a server that knows nobody.
    """
    checked_address(listen, first_port=0)
    if guarded or is_local(listen):
        return ""
    if insecure:
        return (
            f"everybody who reaches {listen} may route, read records and spend from budgets: this server was told to be "
            "insecure, and has no TLS with identities"
        )
    raise SetupError(
        f"{listen!r} is reached by other machines, and without TLS and identities a server listens on loopback and Unix "
        "sockets only; declare `tls` and `identities` in its settings, listen at 127.0.0.1 or unix:PATH, or say --insecure "
        "(`Access(insecure=True)`)"
    )


@contextmanager
def private_socket(listen: str) -> Iterator[None]:
    """
    Let the Unix socket that is bound inside belong to this user alone, where *listen* names one.

    Raises:
        SetupError: If somebody listens there already, or the path is of another file.
    """
    path = socket_path(listen)
    if path is None:
        yield
        return
    _check_free(path)
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)


def _check_free(path: str) -> None:
    # gRPC removes whatever socket is there, even one that a server listens at.
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
    except FileNotFoundError:
        return
    except OSError as error:
        # A socket that refuses was left behind by a server that is gone.
        if error.errno == errno.ECONNREFUSED and Path(path).is_socket():
            return
        raise SetupError(f"cannot listen at 'unix:{path}': {error.strerror}") from error
    raise SetupError(f"cannot listen at 'unix:{path}': something listens there already")
