"""
The JSON Schema says to an editor what the loader says to an author.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from meshwalk.loader import read_graph
from meshwalk.loader.parts.fit import Part, fit
from meshwalk.loader.schema.backends import BACKEND_SHAPES
from meshwalk.loader.schema.edges import EdgeShape, ErrorEdgeShape
from meshwalk.loader.schema.export import cases_schema, json_schema
from meshwalk.loader.schema.graph import NODE_SHAPES, USE_SHAPES, AttributeShape, HeaderShape, ThresholdShape
from meshwalk.loader.schema.shape import Shape
from meshwalk.loader.yaml.document import Scalar, Series, Table, plain, read_document
from meshwalk.model.problems import Problem, Span
from tests.support.files import shipped


ROOT = Path(__file__).resolve().parents[3]
SOUND = [*shipped(ROOT / "graphs"), *(ROOT / "tests" / "graphs" / "good").glob("*.yaml")]
SCHEMA = json_schema()
# A folder with ajv in its node_modules, where somebody has one.
BAD = ROOT / "tests" / "graphs" / "bad"

# What a shape says of one key; what needs two values, a file or a look into a text is the loader's alone.
IN_SHAPE = [
    *(
        "attribute-of-unknown-type",
        "class-on-next-edge",
        "classifier-of-unknown-use",
    ),
    *(
        "confidence-of-unknown-source",
        "duration-of-two-units",
        "duration-without-unit",
        "edge-without-to",
    ),
    *(
        "empty-values",
        "error-class-unknown",
        "failure-of-unknown-class",
        "function-without-colon",
    ),
    *(
        "guard-on-error-edge",
        "guard-starts-with-exclamation",
        "guard-that-is-true",
        "hops-of-zero",
    ),
    *(
        "budget-key-misspelt",
        "budget-of-no-calls",
        "budget-of-nothing",
        "budget-of-one-request",
        "budget-of-tenant-required",
        "budget-of-too-much-money",
        "budget-of-unknown-scope",
    ),
    *(
        "budget-pressure-from-the-end",
        "budget-scope-misspelt",
        "budget-that-is-a-number",
        "budget-window-without-unit",
        "budget-with-unknown-policy",
        "budgets-as-a-list",
        "limits-of-no-calls",
    ),
    *(
        "indent-of-node-keys",
        "indent-of-nodes",
        "key-misspelt",
        "key-of-another-kind",
        "key-of-another-role",
    ),
    *(
        "key-without-value",
        "kind-missing",
        "kind-unknown",
        "limit-misspelt",
        "max-tokens-of-words",
    ),
    *(
        "model-missing",
        "money-with-currency",
        "name-with-space",
        "next-missing",
        "node-named-by-keyword",
    ),
    *(
        "node-with-hyphen",
        "null-for-default",
        "prescreen-without-pattern",
        "price-without-output",
    ),
    *(
        "redact-without-function",
        "retries-negative",
        "role-missing",
        "role-unknown",
        "sampling-unknown",
    ),
    *(
        "secret-as-key",
        "secret-for-variable",
        "section-is-a-list",
        "section-misspelt",
        "sixty-based-number",
    ),
    *(
        "stop-of-nothing",
        "temperature-too-high",
        "threshold-in-quotes",
        "underscore-in-number",
        "verifier-of-one",
    ),
    *(
        "endpoints-of-a-pretended-model",
        "endpoints-of-nothing",
        "sticky-by-tenant",
        "traffic",
        "traffic-misspelt",
    ),
    *(
        "verifier-of-unknown-extract",
        "version-unknown",
        "yes-for-true",
    ),
]
CASES = sorted((ROOT / "graphs").glob("*.cases.yaml"))
CASES_SCHEMA = cases_schema()
# A name means the same in both.
DEFINITIONS = SCHEMA["$defs"] | CASES_SCHEMA["$defs"]

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


class Fault(NamedTuple):
    """
    Say where a value does not fit the schema, by the keys that lead there.
    """

    path: tuple[str | int, ...]
    why: str


def faults(schema: dict[str, Any], value: Any, path: tuple[str | int, ...] = ()) -> Iterator[Fault]:
    """
    Check *value* against the part of JSON Schema that our own schema uses.
    """
    if "$ref" in schema:
        yield from faults(DEFINITIONS[schema["$ref"].rpartition("/")[2]], value, path)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            yield from _among(schema, word, value, path)
    if "type" in schema and not _is(schema["type"], value):
        yield Fault(path, f"{value!r} is no {schema['type']}")
        return
    chosen = (choice["then"] for choice in schema.get("allOf", ()) if not list(faults(choice["if"], value, path)))
    yield from (fault for shape in chosen for fault in faults(shape, value, path))
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        yield Fault(path, f"{value!r} is none of those")
    if isinstance(value, str) and (len(value) < schema.get("minLength", 0) or not re.search(schema.get("pattern", ""), value)):
        yield Fault(path, f"{value!r} has another form")
    if isinstance(value, int | float) and value >= schema.get("exclusiveMaximum", float("inf")):
        yield Fault(path, f"{value!r} is out of range")
    if isinstance(value, int | float) and value <= schema.get("exclusiveMinimum", float("-inf")):
        yield Fault(path, f"{value!r} is out of range")
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield Fault(path, f"{value!r} is out of range")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield Fault(path, f"{len(value)} items")
        for position, item in enumerate(value):
            yield from faults(schema.get("items", {}), item, (*path, position))
    if isinstance(value, dict):
        yield from _in_object(schema, value, path)


def _among(schema: dict[str, Any], word: str, value: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
    found = [list(faults(option, value, path)) for option in schema[word]]
    fitting = found.count([])
    if not fitting:
        # The option that the value comes furthest with is the one that was meant.
        yield from max(found, key=lambda those: max(len(fault.path) for fault in those))
    elif word == "oneOf" and fitting > 1:
        yield Fault(path, f"{value!r} fits {fitting} of {word}")


def _is(kinds: str | list[str], value: Any) -> bool:
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind == "integer" and isinstance(value, int | float) and value == int(value):
            return True
        if kind != "integer" and isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)):
            return True

    return False


def _in_object(schema: dict[str, Any], value: dict[str, Any], path: tuple[str | int, ...]) -> Iterator[Fault]:
    yield from (Fault(path, f"no {key}") for key in schema.get("required", ()) if key not in value)
    for key, inner in value.items():
        patterns = [part for pattern, part in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
        if key in schema.get("properties", {}):
            patterns.append(schema["properties"][key])
        if not patterns and schema.get("additionalProperties") is False:
            yield Fault((*path, key), "unknown")
        for part in patterns:
            yield from faults(part, inner, (*path, key))


def paths(part: Table | Series | Scalar, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Span, tuple[str | int, ...]]]:
    """
    List the places of a document's keys and values, with the keys that lead there; a value comes before the key it has.
    """
    yield part.span, path
    if isinstance(part, Table):
        for key, inner in part.entries.items():
            yield from paths(inner, (*path, key))
            yield part.key_spans[key], (*path, key)
    if isinstance(part, Series):
        for position, inner in enumerate(part.items):
            yield from paths(inner, (*path, position))


class TestSchema:
    @pytest.mark.parametrize("path", SOUND, ids=lambda path: path.stem)
    def test_sound_graphs_fit(self, path: Path) -> None:
        """
        Every graph that ships fits the schema.
        """
        assert [] == list(faults(SCHEMA, plain(read_document(path.read_bytes(), str(path)).root)))

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("meshwalk: 1", "meshwalk: 2"),
            ("start: intake", "strat: intake"),
            ("role: classifier", "role: wizard"),
            ("retries: 2", "retries: 99"),
            ("deadline: 4s", "deadline: 4"),
            ("backend: small", "backend: 5"),
            ("kind: local", "kind: lokal"),
            ("  spare:", "  while:"),
            ("class: timeout", "class: late"),
            ("range: [0, 1]", "range: [0]"),
        ],
    )
    def test_faulty_graphs_do_not(self, old: str, new: str) -> None:
        """
        What the loader refuses for its shape, the schema refuses too.
        """
        text = SOUND[-1].read_text(encoding="utf-8")
        assert old in text
        changed = text.replace(old, new).encode()

        assert read_graph(changed, file="g.yaml").problems
        assert list(faults(SCHEMA, plain(read_document(changed, "g.yaml").root)))

    @pytest.mark.parametrize("name", IN_SHAPE)
    def test_faults_lie_where_the_loader_finds_them(self, name: str) -> None:
        """
        Where a graph's shape is at fault, the schema fails at the very keys that the loader points at.
        """
        text = (BAD / f"{name}.yaml").read_bytes()
        root = read_document(text, "g.yaml").root
        keys = dict(paths(root))
        refused = {keys[problem.span] for problem in read_graph(text, file="g.yaml").problems}

        assert refused
        assert refused == {fault.path for fault in faults(SCHEMA, plain(root))}

    def test_every_key_is_described(self) -> None:
        """
        An editor can say what each key is for; only the words that name a shape speak for themselves.
        """
        bare = [
            f"{name}.{key}"
            for name, shape in SCHEMA["$defs"].items()
            for key, value in shape["properties"].items()
            if "description" not in value and "$ref" not in value and key not in {"role", "kind"}
        ]

        assert [] == bare

    def test_nothing_is_never_offered(self) -> None:
        """
        A key is left out or has a value; the schema offers no null.
        """
        assert "null" not in json.dumps(SCHEMA).replace("|null|", "")

    def test_it_is_json(self) -> None:
        """
        The schema survives a trip through JSON.
        """
        assert SCHEMA == json.loads(json.dumps(SCHEMA))


class TestStandIns:
    @pytest.mark.parametrize(
        "shape",
        [
            *NODE_SHAPES.values(),
            *(shape for uses in USE_SHAPES.values() for shape in uses.values()),
            *BACKEND_SHAPES.values(),
            HeaderShape,
            AttributeShape,
            ThresholdShape,
            EdgeShape,
            ErrorEdgeShape,
        ],
    )
    def test_every_required_key_has_one(self, shape: type[Shape]) -> None:
        """
        A part without any key is still fitted, with one fault for each key it needs.
        """
        span = Span("g.yaml", 1, 1)
        given = {key: word for key, word in (("role", _word(shape)), ("kind", _word(shape))) if key in shape.known_keys()}
        table = Table(span)
        problems: list[Problem] = []
        for key, word in given.items():
            table.entries |= read_document(f"{key}: {word}".encode(), "g.yaml").root.entries  # type: ignore[union-attr]
            table.key_spans[key] = span
        fitted = fit(shape, Part(table, "it", span), problems)
        required = {field.alias or name for name, field in shape.model_fields.items() if field.is_required()}

        assert required - set(given) == fitted.lost
        assert len(fitted.lost) == len(problems)


def _word(shape: type[Shape]) -> str:
    named = [*NODE_SHAPES.items(), *BACKEND_SHAPES.items()]
    named += [(role, other) for role, uses in USE_SHAPES.items() for other in uses.values()]

    return next((name for name, other in named if other is shape), "")


class TestCasesSchema:
    @pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
    def test_sound_cases_fit(self, path: Path) -> None:
        """
        The cases of every graph that ships fit the schema.
        """
        assert [] == list(faults(CASES_SCHEMA, plain(read_document(path.read_bytes(), str(path)).root)))

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("cases:", "case:"),
            ("name: a confident", "nmae: a confident"),
            ("messages: What", "message: What"),
            ("outcome: answered", "outcome: anwsered"),
            ("confidence: 0.9", "confidence: 9"),
            ("error: malformed", "error: budget"),
            ("path: [intake, screen, done]", "path: intake"),
            ("cost_usd_at_most: 0", "cost_usd_at_most: cheap"),
        ],
    )
    def test_faulty_cases_do_not(self, old: str, new: str) -> None:
        """
        What the loader refuses for its shape, the schema refuses too.
        """
        text = re.sub(r"(?m)^ *#.*$", "", (ROOT / "graphs" / "quickstart.cases.yaml").read_text(encoding="utf-8"))

        assert old in text
        assert list(faults(CASES_SCHEMA, plain(read_document(text.replace(old, new, 1).encode(), "x.yaml").root)))

    def test_names_mean_the_same(self) -> None:
        """
        A caller in a case may limit what a graph limits, in the same words, but has no say on pressure.
        """
        graph, case = (SCHEMA["$defs"]["WalkLimitsShape"], CASES_SCHEMA["$defs"]["LimitsShape"])

        assert {"pressure_from"} == graph["properties"].keys() - case["properties"].keys()
        assert all(graph["properties"][name] == taken for name, taken in case["properties"].items())


@pytest.mark.parametrize(
    ("slip", "path"),
    [
        ({"nodes": {"a": {"role": "answer", "backend": "b", "next": "done", "max_tokns": 3}}}, ("nodes", "a", "max_tokns")),
        ({"backends": {"b": {"kind": "openai", "modle": "m", "model": "m"}}}, ("backends", "b", "modle")),
        ({"nodes": {"a": {"role": "wizard", "backend": "b", "next": "done"}}}, ("nodes", "a", "role")),
    ],
)
def test_one_slip_is_one_fault(slip: dict[str, Any], path: tuple[str, ...]) -> None:
    """
    A node is held to the shape of its role alone, and a backend to that of its kind, by words that validators know.
    """
    graph = {
        "meshwalk": 1,
        "name": "g",
        "start": "a",
        "backends": {"b": {"kind": "simulated"}},
        "nodes": {"a": {"role": "answer", "backend": "b", "next": "done"}},
    }

    assert [] == list(faults(SCHEMA, graph, ()))
    assert [path] == [fault.path for fault in faults(SCHEMA, graph | slip, ())]
    assert "discriminator" not in json.dumps(SCHEMA)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_ajv_says_so(tmp_path: Path) -> None:
    """
    The validator that most editors use finds one key at fault for one slip.
    """
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not on the PATH")
    options = ("--silent", "--no-audit", "--no-fund", "--prefix", str(tmp_path))
    subprocess.run([npm, "install", *options, "ajv@8"], check=True, capture_output=True, timeout=150)
    script = """
        const Ajv = require(process.argv[1] + "/node_modules/ajv/dist/2020");
        const [schema, graph] = JSON.parse(require("fs").readFileSync(0));
        const validate = new Ajv({allErrors: true, strict: false}).compile(schema);
        validate(graph);
        console.log(JSON.stringify((validate.errors || []).filter(error => error.keyword !== "if")));
    """
    node = {"role": "answer", "backend": "b", "next": "done", "max_tokns": 3}
    graph = {"meshwalk": 1, "name": "g", "start": "a", "backends": {"b": {"kind": "simulated"}}, "nodes": {"a": node}}
    done = subprocess.run(
        ["node", "-e", script, str(tmp_path)],
        input=json.dumps([SCHEMA, graph]),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    assert ["/nodes/a"] == [error["instancePath"] for error in json.loads(done.stdout)]
