from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model.problems import TraceError
from meshwalk.plan import Plan
from meshwalk.records.store import Damaged, Summary, TraceReader, TraceWriter
from meshwalk.trace import Traversal, encode
from tests.support.plans import plan_of
from tests.support.records import TRIAGE, cancelled, climbed, failed, number_of, numbered, refused, triage, walked


pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def plan() -> Plan:
    return triage()


def fill(folder: Path, traversals: Sequence[Traversal], plan: Plan) -> None:
    """
    Store *traversals* in order.
    """

    async def main() -> None:
        store = TraceWriter(folder)
        for traversal in traversals:
            store.record(traversal, plan)
        await store.aclose()

    anyio.run(main)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> Iterator[TraceReader]:
    """
    Return a reader of a store with one traversal of each kind, numbered from 1 in the order of storing.
    """
    folder = tmp_path_factory.mktemp("traces")
    fill(
        folder,
        [
            walked(plan=plan, number=1, session="s-1"),
            walked(climbed, plan=plan, number=2, session="s-1", workflow="w-1"),
            walked(refused, plan=plan, number=3, task="forbidden"),
            walked(failed, plan=plan, number=4, session="s-2"),
            walked(cancelled, plan=plan, number=5, workflow="w-1"),
        ],
        plan,
    )
    with TraceReader(folder) as reader:
        yield reader


def numbers(summaries: Sequence[Summary]) -> list[int]:
    return [number_of(summary.traversal_id) for summary in summaries]


def test_closes_at_the_end_of_its_block(tmp_path: Path, plan: Plan) -> None:
    """
    A reader is its own context, and its repr names the folder.
    """
    fill(tmp_path, [], plan)
    with TraceReader(tmp_path) as reader:
        assert [] == reader.list()

    with pytest.raises(TraceError, match="closed"):
        reader.list()
    assert f"<TraceReader {str(tmp_path)!r}>" == repr(reader)


class TestList:
    def test_newest_first(self, reader: TraceReader) -> None:
        """
        What was stored last comes first.
        """
        assert [5, 4, 3, 2, 1] == numbers(reader.list())

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({"graph": "triage"}, [5, 4, 3, 2, 1]),
            ({"graph": "other"}, []),
            ({"session": "s-1"}, [2, 1]),
            ({"workflow": "w-1"}, [5, 2]),
            ({"session": "s-1", "workflow": "w-1"}, [2]),
            ({"outcome": "answered"}, [2, 1]),
            ({"outcome": "refused"}, [3]),
            ({"outcome": "failed"}, [4]),
            ({"outcome": "cancelled"}, [5]),
        ],
    )
    def test_filters(self, reader: TraceReader, filters: dict[str, str], expected: list[int]) -> None:
        """
        Only what has all the named properties is listed.
        """
        assert expected == numbers(reader.list(**filters))  # type: ignore[arg-type]

    def test_shows_the_columns(self, reader: TraceReader) -> None:
        """
        A summary tells path, answer, cost and times without the record.
        """
        traversal = reader.get(f"{2:032x}")
        summary = reader.list(session="s-1", limit=1)[0]

        assert traversal is not None
        assert ("classify", "small", "large") == summary.path
        assert ("large", "4", "s-1", "w-1") == (summary.answer, summary.version, summary.session, summary.workflow)
        assert (325_600, 0.0003256) == (summary.cost_nano_usd, summary.cost_usd)
        assert (traversal.latency_us, traversal.engine_us) == (summary.latency_us, summary.engine_us)
        assert (traversal.trace_id, traversal.plan_digest) == (summary.trace_id, summary.plan_digest)

    def test_failure_has_its_cause(self, reader: TraceReader) -> None:
        """
        A failed traversal says of what.
        """
        assert ["timeout"] == [summary.cause for summary in reader.list(outcome="failed")]

    def test_any_limit(self, reader: TraceReader) -> None:
        """
        A limit past what SQLite counts to is no limit.
        """
        assert [5, 4, 3, 2, 1] == numbers(reader.list(limit=10**30))

    def test_unknown_cursor(self, reader: TraceReader) -> None:
        """
        A page after a traversal that is not there is an error, not the first page again.
        """
        with pytest.raises(TraceError, match="no traversal 'gone' to list from; start again without `before`"):
            reader.list(before="gone")

    async def test_pages_stay_put_while_others_are_added(self, tmp_path: Path, plan: Plan) -> None:
        """
        The second page goes on where the first ended, whatever was stored between.
        """
        store = TraceWriter(tmp_path)
        traversal = walked(plan=plan)
        for number in range(6):
            store.record(numbered(traversal, number), plan)
        await store.flush()
        with TraceReader(tmp_path) as reader:
            first = reader.list(limit=3)
            store.record(numbered(traversal, 9), plan)
            await store.flush()
            second = reader.list(limit=3, before=first[-1].traversal_id)
            newest = reader.list(limit=1)
        await store.aclose()

        assert [[5, 4, 3], [2, 1, 0], [9]] == [numbers(first), numbers(second), numbers(newest)]


