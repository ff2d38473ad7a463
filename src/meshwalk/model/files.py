"""
Files that users name, opened so that no other thing of that name makes a program wait.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO


# Files of this process that a shell has opened, as in `check <(sed … graph.yaml)`; opening them again does not wait.
_OPEN_ALREADY = re.compile(r"/dev/stdin|(/dev/fd|/proc/self/fd)/[0-9]+")

_FOLDER_MODE, _FILE_MODE = 0o700, 0o600
_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_plain(path: str | Path) -> BufferedReader:
    """
    Open the plain file at *path* for reading.

    Raises:
        OSError: If it cannot be opened, or is a folder, a named pipe, a socket or a device, which might never end.
    """
    # A named pipe without a writer would hold up the call.
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    kind = stat.S_IFMT(os.fstat(number).st_mode)
    given_open = _OPEN_ALREADY.fullmatch(str(path)) and kind in {stat.S_IFIFO, stat.S_IFCHR}
    if kind != stat.S_IFREG and not given_open:
        os.close(number)
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'no file')}; name a plain file")
    os.set_blocking(number, True)

    return os.fdopen(number, "rb")


def read_plain(path: str | Path, max_bytes: int) -> bytes:
    """
    Return the content of the plain file at *path*.

    Raises:
        OSError: If it cannot be read, is no plain file, or is longer than *max_bytes*.
    """
    with open_plain(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is longer than {max_bytes:,} bytes, which is the most")

    return content


def sha256_of(path: str | Path) -> str:
    """
    Return the SHA-256 of the plain file at *path*, as hexadecimal digits.

    Raises:
        OSError: If it cannot be read, or is no plain file.
    """
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_private_folder(path: Path) -> bool:
    """
    Make the folder *path* for this user alone, where it is not there, and tell whether an existing one is open to others.

    Raises:
        OSError: If it cannot be made.
    """
    try:
        path.mkdir(mode=_FOLDER_MODE, parents=True)
    except FileExistsError:
        return bool(path.stat().st_mode & _BY_OTHERS)

    return False


def make_private_file(path: Path) -> bool:
    """
    Make the file *path* for this user alone, where it is not there, and tell whether an existing one is open to others.

    Raises:
        OSError: If it cannot be made.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE))
    except FileExistsError:
        return bool(path.stat().st_mode & _BY_OTHERS)

    return False


def open_to_write(path: str | Path, *, private: bool = False) -> BinaryIO:
    """
    Open the file at *path* for writing, from its beginning.

    Args:
        private: Whether a new file is for this user alone.

    Raises:
        OSError: If it cannot be opened, or is a named pipe that nobody reads.
    """
    mode = _FILE_MODE if private else 0o666
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK, mode)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "it is a named pipe or a socket that nobody reads; name a file") from error
        raise
    os.set_blocking(number, True)

    return os.fdopen(number, "wb")
