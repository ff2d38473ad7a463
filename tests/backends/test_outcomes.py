from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from meshwalk.backends.outcomes import load_outcomes
from meshwalk.model.problems import SetupError
from meshwalk.trace import Usage


def row(**changes: Any) -> dict[str, Any]:
    outcome = {
        "score": 1.0,
        "input_tokens": 12,
        "output_tokens": 3,
        "cost_usd": 8.52e-05,
        "confidence": 0.75,
        "response": "Rome.",
    }

    return {"id": "q:1", "prompt": "What is the capital of Italy?", "outcomes": {"large": outcome}} | changes


def outcome(**changes: Any) -> dict[str, Any]:
    return {"outcomes": {"large": row()["outcomes"]["large"] | changes}}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    text = "".join(json.dumps(each) + "\n" for each in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)

    return path


# The JSON of Python 3.11 goes as deep as its functions may; later ones read so many brackets, and then this is what is wrong.
NESTED = "this is nested too deeply" if sys.version_info < (3, 12) else "'outcomes' must be an object with at least one model"


class TestRows:
    @pytest.mark.parametrize("name", ["some.jsonl", "some.jsonl.gz"])
    def test_a_row_is_read_whole(self, tmp_path: Path, name: str) -> None:
        """
        Text, usage, cost in nano-dollars, confidence and score come out as they stand, gzipped or not.
        """
        found = load_outcomes(write(tmp_path / name, row(category="geography", reference="Rome"))).rows[0]

        assert ("q:1", "geography", "Rome", False) == (found.id, found.category, found.reference, found.contaminated)
        assert ("Rome.", Usage(12, 3), 85_200, 0.75, 1.0) == (
            found.outcomes["large"].text,
            found.outcomes["large"].usage,
            found.outcomes["large"].cost_nano_usd,
            found.outcomes["large"].confidence,
            found.outcomes["large"].score,
        )

    def test_what_is_absent_or_null_is_none(self, tmp_path: Path) -> None:
        """
        A source that says nothing gives nothing, not zero.
        """
        given = row(outcomes={"large": {"score": 0.5, "confidence": None, "cost_usd": None}})
        found = load_outcomes(write(tmp_path / "some.jsonl", given)).rows[0].outcomes["large"]

        assert (0.5, None, None, None, None) == found

    def test_parts_of_the_tokens_are_read(self, tmp_path: Path) -> None:
        """
        How much of the input was cached and of the output not seen is kept where a row says so.
        """
        given = row(**outcome(input_tokens=9, output_tokens=7, cached_input_tokens=8, reasoning_tokens=6))
        found = load_outcomes(write(tmp_path / "some.jsonl", given)).rows[0].outcomes["large"]

        assert Usage(9, 7, 8, 6) == found.usage

    def test_several_turns_give_the_first(self, tmp_path: Path) -> None:
        """
        A row with an answer a turn gives the one to its prompt, on its own scale of scores.
        """
        given = row(score_scale=[1, 10], **outcome(response=None, responses=["one", "two"], score=9))
        found = load_outcomes(write(tmp_path / "some.jsonl", given)).rows[0]

        assert ("one", 9.0, (1.0, 10.0)) == (found.outcomes["large"].text, found.outcomes["large"].score, found.score_scale)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"id": None}, "'id' is missing"),
            ({"prompt": 3}, "'prompt' must be text"),
            ({"outcomes": {}}, "'outcomes' must be an object with at least one model"),
            ({"outcomes": {"large": []}}, "large: an outcome is a JSON object"),
            ({"score_scale": [10, 1]}, "'score_scale' must be two numbers, the lower one first"),
            (outcome(score="1"), "large: 'score' must be a number"),
            (outcome(score=True), "large: 'score' must be a number"),
            (outcome(cost_usd=-1), "large: 'cost_usd' is -1 and must lie in 0 to 1,000,000"),
            (outcome(cost_usd=1e300), "large: 'cost_usd' is 1e+300 and must lie in 0 to 1,000,000"),
            (outcome(output_tokens=2**63), "large: 'output_tokens' is 9.22337e+18 and must lie in 0 to 1,000,000,000"),
            (outcome(score=50), "large: 'score' is 50 and must lie in -1 to 1"),
            (outcome(score=-0.5) | {"score_scale": [1, 2]}, "large: 'score' is -0.5 and must lie in 0 to 2"),
            ({"score_scale": [0, 1e300]}, "'high' is 1e+300 and must lie in -1,000,000,000 to 1,000,000,000"),
            (outcome(confidence=85), "large: 'confidence' is 85 and must lie in 0 to 1"),
            (outcome(input_tokens=1.5), "large: 'input_tokens' and 'output_tokens' must be whole numbers"),
            (outcome(cached_input_tokens=1.5), "large: 'cached_input_tokens' must be a whole number"),
            (outcome(cached_input_tokens=-1), "large: 'cached_input_tokens' is -1 and must lie in 0 to 1,000,000,000"),
            (
                outcome(output_tokens=3, reasoning_tokens=4),
                "large: 'reasoning_tokens' is 4, and its 'output_tokens' are only 3",
            ),
            (outcome(response=["a"]), "large: 'response' must be text"),
            (outcome(response=None, responses=[1]), "large: 'responses' must be a list of texts"),
        ],
    )
    def test_a_row_that_cannot_be_right_is_refused_with_its_line(
        self, tmp_path: Path, changes: dict[str, Any], message: str
    ) -> None:
        """
        The message names the file, the line, the model and the field.
        """
        path = write(tmp_path / "some.jsonl", row(id="q:0"), row(**changes))

        with pytest.raises(SetupError) as caught:
            load_outcomes(path)

        assert f"{path}:2: {message}" == str(caught.value)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ('{"id": "a", "id": "b"}', "the key 'id' stands twice in one object"),
            ('{"outcomes": {"large": {"score": 1, "score": 0}}}', "the key 'score' stands twice in one object"),
            ('{"more": ' + "[" * 1_000 + "]" * 1_000 + "}", NESTED),
            (
                '{"more": ' + "[" * 9_000 + "]" * 9_000 + "}",
                "this is not JSON (depth limit exceeded: line 1 column 1034 (char 1033))",
            ),
        ],
    )
    def test_a_row_says_everything_once(self, tmp_path: Path, line: str, message: str) -> None:
        """
        A key that stands twice is refused and not decided by chance, however deep it stands.
        """
        path = tmp_path / "some.jsonl"
        path.write_text(line, encoding="utf-8")

        with pytest.raises(SetupError) as caught:
            load_outcomes(path)

        assert f"{path}:1: {message}" == str(caught.value)

    def test_a_score_may_lie_below_its_scale(self, tmp_path: Path) -> None:
        """
        A correlation under zero is a score like others.
        """
        path = write(tmp_path / "some.jsonl", row(**outcome(score=-0.033019)))

        assert -0.033019 == load_outcomes(path).rows[0].outcomes["large"].score


