from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from meshwalk.model.problems import SetupError, TraceError
from meshwalk.plan import Plan
from meshwalk.records.store import TraceReader, TraceWriter
from meshwalk.records.store.database import APPLICATION
from meshwalk.records.store.writer import TOGETHER
from meshwalk.trace import encode
from tests.support.records import answered, climbed, number_of, numbered, triage, walked


pytestmark = pytest.mark.anyio

HERE = Path(__file__).parents[3]

# What a process that writes begins with.
WRITER = """
    import sys
    import time

    import anyio

    from meshwalk.records.store import TraceWriter
    from tests.support.records import numbered, triage, walked

    traversal, plan = walked(), triage()
    folder, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
"""


def python(body: str, *arguments: object) -> subprocess.Popen[str]:
    """
    Run *body* in a process of its own.
    """
    return subprocess.Popen(
        [sys.executable, "-c", dedent(WRITER) + dedent(body), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        text=True,
    )


def eventually(condition: Callable[[], bool]) -> None:
    """
    Wait until *condition* holds; the test's own time limit is the end of patience.
    """
    while not condition():
        time.sleep(0.002)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return triage()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[TraceWriter]:
    store = TraceWriter(tmp_path)
    yield store
    await store.aclose()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """
    Hold the file's write lock, so that whoever writes waits.
    """
    connection = sqlite3.connect(folder / "traces.sqlite", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


def kept(folder: Path) -> list[int]:
    """
    Return the numbers of the traversals in *folder*, in the order they were stored.
    """
    with TraceReader(folder) as reader:
        return [number_of(summary.traversal_id) for summary in reader.list(limit=10_000)][::-1]


class TestRecord:
    async def test_comes_back_whole(self, store: TraceWriter, tmp_path: Path, plan: Plan) -> None:
        """
        What is recorded is read back as it was.
        """
        traversal = walked(climbed, plan=plan, number=1)
        store.record(traversal, plan)
        await store.flush()
        with TraceReader(tmp_path) as reader:
            found = reader.get(traversal.traversal_id)

        assert found is not None
        assert encode(traversal) == encode(found)
        assert (0, 0) == (store.dropped, store.failed)

    async def test_plan_is_stored_once(self, store: TraceWriter, tmp_path: Path, plan: Plan) -> None:
        """
        Traversals of one plan share its canonical form, whichever batch they come in.
        """
        for number in range(3):
            store.record(walked(plan=plan, number=number), plan)
            await store.flush()
        with TraceReader(tmp_path) as reader:
            plans = reader.plans()

        assert [(plan.plan_digest, plan.shape_digest, "triage")] == list(plans)

    async def test_is_committed_soon(self, store: TraceWriter, tmp_path: Path, plan: Plan) -> None:
        """
        A traversal is on disk within a second though nobody asks for it.
        """
        recorded = time.monotonic()
        store.record(walked(plan=plan), plan)
        with TraceReader(tmp_path) as reader:
            eventually(lambda: bool(reader.list()))

        assert time.monotonic() - recorded < 1

    async def test_same_id_is_kept_once(self, store: TraceWriter, tmp_path: Path, plan: Plan) -> None:
        """
        A traversal that is recorded twice stays as it was first.
        """
        store.record(walked(answered, plan=plan), plan)
        store.record(walked(climbed, plan=plan), plan)
        await store.flush()
        with TraceReader(tmp_path) as reader:
            listed = reader.list()

        assert [("classify", "small")] == [summary.path for summary in listed]


class TestOnFull:
    async def test_drop_counts(self, tmp_path: Path, plan: Plan, caplog: pytest.LogCaptureFixture) -> None:
        """
        Without room, `drop` loses what comes, counts it, and says so once.
        """
        store = TraceWriter(tmp_path, capacity=2)
        with locked(tmp_path):
            for number in (0, 1):
                store.record(walked(plan=plan, number=number), plan)
            eventually(lambda: not store._queue._items)
            for number in range(2, 9):
                store.record(walked(plan=plan, number=number), plan)
        await store.aclose()

        assert [0, 1, 2, 3] == kept(tmp_path)
        assert 5 == store.dropped
        assert [
            "traversals are dropped: the store's queue is full (5 so far)",
            "nothing is lost any more (traversals are dropped: the store's queue is full): 5 were lost, 5 so far",
            "5 were lost in all (traversals are dropped: the store's queue is full)",
        ] == [record.message for record in caplog.records]

    async def test_block_loses_nothing(self, tmp_path: Path, plan: Plan) -> None:
        """
        Without room, `block` makes `record` wait until there is some.
        """
        store = TraceWriter(tmp_path, capacity=2, on_full="block")
        recorder = recording(store, plan, 50)
        with locked(tmp_path):
            recorder.start()
            eventually(lambda: store._queue._accepted == 4 and store._queue._hurry)
            stuck = recorder.is_alive()
        recorder.join()
        await store.aclose()

        assert stuck
        assert list(range(50)) == kept(tmp_path)
        assert 0 == store.dropped

    async def test_closing_frees_who_waits(self, tmp_path: Path, plan: Plan) -> None:
        """
        A recorder that waits for room is let go when the store closes, and its traversal counts as dropped.
        """
        store = TraceWriter(tmp_path, capacity=1, on_full="block")
        recorder = recording(store, plan, 3)
        with locked(tmp_path):
            recorder.start()
            eventually(lambda: store._queue._accepted == 2 and store._queue._hurry)
            store._queue.close()
            recorder.join()
        await store.aclose()

        assert [0, 1] == kept(tmp_path)
        assert 1 == store.dropped


def recording(store: TraceWriter, plan: Plan, count: int) -> threading.Thread:
    """
    Make a thread that records *count* traversals.
    """
    traversal = walked(plan=plan)

    def record() -> None:
        for number in range(count):
            store.record(numbered(traversal, number), plan)

    return threading.Thread(target=record)


class TestFaults:
    @pytest.mark.parametrize("count", [3, 2 * TOGETHER])
    async def test_record_that_cannot_be_encoded_costs_no_other(
        self, store: TraceWriter, tmp_path: Path, plan: Plan, caplog: pytest.LogCaptureFixture, count: int
    ) -> None:
        """
        A traversal that no record can hold is counted; its neighbours in the batch, and in its statement, are stored.
        """
        for number in range(count):
            traversal = walked(plan=plan, number=number)
            if number == 1:
                traversal.source = traversal.source._replace(graph="\ud800")
            store.record(traversal, plan)
        await store.aclose()

        assert [0, *range(2, count)] == kept(tmp_path)
        assert (0, 1) == (store.dropped, store.failed)
        assert "1 were lost in all (traversals cannot be stored)" == caplog.records[-1].message
        assert caplog.records[0].message.startswith("traversals cannot be stored (1 so far): 'utf-8' codec can't encode")

    async def test_full_disk_is_outlived(
        self, store: TraceWriter, tmp_path: Path, plan: Plan, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        What a full disk does not take is counted and logged once a burst, and writing goes on when there is room.
        """
        used = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {used}")
        for number in range(40):
            store.record(walked(plan=plan, number=number), plan)
        await store.flush()
        for number in range(40, 80):
            store.record(walked(plan=plan, number=number), plan)
        await store.flush()
        lost = store.failed
        store._connection.execute("PRAGMA max_page_count = 1000000")
        store.record(walked(plan=plan, number=80), plan)
        await store.flush()
        with TraceReader(tmp_path) as reader:
            plans = [stored.plan_digest for stored in reader.plans()]

        assert 80 == lost == store.failed
        assert [80] == kept(tmp_path)
        assert [plan.plan_digest] == plans
        assert [
            (logging.WARNING, "traversals cannot be stored (40 so far): database or disk is full", None),
            (logging.WARNING, "nothing is lost any more (traversals cannot be stored): 80 were lost, 80 so far", None),
        ] == [(record.levelno, record.message, record.exc_info) for record in caplog.records]

    async def test_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        """
        A place that cannot be written is refused at once, by name.
        """
        (tmp_path / "file").write_text("")

        with pytest.raises(SetupError, match=r"file/traces/traces\.sqlite.*name a folder that can be written"):
            TraceWriter(tmp_path / "file" / "traces")

    async def test_file_of_another_kind(self, tmp_path: Path) -> None:
        """
        A file that is no database is neither taken nor changed.
        """
        text = "not a database" * 100
        (tmp_path / "traces.sqlite").write_text(text)

        with pytest.raises(SetupError, match="not a database"):
            TraceWriter(tmp_path)

        assert text == (tmp_path / "traces.sqlite").read_text()

    async def test_newer_schema_is_refused(self, tmp_path: Path) -> None:
        """
        A file that a newer meshwalk wrote is refused for writing and for reading.
        """
        with closing(sqlite3.connect(tmp_path / "traces.sqlite")) as connection, connection:
            connection.execute("PRAGMA user_version = 3")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.close()

        with pytest.raises(TraceError, match=r"written by a newer meshwalk \(schema 3; this one knows 2\)"):
            TraceWriter(tmp_path)
        with pytest.raises(TraceError, match=r"written by a newer meshwalk \(schema 3; this one knows 2\)"):
            TraceReader(tmp_path)


class TestClose:
    async def test_closes_at_the_end_of_its_block(self, tmp_path: Path, plan: Plan) -> None:
        """
        A writer is its own context, and its repr names the folder and what was lost.
        """
        async with TraceWriter(tmp_path) as store:
            store.record(numbered(walked(plan=plan), 7), plan)
        store.record(numbered(walked(plan=plan), 8), plan)

        assert [7] == kept(tmp_path)
        assert f"<TraceWriter {str(tmp_path)!r}: 1 dropped, 0 failed>" == repr(store)

    async def test_writes_what_waits(self, tmp_path: Path, plan: Plan) -> None:
        """
        Closing commits everything recorded before, and a second close does nothing.
        """
        store = TraceWriter(tmp_path)
        traversal = walked(plan=plan)
        for number in range(2_500):
            store.record(numbered(traversal, number), plan)
        await store.aclose()
        await store.aclose()

        assert list(range(2_500)) == kept(tmp_path)

    async def test_later_records_are_dropped(self, tmp_path: Path, plan: Plan) -> None:
        """
        A traversal that comes after the store was closed is counted, not raised.
        """
        store = TraceWriter(tmp_path)
        await store.aclose()
        store.record(walked(plan=plan), plan)

        assert 1 == store.dropped

    @pytest.mark.process
    def test_forgotten_store_writes_at_exit(self, tmp_path: Path) -> None:
        """
        A program that ends without closing its store ends in time, and loses nothing.
        """
        process = python(
            """
            store = TraceWriter(folder)
            for number in range(count):
                store.record(numbered(traversal, number), plan)
            """,
            *(tmp_path, 0, 20),
        )
        process.communicate()

        assert 0 == process.returncode
        assert list(range(20)) == kept(tmp_path)


@pytest.mark.process
class TestProcesses:
    def test_other_process_reads_while_one_writes(self, tmp_path: Path) -> None:
        """
        A reader sees a growing, gapless list while the writer's process goes on writing.
        """
        writer = python(
            """
            async def main():
                store = TraceWriter(folder)
                print("open", flush=True)
                number = 0
                while number < count:
                    store.record(numbered(traversal, number), plan)
                    number += 1
                    await anyio.sleep(0.001)
                await store.aclose()

            anyio.run(main)
            """,
            *(tmp_path, 0, 300),
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        seen = [kept(tmp_path)]
        while len(seen[-1]) < 300:
            seen.append(kept(tmp_path))
        writer.communicate()

        assert 0 == writer.returncode
        assert all(ids == list(range(len(ids))) for ids in seen)
        assert any(0 < len(ids) < 300 for ids in seen)

    @pytest.mark.process
    @pytest.mark.slow
    def test_several_writers_share_a_file(self, tmp_path: Path) -> None:
        """
        Processes that open a new file at once and write at once lose nothing.
        """
        body = """
            async def main():
                store = TraceWriter(folder)
                for number in range(first, first + count):
                    store.record(numbered(traversal, number), plan)
                    await anyio.sleep(0)
                await store.aclose()
                print(store.failed, store.dropped)

            anyio.run(main)
        """
        writers = [python(body, tmp_path, first, 200) for first in (0, 200)]
        said = [writer.communicate()[0] for writer in writers]

        assert ["0 0\n"] * 2 == said
        assert list(range(400)) == sorted(kept(tmp_path))

    @pytest.mark.slow
    def test_killed_writer_loses_nothing_older_than_a_second(self, tmp_path: Path) -> None:
        """
        After `kill -9`, every traversal recorded more than a second before is there, and the file opens cleanly.
        """
        writer = python(
            """
            async def main():
                store = TraceWriter(folder)
                number = 0
                while True:
                    store.record(numbered(traversal, number), plan)
                    print(number, time.monotonic(), flush=True)
                    number += 1
                    await anyio.sleep(0.001)

            anyio.run(main)
            """,
            *(tmp_path, 0, 0),
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]
        enough = float(lines[0].split()[1]) + 1.3
        while float(lines[-1].split()[1]) < enough:
            lines.append(writer.stdout.readline())
        killed = time.monotonic()
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate()
        recorded = [line.split() for line in (*lines, *rest.splitlines()) if len(line.split()) == 2]
        due = {int(number) for number, at in recorded if float(at) < killed - 1}
        with TraceReader(tmp_path) as reader:
            there = {number_of(traversal.traversal_id) for traversal in reader.traversals()}
            plans = [reader.plan(stored.plan_digest) for stored in reader.plans()]
        with closing(sqlite3.connect(tmp_path / "traces.sqlite")) as connection, connection:
            verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
        connection.close()

        assert due
        assert due <= there
        assert [triage().plan_digest] == [plan.plan_digest for plan in plans if plan]
        assert "ok" == verdict


class TestFile:
    async def test_a_file_that_was_removed_is_made_anew(
        self, store: TraceWriter, tmp_path: Path, plan: Plan, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        Records of a removed file are gone, which is said, and the next ones can be read.
        """
        store.record(walked(plan=plan, number=0), plan)
        await store.flush()
        remove(tmp_path)
        store.record(walked(plan=plan, number=1), plan)
        await store.flush()

        assert [1] == kept(tmp_path)
        assert [True] == ["removed or replaced while they were written" in record.message for record in caplog.records]

    async def test_a_file_that_was_replaced_by_another_programs(
        self, store: TraceWriter, tmp_path: Path, plan: Plan, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        What cannot be stored there is counted, and the foreign file is left as it is.
        """
        remove(tmp_path)
        make_foreign(tmp_path / "traces.sqlite")
        store.record(walked(plan=plan, number=1), plan)
        await store.flush()

        assert (1, True) == (store.failed, store.losing)
        assert "it is another program's file or a budget vault" in caplog.text
        with closing(sqlite3.connect(tmp_path / "traces.sqlite")) as connection:
            assert [("theirs",)] == connection.execute("SELECT name FROM sqlite_master").fetchall()

    @pytest.mark.parametrize("application", [0, 0x6D777674])
    @pytest.mark.parametrize("opening", [TraceWriter, TraceReader])
    async def test_a_file_of_another_program(self, tmp_path: Path, application: int, opening: type) -> None:
        """
        A database with other tables is no store, whatever its version is, and neither is a vault.
        """
        make_foreign(tmp_path / "traces.sqlite", application)

        with pytest.raises(TraceError, match="it is another program's file or a budget vault; name another folder"):
            opening(tmp_path)

    async def test_a_store_that_is_older_than_the_mark(self, tmp_path: Path) -> None:
        """
        It is read as it is, and marked by the next writer.
        """
        await TraceWriter(tmp_path).aclose()
        with closing(sqlite3.connect(tmp_path / "traces.sqlite")) as connection:
            connection.execute("PRAGMA application_id = 0")
        with TraceReader(tmp_path) as reader:
            assert [] == list(reader.list())
        await TraceWriter(tmp_path).aclose()

        with closing(sqlite3.connect(tmp_path / "traces.sqlite")) as connection:
            assert (APPLICATION,) == connection.execute("PRAGMA application_id").fetchone()


def remove(folder: Path) -> None:
    """
    Remove the file of a store, and what SQLite keeps beside it.
    """
    for file in folder.glob("traces.sqlite*"):
        file.unlink()


def make_foreign(file: Path, application: int = 0) -> None:
    """
    Make the database of another program.
    """
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE theirs (a)")
        connection.execute("PRAGMA user_version = 1")
        connection.execute(f"PRAGMA application_id = {application}")


class TestModes:
    async def test_all_files_are_this_users_alone(self, tmp_path: Path, plan: Plan, caplog: pytest.LogCaptureFixture) -> None:
        """
        The folder, the file and what SQLite puts beside it cannot be read by others.
        """
        before = os.umask(0o022)
        try:
            async with TraceWriter(tmp_path / "traces") as store:
                store.record(walked(plan=plan, number=0), plan)
                await store.flush()
                modes = modes_in(tmp_path / "traces")
        finally:
            os.umask(before)

        assert {".": 0o700, "traces.sqlite": 0o600, "traces.sqlite-shm": 0o600, "traces.sqlite-wal": 0o600} == modes
        assert [] == caplog.messages

    async def test_an_open_folder_is_warned_of(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """
        A folder that was there keeps its mode, and the log says who may read it and what to do.
        """
        open_to_all(tmp_path)
        async with TraceWriter(tmp_path):
            pass

        path = str(tmp_path / "traces.sqlite")
        words = (
            f"others on this machine may read the folder of the traces {path!r}; `chmod -R go-rwx {tmp_path}` keeps them out"
        )
        assert 0o755 == modes_in(tmp_path)["."]
        assert [words] == caplog.messages


def modes_in(folder: Path) -> dict[str, int]:
    """
    Return the modes of a folder and of what lies in it.
    """
    return {path.name if path != folder else ".": path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}


def open_to_all(folder: Path) -> None:
    """
    Let everybody read *folder*.
    """
    folder.chmod(0o755)
