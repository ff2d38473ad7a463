"""
Values with a meaning of their own: names, durations, money, intervals, addresses.

Each is a pydantic type: its YAML, its value in the model, and its JSON Schema.  A fault is raised with its code, the end of a
sentence (`is …, and takes …`) and a remedy; `fit` puts the key in front of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from meshwalk.loader.messages.faults import quoted, worded
from meshwalk.loader.messages.remedies import duration_in, number_in
from meshwalk.model import MAX_SHARED_USD, nano_usd_or_none
from meshwalk.model.patterns import PatternFault, compile_pattern
from meshwalk.model.problems import ErrorClass


# CEL's literals, operators and reserved words: none can be a part of a guard's names.
RESERVED = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
    ]
)
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_LONGEST_NAME = 64

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(us|ms|s|m|h)", re.ASCII)
_UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?((?:[kKMG]i?)?B)", re.ASCII)
_UNITS_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_LARGEST_SIZE = 10**12
_LONGEST_DURATION_US = 7 * 24 * 3_600_000_000
_LONGEST_WINDOW_US = 366 * 24 * 3_600_000_000
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def why_no_identifier(name: str) -> str:
    """
    Return the reason why guards cannot use *name*, or nothing if they can.
    """
    if name in RESERVED:
        return "it is a reserved word of CEL"
    if not IDENTIFIER.fullmatch(name):
        return "it must start with a letter or _, and go on with letters, digits and _"
    if len(name) > _LONGEST_NAME:
        return f"it has more than {_LONGEST_NAME} characters"

    return ""


def fault(code: str, message: str, help: str = "") -> PydanticCustomError:
    """
    Make a fault for pydantic to carry; *message* goes on after the name of the value.
    """
    # Braces in a message are fields to pydantic, and an author's text may hold some.
    return PydanticCustomError(code, "{message}", {"message": message, "help": help})


def _text(value: Any, wanted: str = "text") -> str:
    if not _verbatim(value, wanted).strip():
        raise fault("empty-text", "is empty")

    return str(value)


def _verbatim(value: Any, wanted: str = "text") -> str:
    if not isinstance(value, str):
        quotable = wanted == "text" and isinstance(value, bool | int | float)
        raise fault("wrong-type", f"is {worded(value)}, and takes {wanted}", "put it in quotes" if quotable else "")
    if not value:
        raise fault("empty-text", "is empty")

    return value


def _free_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise fault("wrong-type", f"is {worded(value)}, and takes text")

    return str(value)


def _name(value: Any) -> str:
    text = _text(value)
    if not _NAME.fullmatch(text) or len(text) > _LONGEST_NAME:
        raise fault(
            "bad-name",
            f"is {quoted(text)}, and takes at most {_LONGEST_NAME} letters, digits, '.', '_' and '-', a letter or digit first",
        )

    return text


def _duration_us(value: Any, min_us: int = 1, max_us: int = _LONGEST_DURATION_US, bounds: str = "more than 0 to 168h") -> int:
    wanted = "a duration such as 300ms, 4s, 1.5s, 2m or 1h"
    if isinstance(value, int | float) and not isinstance(value, bool):
        remedy = f"did you mean {value:g}s?" if min_us <= value * _UNITS_US["s"] <= max_us else ""
        raise fault("bad-duration", f"is a number without a unit, and takes {wanted}", remedy)
    match = _DURATION.fullmatch(_text(value, wanted))
    if match is None:
        raise fault("bad-duration", f"is {quoted(value)}, and takes {wanted}", duration_in(str(value)))
    exact = Decimal(match[1]) * _UNITS_US[match[2]]
    if exact != int(exact):
        raise fault("bad-duration", f"is {quoted(value)}, which is no whole number of microseconds")
    if not min_us <= exact <= max_us:
        raise fault("out-of-range", f"is {quoted(value)}, and takes {bounds}")

    return int(exact)


_MAX_HELD_TOKENS = 1_000_000
_STREAM_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"enum": ["hold", "live"]},
        {
            "type": "object",
            "properties": {"hold_first": {"type": "integer", "minimum": 1, "maximum": _MAX_HELD_TOKENS}},
            "required": ["hold_first"],
            "additionalProperties": False,
        },
    ]
}


def _stream(value: Any) -> int | None:
    match value:
        case "hold":
            return None
        case "live":
            return 0
        case {"hold_first": int() as tokens, **rest} if not rest and tokens is not True and 1 <= tokens <= _MAX_HELD_TOKENS:
            return tokens
    shown = str(value).lower() if isinstance(value, bool) else quoted(value) if isinstance(value, str) else worded(value)
    wanted = f"hold, live or {{hold_first: N}}, N being 1 to {_MAX_HELD_TOKENS:,} tokens"
    # Other tools switch streams on and off.
    meant = {True: "write `stream: live` to pass the answer on as it comes", False: "leave it out, or write `stream: hold`"}
    remedy = meant[value] if isinstance(value, bool) else ""
    raise fault("bad-stream", f"is {shown}, and takes {wanted}", remedy)


def _duration_or_none_us(value: Any) -> int:
    return _duration_us(value, 0, bounds="0 to 168h")


def _window_us(value: Any) -> int:
    return _duration_us(value, _UNITS_US["s"], _LONGEST_WINDOW_US, "1s to 8784h (366 days)")


def _nano_usd(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fault("wrong-type", f"is {worded(value)}, and takes an amount in USD", "write a number such as 0.05")
    if not 0 <= value <= 1_000_000_000:  # NaN is refused here too
        raise fault("out-of-range", f"is {value:g}, and takes 0 to 1,000,000,000 USD")
    nano = nano_usd_or_none(value)
    if nano is None:
        raise fault("bad-money", f"is {value!r}, which is finer than a billionth of a dollar")

    return nano


def _shared_nano_usd(value: Any) -> int:
    nano = _nano_usd(value)
    if nano > MAX_SHARED_USD * 1_000_000_000:
        raise fault(
            "out-of-range",
            f"is {value:,}, and takes 0 to {MAX_SHARED_USD:,} USD",
            "a vault may count in doubles, which are exact up to 2^53 nano-dollars",
        )

    return nano


def _size_bytes(value: Any) -> int:
    wanted = "a size such as 500kB, 64MB, 64MiB or 1GB, or a number of bytes"
    exact: float | Decimal
    if isinstance(value, int | float) and not isinstance(value, bool):
        exact = value
    else:
        match = _SIZE.fullmatch(_text(value, wanted))
        if match is None:
            raise fault("bad-size", f"is {quoted(value)}, and takes {wanted}")
        exact = Decimal(match[1]) * _UNITS_BYTES[match[2].lower()]
    if not 1 <= exact <= _LARGEST_SIZE:  # NaN is refused here too
        raise fault("out-of-range", f"is {value}, and takes 1 byte to 1TB")
    if exact != int(exact):
        raise fault("bad-size", f"is {value}, which is no whole number of bytes")

    return int(exact)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fault("wrong-type", f"is {worded(value)}, and takes a number", number_in(value) if isinstance(value, str) else "")
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN is what differs from itself
        raise fault("out-of-range", f"is {value:g}, and takes a finite number")

    return float(value)


def _interval(value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise fault("bad-range", "is no pair of numbers", "write [lowest, highest]")
    low, high = (_number(bound) for bound in value)
    if low > high:
        raise fault("bad-range", f"starts at {low:g} and ends at {high:g}", "write the lower number first")

    return low, high


def _scalar(value: Any) -> str | float | bool:
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return _number(value)
    raise fault("wrong-type", f"is {worded(value)}, and takes text, a number, or true or false")


def _function(value: Any) -> str:
    text = _text(value)
    if not _FUNCTION.fullmatch(text):
        raise fault("bad-function", f"is {quoted(text)}, and takes an import path", "write it as package.module:function")

    return text


def _pattern(value: Any) -> str:
    text = _text(value)
    try:
        compile_pattern(text)
    except PatternFault as error:
        raise fault("bad-pattern", f"is no regular expression: {error.reason}", error.remedy) from error

    return text


def _variable(value: Any) -> str:
    # The text may be the key itself, so it is never shown.
    text = _text(value)
    if not IDENTIFIER.fullmatch(text):
        raise fault(
            "bad-variable",
            "is not the name of an environment variable",
            "write the name, such as OPENAI_API_KEY, never the key",
        )

    return text


def _version(value: Any) -> int:
    if value != 1 or isinstance(value, bool):
        raise fault("unsupported-version", f"is {_shown(value)}, and this meshwalk reads version 1", "write meshwalk: 1")

    return 1


def _shown(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}"
        case str():
            return f"the text {quoted(value)}"
        case _:
            return worded(value)


def _whole(value: Any) -> Any:
    # 1e3 is a number like 1000; pydantic says what is wrong with the rest.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


def _plain(function: Callable[[Any], Any], **schema: Any) -> tuple[PlainValidator, WithJsonSchema]:
    return PlainValidator(function), WithJsonSchema(schema)


_DURATION_SCHEMA = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(us|ms|s|m|h)$", "examples": ["300ms", "4s", "2m"]}
_IDENTIFIER_SCHEMA = {
    "type": "string",
    "pattern": rf"^(?!(?:{'|'.join(sorted(RESERVED))})$)[A-Za-z_][A-Za-z0-9_]*$",
    "maxLength": _LONGEST_NAME,
}

Text = Annotated[str, *_plain(_text, type="string", minLength=1)]
Verbatim = Annotated[str, *_plain(_verbatim, type="string", minLength=1)]  # blanks count
FreeText = Annotated[str, *_plain(_free_text, type=["string", "number"])]
Name = Annotated[str, *_plain(_name, type="string", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", maxLength=_LONGEST_NAME)]
Identifier = Annotated[str, WithJsonSchema(_IDENTIFIER_SCHEMA)]
StreamMode = Annotated[int | None, PlainValidator(_stream), WithJsonSchema(_STREAM_SCHEMA)]
Time = Annotated[int, PlainValidator(_duration_us), WithJsonSchema(_DURATION_SCHEMA)]
TimeOrNone = Annotated[int, PlainValidator(_duration_or_none_us), WithJsonSchema(_DURATION_SCHEMA)]
Window = Annotated[int, PlainValidator(_window_us), WithJsonSchema(_DURATION_SCHEMA)]
Money = Annotated[int, *_plain(_nano_usd, type="number", minimum=0)]
SharedMoney = Annotated[int, *_plain(_shared_nano_usd, type="number", minimum=0, maximum=MAX_SHARED_USD)]
Size = Annotated[int, *_plain(_size_bytes, type=["string", "integer"], examples=["64MB", "64MiB", 65536])]
Number = Annotated[float, *_plain(_number, type="number")]
Interval = Annotated[tuple[float, float], *_plain(_interval, type="array", items={"type": "number"}, minItems=2, maxItems=2)]
ScalarValue = Annotated[str | float | bool, *_plain(_scalar, type=["string", "number", "boolean"])]
Pattern = Annotated[str, *_plain(_pattern, type="string", minLength=1)]
Function = Annotated[str, *_plain(_function, type="string", pattern=r"^[\w.]+:[\w.]+$")]
Version = Annotated[int, *_plain(_version, const=1)]
Variable = Annotated[str, *_plain(_variable, type="string", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

# These stand last in a type, so that its bounds still reach the JSON Schema.
Whole = BeforeValidator(_whole)
Classes = BeforeValidator(_listed, json_schema_input_type=ErrorClass | list[ErrorClass])
Verbatims = BeforeValidator(_listed, json_schema_input_type=Verbatim | list[Verbatim])
Listed = BeforeValidator(_listed)
