"""
Files that users name: plain ones are read, and no other thing makes a program wait.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meshwalk.model.files import make_private_file, make_private_folder, open_plain, open_to_write, read_plain, sha256_of


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


class TestPrivate:
    @pytest.fixture(autouse=True)
    def usual_mask(self) -> Iterator[None]:
        """
        Others may read what nobody makes private.
        """
        before = os.umask(0o022)
        yield
        os.umask(before)

    def test_a_new_folder_and_a_new_file_are_this_users_alone(self, tmp_path: Path) -> None:
        """
        Nobody else may look into what was made, and nothing is to be warned of.
        """
        folder, file = tmp_path / "deep" / "traces", tmp_path / "deep" / "traces" / "file"

        assert (False, False) == (make_private_folder(folder), make_private_file(file))
        assert (0o700, 0o600) == (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777)

    @pytest.mark.parametrize(("mode", "others"), [(0o700, False), (0o740, True), (0o704, True), (0o711, False)])
    def test_what_is_there_keeps_its_mode(self, mode: int, others: bool, tmp_path: Path) -> None:
        """
        An existing folder or file is not changed, and said to be open where others may read it.
        """
        folder, file = tmp_path / "traces", tmp_path / "file"
        folder.mkdir()
        file.touch()
        folder.chmod(mode)
        file.chmod(mode)

        assert (others, others) == (make_private_folder(folder), make_private_file(file))
        assert (mode, mode) == (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777)

    @pytest.mark.parametrize(("private", "mode"), [(True, 0o600), (False, 0o644)])
    def test_a_file_is_written_for_one_or_for_all(self, private: bool, mode: int, tmp_path: Path) -> None:
        """
        An export is for the one who asked for it.
        """
        with open_to_write(tmp_path / "file", private=private):
            pass

        assert mode == (tmp_path / "file").stat().st_mode & 0o777