SESSIONS = ("", "a", "b", "a", "", "b", "b", "a", "", "a", "a", "b", "")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> Iterator[TraceReader]:
    """
    Return a reader of a store with one traversal a session of `SESSIONS`, numbered from 0.
    """
    folder = tmp_path_factory.mktemp("pages")
    fill(folder, [walked(plan=plan, number=number, session=session) for number, session in enumerate(SESSIONS)], plan)
    with TraceReader(folder) as reader:
        yield reader


class TestPaging:
    @given(limit=st.integers(1, 15), session=st.sampled_from(["", "a", "b", "c"]))
    def test_pages_make_the_whole(self, pages: TraceReader, limit: int, session: str) -> None:
        """
        Pages of any size, put together, are the whole list: nothing twice, nothing missed.
        """
        listed: list[Summary] = []
        while page := pages.list(session=session, limit=limit, before=listed[-1].traversal_id if listed else ""):
            assert len(page) <= limit

            listed += page

        assert [n for n, own in enumerate(SESSIONS) if session in ("", own)][::-1] == numbers(listed)


class TestGet:
    def test_by_beginning(self, tmp_path: Path, plan: Plan) -> None:
        """
        A beginning that only one id has is enough; several are named, and a short one fits nothing.
        """
        traversal = walked(plan=plan)
        records = [numbered(traversal, number) for number in range(8)]
        for record, letter in zip(records, "aaaaaaab", strict=True):
            record.traversal_id = letter * 6 + record.traversal_id
        fill(tmp_path, records, plan)
        with TraceReader(tmp_path) as reader:
            found = reader.get("bbbbbb")

            assert found is not None
            assert encode(records[7]) == encode(found)
            assert reader.get("bbbbb") is None
            assert reader.get("cccccc") is None
            with pytest.raises(
                TraceError, match=r"several traversals begin with 'aaaaaa': aaaaaa0+, .*, …; give more of the id"
            ):
                reader.get("aaaaaa")

    def test_wildcards_are_letters(self, reader: TraceReader) -> None:
        """
        Nothing in an id is a pattern.
        """
        assert reader.get("%%%%%%") is None
        assert reader.get("000*00") is None

    def test_unreadable_record(self, tmp_path: Path, plan: Plan) -> None:
        """
        A record that was tampered with is an error of its own.
        """
        fill(tmp_path, [walked(plan=plan, number=1)], plan)
        with closing(sqlite3.connect(tmp_path / "traces.sqlite")) as connection, connection:
            connection.execute("UPDATE traversals SET body = x'7b7d'")
        connection.close()

        told: list[Damaged] = []
        with TraceReader(tmp_path) as reader:
            with pytest.raises(TraceError, match=f"walk {1:032x} cannot be read: this is not a record of a traversal"):
                reader.get(f"{1:032x}")
            with pytest.raises(TraceError, match="not a record of a traversal"):
                list(reader.traversals())

            assert [] == list(reader.traversals(damaged=told.append))
            assert [(f"{1:032x}", plan.plan_digest)] == [(one.traversal_id, one.plan_digest) for one in told]


class TestPlan:
    def test_comes_back_as_it_was(self, reader: TraceReader, plan: Plan) -> None:
        """
        A stored plan decides as the one that was walked.
        """
        found = reader.plan(plan.plan_digest)

        assert found is not None
        assert (plan.plan_digest, plan.shape_digest) == (found.plan_digest, found.shape_digest)
        assert found is reader.plan(plan.plan_digest)

    def test_unknown_digest(self, reader: TraceReader) -> None:
        """
        A plan that is not stored is none.
        """
        assert reader.plan("0" * 64) is None

    async def test_plan_stored_later_is_found(self, tmp_path: Path, plan: Plan) -> None:
        """
        Not having found a plan is not remembered.
        """
        store = TraceWriter(tmp_path)
        with TraceReader(tmp_path) as reader:
            before = reader.plan(plan.plan_digest)
            store.record(walked(plan=plan), plan)
            await store.flush()
            after = reader.plan(plan.plan_digest)
        await store.aclose()

        assert before is None
        assert after is not None

    @pytest.mark.parametrize(
        ("canonical", "message"),
        [(b"{}", "cannot be read here"), (b"\xff", "cannot be read here"), (None, "reads as [0-9a-f]{64} here")],
    )
    def test_plan_that_reads_differently(self, tmp_path: Path, plan: Plan, canonical: bytes | None, message: str) -> None:
        """
        A stored plan that is not what its digest says is refused, with its digest.
        """
        other = plan_of(TRIAGE.replace("value: 0.6", "value: 0.61")).canonical
        fill(tmp_path, [walked(plan=plan)], plan)
        with closing(sqlite3.connect(tmp_path / "traces.sqlite")) as connection, connection:
            connection.execute("UPDATE plans SET canonical = ?", (canonical or other,))
        connection.close()

        with TraceReader(tmp_path) as reader, pytest.raises(TraceError, match=message) as caught:
            reader.plan(plan.plan_digest)

        assert plan.plan_digest == caught.value.plan_digest


