"""
Addresses that a server may listen at and a client may dial: `HOST:PORT`, and `unix:PATH`.

gRPC takes much more than `HOST:PORT`, and silently cuts a port past 65535 to 16 bits: a server would listen, and a client would
dial, somewhere else.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from meshwalk.model.arguments import fault_of
from meshwalk.model.problems import SetupError


_ADDRESS = re.compile(r"(?:[^\s:/@\[\]]+|\[[0-9A-Fa-f:.]+(?:%\w+)?\]):([0-9]{1,5})")
_LAST_PORT = 65_535

_UNIX = "unix:"
# The path in an address of the kernel has 108 bytes, the last of which is 0; macOS has four less.
_LONGEST_PATH = 103


def checked_address(address: str, *, first_port: int) -> str:
    """
    Return *address*, checked to be a host and a port, or the path of a Unix socket.

    Args:
        first_port: 0 for a server, which may take any free port; 1 for a client.

    Raises:
        SetupError: If it is none.
    """
    # The caller may have no type checker.
    if not isinstance(address, str):
        raise SetupError(f"target {fault_of(address, (str,), 'an address: HOST:PORT, such as 127.0.0.1:50051, or unix:PATH')}")
    if (path := socket_path(address)) is not None:
        _check_path(path)
        return address
    match = _ADDRESS.fullmatch(address)
    if match is None or not first_port <= int(match[1]) <= _LAST_PORT:
        shown = address if len(address) <= 80 else f"{address[:79]}…"
        raise SetupError(
            f"{shown!r} is no address: write HOST:PORT, such as 127.0.0.1:50051, with a port from {first_port} to {_LAST_PORT},"
            " or unix:PATH"
        )

    return address


def socket_path(address: str) -> str | None:
    """
    Return the path of the Unix socket that *address* names; None if it names a host.
    """
    # gRPC knows this spelling of an absolute path, too.
    return address.removeprefix(_UNIX).removeprefix("//") if address.startswith(_UNIX) else None


def with_port(address: str, port: int) -> str:
    """
    Return *address* with *port* in place of its own; that of a Unix socket has none.
    """
    return address if socket_path(address) is not None else f"{address.rpartition(':')[0]}:{port}"


def _check_path(path: str) -> None:
    if not path or not path.isprintable():
        raise SetupError("an address of a Unix socket is written unix:PATH, such as unix:/run/meshwalk.sock")
    if len(path.encode()) > _LONGEST_PATH:
        raise SetupError(
            f"the path of a Unix socket has at most {_LONGEST_PATH} bytes, and {path[:60]!r}… has more; take a shorter one"
        )


def is_local(address: str) -> bool:
    """
    Return whether only this machine reaches *address*: a Unix socket, or a host that is loopback by all of its addresses.

    Raises:
        SetupError: If the host is unknown.
    """
    if socket_path(address) is not None:
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        places = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SetupError(f"the host of {address!r} is unknown ({error})") from error

    return all(_is_loopback(str(place[0])) for *_, place in places)


def _is_loopback(text: str) -> bool:
    ip = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped.is_loopback

    return ip.is_loopback
