"""
Outcomes files: real prompts with what real models made of them.

A file is JSON lines, gzipped or not, a row a prompt:
`{"id", "prompt", "category"?, "reference"?, "contaminated"?, "score_scale"?, "outcomes": {MODEL: {"score"?, "input_tokens"?,
"output_tokens"?, "cached_input_tokens"?, "reasoning_tokens"?, "cost_usd"?, "confidence"?, "response"?}}}`; other keys are
left alone, and null is the same as absent.
`responses`, a list with an answer a turn, may stand for `response`; the first turn is the one that has `prompt`.

A file is read whole and checked whole: a row that cannot be right is refused with its line, since a number that is
silently dropped would show up as quality or cost somewhere else.  So is a row that says a thing twice, and a number no
model or judge can have meant.  Some metrics go below their scale (a correlation under zero), so a score may lie as far
below its scale as that is wide; none goes above it.  Backends that name the same file share one copy.
"""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from meshwalk.model.files import open_plain
from meshwalk.model.problems import SetupError
from meshwalk.trace import Usage


_FILES_KEPT = 4
_GZIP_MAGIC = b"\x1f\x8b"
_UNIT = (0.0, 1.0)

# Far above what one call costs and counts, and far below where sums of them leave 64 bits.
_COSTS = (0.0, 1e6)
_COUNTS = (0.0, 1e9)

# Optional details of the input's and of the output's tokens.
_DETAILS = ("cached_input_tokens", "reasoning_tokens")
_SCALES = (-1e9, 1e9)


class Outcome(NamedTuple):
    """
    The result of one model for one prompt; None where the source does not say.
    """

    score: float | None = None
    text: str | None = None
    usage: Usage | None = None
    cost_nano_usd: int | None = None
    confidence: float | None = None


class Row(NamedTuple):
    """
    One prompt with an outcome for each model.

    Args:
        score_scale: The lowest and the highest score of this row's outcomes.
        turns: How many turns the scores judge; *prompt* is the first.
    """

    id: str
    prompt: str
    outcomes: Mapping[str, Outcome]
    category: str = ""
    reference: str = ""
    contaminated: bool = False
    score_scale: tuple[float, float] = _UNIT
    turns: int = 1


class Outcomes:
    """
    The rows of one file, in its order.
    """

    def __init__(self, path: str, rows: tuple[Row, ...]) -> None:
        self.path = path
        self.rows = rows

    @cached_property
    def models(self) -> tuple[str, ...]:
        """
        List the models that any row has an outcome of, in order of appearance.
        """
        return tuple(dict.fromkeys(model for row in self.rows for model in row.outcomes))

    @cached_property
    def _by_prompt(self) -> dict[str, Row]:
        # The first of several rows with one prompt counts, so that the choice depends on nothing but the file.
        return {row.prompt: row for row in reversed(self.rows)}

    def find(self, prompt: str) -> Row | None:
        """
        Return the row of *prompt*, to the letter.
        """
        return self._by_prompt.get(prompt)

    def __repr__(self) -> str:
        return f"<Outcomes {self.path}: {len(self.rows)} rows, {len(self.models)} models>"


def load_outcomes(path: str | Path) -> Outcomes:
    """
    Read an outcomes file, or return the copy that was read before if the file has not changed since.

    Raises:
        SetupError: If the file is not there, or a row of it is not as it must be; the message names the line.
    """
    try:
        stat = Path(path).stat()
        return _load(str(path), str(Path(path).resolve()), stat.st_mtime_ns, stat.st_size)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SetupError(f"the outcomes file '{path}' cannot be read: {reason}") from error


@lru_cache(maxsize=_FILES_KEPT)
def _load(path: str, resolved: str, _changed: int, _size: int) -> Outcomes:
    with open_plain(resolved) as file:
        packed = file.read(2) == _GZIP_MAGIC
    rows: dict[str, Row] = {}
    with gzip.open(resolved) if packed else open_plain(resolved) as lines:
        for number, given in enumerate(lines, start=1):
            line = given.removeprefix(codecs.BOM_UTF8) if number == 1 else given
            if not line.strip():
                continue
            row = _row(_Place(path, number), line)
            if row.id in rows:
                raise _Place(path, number).fault(f"the id {row.id!r} stands in an earlier row already")
            rows[row.id] = row
    if not rows:
        raise SetupError(f"the outcomes file '{path}' has no rows")

    return Outcomes(path, tuple(rows.values()))


class _Place(NamedTuple):
    path: str
    line: int
    inside: str = ""

    def fault(self, message: str) -> SetupError:
        return SetupError(f"{self.path}:{self.line}: {self.inside}{message}")


