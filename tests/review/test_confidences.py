"""
Which confidence can be believed: of a graph's nodes, and of a file of models' own.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from meshwalk.model.problems import SetupError
from meshwalk.review.confidences import Judged, NodeArea, about, of_file, of_nodes
from meshwalk.review.evaluate import evaluate
from tests.support.plans import plan_of


GRAPH = """
    meshwalk: 1
    name: judged
    start: first
    backends:
      little: {kind: recorded, model: small}
      other: {kind: recorded, model: middle}
      big: {kind: recorded, model: large}
      critic: {kind: simulated, confidence: 0.5, usd_per_mtok: {input: 0, output: 0}}
    nodes:
      first:
        role: answer
        backend: little
        confidence: {from: recorded}
        next: second
      second: {role: answer, backend: other, next: same}
      same:
        role: verifier
        use: agreement
        of: [first, second]
        extract: number
        next: [{to: done, answer: first, when: output.agree}, {to: judge}]
      judge:
        role: verifier
        use: model
        backend: critic
        of: [second]
        prompt: "{{ prompt }} {{ answer.second }}"
        score: {from: recorded}
        next: [{to: done, when: output.score > 0.6, answer: second}, {to: last}]
      last: {role: primary, backend: big, next: done}
"""

# The confidence and the score of small, what small and middle answer, and whether middle is right.
ROWS = [
    (0.9, 1.0, 7, 7, 1.0),
    (0.8, 0.5, 7, 7, 1.0),
    (0.7, 0.0, 7, 8, 1.0),
    (0.7, 1.0, 7, 7, 0.0),
    (0.2, 0.4, 7, 8, 0.0),
    (None, 0.0, 7, 8, 0.0),
]

HEAD = "id,task,pseudo_label,one|answer,one|p1,one|entropy,two|answer,two|p1\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "outcomes.jsonl"
    rows = [
        {
            "id": str(number),
            "prompt": f"question {number}",
            "outcomes": {
                "small": {"score": score, "confidence": sure, "cost_usd": 0.001, "response": f"#### {one}"},
                "middle": {"score": right, "cost_usd": 0.002, "response": f"#### {two}"},
                "large": {"score": 1, "cost_usd": 0.01, "response": "#### 7"},
            },
        }
        for number, (sure, score, one, two, right) in enumerate(ROWS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    return path


def written(folder: Path, lines: str) -> Path:
    path = folder / "confidences.csv"
    path.write_text(HEAD + lines, encoding="utf-8")

    return path


class TestNodes:
    @pytest.mark.anyio
    async def test_every_confidence_is_held_against_its_answer(self, data: Path) -> None:
        """
        A node's confidence is about its own answers, a verifier's score about those it would let be served; a reply without one
        is not counted, and from half of the scale on an answer is right.
        """
        found = await evaluate(plan_of(GRAPH), data)
        first, same, judge = found.confidences

        # Right at 0.9, 0.8 and 0.7, wrong at 0.7 and 0.2.
        assert ("first", "recorded", "first", 5, 3) == (first.node, first.source, first.about, first.area.n, first.area.right)
        assert pytest.approx(5.5 / 6) == first.area.value
        # All three that agree are right, none of the others.
        assert ("same", "agreement", "first", 6, 3, 1.0) == (*same[:3], *same.area[:3])
        # One score for all says nothing; one of the three answers it saw was right.
        assert ("judge", "recorded", "second", 3, 1, 0.5) == (*judge[:3], *judge.area[:3])

    def test_a_verifier_is_about_what_it_lets_be_served(self) -> None:
        """
        Where no edge says which, the last that it looks at counts.
        """
        nodes = plan_of(GRAPH.replace("answer: first, when", "when")).graph.nodes

        assert ["first", "second", "second"] == [about(nodes[name]) for name in ("first", "same", "judge")]

    def test_nodes_that_gave_none_are_left_out(self) -> None:
        """
        The order is the graph's, whatever the walks' was.
        """
        found = of_nodes(plan_of(GRAPH), [Judged("judge", 0.5, True), Judged("first", 0.5, True)])

        assert ["first", "judge"] == [one.node for one in found]
        assert all(isinstance(one, NodeArea) and one.area.value is None for one in found)


class TestFiles:
    def test_by_task_model_and_kind(self, tmp_path: Path) -> None:
        """
        An answer that is the label is right, entropies count downwards, and the mean is over the models that have an area.
        """
        rows = "1,t,A,A,0.9,0.1,A,0.6\n2,t,B,A,0.3,0.5,B,0.5\n3,t,C,C,0.5,0.3,C,\n4,u,A,A,0.9,0.1,,0.5\n"
        report = of_file(written(tmp_path, rows))
        areas = {(one.task, one.kind, one.model): one.area for one in report.areas}

        assert 4 == report.rows
        assert [
            ("t", "p1", "one"),
            ("t", "p1", "two"),
            ("t", "entropy", "one"),
            ("u", "p1", "one"),
            ("u", "entropy", "one"),
        ] == (list(areas))
        assert (3, 2, 1.0) == areas["t", "p1", "one"][:3]
        assert 1.0 == areas["t", "entropy", "one"].value
        # The second model always gives the label, so that nothing tells its answers apart.
        assert (2, 2, None) == areas["t", "p1", "two"][:3]
        assert [("t", "p1", 1, 1.0), ("t", "entropy", 1, 1.0), ("u", "p1", 0, None), ("u", "entropy", 0, None)] == [
            tuple(mean) for mean in report.means
        ]

    def test_packed_or_not(self, tmp_path: Path) -> None:
        """
        A gzipped file says the same.
        """
        plain = written(tmp_path, "1,t,A,A,0.9,0.1,B,0.6\n2,t,B,A,0.3,0.5,B,0.5\n")
        packed = tmp_path / "confidences.csv.gz"
        packed.write_bytes(gzip.compress(plain.read_bytes()))

        assert of_file(plain) == of_file(packed)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "has no column task and no pseudo_label"),
            ("task,pseudo_label\n", "has no column MODEL|answer"),
            (HEAD, "has no answer with a confidence"),
            (HEAD + "1,t,A,A,high,0.1,A,0.5\n", ":2: 'one|p1' is 'high' and must be a number"),
            (HEAD + "1,t,A,A,nan,0.1,A,0.5\n", ":2: 'one|p1' is 'nan' and must be a number"),
            (HEAD + "1,t,A,A\n", ":2: this line has fewer columns than the first"),
            (HEAD + '1,t,"A\n', "this is not CSV"),
        ],
    )
    def test_a_file_that_cannot_be_right_is_refused(self, tmp_path: Path, text: str, said: str) -> None:
        """
        What is wrong is named, with its line where it has one.
        """
        path = tmp_path / "confidences.csv"
        path.write_text(text, encoding="utf-8")

        with pytest.raises(SetupError) as caught:
            of_file(path)

        assert said in str(caught.value)

    @pytest.mark.parametrize(
        ("content", "said"),
        [(None, "cannot be read"), (b"\x1f\x8bnothing", "cannot be read"), (b"\xff\xfe", "is not UTF-8 text")],
    )
    def test_a_file_that_cannot_be_read(self, tmp_path: Path, content: bytes | None, said: str) -> None:
        """
        A file that is not there, or is no text, is said to be so.
        """
        path = tmp_path / "confidences.csv"
        if content is not None:
            path.write_bytes(content)

        with pytest.raises(SetupError, match=said):
            of_file(path)
