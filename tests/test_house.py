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
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import meshwalk


ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "meshwalk"
STUBS = SRC / "wire" / "gen"

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["meshwalk"]["structure"]

# What each room (a folder or file right below `meshwalk`) may import, lowest room first: a row names only rows above its own.
ROOMS: Mapping[str, list[str]] = SETTINGS["rooms"]

# Which modules may name which library from outside; "*" needs no door.
DOORS: Mapping[str, list[str]] = SETTINGS["doors"]

# Modules that own no clock, no network, no randomness and no environment: what they decide can be decided again.
PURE: list[str] = SETTINGS["pure"]
WORLD = {"anyio", "asyncio", "datetime", "os", "random", "secrets", "socket", "subprocess", "threading", "time", "uuid"}


def name_of(path: Path) -> str:
    """
    Name a module below `meshwalk`, which itself is called "meshwalk".
    """
    parts = path.relative_to(SRC).with_suffix("").parts

    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "meshwalk"


MODULES = {name_of(path): path for path in sorted(SRC.rglob("*.py")) if STUBS not in path.parents}


def within(module: str, rooms: Iterable[str]) -> bool:
    """
    Tell whether *module* is one of *rooms* or lies in one.
    """
    return any(room in ("*", module) or module.startswith(f"{room}.") for room in rooms)


@cache
def imports(module: str) -> tuple[str, ...]:
    """
    List the full names of what *module* imports, wherever in the file it does so.
    """
    names: list[str] = []
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively; write the whole name, so that this test can read it"
            # `from meshwalk.guards import check` may name a module or something in one.
            names.extend(f"{node.module}.{alias.name}" for alias in node.names)

    return tuple(names)


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
        elif rest in MODULES:
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
    Name the room that *module* is in: the folder or file right below `meshwalk`.
    """
    return module.partition(".")[0]


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
        rows = list(ROOMS)
        upward = [(row, grant) for index, row in enumerate(rows) for grant in ROOMS[row] if grant not in rows[:index]]

        assert [] == upward

    def test_every_room_has_a_row_and_every_row_a_room(self) -> None:
        """
        The table lists what stands below `meshwalk`, and nothing else, and grants nothing that nobody uses.
        """
        used = {
            row: {room(name) for module in MODULES if room(module) == row for name in inside(module)} - {row} for row in ROOMS
        }

        assert {room(module) for module in MODULES} == set(ROOMS)
        assert used == {row: set(grants) for row, grants in ROOMS.items()}

    def test_few_entries(self) -> None:
        """
        Whoever lists `src/meshwalk` sees at most 24 entries.
        """
        assert len([path for path in SRC.iterdir() if path.name != "__pycache__"]) <= 24

    @pytest.mark.parametrize("module", MODULES)
    def test_module_keeps_to_its_grants(self, module: str) -> None:
        """
        A module imports only what the row of its room grants, and its own room.
        """
        row = room(module)

        assert row in ROOMS, f"src/meshwalk has a new room '{row}': give it a row in pyproject.toml, below all that it imports"

        strays = {name for name in inside(module) if room(name) not in (row, *ROOMS[row])}

        assert set() == strays, f"'{module}' may import {', '.join(ROOMS[row]) or 'nothing of meshwalk'}"

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
        A room that decides imports no clock, no dice, no network and no environment; a length of time is none of them.
        """
        named = {name.partition(".")[0] for name in imports(module) if name != "datetime.timedelta"}

        assert set() == WORLD.intersection(named)

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

    def test_benchmarks_import_nothing_from_tests(self) -> None:
        """
        Tests may use what benchmarks are made of, and never the other way.
        """
        importing = [
            str(path.relative_to(ROOT))
            for path in sorted((ROOT / "benchmarks").rglob("*.py"))
            if re.search(r"^\s*(from|import) (tests|conftest|support)\b", path.read_text(encoding="utf-8"), re.MULTILINE)
        ]

        assert [] == importing


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
            **{
                name: [line for line in groups[name] if isinstance(line, str)]
                for name in ("model", "dev", "stubs", "langgraph", "litellm")
            },
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
