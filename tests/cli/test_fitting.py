"""
Commands in terminals of 80, 100 and 120 columns: no line is too wide, and no word, id or number is cut.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.cli.fitting import fit_lines
from tests.cli.conftest import Run
from tests.cli.test_budget import spend
from tests.support.files import ROOT, Golden


WIDTHS = (80, 100, 120)
FOLDER = Path(__file__).with_name("widths")

# Commands that print the same in each run; GRAPHS are those that ship.
STEADY = {
    "check-faulty": "check HERE/faulty.yaml",
    "decide": "decide GRAPHS/quickstart.yaml 'Where is my order?'",
    "decide-signals": "decide GRAPHS/specialists.yaml hello --signals",
    "diff": "diff GRAPHS/quickstart.yaml GRAPHS/quickstart-openai.yaml",
    "test": "test GRAPHS/quickstart.yaml",
}
# Commands over what is stored, with ids and times of their own, and the one that says most of a graph.
STORED = [
    "check GRAPHS/specialists.yaml GRAPHS/gsm8k-agreement.yaml",
    "traces list --traces TRACES",
    "traces list --traces TRACES --limit 1",
    "traces show last --traces TRACES",
    "replay --traces TRACES",
    "budget show --vault sqlite:VAULT",
    "budget show --vault sqlite:VAULT --session s-1",
]

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_RULE = re.compile("[─ ]+")


def words_of(command: str, **places: Path) -> list[str]:
    """
    Split *command*, and put *places* in for their names.
    """
    words = [quoted or plain for quoted, plain in re.findall(r"'([^']*)'|(\S+)", command)]
    for name, path in places.items():
        words = [word.replace(name, str(path)) for word in words]

    return words


def in_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, width: int, words: list[str]) -> str:
    """
    Run a command as in a terminal of *width*, and return what it prints, without styles and blanks at the ends of lines.
    """
    with monkeypatch.context() as patched:
        patched.setenv("TTY_COMPATIBLE", "1")
        patched.setenv("COLUMNS", str(width))
        patched.setenv("TERM", "dumb")
        done = run(*words)

    return "".join(f"{line.rstrip()}\n" for line in _STYLE.sub("", done.out).splitlines())


def assert_whole(shown: str, piped: str, width: int) -> None:
    """
    Assert that no line is wider than the terminal, and each word is one of those that a pipe is given.
    """
    whole = set(re.split(r"[\s(]+", piped)) | {"…"}
    headings = {f"{heading}:" for line in piped.splitlines() for heading in line.split("\t")}
    labels = {word for heading in headings for word in heading.split()}
    words = {word for line in shown.splitlines() if not _RULE.fullmatch(line) for word in re.split(r"[\s(]+", line)}

    assert [] == [line for line in shown.splitlines() if len(line) > width]
    # Of an id, a list in a terminal shows a beginning.
    ids = {word for word in whole if re.fullmatch("[0-9a-f]{32}", word)}
    assert [] == sorted(
        word for word in words - whole - labels if not any(id.startswith(word) for id in ids if len(word) >= 16)
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", STEADY)
def test_steady_commands(name: str, width: int, run: Run, monkeypatch: pytest.MonkeyPatch, golden: Golden) -> None:
    """
    What a command prints at each width is what its golden file says, and every word of it is whole.
    """
    monkeypatch.chdir(ROOT)
    words = words_of(STEADY[name], GRAPHS=Path("graphs"), HERE=Path("tests/cli"))
    shown = in_a_terminal(run, monkeypatch, width, words)

    golden(FOLDER / f"{name}-{width}.txt", shown)
    assert_whole(shown, run(*words).out, width)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", STORED)
def test_commands_over_stored_walks(
    command: str, width: int, run: Run, traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Ids, costs and names are whole at each width.
    """
    vault = tmp_path / "vault.sqlite"
    spend(f"sqlite:{vault}", ("intake > small", 1_500), ("intake > small > large", 2_500), ("intake > small", -1))
    words = words_of(command, TRACES=traces, VAULT=vault, GRAPHS=ROOT / "graphs")

    assert_whole(in_a_terminal(run, monkeypatch, width, words), run(*words).out, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_walk_fits(width: int, run: Run, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The hops of a walk that failed fit, with the error on lines of its own.
    """
    shown = in_a_terminal(run, monkeypatch, width, ["route", str(desk), "hello", "--set", "correctness=strict"])

    assert [] == [line for line in shown.splitlines() if len(line) > width]
    assert "    error: " in shown


def test_a_pipe_gets_cells_between_tabs(run: Run, desk: Path, traces: Path) -> None:
    """
    Outside a terminal nothing is filled up with blanks: a row is a line, and tabs part its cells.
    """
    listed = run("traces", "list", "--traces", traces).out.splitlines()
    walked = run("route", desk, "hello").out

    assert "traversal\tbegan\tgraph\toutcome\tpath\tUSD\tms" == listed[1]
    assert [7] * 3 == [len(line.split("\t")) for line in listed[2:5]]
    assert "  " not in walked


QUOTED = [
    "g.yaml:7:30: there is no backend 's' [unknown-backend]",
    "    7 |   a: {role: answer, backend: s, prompt: 'a long text that goes on and on', temperature: 0.2, next: done}",
    "      |                              ^",
    "      help: there are: large",
]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("column", [4, 20, 40, 70, 95])
def test_marks_stay_under_what_they_mark(width: int, column: int) -> None:
    """
    Of a quoted line that is too long, the part with the marks is shown, and they point at the same word.
    """
    text = QUOTED[1].partition("| ")[2]
    column = text.rfind(" ", 0, column + 1) + 1
    word = text[column:].split()[0]
    marks = f"      | {' ' * column}{'^' * len(word)}"
    line, below = list(fit_lines("\n".join((QUOTED[1], marks)), width))

    assert word == line[below.index("^") : below.rindex("^") + 1], f"{line}\n{below}"
    assert max(len(line), len(below)) <= width


@given(st.lists(st.text("abc=/>.-", min_size=1, max_size=30), max_size=20), st.integers(40, 120), st.integers(0, 8))
def test_wrapping_keeps_words(words: list[str], width: int, indent: int) -> None:
    """
    A wrapped line has the same words, in order and whole, and its further lines stand to the right.
    """
    lines = list(fit_lines(" " * indent + " ".join(words), width))

    assert words == " ".join(lines).split()
    assert all(line.startswith(" " * (indent + 4)) for line in lines[1:])
    assert max(map(len, lines)) <= width