def _row(place: _Place, line: bytes) -> Row:
    try:
        fields: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise place.fault(f"this is not JSON ({error})") from error
    if not isinstance(fields, dict):
        raise place.fault("a row is a JSON object")
    _said_once(place, line)
    outcomes = fields.get("outcomes")
    if not isinstance(outcomes, dict) or not outcomes:
        raise place.fault("'outcomes' must be an object with at least one model")
    scale = _scale(place, fields)

    return Row(
        id=_text(place, fields, "id") or _missing(place, "id"),
        prompt=_text(place, fields, "prompt") or _missing(place, "prompt"),
        outcomes={model: _outcome(place._replace(inside=f"{model}: "), given, scale) for model, given in outcomes.items()},
        category=_text(place, fields, "category") or "",
        reference=_text(place, fields, "reference") or "",
        contaminated=fields.get("contaminated") is True,
        score_scale=scale,
        turns=max(_turns(given) for given in outcomes.values()),
    )


class _Repeated(Exception):
    """
    An object has a key twice.
    """


def _said_once(place: _Place, line: bytes) -> None:
    """
    Refuse an object that has a key twice, of which orjson silently keeps the last.
    """
    try:
        json.loads(line, object_pairs_hook=_distinct)
    except _Repeated as error:
        raise place.fault(f"the key {str(error)!r} stands twice in one object") from None
    except RecursionError:
        raise place.fault("this is nested too deeply") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Repeated(next(key for position, key in enumerate(keys) if key in keys[:position]))

    return found


def _outcome(place: _Place, fields: Any, scale: tuple[float, float]) -> Outcome:
    if not isinstance(fields, dict):
        raise place.fault("an outcome is a JSON object")
    cost = _number(place, fields, "cost_usd", _COSTS)
    low, high = scale

    return Outcome(
        score=_number(place, fields, "score", (low - (high - low), high)),
        text=_response(place, fields),
        usage=_usage(place, fields),
        # Costs are recorded as decimals, so they are rounded as decimals, not as the doubles nearest to them.
        cost_nano_usd=None if cost is None else round(Decimal(str(cost)) * 10**9),
        confidence=_number(place, fields, "confidence", _UNIT),
    )


def _response(place: _Place, fields: dict[str, Any]) -> str | None:
    turns = fields.get("responses")
    if fields.get("response") is not None or turns is None:
        return _text(place, fields, "response")
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) for turn in turns):
        raise place.fault("'responses' must be a list of texts")

    return str(turns[0])


def _turns(fields: dict[str, Any]) -> int:
    turns = fields.get("responses")

    return len(turns) if isinstance(turns, list) and turns else 1


def _usage(place: _Place, fields: dict[str, Any]) -> Usage | None:
    counts = [_number(place, fields, key, _COUNTS) for key in ("input_tokens", "output_tokens")]
    incoming, outgoing = counts
    if incoming is None or outgoing is None:
        return None
    if not (incoming.is_integer() and outgoing.is_integer()):
        raise place.fault("'input_tokens' and 'output_tokens' must be whole numbers")

    details = [_part(place, fields, key, whole) for key, whole in zip(_DETAILS, ("input_tokens", "output_tokens"), strict=True)]

    return Usage(int(incoming), int(outgoing), *details)


def _part(place: _Place, fields: dict[str, Any], key: str, whole: str) -> int:
    count = _number(place, fields, key, _COUNTS) or 0
    if count != int(count):
        raise place.fault(f"'{key}' must be a whole number")
    if count > fields[whole]:
        raise place.fault(f"'{key}' is {count:g}, and its '{whole}' are only {fields[whole]:g}")

    return int(count)


def _scale(place: _Place, fields: dict[str, Any]) -> tuple[float, float]:
    scale = fields.get("score_scale")
    if scale is None:
        return _UNIT
    ends = {"low": scale[0], "high": scale[1]} if isinstance(scale, list) and len(scale) == 2 else {}
    low, high = (_number(place, ends, end, _SCALES) for end in ("low", "high"))
    if low is None or high is None or low >= high:
        raise place.fault("'score_scale' must be two numbers, the lower one first")

    return low, high


def _text(place: _Place, fields: dict[str, Any], key: str) -> str | None:
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        raise place.fault(f"'{key}' must be text")

    return value


def _number(place: _Place, fields: dict[str, Any], key: str, span: tuple[float, float]) -> float | None:
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.fault(f"'{key}' must be a number")
    low, high = span
    if not low <= value <= high:
        raise place.fault(f"'{key}' is {value:g} and must lie in {_bound(low)} to {_bound(high)}")

    return float(value)


def _bound(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:g}"


def _missing(place: _Place, key: str) -> Any:
    raise place.fault(f"'{key}' is missing")
