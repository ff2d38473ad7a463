"""
The README and the pages of docs/ do what they say: their blocks are run from the repository's root, in order.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from itertools import count, pairwise
from pathlib import Path

import pytest

from meshwalk.loader import read_graph
from meshwalk.loader.parts.server import build_settings
from meshwalk.plan import compile_plan
from meshwalk.trace import FORMAT


ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = {page.name: BLOCK.findall(page.read_text(encoding="utf-8")) for page in PAGES}

# The port that the pages serve on; a test takes a free one in its place.
PORT = "50051"

# The address of a model server on a page; nothing answers there.
ENDPOINT = "127.0.0.1:8080"

# Commands print as they do in a terminal: on the front page of 80 columns, elsewhere of so many that no line is wrapped.
TERMINAL = {"TTY_COMPATIBLE": "1", "TERM": "dumb"}
COLUMNS = {"README.md": "80"}
_STYLE = re.compile(r"\x1b\[[0-9;]*m")

# Parts of an output that are not the same in every run: ids and digests, and what is measured.
_CHANGING = re.compile(r"\b[0-9a-f]{12,64}\b|-?\d+\.\d+")

# What a part of a graph needs to be one.
REST = """\
meshwalk: 1
name: rest
start: small
limits: {cost_usd: 0.5}
backends: {little: {kind: simulated, context_tokens: 8000, usd_per_mtok: {input: 0.1, output: 0.4}}}
nodes: {small: {role: answer, backend: little, max_tokens: 200, next: done}}
"""


def blocks(page: str, language: str) -> list[str]:
    return [text for kind, text in BLOCKS[page] if kind == language]


def every(language: str) -> list[object]:
    """
    List the blocks of *language* of all pages, as parameters of a test.
    """
    return [
        pytest.param(text, id=f"{page}-{number}")
        for page in BLOCKS
        for number, text in enumerate(blocks(page, language), start=1)
    ]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))

        return int(listener.getsockname()[1])


def run(*words: str, folder: Path, timeout: float = 300, columns: str = "240") -> None:
    # What a page puts into /tmp goes into the test's own folder, which is new.
    *command, text = words
    command.append(text.replace("/tmp/", f"{folder}/"))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **TERMINAL,
        "COLUMNS": columns,
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr


def shown(page: str) -> list[tuple[str, str]]:
    """
    List the commands of a page's console blocks, each with the output that the page shows.
    """
    text = "".join(blocks(page, "console"))
    starts = [*(match.start() for match in re.finditer(r"^\$ ", text, re.MULTILINE)), len(text)]
    parts = (text[start + 2 : stop].partition("\n") for start, stop in pairwise(starts))

    return [(command, output) for command, _, output in parts]


def script_of(page: str) -> str:
    """
    Put a page's shell blocks and the commands of its console blocks together, in order.
    """
    lines, numbers = [], count()
    for kind, text in BLOCKS[page]:
        if kind == "sh":
            lines.append(text)
        elif kind == "console":
            # The output says what came of it, so any exit code will do; the shell's own echo is no part of it.
            commands = (line[2:] for line in text.splitlines() if line.startswith("$ "))
            outputs = (f"{{ {command}; }} > /tmp/output-{next(numbers)} 2>&1 || true" for command in commands)
            lines += ["{ set +x; } 2> /dev/null", *outputs, "set -x"]

    return "\n".join(lines)


def plain(text: str) -> str:
    """
    Return *text* without styles, with each part that changes from run to run as a mark, and rules and gaps as one character.
    """
    text = _CHANGING.sub("#", _STYLE.sub("", text))

    return re.sub(r" +", " ", re.sub("─+", "─", "".join(f"{line.rstrip()}\n" for line in text.splitlines())))


def is_shown(expected: str, actual: str) -> bool:
    """
    Tell whether *actual* is what a page shows, where a line with an ellipsis stands for any lines.
    """
    lines = (".*" if line == "…" else re.escape(f"{line}\n") for line in plain(expected).splitlines())

    return re.fullmatch("".join(lines), plain(actual), re.DOTALL) is not None


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(330)
@pytest.mark.parametrize("page", [page for page in BLOCKS if blocks(page, "sh") or blocks(page, "console")])
def test_shell_blocks(page: str, tmp_path: Path) -> None:
    """
    Each line of a page's shell blocks succeeds, one after the other, and each command of a console block prints what is shown.
    """
    # A server that a block starts ends with the test, wherever that ends.
    script = "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n" + script_of(page)
    script = script.replace(PORT, str(free_port())).replace(ENDPOINT, f"127.0.0.1:{free_port()}")
    run("bash", "-xeuo", "pipefail", "-c", script, folder=tmp_path, columns=COLUMNS.get(page, "240"))
    for number, (command, expected) in enumerate(shown(page)):
        actual = (tmp_path / f"output-{number}").read_text(encoding="utf-8").replace(f"{tmp_path}/", "/tmp/")

        assert is_shown(expected, actual), f"$ {command}\n{actual}"


def test_an_output_that_differs_is_seen() -> None:
    """
    Ids and what is measured may change; a word, a count, a line and a missing line may not.
    """
    page = "Walk 01a22fc7839f took 3 hops in 12.5 ms\n…\nend\n"

    assert is_shown(page, "Walk 01a22fc7840a took 3 hops in 9.0 ms\nmore\nand more\nend\n")
    assert not is_shown(page, "Walk 01a22fc7840a took 2 hops in 9.0 ms\nmore\nend\n")
    assert not is_shown(page, "Walk 01a22fc7840a needed 3 hops in 9.0 ms\nmore\nend\n")
    assert not is_shown(page, "Walk 01a22fc7840a took 3 hops in 9.0 ms\nmore\n")


def test_the_quickstart_is_the_one_that_ships() -> None:
    """
    The first graph of the page on authoring is the file that its commands name.
    """
    assert (ROOT / "graphs" / "quickstart.yaml").read_text(encoding="utf-8") == blocks("authoring.md", "yaml")[0]


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("text", every("python"))
def test_python_block(text: str, tmp_path: Path) -> None:
    """
    Each Python block runs as a program of its own.
    """
    run(sys.executable, "-W", "error", "-c", text, folder=tmp_path)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("text", every("js"))
def test_node_block(text: str, tmp_path: Path) -> None:
    """
    Each block for Node calls a server with the packages that the page names.
    """
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not on the PATH")
    packages = ("@grpc/grpc-js@1.14", "@grpc/proto-loader@0.8")
    options = ("--silent", "--no-audit", "--no-fund", "--prefix", tmp_path)
    subprocess.run([npm, "install", *options, *packages], check=True, capture_output=True, timeout=180)
    port = str(free_port())
    (tmp_path / "call.js").write_text(text.replace(PORT, port))
    script = f"""
        trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
        meshwalk serve graphs/quickstart.yaml --listen 127.0.0.1:{port} | head -n 1 > /tmp/ready &
        until [ -s /tmp/ready ]; do sleep 0.1; done
        NODE_PATH={tmp_path}/node_modules node /tmp/call.js
    """
    run("bash", "-eu", "-c", script, folder=tmp_path, timeout=60)


@pytest.mark.parametrize("text", every("yaml"))
def test_yaml_block(text: str) -> None:
    """
    The graph that is shown compiles without a warning, and so does one with the part of a graph that is shown.

    A server's settings are read.
    """
    if "\nserver:" in f"\n{text}":
        build_settings(text.encode(), file="server.yaml", folder=str(ROOT))
        return
    text = text if "\nname:" in text else REST + text

    assert () == compile_plan(read_graph(text.encode(), file="page.md")).warnings


def test_a_shipped_graph_is_shown_as_it_is() -> None:
    """
    A block with the name of a graph in graphs/ has that file's text.
    """
    shipped = {read_graph(file.read_bytes(), file=file.name).name: file for file in (ROOT / "graphs").glob("*.yaml")}
    shown = [text for page in BLOCKS for text in blocks(page, "yaml") if "\nname:" in text]
    named = [(shipped[name], text) for text in shown if (name := re.findall(r"^name: (\S+)", text, re.MULTILINE)[0]) in shipped]

    assert named
    assert [file.read_text(encoding="utf-8") for file, _ in named] == [text for _, text in named]


def test_there_are_blocks() -> None:
    """
    The blocks are found, so that a change of fences cannot empty these tests.
    """
    counted = {kind: sum(len(blocks(page, kind)) for page in BLOCKS) for kind in ("sh", "console", "python", "yaml", "js")}

    assert {"sh": 21, "console": 3, "python": 5, "yaml": 10, "js": 1} == counted


def test_the_front_page_is_short() -> None:
    """
    The README has 10 KB at the most; the rest stands in docs/.
    """
    assert (ROOT / "README.md").stat().st_size <= 10_240


def test_the_format_of_records_is_said() -> None:
    """
    Readers of the changelog learn which records can be read.
    """
    files = [ROOT / "CHANGELOG.md", *(ROOT / "changes").glob("+*.md")]

    assert any(
        f"Records have format {FORMAT}, and older ones are not read." in file.read_text(encoding="utf-8") for file in files
    )
