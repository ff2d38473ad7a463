"""
The SQLite file of a vault: its tables, connections, transactions, and error messages.

`application_id` marks a file as a vault and `user_version` is its schema; any other file is refused unchanged.  A file is never
created a second time: if it disappears, an empty one in its place would forget the spending.  The vault is then unavailable
until the file is back or its processes are restarted.

By default a commit is handed to the operating system without waiting for the disk (`synchronous = NORMAL`).  It survives the
sudden end of any process; a power cut may lose the last commits.  `durable` waits for the disk in every transaction, which
slows all processes that share the file, because only one of them can write at a time.

Deleted data is overwritten, because results stored for retries contain answers; a copy may stay in the `-wal` file until
that is reused.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from meshwalk.model import Amount
from meshwalk.model.problems import SetupError, VaultUnavailable


T = TypeVar("T")

_ANOTHER = "name another file, or a new one"

APPLICATION = 0x6D775642
VERSION = 1

# The time one process waits for the commits of others.  A transaction takes milliseconds, so a longer wait means a fault, and a
# waiting walk should hear of it within the time of its hop.
BUSY_SECONDS = 2.0

# The interval at which a waiting process checks whether another's transaction is over.
_POLL_SECONDS = 0.002

PARTS = Amount._fields
SUMS = ("spent", "held", "overrun", "assumed")
SUM_COLUMNS = tuple(f"{total}_{part}" for total in SUMS for part in PARTS)


def _columns(names: tuple[str, ...], kind: str) -> str:
    return ", ".join(f"{name} {kind}" for name in names)


# A window of 0 stands for none.  `holds` are the reservations, and `accounts` in it lists rows of that table, separated by
# commas; `places` counts the lines of an account; `forget_at` is when a row may be deleted.
_SCHEMA = f"""
CREATE TABLE accounts (
    account INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    window_us INTEGER NOT NULL,
    number INTEGER NOT NULL,
    forget_at INTEGER NOT NULL,
    places INTEGER NOT NULL DEFAULT 0,
    holds INTEGER NOT NULL DEFAULT 0,
    {_columns(SUM_COLUMNS, "INTEGER NOT NULL DEFAULT 0")},
    UNIQUE (tenant, kind, name, window_us, number)
);
CREATE INDEX accounts_by_end ON accounts (forget_at);

CREATE TABLE lines (
    account INTEGER NOT NULL,
    graph TEXT NOT NULL,
    path TEXT NOT NULL,
    {_columns(PARTS, "INTEGER NOT NULL")},
    PRIMARY KEY (account, graph, path)
) WITHOUT ROWID;

