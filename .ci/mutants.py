"""
Run the mutants of `[tool.mutmut]` for a bounded time, and print the survivors that nobody has accepted.

    python .ci/mutants.py --minutes 20 'meshwalk.engine.charge*'

Accepted survivors stand in tests/mutants.toml, by function and changed line, each with its reason.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path


ACCEPTED = Path("tests/mutants.toml")
MUTMUT = Path(sys.executable).with_name("mutmut")


def told(*words: str) -> str:
    """
    Return the output of a command of mutmut.
    """
    return subprocess.run([MUTMUT, *words], capture_output=True, text=True, check=True).stdout


def changed(mutant: str) -> str:
    """
    Return the line that *mutant* puts in the place of another.
    """
    lines = told("show", mutant).splitlines()

    return next((line[1:].strip() for line in lines if line.startswith("+") and not line.startswith("+++")), "")


def main() -> int:
    """
    Return 1 if a mutant survives that is not accepted.
    """
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=20)
    arguments.add_argument("--children", type=int, default=2)
    arguments.add_argument("mutants", nargs="*", help="patterns of mutants; without any all of them")
    options = arguments.parse_args()
    try:
        subprocess.run(
            [MUTMUT, "run", "--max-children", str(options.children), *options.mutants], timeout=options.minutes * 60, check=True
        )
    except subprocess.TimeoutExpired:
        print(f"stopped after {options.minutes:g} minutes; what was not reached is not counted")

    accepted = {(row["function"], row["line"]) for row in tomllib.loads(ACCEPTED.read_text(encoding="utf-8"))["accepted"]}
    results = dict(line.strip().split(": ") for line in told("results", "--all", "true").splitlines() if ": " in line)
    survivors = [mutant for mutant, result in results.items() if result == "survived"]
    open_ones = [
        (mutant, line) for mutant in survivors if (mutant.partition("__mutmut_")[0], line := changed(mutant)) not in accepted
    ]
    counts = Counter(results.values())
    print(", ".join(f"{count} {result}" for result, count in counts.most_common()))
    for mutant, line in open_ones:
        print(f"{mutant}: {line}")
    print(f"{len(survivors)} survive, {len(survivors) - len(open_ones)} of them accepted")

    return bool(open_ones)


if __name__ == "__main__":
    sys.exit(main())
