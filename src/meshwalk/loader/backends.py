"""
Backends: from shapes to the model, with the hashes of the files they name.

No secret stands in a graph, and none that stands there all the same is repeated in a message.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshwalk.loader import faults
from meshwalk.loader.document import Piece, Table
from meshwalk.loader.fit import Findings, Fitted, Part, choose, fit, part_of, respelt
from meshwalk.loader.shapes import (
    BACKEND_SHAPES,
    AnyBackendShape,
    LocalShape,
    OpenAIShape,
    PythonShape,
    RecordedShape,
    SimulatedShape,
)
from meshwalk.model import AnyBackendSpec, LocalSpec, OpenAISpec, Price, PythonSpec, RecordedSpec, SimulatedSpec
from meshwalk.problems import Problem, Span


_SECRET_KEYS = frozenset({"key", "api_key", "apikey", "token", "secret", "password", "authorization"})
_SECRET_QUERY = re.compile(r"[?&](api[-_]?key|key|token|access[-_]token|sig)=(?!\$\{)", re.IGNORECASE)
_USER_INFO = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@")
_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


_KEYS = tuple(dict.fromkeys(key for shape in BACKEND_SHAPES.values() for key in shape.known_keys()))


def read_backend(name: str, span: Span, piece: Piece, findings: Findings) -> AnyBackendSpec | None:
    """
    Read one backend, or say why there is nothing to read; its name is then noted as broken.
    """
    problems = findings.problems
    part = part_of(piece, f"backend '{name}'", span, problems)
    if part is None:
        findings.broken.add(name)
        return None
    part = respelt(part._replace(table=_without_secrets(part.table, part.subject, problems)), _KEYS, problems)
    kind = choose(part, "kind", BACKEND_SHAPES, problems)
    if kind is None:
        findings.broken.add(name)
        return None
    shape = BACKEND_SHAPES[kind]
    fitted = fit(shape, part, problems, given={"kind": kind}, elsewhere=_whose(part.table, shape))
    _check(fitted, part, problems)
    if fitted.lost:
        findings.broken.add(name)

    return _spec(name, span, fitted.shape)


def _without_secrets(table: Table, subject: str, problems: list[Problem]) -> Table:
    secret = [key for key in table.entries if key.lower() in _SECRET_KEYS]
    if not secret:
        return table
    kept = Table(table.span)
    kept.entries = {key: piece for key, piece in table.entries.items() if key not in secret}
    kept.key_spans = table.key_spans
    kept.merged = table.merged
    for key in secret:
        remedy = "put it into an environment variable and name that: key_env: NAME"
        problems.append(faults.secret_in_graph(table.place(key), subject, f"a secret under '{key}'", remedy))

    return kept


def _whose(table: Table, shape: type[AnyBackendShape]) -> dict[str, str]:
    found = {}
    for key in table.entries.keys() - set(shape.known_keys()):
        owners = [kind for kind, other in BACKEND_SHAPES.items() if key in other.known_keys()]
        if owners:
            found[key] = f"'{key}' is for: {', '.join(owners)}"

    return found


def _check(fitted: Fitted[AnyBackendShape], part: Part, problems: list[Problem]) -> None:
    shape = fitted.shape
    if isinstance(shape, OpenAIShape) and shape.base_url is not None:
        problem = _address_fault(shape.base_url, part)
        if problem is not None:
            problems.append(problem)
    if isinstance(shape, SimulatedShape) and shape.latency is not None and shape.latency.p99 is not None:
        latency = part.table.entries["latency"]
        if shape.latency.p99 < shape.latency.p50 and isinstance(latency, Table):
            problems.append(faults.quantiles_crossed(latency.place("p99"), part.subject))


def _address_fault(url: str, part: Part) -> Problem | None:
    return address_fault(url, part, "base_url")


def address_fault(url: str, part: Part, key: str) -> Problem | None:
    """
    Say what is wrong with the address *url* that stands under *key*: it holds a secret, or is no address.
    """
    span = part.table.place(key)
    remedy = f"name the variable that holds it: key_env: NAME, or {key}: ${{NAME}}"
    if _USER_INFO.match(url):
        return faults.secret_in_graph(span, part.subject, "a user or a password in its address", remedy)
    if _SECRET_QUERY.search(url):
        return faults.secret_in_graph(span, part.subject, "a key in its address", remedy)
    rest = _VARIABLE.sub("", url)
    if "${" in rest:
        return faults.bad_address(span, part.subject, "has a '${' that starts no ${NAME}", key)
    if not url.startswith(("http://", "https://", "${")):
        return faults.bad_address(span, part.subject, "does not start with http://, https:// or ${NAME}", key)

    return None


def _spec(name: str, span: Span, shape: AnyBackendShape) -> AnyBackendSpec:
    price = None if shape.usd_per_mtok is None else Price(shape.usd_per_mtok.input, shape.usd_per_mtok.output)
    common: dict[str, Any] = {
        "name": name,
        "span": span,
        "price": price,
        "context_tokens": shape.context_tokens,
        "tokenizer": shape.tokenizer,
        "description": shape.description or "",
    }
    match shape:
        case OpenAIShape():
            return OpenAISpec(**common, model=shape.model, base_url=shape.base_url, key_env=shape.key_env)
        case LocalShape():
            return LocalSpec(**common, model=shape.model, threads=shape.threads)
        case RecordedShape():
            return RecordedSpec(**common, model=shape.model, data=shape.data)
        case PythonShape():
            return PythonSpec(**common, function=shape.function)
        case SimulatedShape():
            return SimulatedSpec(**common, **_pretence(shape))


def _pretence(shape: SimulatedShape) -> dict[str, Any]:
    p50 = 0 if shape.latency is None else shape.latency.p50
    p99 = None if shape.latency is None else shape.latency.p99
    found: dict[str, Any] = {
        "latency_p50_us": p50,
        "latency_p99_us": p50 if p99 is None else p99,
        "output_tokens": shape.output_tokens,
        "confidence": shape.confidence,
        "seed": shape.seed,
    }
    if shape.failure is not None:
        found |= {"failure_rate": shape.failure.rate, "failure_class": shape.failure.class_}

    return found


# ---- the files a graph names ----------------------------------------------------------------------------------------


def hash_files(
    backends: Mapping[str, AnyBackendSpec], section: Piece | None, folder: str, problems: list[Problem]
) -> dict[str, str]:
    """
    Return the SHA-256 of each file that *backends* name, by the key that names it; a file that is not there is a fault.
    """
    hashes = {}
    for name, spec in backends.items():
        table = section.entries[name] if isinstance(section, Table) else None
        for key in _files(spec):
            named = table.scalar(key) if isinstance(table, Table) else None
            if named is None or not isinstance(named.value, str):
                continue
            try:
                hashes[f"backends.{name}.{key}"] = sha256_of(Path(folder, named.value))
            except (OSError, ValueError) as error:
                problems.append(faults.missing_file(named.span, named.value, folder, why_missing(error)))

    return hashes


def _files(spec: AnyBackendSpec) -> tuple[str, ...]:
    match spec:
        case RecordedSpec():
            return ("data", "tokenizer")
        case LocalSpec():
            return ("model", "tokenizer")
        case _:
            return ("tokenizer",)


def sha256_of(path: Path) -> str:
    """
    Return the SHA-256 of the plain file at *path*.
    """
    # A pipe or a device would never end.
    if path.exists() and not path.is_file():
        raise IsADirectoryError
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def why_missing(error: Exception) -> str:
    """
    Say what *error* says of a file that a graph names.
    """
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return "is not there"
        case IsADirectoryError():
            return "is no plain file"
        case OSError():
            return f"cannot be read ({error.strerror})"
        case _:
            return "has a name that no file can have"
