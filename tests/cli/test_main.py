"""
The command line as a whole: help, versions, exit codes, and errors that are sentences.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from meshwalk.model.problems import ProtocolError
from tests.cli.conftest import Run


COMMANDS = ("check", "test", "draw", "diff", "schema", "serve", "route", "evaluate", "traces", "replay")

# Each of these takes longer to import than the help to print.
HEAVY = ("meshwalk.model", "aiohttp", "anyio", "cel_expr_python", "grpc", "opentelemetry", "pydantic", "sqlite3", "yaml")


def test_help_names_every_command(run: Run) -> None:
    """
    `--help` lists the commands, and so does no command at all.
    """
    shown = run("--help")

    assert 0 == shown.code
    assert [] == [command for command in COMMANDS if command not in shown.out]
    assert shown == run()


@pytest.mark.parametrize("command", [*COMMANDS, "traces list", "traces show", "traces export"])
def test_every_command_has_help_and_json(run: Run, command: str) -> None:
    """
    Each command explains itself, and prints JSON if asked.
    """
    shown = run(*command.split(), "--help")

    assert (0, "") == (shown.code, shown.err)
    assert "traces" == command or "--json" in shown.out


@pytest.mark.parametrize(
    ("command", "option", "default"),
    [
        ("serve", "--listen", "127.0.0.1:50051"),
        ("serve", "--grace", "30s"),
        ("serve", "--workers", "1"),
        ("traces list", "--limit", "50"),
    ],
)
def test_help_shows_defaults(run: Run, command: str, option: str, default: str) -> None:
    """
    A default that is a value stands in the help; an empty one does not.
    """
    # A default may be broken over two lines of the frame, as wide as the library's version makes it.
    shown = " ".join(run(*command.split(), "--help").out.replace("│", " ").split())

    assert option in shown
    assert f"[default: {default}]" in shown
    assert "[default: ]" not in shown
    assert "[default: False]" not in shown


def test_version(run: Run) -> None:
    """
    `--version` is the package's.
    """
    assert (0, version("meshwalk") + "\n", "") == run("--version")


@pytest.mark.process
def test_help_is_quick() -> None:
    """
    Nothing heavy is imported to print help.
    """
    code = f"import sys; from meshwalk.cli import main; main(['--help']); print([h for h in {HEAVY} if h in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("frobnicate",), "frobnicate"),
        (("check",), "GRAPH"),
        (("check", "x.yaml", "--jsn"), "--json"),
        (("draw", "x.yaml", "--format", "png"), "png"),
        (("evaluate", "x.yaml"), "outcomes file"),
        (("traces", "list"), "name the folder that traces are kept in with --traces (`meshwalk traces list --help` says more)"),
        (("check", "x.yaml", "--jsn"), "(`meshwalk check --help` says more)"),
        (("evaluate", "x.yaml", "y.jsonl", "--limit", "0"), "--limit takes a whole number from 1 to"),
        (("traces", "list", "--traces", "t", "--limit", "9" * 23), f"and '{'9' * 23}' is none"),
        (("traces", "list", "--traces", "t", "--limit", "1.5"), "and '1.5' is none"),
        (("traces", "list", "--traces", "t", "--limit", "9" * 5000), "9…' is none"),
        (("traces", "list", "--traces", ""), "--traces takes a folder, and '' names none"),
        (("evaluate", "x.yaml", "y.jsonl", "--traces", ""), "--traces takes a folder, and '' names none"),
        (("serve", "x.yaml", "--data", "nowhere.jsonl"), "--data takes a file, and there is none called 'nowhere.jsonl'"),
    ],
)
def test_wrong_use_is_2(run: Run, words: tuple[str, ...], said: str) -> None:
    """
    A command line that cannot be taken ends with 2, and one line on stderr that names what is wrong.
    """
    ran = run(*words)

    assert (2, "") == (ran.code, ran.out)
    assert ran.err.startswith("error: ")
    assert 1 == ran.err.count("\n")
    assert said in ran.err


def test_errors_are_json_too(run: Run) -> None:
    """
    With `--json` stdout holds one document even if nothing came of the command.
    """
    ran = run("draw", "nowhere.yaml", "--json")

    assert 2 == ran.code
    assert {"kind": "SetupError", "message": ran.err.removeprefix("error: ").strip()} == ran.json["error"]


def test_a_faulty_graph_is_rendered_on_stderr(run: Run) -> None:
    """
    A command that needs a sound graph prints the faults of another as `check` does, where they do not mix with results.
    """
    faulty = Path(__file__).parent / "faulty.yaml"
    ran = run("route", faulty, "hello", "--json")

    assert 2 == ran.code
    assert "\n    4 | owner: nobody\n      | ^^^^^\n" in ran.err
    assert 10 <= len(ran.json["error"]["problems"])


def test_a_fault_of_ours_is_not_hidden(run: Run, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is no user's fault keeps its traceback.
    """

    def broken(_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("meshwalk.draw.mermaid", broken)

    with pytest.raises(ZeroDivisionError):
        run("draw", desk)


def test_an_error_of_any_kind_is_a_sentence(run: Run, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Every child of MeshwalkError is reported, whichever room it comes from.
    """

    def broken(_: object) -> str:
        raise ProtocolError("not now", "over")

    monkeypatch.setattr("meshwalk.draw.mermaid", broken)

    assert (2, "", "error: not now\n") == run("draw", desk)


def test_ctrl_c_leaves_no_traceback(run: Run, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who interrupts a command gets the shell's usual code and no more.
    """

    def interrupted(_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("meshwalk.draw.mermaid", interrupted)

    assert (130, "", "") == run("draw", desk)


@pytest.mark.process
def test_module_runs_as_a_program(desk: Path) -> None:
    """
    `python -m meshwalk` is the command, and its exit code the process's.
    """
    command = [sys.executable, "-m", "meshwalk"]
    good = subprocess.run([*command, "check", desk], capture_output=True, text=True, check=False)
    bad = subprocess.run([*command, "check", "nowhere.yaml"], capture_output=True, text=True, check=False)

    assert (0, "") == (good.returncode, good.stderr)
    assert (2, "") == (bad.returncode, bad.stdout)
    assert "Traceback" not in bad.stderr


@pytest.mark.process
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full on this system")
@pytest.mark.parametrize("words", [("--help",), ("schema",), ("traces", "list", "--traces", "{traces}")])
def test_a_full_disk_behind_stdout(traces: Path, words: tuple[str, ...]) -> None:
    """
    What cannot be printed is said in a sentence.
    """
    command = [sys.executable, "-m", "meshwalk", *(word.format(traces=traces) for word in words)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert (2, "error: stdout cannot be written: No space left on device\n") == (done.returncode, done.stderr)


@pytest.mark.process
def test_a_reader_that_has_enough(traces: Path) -> None:
    """
    A pipe that is closed early ends the command without a word.
    """
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "meshwalk", "traces", "export", "--traces", str(traces)]
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)

    assert (141, "") == (done.returncode, done.stderr)
