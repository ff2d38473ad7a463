"""
`meshwalk serve`, and `meshwalk route --target`: real processes that talk to each other.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshwalk.cli.serve import LAME_DUCK_SECONDS, lame_duck_seconds
from meshwalk.model.serving import ServerSettings
from tests.cli.conftest import DESK, Ran, Run


COMMAND = (sys.executable, "-m", "meshwalk")

# A server under test exports nowhere, whatever the machine it runs on is set up for.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHONUNBUFFERED"))}


def ran(*words: str | Path) -> Ran:
    """
    Run a command in a process of its own.
    """
    done = subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, encoding="utf-8", env=ENVIRONMENT, check=False
    )

    return Ran(done.returncode, done.stdout, done.stderr)


BROKEN = """
meshwalk: 1
name: broken
start: ask
backends: {model: {kind: openai, base_url: "http://127.0.0.1:PORT/v1", model: m}}
nodes: {ask: {role: primary, backend: model, max_tokens: 10, next: done}}
"""


@contextmanager
def serving(*words: str | Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """
    Run a server until the block is left, and give what it said when it was ready.
    """
    command = [*COMMAND, "serve", *map(str, words), "--listen", "127.0.0.1:0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield process, json.loads(line)
        finally:
            process.kill()


@asynccontextmanager
async def serving_beside(*words: str | Path) -> AsyncIterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """
    Run a server as `serving` does, without keeping the event loop from its other work until it is ready.
    """
    server = serving(*words)
    started = await anyio.to_thread.run_sync(server.__enter__)
    try:
        yield started
    finally:
        server.__exit__(None, None, None)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """
    Serve two graphs, and give the address and the folder of traces.
    """
    folder = tmp_path_factory.mktemp("served")
    for name in ("desk", "other"):
        (folder / f"{name}.yaml").write_text(DESK.replace("name: desk", f"name: {name}"), encoding="utf-8")
    with serving(folder / "desk.yaml", folder / "other.yaml", "--traces", folder / "traces") as (_, ready):
        assert {
            "ready",
            "address",
            "port",
            "graphs",
            "traces",
            "tenant",
            "workers",
            "pids",
            "vault",
            "risks",
            "tls",
            "identified",
            "spans",
        } == ready.keys()
        assert (["desk", "other"], 1, "memory", []) == tuple(ready[key] for key in ("graphs", "workers", "vault", "risks"))

        yield ready["address"], folder / "traces"


@pytest.mark.process
class TestServe:
    def test_walks_are_seen_by_another_process(self, served: tuple[str, Path], run: Run) -> None:
        """
        A prompt routed through the server is answered, and its record is there to list, show and replay while it serves.
        """
        target, traces = served
        routed = ran("route", "--target", target, "--graph", "desk", "Say hello.", "--session", "s-9", "--json")
        traversal_id = routed.json["traversal_id"]

        assert (0, "") == (routed.code, routed.err)

        # What goes out is stored within a second; the server's own answer says when that is.
        while traversal_id not in (listed := ran("traces", "list", "--traces", traces, "--session", "s-9")).out:
            assert 0 == listed.code

        shown = run("traces", "show", traversal_id, "--traces", traces, "--json").json

        assert routed.json["path"] == shown["path"]
        assert routed.json["plan_digest"] == shown["plan_digest"]
        assert [hop["considered"] for hop in routed.json["hops"]] == [
            [{key: value for key, value in edge.items() if key != "why"} for edge in hop["considered"]] for hop in shown["hops"]
        ]
        assert 0 == run("replay", "--traces", traces, traversal_id).code

    def test_same_shape_as_in_process(self, served: tuple[str, Path], run: Run, desk: Path) -> None:
        """
        A walk made by a server is told like one made here, and decides alike.
        """
        here = run("route", desk, "Say hello.", "--json").json
        there = run("route", "--target", served[0], "--graph", "desk", "Say hello.", "--json").json

        assert here.keys() == there.keys()
        assert [hop.keys() for hop in here["hops"]] == [hop.keys() for hop in there["hops"]]
        assert here["plan_digest"] == there["plan_digest"]
        assert (here["path"], here["cost_usd"], here["answer"]) == (there["path"], there["cost_usd"], there["answer"])
        assert [hop["outputs"] for hop in here["hops"]] == [hop["outputs"] for hop in there["hops"]]

    def test_streams(self, served: tuple[str, Path], run: Run, desk: Path, tmp_path: Path) -> None:
        """
        A conversation is streamed from a server as from a graph file.
        """
        chat = tmp_path / "chat.json"
        chat.write_text('[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]', encoding="utf-8")
        words = ("--messages", chat, "--stream", "--json", "--set", "draft=false")
        here = run("route", desk, *words).out.splitlines()
        there = run("route", "--target", served[0], "--graph", "desk", *words).out.splitlines()
        events = [[json.loads(line)["event"] for line in lines] for lines in (here, there)]

        assert events[0] == events[1]
        assert json.loads(here[-1])["answer"] == json.loads(there[-1])["answer"]

    def test_people_see_tokens_and_cost(self, served: tuple[str, Path], run: Run, desk: Path) -> None:
        """
        The table of a walk made by a server has the same tokens and dollars a hop.
        """
        here = run("route", desk, "Say hello.").out
        there = run("route", "--target", served[0], "--graph", "desk", "Say hello.").out
        cells = [[line.split()[9:13] for line in out.splitlines() if line.strip().startswith("small")] for out in (here, there)]

        assert ["3", ">", "12", "0.000027"] in cells[0]
        assert cells[0] == cells[1]

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (("--set", "task=proof"), 1, "refused: we do not prove"),
            (("--set", "correctness=strict"), 1, "error: "),
            (("--set", "task=rhyme"), 2, "attributes.task: is 'rhyme'"),
            (("--set", "patience=much"), 2, "'patience' takes a number"),
            (("--set", "tasks=proof"), 2, "did you mean 'task'?"),
            (("--deadline", "0s"), 2, "--deadline is 0s, which is no time at all"),
        ],
    )
    def test_what_is_no_answer(self, served: tuple[str, Path], run: Run, words: tuple[str, ...], code: int, said: str) -> None:
        """
        Exit codes and sentences are those of a walk made here.
        """
        routed = run("route", "--target", served[0], "--graph", "desk", "Say hello.", *words)

        assert code == routed.code
        assert said in routed.out + routed.err

    def test_failed_walk_in_json(self, served: tuple[str, Path], run: Run) -> None:
        """
        A walk that failed on a server is one document, with the id of its record.
        """
        routed = run("route", "--target", served[0], "--graph", "desk", "Hi.", "--set", "correctness=strict", "--json")

        assert 1 == routed.code
        assert ("HopFailed", "large", "malformed") == tuple(routed.json["error"][key] for key in ("kind", "node", "cause"))
        assert 32 == len(routed.json["error"]["traversal_id"])

    @pytest.mark.parametrize(
        ("words", "said"), [((), "this server serves several: desk, other"), (("--graph", "dsk"), "did you mean 'desk'?")]
    )
    def test_which_graph(self, served: tuple[str, Path], run: Run, words: tuple[str, ...], said: str) -> None:
        """
        A server of several graphs wants to know which, and says which it has.
        """
        routed = run("route", "--target", served[0], "Hi.", *words)

        assert 2 == routed.code
        assert said in routed.err


class TestLife:
    @pytest.mark.process
    @pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_stops_gracefully(self, run: Run, desk: Path, tmp_path: Path, stop: signal.Signals) -> None:
        """
        A signal ends the server with 0 and without a word, and what it walked is stored.
        """
        with serving(desk, "--traces", tmp_path / "traces") as (process, ready):
            routed = run("route", "--target", ready["address"], "Say hello.", "--json")
            process.send_signal(stop)
            out, err = process.communicate()

        assert (0, "", "") == (process.returncode, out, err)
        assert routed.json["traversal_id"] in run("traces", "list", "--traces", tmp_path / "traces").out

    @pytest.mark.process
    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_a_second_signal_hastens_the_stop(self, desk: Path, workers: str) -> None:
        """
        The first one makes a lame duck that says NOT_SERVING; the second one ends what that waits for.
        """
        with serving(
            desk, "--workers", workers, "--vault", "sqlite:" + str(desk.with_name("v.sqlite")), "--lame-duck", "10m"
        ) as (
            process,
            ready,
        ):
            process.send_signal(signal.SIGTERM)
            with grpc.insecure_channel(ready["address"]) as channel:
                stub: Any = health_pb2_grpc.HealthStub(channel)
                changes = [change.status for change in stub.Watch(health_pb2.HealthCheckRequest())]
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)

        assert health_pb2.HealthCheckResponse.NOT_SERVING == changes[-1]
        assert (0, "", "") == (process.returncode, out, err)

    @pytest.mark.process
    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_logs_walks_that_failed_and_events(self, tmp_path: Path, run: Run, workers: str) -> None:
        """
        Each line is a JSON document; a failed walk is told with its id and names, and never with the model's address.
        """
        with socket.socket() as nobody:
            # Bound, and listening to nobody: a connection is refused.
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            graph = tmp_path / "broken.yaml"
            graph.write_text(BROKEN.replace("PORT", str(port)), encoding="utf-8")
            with serving(graph, "--workers", workers, "--log", "json", "--log-level", "info") as (process, ready):
                routed = run("route", "--target", ready["address"], "a private question", "--json")
                process.send_signal(signal.SIGTERM)
                _, err = process.communicate(timeout=60)
        lines = [json.loads(line) for line in err.splitlines()]
        (failed,) = [line for line in lines if line.get("outcome") == "failed"]

        assert 1 == routed.code
        assert ("warning", "unreachable", "ask", "model", "default") == tuple(
            failed[key] for key in ("level", "class", "node", "backend", "tenant")
        )
        assert failed["traversal_id"] in routed.out + routed.err
        assert {"ready", "draining", "stopped"} <= {line.get("event") for line in lines}
        assert not [line for line in lines if str(port) in str(line) and line.get("event") != "ready"]
        assert "private question" not in err

    @pytest.mark.process
    def test_says_when_it_is_ready(self, desk: Path) -> None:
        """
        People are told on one line what is served and where; the port is the real one.
        """
        command = [*COMMAND, "serve", str(desk), "--listen", "127.0.0.1:0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
            assert process.stdout is not None
            try:
                line = process.stdout.readline()
            finally:
                process.terminate()

        host, port = line.removeprefix("Serving desk at ").partition(",")[0].split(":")

        assert ("127.0.0.1", True) == (host, 0 < int(port) < 65536)
        assert line.endswith(", no spans are exported; Ctrl-C stops.\n")

    @pytest.mark.process
    def test_address_in_use(self, desk: Path) -> None:
        """
        An address that is taken is wrong use, said in a sentence.
        """
        with socket.create_server(("127.0.0.1", 0)) as taken:
            served = ran("serve", desk, "--listen", f"127.0.0.1:{taken.getsockname()[1]}")

        assert (2, "") == (served.code, served.out)
        assert served.err.startswith("error: cannot listen at")
        assert 1 == served.err.count("\n")

    def test_two_graphs_of_one_name(self, run: Run, desk: Path) -> None:
        """
        Two graphs that requests could not tell apart are not served.
        """
        served = run("serve", desk, desk, "--listen", "127.0.0.1:0")

        assert 2 == served.code
        assert "two graphs are called 'desk'" in served.err

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--grace", "soon"), "--grace takes a duration such as 300ms"),
            (("--retry-window", "0s"), "--retry-window takes a duration of more than 0"),
            (("--retry-window", "-1s"), "--retry-window takes a duration such as"),
            (("--tenant", "a\x1b[2J"), "has control characters in it"),
            (("--tenant", "t" * 257), "--tenant is 257 characters long"),
        ],
    )
    def test_options_that_cannot_be_meant(self, run: Run, desk: Path, words: tuple[str, ...], said: str) -> None:
        """
        What no request could be served with is refused before a port is opened.
        """
        refused = run("serve", desk, "--listen", "127.0.0.1:0", *words)

        assert 2 == refused.code
        assert said in refused.err

    def test_faulty_graph(self, run: Run) -> None:
        """
        A graph with faults is not served; they are printed.
        """
        served = run("serve", Path(__file__).parent / "faulty.yaml", "--listen", "127.0.0.1:0", "--json")

        assert 2 == served.code
        assert "[unknown-key]" in served.err
        assert "problems" in served.json["error"]


@pytest.mark.parametrize(
    ("listen", "number", "lame_duck_us", "seconds"),
    [
        ("0.0.0.0:50051", signal.SIGTERM, None, LAME_DUCK_SECONDS),
        ("0.0.0.0:50051", signal.SIGINT, None, 0),
        ("0.0.0.0:50051", signal.SIGHUP, None, 0),
        ("127.0.0.1:50051", signal.SIGTERM, None, 0),
        ("unix:/run/meshwalk.sock", signal.SIGTERM, None, 0),
        ("0.0.0.0:50051", signal.SIGTERM, 0, 0),
        ("127.0.0.1:50051", signal.SIGINT, 2_000_000, 2),
    ],
)
def test_load_balancers_have_time_to_turn_away(
    listen: str, number: signal.Signals, lame_duck_us: int | None, seconds: float
) -> None:
    """
    Where nothing is said, a SIGTERM to a server that others reach leaves them time; a setting holds for every signal.
    """
    assert seconds == lame_duck_seconds(ServerSettings(listen=listen, lame_duck_us=lame_duck_us), number)
