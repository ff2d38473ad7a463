"""
The reliability of confidences: the power of each to tell right answers from wrong ones (`auroc`).

It is asked of the walks of a graph, for every node that gives a confidence or a score, and of files in which models chose among
answers and left what their logits say of the choice.

A confidences file is CSV, gzipped or not: `id,task,…,pseudo_label,…,MODEL|answer,MODEL|p1,MODEL|margin,MODEL|entropy`; other
columns are left alone, and an empty figure is none.  Of entropies the negative counts, so that more is surer.  Such a file
has no gold: an answer that is the row's `pseudo_label` counts as right, which flatters models that the label was made of.  A
model that always agrees with the label gave it, and has no area.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from meshwalk.backends.outcomes import Row
from meshwalk.model import DONE, Node, RecordedSpec
from meshwalk.model.files import read_plain
from meshwalk.model.problems import SetupError
from meshwalk.plan import Plan
from meshwalk.review.auroc import Area, area
from meshwalk.trace import Replied, Traversal


_GZIP_MAGIC = b"\x1f\x8b"
_KINDS: Mapping[str, float] = {"p1": 1.0, "margin": 1.0, "entropy": -1.0}
_LABEL = "pseudo_label"


# ---- of walks -------------------------------------------------------------------------------------------------------


# A table of a line for each answer; a thousand times what published ones have.
_MAX_BYTES = 1 << 30


class Judged(NamedTuple):
    """
    One confidence that a walk saw, and the correctness of the answer it is about.
    """

    node: str
    confidence: float
    right: bool


class NodeArea(NamedTuple):
    """
    The area of the confidence of one node.

    Args:
        source: The origin of the confidence; `agreement` for a verifier without a model.
        about: The node whose answers it is about.
    """

    node: str
    source: str
    about: str
    area: Area


def seen(plan: Plan, traversal: Traversal, row: Row) -> Iterator[Judged]:
    """
    Go through the confidences and scores in a walk's record whose answers *row* can judge; of several visits the last counts.

    An answer is right if its score is in the upper half of the row's scale.
    """
    low, high = row.score_scale
    found = {}
    for entry, _ in traversal.steps:
        if isinstance(entry, Replied):
            node = plan.node(traversal.path[entry.hop]).node
            value = entry.outputs.get("score" if node.role == "verifier" else "confidence")
            score = _score(plan, about(node), row)
            if isinstance(value, float) and score is not None:
                found[node.name] = Judged(node.name, value, score >= (low + high) / 2)
    yield from found.values()


def about(node: Node) -> str:
    """
    Return the name of the node that a confidence of *node* is about: itself, or for a verifier the node it lets serve.
    """
    if not node.of:
        return node.name
    served = (edge.answer for edge in node.next if edge.to == DONE and edge.answer in node.of)

    return next((name for name in served if name is not None), node.of[-1])


def _score(plan: Plan, name: str, row: Row) -> float | None:
    spec = plan.graph.backends.get(plan.node(name).node.backend or "")
    outcome = row.outcomes.get(spec.model) if isinstance(spec, RecordedSpec) else None

    return None if outcome is None else outcome.score


def of_nodes(plan: Plan, judged: Iterable[Judged]) -> tuple[NodeArea, ...]:
    """
    Measure each node that gave a confidence, in the order of the graph.
    """
    by_node: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for node, confidence, right in judged:
        by_node[node].append((confidence, right))

    return tuple(
        NodeArea(node.name, node.confidence.source if node.confidence else "agreement", about(node), area(by_node[node.name]))
        for node in plan.graph.nodes.values()
        if node.name in by_node
    )


# ---- of files -------------------------------------------------------------------------------------------------------


class ModelArea(NamedTuple):
    """
    The area of one kind of confidence, for one model on one task.
    """

    task: str
    kind: str
    model: str
    area: Area


class TaskMean(NamedTuple):
    """
    The mean area of one kind of confidence on one task, over the *models* that have one.
    """

    task: str
    kind: str
    models: int
    mean: float | None


class Report(NamedTuple):
    """
    The areas of a confidences file, by kind of confidence.
    """

    rows: int
    areas: tuple[ModelArea, ...]
    means: tuple[TaskMean, ...]


def of_file(path: str | Path) -> Report:
    """
    Measure each kind of confidence in a confidences file, by task and model.

    Raises:
        SetupError: If the file is not there, or is not as it must be; the message names the line.
    """
    try:
        data = read_plain(path, _MAX_BYTES)
        text = (gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SetupError(f"the confidences file '{path}' cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise SetupError(f"the confidences file '{path}' is not UTF-8 text") from error
    rows, judged = _judged(str(path), text)
    # Tasks and models stand as in the file, and kinds as above.
    tasks, models = (dict.fromkeys(key[place] for key in judged) for place in (0, 2))
    keys = (key for key in product(tasks, _KINDS, models) if key in judged)
    areas = tuple(ModelArea(*key, area(judged[key])) for key in keys)

    return Report(rows, areas, tuple(_means(areas)))


_Key = tuple[str, str, str]


def _judged(path: str, text: str) -> tuple[int, dict[_Key, list[tuple[float, bool]]]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    columns = reader.fieldnames or ()
    models = [column.removesuffix("|answer") for column in columns if column.endswith("|answer")]
    missing = [name for name in ("task", _LABEL) if name not in columns]
    if missing or not models:
        raise SetupError(
            f"'{path}' is no confidences file: its first line has no column "
            f"{' and no '.join(missing) or 'MODEL|answer'}; it begins with id,task,{_LABEL},MODEL|answer,MODEL|p1"
        )
    kinds = [(model, kind) for model in models for kind in _KINDS if f"{model}|{kind}" in columns]
    judged: dict[_Key, list[tuple[float, bool]]] = defaultdict(list)
    rows = 0
    try:
        for row in reader:
            rows += 1
            for key, value, right in _judged_row(path, reader.line_num, row, kinds):
                judged[key].append((value, right))
    except csv.Error as error:
        raise SetupError(f"{path}:{reader.line_num}: this is not CSV ({error})") from error
    if not judged:
        raise SetupError(f"the confidences file '{path}' has no answer with a confidence")

    return rows, judged


def _judged_row(
    path: str, line: int, row: Mapping[str, str | None], kinds: Iterable[tuple[str, str]]
) -> Iterator[tuple[_Key, float, bool]]:
    label = row[_LABEL]
    for model, kind in kinds:
        value, answer = _figure(path, line, row, f"{model}|{kind}"), row[f"{model}|answer"]
        if value is not None and answer and label:
            yield (row["task"] or "", kind, model), value * _KINDS[kind], answer == label


def _figure(path: str, line: int, row: Mapping[str, str | None], column: str) -> float | None:
    text = row[column]
    if text is None:
        raise SetupError(f"{path}:{line}: this line has fewer columns than the first")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SetupError(f"{path}:{line}: '{column}' is {text!r} and must be a number, or empty")

    return value


def _means(areas: Sequence[ModelArea]) -> Iterator[TaskMean]:
    for task, kind in dict.fromkeys((one.task, one.kind) for one in areas):
        values = [one.area.value for one in areas if (one.task, one.kind) == (task, kind) and one.area.value is not None]
        yield TaskMean(task, kind, len(values), fmean(values) if values else None)
