"""
The SQLite file of the trace store: its name, tables, and connections.

`application_id` marks a file as a trace store, and `user_version` is the version of its schema.  A file of another program, a
budget vault's too, and one of a newer meshwalk are refused unchanged, for reading and for writing.  A store that is older than
the mark is known by its tables, and marked when it is next written to.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meshwalk.model.files import make_private_file, make_private_folder
from meshwalk.model.problems import SetupError, TraceError


_log = logging.getLogger(__name__)

_OPEN_TO_OTHERS = "others on this machine may read the %s of the traces %r; `chmod -R go-rwx %s` keeps them out"

FILE = "traces.sqlite"
VERSION = 2
# "mwtr" as bytes.
APPLICATION = 0x6D777472

# Errors of a file that is damaged: SQLite quotes its bytes in some messages, and those need not be text.
FAULTS = (sqlite3.Error, UnicodeError)

# The first version of the schema that knows whose a walk is, and the tenant of all walks before.
FIRST_WITH_TENANTS = 2
NO_TENANT = "default"

# The time one process waits for another's commit.
BUSY_SECONDS = 30.0

# `seq` is the order of commit, so that a list read page by page neither repeats nor misses a record while others are added.
# The order of the walks' starts would not do: a long walk starts early and is recorded late.  The body is the last column, so
# that reading the others of a large record does not touch it.  Many records have no session or workflow, hence the partial
# indexes.
_SCHEMA = f"""
CREATE TABLE plans (
    plan_digest TEXT PRIMARY KEY,
    shape_digest TEXT NOT NULL,
    graph TEXT NOT NULL,
    canonical BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE traversals (
    seq INTEGER PRIMARY KEY,
    traversal_id TEXT NOT NULL UNIQUE,
    began_unix_us INTEGER NOT NULL,
    graph TEXT NOT NULL,
    version TEXT NOT NULL,
    plan_digest TEXT NOT NULL REFERENCES plans,
    shape_digest TEXT NOT NULL,
    session TEXT NOT NULL,
    workflow TEXT NOT NULL,
    outcome TEXT NOT NULL,
    cause TEXT NOT NULL,
    answer TEXT NOT NULL,
    route TEXT NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    engine_us INTEGER NOT NULL,
    trace_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    body BLOB NOT NULL
);

CREATE INDEX traversals_by_graph ON traversals (graph);
CREATE INDEX traversals_by_outcome ON traversals (outcome);
CREATE INDEX traversals_by_session ON traversals (session) WHERE session != '';
CREATE INDEX traversals_by_workflow ON traversals (workflow) WHERE workflow != '';
CREATE INDEX traversals_by_tenant ON traversals (tenant);

PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""


# Version 1 had no tenants: its walks are those of the tenant that a server has by itself.
_FROM_1 = f"""
ALTER TABLE traversals ADD COLUMN tenant TEXT NOT NULL DEFAULT '{NO_TENANT}';
CREATE INDEX traversals_by_tenant ON traversals (tenant);
PRAGMA user_version = {VERSION};
"""


def open_to_write(folder: str | Path) -> sqlite3.Connection:
    """
    Open the file in *folder* for writing, and create both if need be.

    One thread at a time may use the connection; the caller begins transactions.

    Raises:
        SetupError: If the folder or the file cannot be written.
        TraceError: If the file is of a newer meshwalk, or of another program.
    """
    path = Path(folder) / FILE
    try:
        open_folder = make_private_folder(path.parent)
        # SQLite gives its other files the mode of this one.
        open_file = make_private_file(path)
        if path.exists() and not path.is_file():
            raise IsADirectoryError("it is no plain file")
        with _closed_on_error(_connect(f"{path.absolute().as_uri()}?mode=rwc")) as connection:
            _prepare(connection, path)
    except (OSError, *FAULTS) as error:
        message = f"traces cannot be written to {str(path)!r} ({reason_of(error)}); name a folder that can be written"
        raise SetupError(message) from error
    if open_folder or open_file:
        what = "folder and the file" if open_folder and open_file else "folder" if open_folder else "file"
        _log.warning(_OPEN_TO_OTHERS, what, str(path), str(path.parent))

    return connection


def open_to_read(folder: str | Path) -> sqlite3.Connection:
    """
    Open the file in *folder* for reading; one thread at a time may use the connection.

    Raises:
        TraceError: If there is no such file, or it cannot be used.
    """
    path = Path(folder) / FILE
    if not path.parent.exists():
        raise TraceError(
            f"there are no traces in {str(folder)!r}: there is no such folder; name the one that `meshwalk route` or "
            "`meshwalk serve` was given with --traces"
        )
    if not path.is_file():
        raise TraceError(f"there are no traces in {str(folder)!r} (no {FILE}); `meshwalk serve --traces {folder}` records some")
    try:
        with _closed_on_error(_connect(f"{path.absolute().as_uri()}?mode=ro")) as connection:
            # Damaged text is shown with replacements; SQLite's own error would quote the raw bytes.
            connection.text_factory = lambda raw: raw.decode(errors="replace")
            if _identify(connection, path) is None:
                raise TraceError(f"{str(path)!r} holds no traces: the file is empty")
    except FAULTS as error:
        raise TraceError(f"the traces in {str(path)!r} cannot be read ({reason_of(error)})") from error

    return connection


def reason_of(error: BaseException) -> str:
    """
    Return why a file cannot be used, without the bytes that stand in it.
    """
    return "its bytes are damaged" if isinstance(error, UnicodeError) else str(error)


def _connect(name: str) -> sqlite3.Connection:
    return sqlite3.connect(name, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


@contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    found = _identify(connection, path)
    _to_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    if found == APPLICATION and _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have created, marked or extended it in the meantime.
    found = _identify(connection, path)
    script = _SCHEMA if found is None else _FROM_1 if _version(connection) < FIRST_WITH_TENANTS else ""
    for statement in script.split(";\n"):
        connection.execute(statement)
    if found != APPLICATION:
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _to_wal(connection: sqlite3.Connection) -> None:
    # SQLite does not wait for a lock here: of two processes that open a new file at once, both would fail.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


# One statement, so that no process can create the tables between two reads.
_IDENTIFY = (
    "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), "
    "(SELECT count(*) FROM sqlite_master), (SELECT count(*) FROM sqlite_master WHERE name IN ('plans', 'traversals'))"
)


def _identify(connection: sqlite3.Connection, path: Path) -> int | None:
    """
    Return the mark of the store in a file, 0 if it is older than the mark; None for an empty file.

    Raises:
        TraceError: If the file is of another program, or of a newer meshwalk.
    """
    application, version, objects, tables = connection.execute(_IDENTIFY).fetchone()
    if not (application or version or objects):
        return None
    unmarked = application == 0 and tables == len(("plans", "traversals"))
    if application != APPLICATION and not unmarked:
        raise TraceError(f"{str(path)!r} holds no traces: it is another program's file or a budget vault; name another folder")
    if version > VERSION:
        raise TraceError(
            f"{str(path)!r} was written by a newer meshwalk (schema {version}; this one knows {VERSION}); "
            "use that version, or name another folder"
        )

    return int(application)
