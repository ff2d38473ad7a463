"""
Trace stores of earlier versions: they open, list, show, replay without a mismatch, and take new records.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from meshwalk.records.hops import hops_of
from meshwalk.records.store import TraceReader, TraceWriter
from meshwalk.review.replay import replay_all
from meshwalk.trace import Traversal, decode, encode


FORMATS = sorted(path.name for path in Path(__file__).with_name("formats").iterdir() if path.is_dir())


@pytest.fixture(params=FORMATS)
def files(request: pytest.FixtureRequest) -> Path:
    """
    Return the folder of one version's files.
    """
    return Path(__file__).with_name("formats") / str(request.param)


@pytest.fixture
def folder(files: Path, tmp_path: Path) -> Path:
    """
    Return a folder with the trace store of that version.
    """
    (tmp_path / "traces.sqlite").write_bytes(gzip.decompress((files / "traces.sqlite.gz").read_bytes()))

    return tmp_path


@pytest.fixture
def reader(folder: Path) -> Iterator[TraceReader]:
    with TraceReader(folder) as reader:
        yield reader


def hops_in(reader: TraceReader, traversal: Traversal) -> list[Any]:
    """
    Return the hops of a traversal in the words of `hops.json`, which knows four counts of tokens.
    """
    plan = reader.plan(traversal.plan_digest)
    assert plan is not None

    return [
        [hop.node, hop.status, hop.edge, hop.cost_nano_usd, hop.basis, hop.latency_us, list(hop.usage[:4]), len(hop.attempts)]
        for hop in hops_of(traversal, plan)
    ]


def test_there_are_files() -> None:
    """
    The version before the modules moved is among those tested.
    """
    assert "v5" in FORMATS


def test_lists_every_walk(reader: TraceReader) -> None:
    """
    The list shows every stored walk, of every outcome.
    """
    listed = reader.list(limit=1_000)

    assert 137 == len(listed)
    assert {"answered": 103, "cancelled": 8, "failed": 5, "refused": 21} == Counter(row.outcome for row in listed)
    assert sum(row.cost_nano_usd for row in listed) == sum(one.cost_nano_usd for one in reader.traversals())


def test_reads_the_same_hops(files: Path, reader: TraceReader) -> None:
    """
    Every walk has the hops, costs and times that the version which wrote it saw.
    """
    expected = json.loads(gzip.decompress((files / "hops.json.gz").read_bytes()))

    assert expected == {one.traversal_id: hops_in(reader, one) for one in reader.traversals()}


def test_finds_one_by_the_beginning_of_its_id(reader: TraceReader) -> None:
    """
    A record is found by its id, and is the one of the list.
    """
    for row in reader.list(limit=1_000):
        traversal = reader.get(row.traversal_id)

        assert traversal is not None
        assert (row.outcome, list(row.path), row.cost_nano_usd) == (
            traversal.outcome.value,
            list(traversal.path),
            traversal.cost_nano_usd,
        )


def test_replays_without_a_mismatch(reader: TraceReader) -> None:
    """
    Every walk decides again as it did, over a plan whose digest is the stored one.
    """
    report = replay_all(reader)

    assert (137, [], []) == (report.unchanged, report.mismatches, report.unknown)


def test_records_are_written_as_before(reader: TraceReader, folder: Path) -> None:
    """
    A record that is read and written again has the same bytes, so that neither version tells who wrote it.
    """
    bodies = {one.traversal_id: encode(one) for one in reader.traversals()}

    assert bodies == {traversal_id: encode(decode(body)) for traversal_id, body in bodies.items()}
    assert bodies == stored_bodies(folder)


async def test_takes_new_records(folder: Path, reader: TraceReader) -> None:
    """
    A store of an earlier version goes on: what is recorded into it now stands beside what was there.
    """
    traversal = next(reader.traversals(outcome="refused"))
    plan = reader.plan(traversal.plan_digest)
    assert plan is not None
    traversal.traversal_id = "f" * 32

    async with TraceWriter(folder) as writer:
        writer.record(traversal, plan)

    assert "f" * 32 == reader.list(limit=1)[0].traversal_id
    report = replay_all(reader)
    assert (138, [], []) == (report.unchanged, report.mismatches, report.unknown)


def stored_bodies(folder: Path) -> dict[str, bytes]:
    """
    Return the stored bytes of every record.
    """
    with closing(sqlite3.connect(folder / "traces.sqlite")) as connection:
        return dict(connection.execute("SELECT traversal_id, body FROM traversals").fetchall())
