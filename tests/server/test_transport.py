"""
The bounds of connections, as gRPC is told of them.
"""

from __future__ import annotations

import errno
import os
import resource

import pytest

from meshwalk.server.transport import MAX_CONNECTIONS, descriptors_left, max_connections, raise_descriptor_limit, receive_bytes


@pytest.mark.parametrize(("input_bytes", "received"), [(1, 256 << 10), (100_000, 256 << 10), (1 << 20, 2 << 20)])
def test_the_receive_limit_follows_the_graph(input_bytes: int, received: int) -> None:
    """
    A request may have twice the bytes of its messages, and a small graph gets a small limit.
    """
    assert received == receive_bytes(input_bytes)


@pytest.mark.parametrize(
    ("soft", "connections"), [(1_024, 512), (1, 1), (1 << 20, MAX_CONNECTIONS), (resource.RLIM_INFINITY, MAX_CONNECTIONS)]
)
def test_callers_leave_descriptors_to_others(monkeypatch: pytest.MonkeyPatch, soft: int, connections: int) -> None:
    """
    Callers may take half of the descriptors, so that models and files have the others.
    """
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))

    assert connections == max_connections()


def test_the_limit_of_files_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The process takes what the system lets it have, and goes on where that fails.
    """
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    raise_descriptor_limit()

    def refuse(_: int, __: tuple[int, int]) -> None:
        raise OSError

    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_descriptor_limit()

    assert [(4_096, 4_096)] == limits


def test_a_lack_of_descriptors_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A process that can open nothing more is told from one that lacks a file.
    """

    def fail(number: int) -> None:
        def refuse(*_: object) -> int:
            raise OSError(number, "")

        monkeypatch.setattr(os, "open", refuse)

    assert descriptors_left()
    fail(errno.EMFILE)
    assert not descriptors_left()
    fail(errno.ENOENT)
    assert descriptors_left()
