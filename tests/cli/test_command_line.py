"""
Command lines that cannot be taken: each is told the option, what it takes, and what it was given.
"""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("check", "GRAPH is missing (`meshwalk check --help` says more)"),
        ("decide g.yaml", "PROMPT is missing (`meshwalk decide --help` says more)"),
        ("traces show --traces t", "TRAVERSAL_ID is missing (`meshwalk traces show --help` says more)"),
        ("route g.yaml hi --deadline", "--deadline takes a value, and none stands behind it"),
        ("route g.yaml hi --max-cost-usd x", "--max-cost-usd takes a number, and 'x' is none"),
        ("traces list --traces t --outcome x", "--outcome takes one of answered, refused, failed, cancelled, and 'x' is none"),
        ("traces list", "name the folder that traces are kept in with --traces"),
        ("traces list --traces t --traces u", "--traces is given twice, and takes one value"),
        ("train-classifier x", "--output is missing, and must be given"),
        ("draw g.yaml a b", "there is no place for 'a' 'b'"),
        ("check --json=5 x", "--json takes true or false, and '5' is none"),
        ("route --target= hi", "--target takes a server's HOST:PORT, and '' is none"),
        ("route g.yaml --messages []", "--messages takes the path of a JSON file, and not JSON itself"),
        ("route g.yaml hi --deadline 0s", "--deadline is 0s, which is no time at all"),
        ("traces list --traces nowhere", "there are no traces in 'nowhere': there is no such folder"),
        ("check --nope x", "there is no option --nope"),
    ],
)
def test_says_what_is_wrong(words: str, expected: str, run: Run) -> None:
    """
    The sentence names the parameter by the word that is typed, and asks for what it takes.
    """
    done = run(*words.split())

    assert (2, "") == (done.code, done.out)
    assert f"error: {expected}" in done.err
    assert "requires an argument" not in done.err