class TestFile:
    def test_a_byte_order_mark_is_passed_over(self, tmp_path: Path) -> None:
        """
        What some editors write before the first row is no part of it.
        """
        path = write(tmp_path / "some.jsonl", row())
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())

        assert "q:1" == load_outcomes(path).rows[0].id

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "has no rows"),
            (b"\n\n", "has no rows"),
            (b"{\n", ":1: this is not JSON"),
            (b"[]\n", ":1: a row is a JSON object"),
            (b"\xff\xfe", ":1: this is not JSON"),
            (b"\x1f\x8bnot gzip at all", "cannot be read"),
            (gzip.compress(b"{}" * 100, mtime=0)[:-12], "cannot be read"),
        ],
    )
    def test_a_file_that_is_none_is_refused(self, tmp_path: Path, content: bytes, words: str) -> None:
        """
        Whatever the bytes, the error is ours and names the file.
        """
        path = tmp_path / "some.jsonl"
        path.write_bytes(content)

        with pytest.raises(SetupError, match=words) as caught:
            load_outcomes(path)

        assert str(path) in str(caught.value)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        """
        A file that is not there is a matter of setup.
        """
        with pytest.raises(SetupError, match=r"none\.jsonl' cannot be read: No such file"):
            load_outcomes(tmp_path / "none.jsonl")

    def test_an_id_stands_once(self, tmp_path: Path) -> None:
        """
        Two rows with one id are a mistake.
        """
        with pytest.raises(SetupError, match=":2: the id 'q:1' stands in an earlier row"):
            load_outcomes(write(tmp_path / "some.jsonl", row(), row()))

    def test_rows_are_found_by_prompt_and_the_first_one_wins(self, tmp_path: Path) -> None:
        """
        A prompt that stands twice is answered from its first row, and an unknown one from none.
        """
        found = load_outcomes(write(tmp_path / "some.jsonl", row(), row(id="q:2"), row(id="q:3", prompt="Other?")))
        first = found.find("What is the capital of Italy?")

        assert first is not None
        assert "q:1" == first.id
        assert found.find("what is the capital of italy?") is None
        assert ("large",) == found.models

    def test_one_file_is_read_once(self, tmp_path: Path) -> None:
        """
        All who name a file share one copy, until the file changes.
        """
        path = write(tmp_path / "some.jsonl", row())
        first = load_outcomes(path)

        assert first is load_outcomes(str(path))

        write(path, row(), row(id="q:2"))
        os.utime(path, ns=(1, 1))

        assert 2 == len(load_outcomes(path).rows)

    @pytest.mark.parametrize(
        ("name", "rows"), [("gsm8k", 656), ("mmlu", 6940), ("mt_bench", 49), ("routerarena", 408), ("llmrouter", 2845)]
    )
    def test_real_files_are_read(self, shared_data: Path, name: str, rows: int) -> None:
        """
        The real files are in the format that is read, all their rows.
        """
        assert rows == len(load_outcomes(shared_data / "outcomes" / f"{name}.jsonl.gz").rows)