class TestTraversals:
    def test_oldest_first(self, reader: TraceReader) -> None:
        """
        All records come in the order they were stored.
        """
        assert [1, 2, 3, 4, 5] == [number_of(traversal.traversal_id) for traversal in reader.traversals()]

    def test_filters(self, reader: TraceReader, plan: Plan) -> None:
        """
        The filters are those of a list, and the plan.
        """
        assert [1, 2] == [number_of(traversal.traversal_id) for traversal in reader.traversals(session="s-1")]
        assert 5 == len(list(reader.traversals(plan_digest=plan.plan_digest)))
        assert [] == list(reader.traversals(plan_digest="0" * 64))

    async def test_ends_where_it_began(self, tmp_path: Path, plan: Plan) -> None:
        """
        Past any number of pages, going through leaves out what was added on the way.
        """
        store = TraceWriter(tmp_path)
        traversal = walked(plan=plan)
        for number in range(500):
            store.record(numbered(traversal, number), plan)
        await store.flush()
        with TraceReader(tmp_path) as reader:
            going = reader.traversals()
            seen = [number_of(next(going).traversal_id)]
            store.record(numbered(traversal, 500), plan)
            await store.flush()
            seen += [number_of(record.traversal_id) for record in going]
        await store.aclose()

        assert list(range(500)) == seen


class TestShelf:
    def test_nothing_there(self, tmp_path: Path) -> None:
        """
        A folder without traces says how to get some.
        """
        with pytest.raises(TraceError, match=r"no traces in .*absent.*there is no such folder"):
            TraceReader(tmp_path / "absent")

    def test_empty_file(self, tmp_path: Path) -> None:
        """
        A file without our tables is not taken for an empty store.
        """
        (tmp_path / "traces.sqlite").touch()

        with pytest.raises(TraceError, match="holds no traces"):
            TraceReader(tmp_path)

    def test_no_database(self, tmp_path: Path) -> None:
        """
        A file of another kind is named with what is wrong with it.
        """
        (tmp_path / "traces.sqlite").write_text("not a database" * 100)

        with pytest.raises(TraceError, match=r"cannot be read .*not a database"):
            TraceReader(tmp_path)

    def test_writes_nothing(self, reader: TraceReader) -> None:
        """
        A reader only reads, however it is asked.
        """
        with pytest.raises(TraceError, match="readonly"):
            reader._ask("DELETE FROM traversals")

    def test_closed(self, tmp_path: Path, plan: Plan) -> None:
        """
        A closed reader says so; closing twice is fine.
        """
        fill(tmp_path, [walked(plan=plan)], plan)
        reader = TraceReader(tmp_path)
        reader.close()
        reader.close()

        with pytest.raises(TraceError, match="closed"):
            reader.list()

    async def test_threads_share_it(self, tmp_path: Path, plan: Plan) -> None:
        """
        Several threads read through one reader while a store writes.
        """
        store = TraceWriter(tmp_path)
        traversal = walked(plan=plan)
        store.record(traversal, plan)
        await store.flush()
        stop = threading.Event()
        odd: list[object] = []

        def read(reader: TraceReader) -> None:
            while not stop.is_set():
                listed = numbers(reader.list(limit=1_000))
                if listed != list(range(len(listed)))[::-1] or reader.get(traversal.traversal_id) is None:
                    odd.append(listed)

        with TraceReader(tmp_path) as reader:
            threads = [threading.Thread(target=read, args=(reader,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for number in range(1, 200):
                store.record(numbered(traversal, number), plan)
                await store.flush()
            stop.set()
            for thread in threads:
                thread.join()
        await store.aclose()

        assert [] == odd
