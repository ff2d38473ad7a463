"""
Addresses that a server may listen at and a client may dial.

gRPC takes much more than `HOST:PORT`, and silently cuts a port past 65535 to 16 bits: a server would listen, and a client would
dial, somewhere else.
"""

from __future__ import annotations

import re

from meshwalk.model.problems import SetupError


_ADDRESS = re.compile(r"(?:[^\s:/@\[\]]+|\[[0-9A-Fa-f:.]+(?:%\w+)?\]):([0-9]{1,5})")
_LAST_PORT = 65_535


def checked_address(address: str, *, first_port: int) -> str:
    """
    Return *address*, checked to be a host and a port.

    Args:
        first_port: 0 for a server, which may take any free port; 1 for a client.

    Raises:
        SetupError: If it is none.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or not first_port <= int(match[1]) <= _LAST_PORT:
        shown = address if len(address) <= 80 else f"{address[:79]}…"
        raise SetupError(
            f"{shown!r} is no address: write HOST:PORT, such as 127.0.0.1:50051, with a port from {first_port} to {_LAST_PORT}"
        )

    return address
