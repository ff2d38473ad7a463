"""
Files that users name: plain ones are read, and no other thing makes a program wait.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from meshwalk.model.files import open_plain, open_to_write, read_plain, sha256_of


def a_folder(path: Path) -> None:
    path.mkdir()


def a_named_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.timeout(10)
@pytest.mark.parametrize("make", [a_folder, a_named_pipe, a_device])
@pytest.mark.parametrize("read", [open_plain, lambda path: read_plain(path, 10), sha256_of])
def test_what_is_no_plain_file_is_named(make: Callable[[Path], None], read: Callable[[Path], object], tmp_path: Path) -> None:
    """
    A folder, a pipe and a device are refused at once, by the name of their kind.
    """
    path = tmp_path / "graph.yaml"
    make(path)

    with pytest.raises(OSError, match=f"{make.__name__.replace('_', ' ')}; name a plain file"):
        read(path)


def test_a_socket_is_refused(tmp_path: Path) -> None:
    """
    A socket cannot be opened as a file.
    """
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        with pytest.raises(OSError, match="No such device or address"):
            open_plain(path)


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    """
    What is in a file is what is read, up to as many bytes as may be.
    """
    path = tmp_path / "graph.yaml"
    path.write_bytes(b"name: a\n")

    assert b"name: a\n" == read_plain(path, 8)
    assert hashlib.sha256(b"name: a\n").hexdigest() == sha256_of(path)
    with pytest.raises(OSError, match="it is longer than 7 bytes, which is the most"):
        read_plain(path, 7)


def test_a_pipe_that_a_shell_opened_is_read() -> None:
    """
    `meshwalk check <(…)` names a pipe that this process has open already.
    """
    reader, writer = os.pipe()
    try:
        os.write(writer, b"name: a\n")
        os.close(writer)

        assert b"name: a\n" == read_plain(f"/dev/fd/{reader}", 100)
    finally:
        os.close(reader)


@pytest.mark.timeout(10)
def test_a_pipe_without_a_reader_is_not_written(tmp_path: Path) -> None:
    """
    Writing to a named pipe that nobody reads is refused at once; with a reader, it is read.
    """
    path = tmp_path / "out"
    os.mkfifo(path)
    with pytest.raises(OSError, match="nobody reads"):
        open_to_write(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open_to_write(path) as file:
        file.write(b"name: a\n")

    assert b"name: a\n" == os.read(reader, 100)
    os.close(reader)
