"""
Connections in turn: each worker that shares a port gets the next one.

The kernel shares connections among listeners with SO_REUSEPORT by a hash, so the share of each is random: of 16 connections one
of two workers gets 11 or more in a fifth of all cases (binomial).  A gRPC channel is one connection for as long as it lives, so
an uneven share stays.  Nothing above the kernel can mend that: gRPC takes no socket that another process accepted, and the
ports that a client connects from are as random as the hash.  But listeners may give the kernel a program that chooses among
them, and one that counts takes them in turn.

Loading such a program needs CAP_BPF.  Without it, or on another system than Linux, the hash stays.  Where the program chooses a
worker that is gone, the kernel falls back to the hash.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


# The numbers of the system call and its constants, see bpf(2); the C library has no function for it.
_CALLS = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _PROG_LOAD = 0, 5
_MAP_TYPE_ARRAY, _PROG_TYPE_SOCKET_FILTER = 2, 1
_SO_ATTACH_REUSEPORT_EBPF = 52


def take_turns(port: int, workers: int) -> bool:
    """
    Have the kernel give connections to the *workers* that listen at *port* in turn; this process is one of them.

    Returns:
        True if it does; else it goes on to share them by a hash.
    """
    try:
        with _bpf_object(_MAP_CREATE, struct.pack("=IIII", _MAP_TYPE_ARRAY, 4, 4, 1)) as counter:
            code, licence = (ctypes.create_string_buffer(text) for text in (_instructions(counter, workers), b"Apache-2.0"))
            addresses = (ctypes.addressof(code), ctypes.addressof(licence))
            with _bpf_object(_PROG_LOAD, struct.pack("=IIQQ", _PROG_TYPE_SOCKET_FILTER, len(code) // 8, *addresses)) as program:
                listeners = 0
                for listener in _listeners(port):
                    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_EBPF, program)
                    listeners += 1
                return listeners > 0
    except OSError:
        return False


def _instructions(counter: int, workers: int) -> bytes:
    return b"".join(
        (
            _instruction(0x62, to=10, offset=-4),  # the counter's key is 0: *(u32 *)(fp - 4) = 0
            _instruction(0xBF, to=2, source=10),  # r2 = fp - 4
            _instruction(0x07, to=2, value=-4),
            _instruction(0x18, to=1, source=1, value=counter),  # r1 = the map, in two parts
            _instruction(0x00),
            _instruction(0x85, value=1),  # r0 = the address of its value
            _instruction(0x55, offset=2),  # if it has one, go on
            _instruction(0xB7),  # else the first worker: return 0
            _instruction(0x95),
            _instruction(0xB7, to=1, value=1),  # w1 = the value, which then is one more
            _instruction(0xC3, source=1, value=1),
            _instruction(0x94, to=1, value=workers),  # return w1 % workers
            _instruction(0xBC, source=1),
            _instruction(0x95),
        )
    )


def _instruction(code: int, *, to: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, to | source << 4, offset, value)


@contextmanager
def _bpf_object(command: int, attributes: bytes) -> Iterator[int]:
    """
    Give the descriptor of an object that bpf(2) makes, and close it when the kernel has its own reference.
    """
    number = _CALLS.get(os.uname().machine) if sys.platform == "linux" else None
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    # Attributes that are left out are 0.
    buffer = ctypes.create_string_buffer(attributes, 128)
    descriptor = ctypes.CDLL(None, use_errno=True).syscall(number, command, buffer, len(buffer))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _listeners(port: int) -> Iterator[socket.socket]:
    """
    Give this process's own sockets that listen at *port*; gRPC made them and does not expose them.

    Each descriptor is borrowed, and none is closed, not even a copy: closing one releases all locks that the process has on a
    file (POSIX.1-2017, fcntl), and SQLite's are among them.
    """
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError), _borrowed(int(descriptor.name)) as candidate:  # some are closed meanwhile, or no sockets
            listens = candidate.family in {socket.AF_INET, socket.AF_INET6} and candidate.getsockopt(
                socket.SOL_SOCKET, socket.SO_ACCEPTCONN
            )
            if listens and candidate.getsockname()[1] == port:
                yield candidate


@contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    borrowed = socket.socket(fileno=descriptor)
    try:
        yield borrowed
    finally:
        borrowed.detach()
