"""
`meshwalk traces` and `meshwalk replay`: looking back at what was walked.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cli.conftest import Run


Change = Callable[[dict[str, Any]], None]


def ids(run: Run, traces: Path) -> list[str]:
    """
    Name the stored walks, newest first: the failure, the refusal, the answer.
    """
    return [row["traversal_id"] for row in run("traces", "list", "--traces", traces, "--json").json["traversals"]]


def doctored(traces: Path, traversal_id: str, change: Change) -> None:
    """
    Change a stored record behind meshwalk's back.
    """
    with closing(sqlite3.connect(traces / "traces.sqlite")) as connection, connection:
        (body,) = connection.execute("SELECT body FROM traversals WHERE traversal_id = ?", (traversal_id,)).fetchone()
        record = orjson.loads(body)
        change(record)
        connection.execute("UPDATE traversals SET body = ? WHERE traversal_id = ?", (orjson.dumps(record), traversal_id))
    connection.close()


def damage(traces: Path, column: str, traversal_id: str) -> None:
    """
    Put bytes that are no text into a column of a stored record.
    """
    with closing(sqlite3.connect(traces / "traces.sqlite")) as connection, connection:
        change = f"UPDATE traversals SET {column} = CAST(x'1bff00' AS TEXT) WHERE traversal_id = ?"
        connection.execute(change, (traversal_id,))
    connection.close()


def other_confidence(record: dict[str, Any]) -> None:
    """
    Let the small model have been in doubt, which the recorded decision does not fit.
    """
    text = json.dumps(record)

    assert '"confidence": 0.9' in text

    record |= json.loads(text.replace('"confidence": 0.9', '"confidence": 0.1'))


class TestList:
    def test_newest_first(self, run: Run, traces: Path) -> None:
        """
        Every walk is listed, the last one on top, with what it came to.
        """
        listed = run("traces", "list", "--traces", traces, "--json")
        rows = listed.json["traversals"]

        assert 0 == listed.code
        assert ["failed", "refused", "answered"] == [row["outcome"] for row in rows]
        assert ["malformed", "", ""] == [row["cause"] for row in rows]
        assert {
            *("traversal_id", "trace_id", "began", "graph", "version", "plan_digest", "session", "workflow", "outcome"),
            *("cause", "path", "cost_usd", "latency_us", "engine_us"),
        } == rows[0].keys()
        assert ["intake", "sorry"] == rows[1]["path"]

    def test_people_get_a_table(self, run: Run, traces: Path) -> None:
        """
        The table has a row a walk; a program that reads it gets whole ids.
        """
        listed = run("traces", "list", "--traces", traces)

        assert [] == [id for id in ids(run, traces) if id not in listed.out]
        assert "failed (malformed)" in listed.out
        assert "intake > small" in listed.out

    @pytest.mark.parametrize(
        ("options", "outcomes"),
        [
            (("--outcome", "refused"), ["refused"]),
            (("--session", "s-1"), ["answered"]),
            (("--session", "s-2"), []),
            (("--workflow", "w"), []),
            (("--graph", "desk", "--limit", "2"), ["failed", "refused"]),
            (("--graph", "other"), []),
        ],
    )
    def test_filters(self, run: Run, traces: Path, options: tuple[str, ...], outcomes: list[str]) -> None:
        """
        Filters leave the walks that fit, and none that do not.
        """
        rows = run("traces", "list", "--traces", traces, *options, "--json").json["traversals"]

        assert outcomes == [row["outcome"] for row in rows]

    def test_pages(self, run: Run, traces: Path) -> None:
        """
        A list goes on behind the last walk of the one before.
        """
        first, *others = ids(run, traces)
        rows = run("traces", "list", "--traces", traces, "--before", first, "--json").json["traversals"]

        assert others == [row["traversal_id"] for row in rows]

    @pytest.mark.parametrize(
        ("options", "said"),
        [(("--outcome", "lost"), "lost"), (("--limit", "0"), "--limit takes"), (("--before", "f00"), "no traversal 'f00'")],
    )
    def test_wrong_use(self, run: Run, traces: Path, options: tuple[str, ...], said: str) -> None:
        """
        A filter that cannot be one is said.
        """
        listed = run("traces", "list", "--traces", traces, *options)

        assert (2, "") == (listed.code, listed.out)
        assert said in listed.err

    def test_a_time_past_the_calendar(self, run: Run, traces: Path) -> None:
        """
        A row whose time was damaged is listed with its number.
        """
        with closing(sqlite3.connect(traces / "traces.sqlite")) as connection, connection:
            connection.execute(f"UPDATE traversals SET began_unix_us = {2**62} WHERE outcome = 'refused'")
        connection.close()

        assert f"{2**62} us" == run("traces", "list", "--traces", traces, "--json").json["traversals"][1]["began"]

    @pytest.mark.parametrize("column", ["route", "outcome", "cost_nano_usd", "body"])
    def test_a_damaged_row_hides_no_other(self, run: Run, traces: Path, column: str) -> None:
        """
        What is no text or number any more is shown as far as it can be, and never raw.
        """
        names = ids(run, traces)
        damage(traces, column, names[1])
        listed = run("traces", "list", "--traces", traces)

        assert 0 == listed.code
        assert [] == [name for name in names if name not in listed.out]
        assert "\x1b" not in listed.out
        assert names == ids(run, traces)

    def test_no_traces(self, run: Run, tmp_path: Path) -> None:
        """
        A folder without traces is wrong use, and none is made of it.
        """
        listed = run("traces", "list", "--traces", tmp_path / "none")

        assert 2 == listed.code
        assert not (tmp_path / "none").exists()


class TestShow:
    def test_why(self, run: Run, traces: Path) -> None:
        """
        Each guard is explained: its values, the leaf that decided, and how far it is from flipping.
        """
        shown = run("traces", "show", ids(run, traces)[-1], "--traces", traces, "--json")
        confident, last = shown.json["hops"][1]["considered"]

        assert 0 == shown.code
        assert ("done", "output.confidence >= thresholds.sure", "held") == (
            confident["to"],
            confident["guard"],
            confident["verdict"],
        )
        assert {"output.confidence": 0.9, "thresholds.sure": 0.8} == confident["why"]["values"]
        assert "output.confidence >= thresholds.sure" == confident["why"]["leaf"]
        assert pytest.approx(0.1) == confident["why"]["distance"]
        assert ("otherwise", "not_looked_at", None) == (last["guard"], last["verdict"], last["why"])

    def test_people_get_hops_and_reasons(self, run: Run, traces: Path) -> None:
        """
        The tables say where the time went and what decided, with the numbers that did.
        """
        shown = run("traces", "show", ids(run, traces)[-1], "--traces", traces).out

        assert "desk" in shown
        assert "first byte" in shown
        assert "output.confidence >= thresholds.sure: held (0.9 >= 0.8)" in shown

    def test_what_it_began_from(self, run: Run, traces: Path) -> None:
        """
        The document holds the request's facts, and no words that the graph does not record.
        """
        shown = run("traces", "show", ids(run, traces)[1], "--traces", traces, "--json").json

        assert "proof" == shown["attributes"]["task"]
        assert ("refused", "we do not prove") == (shown["outcome"], shown["reason"])
        assert (None, None) == (shown["messages"], shown["answer"])
        assert shown["began"].endswith("Z")

    def test_beginning_of_an_id(self, run: Run, traces: Path) -> None:
        """
        As much of an id as no other has is enough.
        """
        newest = ids(run, traces)[0]

        assert newest == run("traces", "show", newest[:-2], "--traces", traces, "--json").json["traversal_id"]
        assert newest == run("traces", "show", newest[:-2].upper(), "--traces", traces, "--json").json["traversal_id"]

    def test_too_short_a_beginning(self, run: Run, traces: Path) -> None:
        """
        How much of an id is needed is told to who gives less.
        """
        shown = run("traces", "show", ids(run, traces)[0][:5], "--traces", traces)

        assert 2 == shown.code
        assert "a beginning of an id has at least 6 characters" in shown.err

    def test_unknown_id(self, run: Run, traces: Path) -> None:
        """
        An id that nothing has is wrong use, and where to find others is said.
        """
        shown = run("traces", "show", "f" * 32, "--traces", traces)

        assert 2 == shown.code
        assert "`meshwalk traces list` names those there are" in shown.err

    @pytest.mark.parametrize("options", [(), ("--json",)])
    def test_a_walk_that_cannot_be_explained_is_still_shown(self, run: Run, traces: Path, options: tuple[str, ...]) -> None:
        """
        Where the plan decides differently from the record, the hops are shown, and that no reasons can be.
        """
        answered = ids(run, traces)[-1]
        doctored(traces, answered, other_confidence)
        shown = run("traces", "show", answered, "--traces", traces, *options)

        assert 0 == shown.code
        assert "does not decide as was recorded" in shown.out
        assert "small" in shown.out


class TestExport:
    def test_a_line_a_walk(self, run: Run, traces: Path) -> None:
        """
        Each line is the document of one walk, the oldest first.
        """
        lines = [json.loads(line) for line in run("traces", "export", "--traces", traces).out.splitlines()]

        assert list(reversed(ids(run, traces))) == [walk["traversal_id"] for walk in lines]
        assert ["intake", "small"] == [hop["node"] for hop in lines[0]["hops"]]

    def test_json_is_one_document(self, run: Run, traces: Path) -> None:
        """
        With `--json` all of them are one document.
        """
        walks = run("traces", "export", "--traces", traces, "--outcome", "failed", "--json").json["traversals"]

        assert ["failed"] == [walk["outcome"] for walk in walks]

    def test_to_a_file(self, run: Run, traces: Path, tmp_path: Path) -> None:
        """
        Lines go to a file, and how many they were is said.
        """
        file = tmp_path / "walks.jsonl"
        exported = run("traces", "export", "--traces", traces, "-o", file)

        assert f"{file}: 3 walks\n" == exported.out
        assert 3 == len(file.read_text(encoding="utf-8").splitlines())
        assert {"file": str(file), "traversals": 3, "damaged": []} == run(
            "traces", "export", "--traces", traces, "-o", file, "--json"
        ).json

    def test_a_damaged_record_hides_no_other(self, run: Run, traces: Path) -> None:
        """
        What cannot be read is named, and the others are exported.
        """
        newest, middle, oldest = ids(run, traces)
        damage(traces, "body", middle)
        doctored(traces, newest, lambda record: record["source"].__setitem__(2, "0" * 64))
        exported = run("traces", "export", "--traces", traces)
        document = run("traces", "export", "--traces", traces, "--json").json

        assert 2 == exported.code
        assert [oldest] == [json.loads(line)["traversal_id"] for line in exported.out.splitlines()]
        assert f"left out: {middle}: the record of walk {middle} cannot be read" in exported.err
        assert f"left out: {newest}: the plan {'0' * 64}" in exported.err
        assert [middle, newest] == [damaged["traversal_id"] for damaged in document["damaged"]]


class TestReplay:
    def test_everything_agrees(self, run: Run, traces: Path) -> None:
        """
        Stored walks decide the same over the plan stored beside them.
        """
        replayed = run("replay", "--traces", traces, "--json")

        assert 0 == replayed.code
        assert (3, 3, 0, 0) == tuple(replayed.json[key] for key in ("total", "unchanged", "unidentified", "mismatched"))
        assert "3 walks: 3 unchanged, 0 mismatched, 0 unidentified\n" == run("replay", "--traces", traces).out

    def test_some_walks(self, run: Run, traces: Path) -> None:
        """
        Ids choose what is replayed.
        """
        assert 2 == run("replay", "--traces", traces, *ids(run, traces)[:2], "--json").json["total"]

    def test_mismatch_is_1(self, run: Run, traces: Path) -> None:
        """
        A record that its plan would decide differently makes the answer no, and the first difference is shown.
        """
        answered = ids(run, traces)[-1]
        doctored(traces, answered, other_confidence)
        replayed = run("replay", "--traces", traces, "--json")
        (mismatch,) = replayed.json["mismatches"]

        assert 1 == replayed.code
        assert (answered, "Replied", "wishes") == (mismatch["traversal_id"], mismatch["entry"], mismatch["what"])
        assert "Finish" in mismatch["recorded"][-1]
        assert "Reserve" in mismatch["replayed"][-1]
        assert f"mismatch: {answered}" in run("replay", "--traces", traces).err

    def test_unknown_plan_is_2(self, run: Run, traces: Path) -> None:
        """
        A walk whose plan is not stored is counted and named, and nothing is said of it.
        """
        doctored(traces, ids(run, traces)[0], lambda record: record["source"].__setitem__(2, "0" * 64))
        replayed = run("replay", "--traces", traces, "--json")

        assert 2 == replayed.code
        assert (2, 1) == (replayed.json["unchanged"], replayed.json["unidentified"])
        assert "0" * 64 == replayed.json["unknown"][0]["plan_digest"]
        assert f"walked plan {'0' * 64}" in run("replay", "--traces", traces).err

    def test_damaged_record_is_2(self, run: Run, traces: Path) -> None:
        """
        A record that cannot be read is counted and named, and the others are replayed.
        """
        middle = ids(run, traces)[1]
        damage(traces, "body", middle)
        replayed = run("replay", "--traces", traces)
        alone = run("replay", "--traces", traces, middle)

        assert (2, "3 walks: 2 unchanged, 0 mismatched, 1 unidentified\n") == (replayed.code, replayed.out)
        assert f"unidentified: {middle}" in replayed.err
        assert 2 == alone.code
        assert alone.err.startswith(f"error: the record of walk {middle} cannot be read")

    def test_a_record_of_impossible_things(self, run: Run, traces: Path) -> None:
        """
        Where a record has the right shape and says what no walk says, nothing but that record is lost.
        """
        answered = ids(run, traces)[-1]
        doctored(traces, answered, lambda record: record["straight"][2][-1].__setitem__(4, 5))
        commands = (("replay",), ("traces", "export"), ("traces", "show", answered))
        told = [run(*words, "--traces", traces) for words in commands]

        assert [2, 2, 2] == [one.code for one in told]
        assert [1, 1, 1] == [one.err.count(f"the record of walk {answered} says what no walk says") for one in told]
        assert "3 walks: 2 unchanged, 0 mismatched, 1 unidentified\n" == told[0].out

    def test_unknown_walk(self, run: Run, traces: Path) -> None:
        """
        An id that nothing has is wrong use.
        """
        assert 2 == run("replay", "--traces", traces, "f" * 32).code


class TestMore:
    def test_a_list_says_that_there_is_more(self, run: Run, traces: Path) -> None:
        """
        A list that is cut off says so, and how to go on.
        """
        newest = ids(run, traces)[0]
        listed = run("traces", "list", "--traces", traces, "--limit", "1")

        assert f"There are more: `--limit` lists more at once, `--before {newest}` goes on from here." in listed.out
        assert run("traces", "list", "--traces", traces, "--limit", "1", "--json").json["more"]

    def test_a_whole_list_says_nothing_of_it(self, run: Run, traces: Path) -> None:
        """
        A list that holds the oldest walk is not said to go on.
        """
        count = len(ids(run, traces))
        listed = run("traces", "list", "--traces", traces, "--limit", str(count))

        assert "There are more" not in listed.out
        assert not run("traces", "list", "--traces", traces, "--limit", str(count), "--json").json["more"]
