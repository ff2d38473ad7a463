"""
Options that several commands have, and how their texts become values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, Token

from meshwalk.cli.output import Misuse


if TYPE_CHECKING:
    from meshwalk.model import Value, ValueType
    from meshwalk.model.trust import Trust


# The largest number that records, the wire and the store can hold.
_MAX = 2**63 - 1

_WHOLE = re.compile(r"[0-9]{1,19}", re.ASCII)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


_CASES = ".cases.yaml"


def graph_files(paths: Sequence[str]) -> list[str]:
    """
    Return the graphs that *paths* name, once each; a file of cases stands for its graph, so that `graphs/*.yaml` works.
    """
    return list(dict.fromkeys(path.removesuffix(_CASES) + ".yaml" if path.endswith(_CASES) else path for path in paths))


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    # Read here, because cyclopts rounds 1.5 to a number that nobody wrote.
    option, text = tokens[0].keyword, tokens[0].value
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= _MAX:
        raise Misuse(f"{option} takes a whole number from 1 to {_MAX}, and {_clipped(text)} is none")

    return int(text)


def _count(_: Any, tokens: Sequence[Token]) -> int:
    from meshwalk.model import MAX_SHARED_COUNT

    option, text = tokens[0].keyword, tokens[0].value
    if not _WHOLE.fullmatch(text) or int(text) > MAX_SHARED_COUNT:
        raise Misuse(f"{option} takes a whole number from 0 to {MAX_SHARED_COUNT}, and {_clipped(text)} is none")

    return int(text)


def name_text(_: Any, tokens: Sequence[Token]) -> str:
    """
    Read a name, which is not empty.
    """
    # An unset variable of a shell leaves an empty text.
    if not tokens[0].value:
        raise Misuse(f"{tokens[0].keyword} takes a name, and '' is none")

    return tokens[0].value


def _target(_: Any, tokens: Sequence[Token]) -> str:
    # An unset variable of a shell leaves an empty text.
    if not tokens[0].value:
        raise Misuse(f"{tokens[0].keyword} takes a server's HOST:PORT, and '' is none")

    return tokens[0].value


def _tenant(_: Any, tokens: Sequence[Token]) -> str:
    option, text = tokens[0].keyword or "", name_text(_, tokens)
    if _CONTROL.search(text):
        raise Misuse(f"{option} takes a name, and {_clipped(text)} has control characters in it")

    return scope_name(option, text)


def scope_name(option: str, name: str) -> str:
    """
    Return *name* if it can be a session's, a workflow's or a tenant's.

    Raises:
        Misuse: If a request could not have it.
    """
    from meshwalk.model import NOT_UNICODE, SCOPE_CHARACTERS, is_unicode

    if len(name) > SCOPE_CHARACTERS:
        raise Misuse(f"{option} is {len(name)} characters long, and the most is {SCOPE_CHARACTERS}")
    if not is_unicode(name):
        raise Misuse(f"{option} {NOT_UNICODE}")

    return name


def _folder(_: Any, tokens: Sequence[Token]) -> str:
    # An unset variable of a shell leaves an empty text, which does not mean the current folder.
    if not tokens[0].value:
        raise Misuse(f"{tokens[0].keyword} takes a folder, and '' names none; the current one is '.'")

    return tokens[0].value


def existing_file(_: Any, tokens: Sequence[Token]) -> str:
    """
    Read the path of a file that is there.
    """
    # A graph may not need the file; whoever names one that is not there has still made a mistake.
    if not Path(tokens[0].value).exists():
        raise Misuse(f"{tokens[0].keyword} takes a file, and there is none called {_clipped(tokens[0].value)}")

    return tokens[0].value


def _clipped(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:79] + "…")


Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document.")]
TracesFolder = Annotated[str, Parameter(name="--traces", converter=_folder, help="The folder that traces are kept in.")]
NewTraces = Annotated[str | None, Parameter(name="--traces", converter=_folder)]
ConfidencesFile = Annotated[str | None, Parameter(name="--confidences", converter=existing_file)]
DataFile = Annotated[str | None, Parameter(name="--data", converter=existing_file)]
ConfigFile = Annotated[str | None, Parameter(name="--config", converter=existing_file)]
VaultAddress = Annotated[str, Parameter(name="--vault", converter=name_text)]
Tenant = Annotated[str, Parameter(name="--tenant", converter=_tenant)]
OperatorKeyEnv = Annotated[str | None, Parameter(name="--operator-key-env", converter=name_text)]
TargetOption = Annotated[str, Parameter(name="--target", converter=_target)]
Whole = Parameter(converter=_whole)
Count = Parameter(converter=_count)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFlags:
    """
    The flags that say what a graph may name.

    Parameters
    ----------
    allow_files
        Let the graph name files outside its folder.
    allow_functions
        How a function that the graph names may begin; once for each beginning.  Any may be named without it.
    allow_env
        How an environment variable that the graph names may begin; once for each beginning.  Any may be named without it.
    """

    allow_files: Annotated[bool, Parameter(negative="")] = False
    allow_functions: Annotated[tuple[str, ...] | None, Parameter(negative="")] = None
    allow_env: Annotated[tuple[str, ...] | None, Parameter(negative="")] = None

    @property
    def trust(self) -> Trust:
        """
        Return the trust in a graph that the flags come to.
        """
        from meshwalk.model.trust import Trust

        return Trust(self.allow_files, self.allow_functions, self.allow_env)


_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(us|ms|s|m|h)", re.ASCII)
_UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}


def duration_us(option: str, text: str) -> int:
    """
    Read a duration as a graph writes it.

    Raises:
        Misuse: If *text* is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise Misuse(f"{option} takes a duration such as 300ms, 4s or 2m, and {text!r} is none")

    return int(Decimal(match[1]) * _UNITS_US[match[2]])


