"""
The file: its tables, how it is opened, and what is said when it cannot be used.

`application_id` says that a file is a vault's and `user_version` which schema it has; a file of anybody else is refused before
anything in it is touched.  A file that has been opened is never made again: where it is gone, an empty one in its place
would forget what was spent.  So the vault is away until the file is back, or until its processes are started again.

By default a commit is handed to the operating system and not waited for (`synchronous = NORMAL`): it survives the end of any
process, however sudden, and a power cut may take the last of them.  `durable` waits for the disk in every transaction, which
costs all processes that share the file, because only one of them can write at a time.

What is deleted is written over, since results that are left for retries hold answers; a copy of it stays in the `-wal` file
until that is used again.
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

# How long one process waits for others to commit.  A transaction takes milliseconds, so one who holds the file for longer is
# ill; and who waits is inside a hop's time, and would rather hear so.
BUSY_SECONDS = 2.0

# How often one who waits for another's transaction looks whether it is over.
_LOOK_SECONDS = 0.002

PARTS = Amount._fields
SUMS = ("spent", "held", "overrun", "assumed")
SUM_COLUMNS = tuple(f"{total}_{part}" for total in SUMS for part in PARTS)


def _columns(names: tuple[str, ...], kind: str) -> str:
    return ", ".join(f"{name} {kind}" for name in names)


# A window of 0 is none.  `accounts` of a hold are rows of that table, with commas between; `forget_at` is when a row may go.
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


# What the library raises for how it is used, and not for what the file is like.
_OURS = (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError)


class Database:
    """
    Keep one connection to the file, used by one thread at a time; after a fault it is made anew.

    Args:
        durable: Wait for the disk in every transaction.

    Raises:
        SetupError: If the file cannot be used.
        VaultUnavailable: If another process does not let go of it.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path = path
        self._durable = durable
        self._identity = (0, 0)
        self._connection: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # What is left for retries are answers, which are nobody else's to read.  A file that is there is not opened: to
            # close it lets go of the locks of whoever else in this process has the books open (POSIX.1-2017, fcntl).
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            if path.is_dir():
                # SQLite says no more than that it cannot open it.
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            self._connect(may_make=True)
        except (OSError, sqlite3.Error) as error:
            if is_busy(error):
                raise VaultUnavailable(self._away(error)) from error
            strange = isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_NOTADB
            remedy = _ANOTHER if strange else "name a file in a folder that can be written"
            raise SetupError(f"budgets cannot be kept in {str(path)!r} ({error}); {remedy}") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """
        Keep everyone else from writing, and commit at the end; nothing is written if anything is raised.

        Raises:
            VaultUnavailable: If the file cannot be read or written; the next transaction tries anew.
        """
        try:
            connection = self._connection or self._connect()
            _begin(connection, BUSY_SECONDS)
            try:
                self._recognise()
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A fault of the disk may have ended the transaction already.
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        except _OURS:
            raise
        except (OSError, sqlite3.Error, SetupError) as error:
            if not is_busy(error):
                self.close()
            raise VaultUnavailable(self._away(error)) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """
        Read one state of the file, however long that takes, while others write.

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
            raise VaultUnavailable(self._away(error)) from error

    def close(self) -> None:
        """
        Let go of the file.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _connect(self, *, may_make: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection, may_make=may_make)
            self._identity = self._identify()
        except BaseException:
            connection.close()
            raise
        self._connection = connection

        return connection

    def _prepare(self, connection: sqlite3.Connection, *, may_make: bool) -> None:
        patience = time.monotonic() + BUSY_SECONDS
        new = _patiently(lambda: self._is_new(connection), patience)
        if new and not may_make:
            raise SetupError("it holds nothing any more")
        if _patiently(lambda: _first(connection, "PRAGMA journal_mode = WAL"), patience) != "wal":
            raise SetupError(
                f"budgets cannot be kept in {str(self.path)!r}: its file system lacks what processes need to share it"
            )
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        connection.execute("PRAGMA secure_delete = ON")
        if not new:
            return
        _begin(connection, BUSY_SECONDS)
        # Another process may have made the tables while this one waited for its turn.
        if self._is_new(connection):
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
        connection.execute("COMMIT")

    def _is_new(self, connection: sqlite3.Connection) -> bool:
        """
        Tell whether the file is empty.

        Raises:
            SetupError: If it is not, and not ours.
        """
        application, version, tables = connection.execute(_WHOSE).fetchone()
        if application == version == tables == 0:
            return True
        if application != APPLICATION:
            raise SetupError(f"{str(self.path)!r} is a database, and not of budgets; {_ANOTHER}")
        if version != VERSION:
            message = f"{str(self.path)!r} was written by another meshwalk (schema {version}; this one knows {VERSION})"
            raise SetupError(f"{message}; use that version, or name another file")

        return False

    def _recognise(self) -> None:
        if self._identify() != self._identity:
            raise OSError("another file has been put in its place")

    def _identify(self) -> tuple[int, int]:
        found = self.path.stat()

        return found.st_dev, found.st_ino

    def _away(self, error: Exception) -> str:
        reason: object = error
        if isinstance(error, sqlite3.Error) and (code := _code(error)) is not None:
            reason = _REASONS.get(code, error)
        if not self.path.exists():
            reason = "the file is gone; put it back, or start all its servers again to begin with nothing spent"

        return f"the budgets in {str(self.path)!r} cannot be used: {reason}"


def is_busy(error: BaseException) -> bool:
    """
    Tell whether it is only not this process's turn.
    """
    return isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_BUSY


def _code(error: sqlite3.Error) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)

    # The low byte says what it is, the others say more of it.
    return None if code is None else code & 0xFF


# In one statement, so that nobody makes the tables between two answers.
_WHOSE = (
    "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), "
    "(SELECT count(*) FROM sqlite_master)"
)


def _first(connection: sqlite3.Connection, statement: str) -> object:
    return connection.execute(statement).fetchone()[0]


def _begin(connection: sqlite3.Connection, seconds: float) -> None:
    _patiently(lambda: connection.execute("BEGIN IMMEDIATE"), time.monotonic() + seconds)


def _patiently(act: Callable[[], T], until: float) -> T:
    # SQLite's own way of waiting sleeps for up to 100 ms and not at all where two make a file at once; who then comes anew
    # overtakes who has slept.  Transactions take one or two milliseconds, so everyone looks that often; to look more often
    # costs two busy workers a tenth of their time.
    while True:
        try:
            return act()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(_LOOK_SECONDS)
