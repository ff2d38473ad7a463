"""
Connections in turns: each worker that shares a port is given the next one.

The kernel shares connections among listeners with SO_REUSEPORT by a hash, which is a throw of dice for each: of 16 connections
two workers get no more than 10 each in half of all cases.  A channel of gRPC is one connection for as long as it lives, so an
unlucky throw stays.  Nothing above the kernel can mend that: gRPC takes no socket that somebody else accepted, and the ports
that a client connects from are as random as the hash.  But listeners may give the kernel a program that chooses among them,
and one that counts takes them in turn.

Making such a program needs the right to (CAP_BPF); where a server has it not, or the machine is no Linux, the hash stays.
A program that chooses a worker who is away is not heeded: the hash chooses among those who are there.
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


# What the system call is called with, see bpf(2); it has no name in the C library.
_CALLS = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _PROG_LOAD = 0, 5
_MAP_TYPE_ARRAY, _PROG_TYPE_SOCKET_FILTER = 2, 1
_SO_ATTACH_REUSEPORT_EBPF = 52


def take_turns(port: int, workers: int) -> bool:
    """
    Let the *workers* that listen at *port*, of which this process is one, be given connections in turns.

    Returns:
        Whether the kernel does so; if not, it goes on to share them by a hash.
    """
    try:
        with _made(_MAP_CREATE, struct.pack("=IIII", _MAP_TYPE_ARRAY, 4, 4, 1)) as counter:
            code, licence = (ctypes.create_string_buffer(text) for text in (_instructions(counter, workers), b"Apache-2.0"))
            where = (ctypes.addressof(code), ctypes.addressof(licence))
            with _made(_PROG_LOAD, struct.pack("=IIQQ", _PROG_TYPE_SOCKET_FILTER, len(code) // 8, *where)) as program:
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
            _instruction(0x85, value=1),  # r0 = where its value is
            _instruction(0x55, offset=2),  # nowhere?
            _instruction(0xB7),  # then the first worker: return 0
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
def _made(command: int, attributes: bytes) -> Iterator[int]:
    """
    Give the descriptor of what bpf(2) makes, until the kernel has taken it where it is needed.
    """
    number = _CALLS.get(os.uname().machine) if sys.platform == "linux" else None
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    # What is not said is 0.
    told = ctypes.create_string_buffer(attributes, 128)
    made = ctypes.CDLL(None, use_errno=True).syscall(number, command, told, len(told))
    if made < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        yield made
    finally:
        os.close(made)


def _listeners(port: int) -> Iterator[socket.socket]:
    """
    Give this process's own sockets that listen at *port*, which gRPC made and shows to nobody.

    Each descriptor is borrowed, and none is closed, not even a copy: that would let go of all locks that the process has on a
    file (POSIX.1-2017, fcntl), and SQLite's are among them.
    """
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError), _borrowed(int(descriptor.name)) as one:  # some are closed meanwhile, or no sockets
            listens = one.family in {socket.AF_INET, socket.AF_INET6} and one.getsockopt(
                socket.SOL_SOCKET, socket.SO_ACCEPTCONN
            )
            if listens and one.getsockname()[1] == port:
                yield one


@contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    one = socket.socket(fileno=descriptor)
    try:
        yield one
    finally:
        one.detach()
