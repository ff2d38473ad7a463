"""
Run the quick tests on every supported Python that is here, with the newest and with the lowest dependencies.

    make matrix                        # every Python with the newest, the lowest Python with the lowest
    make matrix ARGS="3.13:newest"     # what is named, and nothing else

A Python that is not here is skipped by name.  The newest dependencies are what resolves today, whatever the pins say; the
lowest are the lower bounds of pyproject.toml, and the newest test tools that agree with them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = [
    row.rpartition(" :: ")[2] for row in PROJECT["classifiers"] if row.startswith("Programming Language :: Python :: 3.")
]
EXTRAS = [word for extra in PROJECT["optional-dependencies"] for word in ("--extra", extra)]

# Benchmarks and what a whole run alone shows are not what differs between Pythons.
TESTS = ("-p", "no:benchmark", "-m", "not (slow or process or redis)", "-n", "2", "--dist", "load", "-q", "tests")


class Run(NamedTuple):
    """
    One cell of the matrix: a Python, and which dependencies.
    """

    python: str
    dependencies: str

    def __str__(self) -> str:
        return f"{self.python}:{self.dependencies}"


def main() -> None:
    """
    Run what the command line names, print a row for each, and exit with 1 if one failed.
    """
    parser = argparse.ArgumentParser(description="Run the quick tests on several Pythons.")
    parser.add_argument("runs", nargs="*", help="such as 3.12 (the newest dependencies) or 3.11:lowest; default: all")
    parser.add_argument("--uv", required=True, help="path of uv, which resolves and installs")
    arguments = parser.parse_args()
    runs = [_named(text) for text in arguments.runs] or [*(Run(p, "newest") for p in PYTHONS), Run(PYTHONS[0], "lowest")]
    rows = [_row(run, str(Path(arguments.uv).absolute())) for run in runs]
    print("\n== matrix")
    for row in rows:
        print("  ".join(row))
    sys.exit(any(row[1] == "failed" for row in rows))


def _named(text: str) -> Run:
    python, _, dependencies = text.partition(":")
    if python not in PYTHONS or dependencies not in {"", "newest", "lowest"}:
        sys.exit(f"'{text}' names no run; write one of {', '.join(PYTHONS)}, then ':newest' or ':lowest' if you like")

    return Run(python, dependencies or "newest")


def _row(run: Run, uv: str) -> tuple[str, str, str]:
    print(f"\n== {run}", flush=True)
    interpreter = next(_interpreters(run.python), None)
    if interpreter is None:
        return f"{run!s:<12}", "skipped", f"no Python {run.python} on the PATH or in pyenv"

    began = time.monotonic()
    try:
        python = _environment(run, interpreter, uv)
        _run(str(python), "-m", "pytest", *TESTS)
    except subprocess.CalledProcessError as error:
        return f"{run!s:<12}", "failed", f"{' '.join(map(str, error.cmd))[:120]} ended with {error.returncode}"

    return f"{run!s:<12}", "passed", f"{time.monotonic() - began:.0f} s"


def _interpreters(version: str) -> Iterator[str]:
    """
    Yield interpreters of *version* that work: from the PATH first, then pyenv's.
    """
    candidates = [f"python{version}"]
    if pyenv := shutil.which("pyenv"):
        prefix = subprocess.run([pyenv, "prefix", version], capture_output=True, text=True, check=False)
        candidates += [f"{prefix.stdout.strip()}/bin/python"] if prefix.returncode == 0 else []
    # A shim of pyenv is on the PATH for versions that are not chosen, too, and fails.
    code = f"import ensurepip, sys, venv; sys.exit(not sys.version.startswith('{version}.'))"
    for path in filter(None, map(shutil.which, candidates)):
        if subprocess.run([path, "-c", code], capture_output=True, check=False).returncode == 0:
            yield path


def _environment(run: Run, interpreter: str, uv: str) -> Path:
    """
    Make the environment of *run* anew and return its interpreter.
    """
    folder = ROOT / ".venvs" / f"matrix-{run.python}-{run.dependencies}"
    python = folder / "bin" / "python"
    _run(uv, "venv", "--quiet", "--clear", "--no-config", "--python", interpreter, str(folder))
    bounds = folder / "requirements.txt"
    resolution = {"newest": "highest", "lowest": "lowest-direct"}[run.dependencies]
    _run(
        uv, "pip", "compile", "pyproject.toml", "--quiet", "--no-config", "--no-header", "--python", str(python),
        *EXTRAS, "--resolution", resolution, "--output-file", str(bounds),
    )  # fmt: skip
    install = (uv, "pip", "install", "--quiet", "--no-config", "--python", str(python))
    _run(*install, "--requirements", str(bounds))
    _run(*install, "--constraints", str(bounds), "--group", "dev", "--group", "build")
    _run(*install, "--no-deps", "--requirements", "constraints/model.txt")
    _run(*install, "--no-deps", "--no-build-isolation", "--editable", ".")

    return python


def _run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