def positive_duration_us(option: str, text: str) -> int:
    """
    Read a duration above zero.

    Raises:
        Misuse: If *text* is none, or no time at all.
    """
    micros = duration_us(option, text)
    if not micros:
        raise Misuse(f"{option} is {text}, which is no time at all; give it some, such as 300ms or 20s")

    return micros


def vault_address(text: str) -> str:
    """
    Return the address of a vault to look into, which must be there already.

    Raises:
        Misuse: If it is a file that is not.
    """
    kind, _, path = text.partition(":")
    if kind == "sqlite" and "$" not in path and not Path(path).exists():
        raise Misuse(f"there is no vault at {_clipped(text)}; `meshwalk serve --vault {text}` makes one")

    return text


def nano_usd(option: str, amount: float, max_usd: int = _MAX // 10**9) -> int:
    """
    Read an amount of dollars.

    Args:
        max_usd: The most dollars; by default as many as a record can hold.

    Raises:
        Misuse: If it is not a finite number, less than nothing, more than *max_usd*, or finer than a billionth of a dollar.
    """
    from meshwalk.model import nano_usd_or_none

    if not math.isfinite(amount) or not 0 <= amount <= max_usd:
        raise Misuse(f"{option} takes an amount in USD from 0 to {max_usd}, and {amount:g} is none")
    nano = nano_usd_or_none(amount)
    if nano is None:
        raise Misuse(f"{option} is {amount!r}, which is finer than a billionth of a dollar")

    return nano


def attribute_values(texts: Sequence[str], graph: str, declared: Mapping[str, ValueType]) -> dict[str, Value]:
    """
    Read `NAME=VALUE` texts by the types that *graph* declares.

    Raises:
        Misuse: With every text that is none, names no attribute, gives one again, or is not of its type.
    """
    values: dict[str, Value] = {}
    faults: list[str] = []
    for text in texts:
        name, _, value = text.partition("=")
        if fault := _fault(text, graph, declared):
            faults.append(fault)
        elif name in values:
            faults.append(f"--set gives '{name}' twice")
        else:
            values[name] = _value(value, declared[name])
    if faults:
        raise Misuse("; ".join(dict.fromkeys(faults)))

    return values


def _fault(text: str, graph: str, declared: Mapping[str, ValueType]) -> str:
    name, equals, value = text.partition("=")
    if not equals:
        return f"--set takes NAME=VALUE, and {text!r} has no '='"
    if name not in declared:
        from meshwalk.model.spelling import did_you_mean

        hint = did_you_mean(name, declared)
        return f"graph '{graph}' declares no attribute '{name}'; {hint + ' ' if hint else ''}it has: {', '.join(declared)}"
    try:
        _value(value, declared[name])
    except ValueError as error:
        return f"--set {text}: '{name}' {error}"

    return ""


def _value(text: str, type: ValueType) -> Value:
    match type:
        case "string":
            return text
        case "bool":
            if text not in ("true", "false"):
                raise ValueError("takes true or false")
            return text == "true"
        case "number":
            try:
                return float(text)
            except ValueError:
                raise ValueError("takes a number") from None