CREATE TABLE holds (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    accounts TEXT NOT NULL,
    {_columns(PARTS, "INTEGER")},
    expires_at INTEGER NOT NULL,
    graph TEXT NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX holds_by_end ON holds (expires_at);

CREATE TABLE known (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    forget_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX known_by_end ON known (forget_at);

CREATE TABLE caps (
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    {_columns(PARTS, "INTEGER")},
    PRIMARY KEY (tenant, kind, name)
) WITHOUT ROWID;

CREATE TABLE claims (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    forget_at INTEGER NOT NULL,
    result BLOB,
    UNIQUE (tenant, id)
);
CREATE INDEX claims_by_end ON claims (forget_at);

PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION}"""

_REASONS = {
    sqlite3.SQLITE_BUSY: f"another process has kept the file to itself for {BUSY_SECONDS:g} s",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; stop all its servers and put a copy in its place",
    sqlite3.SQLITE_NOTADB: "the file is damaged; stop all its servers and put a copy in its place",
}


# Errors in the use of the library, as opposed to faults of the file.
_USAGE_ERRORS = (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError)


class Database:
    """
    One connection to the file, used by one thread at a time and reopened after a fault.

    Args:
        durable: Wait for the disk in every transaction.

    Raises:
        SetupError: If the file cannot be used.
        VaultUnavailable: If another process keeps it locked.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path = path
        self._durable = durable
        self._identity = (0, 0)
        self._connection: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Stored results are answers, so other users may not read the file.  An existing file is not opened here: closing
            # it would release the locks of other connections in this process (POSIX.1-2017, fcntl).
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            if path.exists() and not path.is_file():
                # SQLite would only say that it cannot open the file, or wait for a named pipe.
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR) if path.is_dir() else "it is no plain file")
            self._connect(may_create=True)
        except (OSError, sqlite3.Error) as error:
            if is_busy(error):
                raise VaultUnavailable(self._unavailable(error)) from error
            foreign = isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_NOTADB
            remedy = _ANOTHER if foreign else "name a file in a folder that can be written"
            raise SetupError(f"budgets cannot be kept in {str(path)!r} ({error}); {remedy}") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """
        Lock the file for writing and commit at the end; an exception rolls back.

        Raises:
            VaultUnavailable: If the file cannot be read or written; the next transaction tries again.
        """
        try:
            connection = self._connection or self._connect()
            _begin(connection, BUSY_SECONDS)
            try:
                self._check_identity()
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A fault of the disk may have ended the transaction already.
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        except _USAGE_ERRORS:
            raise
        except (OSError, sqlite3.Error, SetupError) as error:
            if not is_busy(error):
                self.close()
            raise VaultUnavailable(self._unavailable(error)) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """
        Read one consistent state of the file while others write.

        Raises:
            VaultUnavailable: If the file cannot be read.
        """
        try:
            connection = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise VaultUnavailable(self._unavailable(error)) from error

    def close(self) -> None:
        """
        Close the connection.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _connect(self, *, may_create: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection, may_create=may_create)
            self._identity = self._identify()
        except BaseException:
            connection.close()
            raise
        self._connection = connection

        return connection

    def _prepare(self, connection: sqlite3.Connection, *, may_create: bool) -> None:
        deadline = time.monotonic() + BUSY_SECONDS
        new = _retry_while_busy(lambda: self._is_new(connection), deadline)
        if new and not may_create:
            raise SetupError("it holds nothing any more")
        if _retry_while_busy(lambda: _first(connection, "PRAGMA journal_mode = WAL"), deadline) != "wal":
            raise SetupError(
                f"budgets cannot be kept in {str(self.path)!r}: its file system lacks what processes need to share it"
            )
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        connection.execute("PRAGMA secure_delete = ON")
        if not new:
            return
        _begin(connection, BUSY_SECONDS)
        # Another process may have created the tables in the meantime.
        if self._is_new(connection):
            for report in _SCHEMA.split(";\n"):
                connection.execute(report)
        connection.execute("COMMIT")

    def _is_new(self, connection: sqlite3.Connection) -> bool:
        """
        Return whether the file is empty.

        Raises:
            SetupError: If it is another program's or another version's.
        """
        application, version, tables = connection.execute(_IDENTIFY).fetchone()
        if application == version == tables == 0:
            return True
        if application != APPLICATION:
            raise SetupError(f"{str(self.path)!r} is a database, and not of budgets; {_ANOTHER}")
        if version != VERSION:
            message = f"{str(self.path)!r} was written by another meshwalk (schema {version}; this one knows {VERSION})"
            raise SetupError(f"{message}; use that version, or name another file")

        return False

    def _check_identity(self) -> None:
        if self._identify() != self._identity:
            raise OSError("another file has been put in its place")

    def _identify(self) -> tuple[int, int]:
        status = self.path.stat()

        return status.st_dev, status.st_ino

    def _unavailable(self, error: Exception) -> str:
        reason: object = error
        if isinstance(error, sqlite3.Error) and (code := _code(error)) is not None:
            reason = _REASONS.get(code, error)
        if not self.path.exists():
            reason = "the file is gone; put it back, or start all its servers again to begin with nothing spent"

        return f"the budgets in {str(self.path)!r} cannot be used: {reason}"


def is_busy(error: BaseException) -> bool:
    """
    Return whether another process merely has the file locked.
    """
    return isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_BUSY


def _code(error: sqlite3.Error) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)

    # The low byte is the primary code; the others extend it.
    return None if code is None else code & 0xFF


# One statement, so that no process can create the tables between two reads.
_IDENTIFY = (
    "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), "
    "(SELECT count(*) FROM sqlite_master)"
)


def _first(connection: sqlite3.Connection, report: str) -> object:
    return connection.execute(report).fetchone()[0]


def _begin(connection: sqlite3.Connection, seconds: float) -> None:
    _retry_while_busy(lambda: connection.execute("BEGIN IMMEDIATE"), time.monotonic() + seconds)


def _retry_while_busy(act: Callable[[], T], deadline: float) -> T:
    # SQLite's own busy handler sleeps up to 100 ms, lets newcomers overtake sleepers, and does not cover two processes that
    # create a file at once.  Transactions take one or two milliseconds, so every waiter polls at that interval; a shorter one
    # costs two busy workers a tenth of their time.
    while True:
        try:
            return act()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
