"""
The flags of a server, and the file of settings that they win over.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from meshwalk.cli.output import Misuse
from meshwalk.cli.server_flags import ServerFlags, server_settings, worker_words
from meshwalk.loader.schema.server import ServerShape
from meshwalk.model.serving import LogFormat, LogLevel, ServerSettings
from tests.cli.conftest import DESK, Run


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "desk.yaml").write_text(DESK, encoding="utf-8")
    path = tmp_path / "server.yaml"
    path.write_text("server: 1\ngraphs: [desk.yaml]\nworkers: 3\ngrace: 1s\ntenant: acme\n", encoding="utf-8")

    return str(path)


class TestFlags:
    def test_every_flag_has_its_key(self) -> None:
        """
        Whatever a flag sets, a file can set under the same name.
        """
        names = {field.name for field in fields(ServerFlags)}

        assert set() == names - set(ServerShape.known_keys())

    def test_every_plain_key_has_its_flag(self) -> None:
        """
        Only what is a table of its own, or what the command takes as words, is a key alone.
        """
        names = {field.name for field in fields(ServerFlags)}

        assert {"server", "graphs", "tls", "identities", "tenants"} == set(ServerShape.known_keys()) - names

    def test_the_help_shows_what_holds_without_a_flag(self, run: Run) -> None:
        """
        A default in the help is the one of the settings.
        """
        shown = " ".join(run("serve", "--help").out.replace("│", " ").split())
        unset = ServerSettings()

        for default in (
            unset.listen,
            unset.workers,
            unset.vault,
            unset.tenant,
            "10m",
            "30s",
            "5s at SIGTERM beyond loopback, or 0s",
            unset.walks_in_flight,
        ):
            assert f"[default: {default}]" in shown
        assert (600_000_000, 30_000_000) == (unset.retry_window_us, unset.grace_us)


class TestSettings:
    def test_a_flag_wins_over_its_key(self, config: str) -> None:
        """
        What is not set on the command line stays as the file says.
        """
        settings = server_settings((), config, ServerFlags(workers=1, grace="2s"))

        assert (1, 2_000_000, "acme") == (settings.workers, settings.grace_us, settings.tenant)

    def test_graphs_on_the_command_line_replace_those_of_the_file(self, config: str) -> None:
        """
        The words are a flag like any other.
        """
        assert ("other.yaml",) == server_settings(("other.yaml",), config, ServerFlags()).graphs

    def test_no_graph_is_wrong_use(self) -> None:
        """
        A server without a graph is told both ways to name one.
        """
        with pytest.raises(Misuse, match="graphs' YAML files, or a file of settings that names them: --config"):
            server_settings((), None, ServerFlags())

    def test_a_worker_gets_the_same_settings_but_the_address(self, config: str) -> None:
        """
        A worker reads the file and the flags that its supervisor read.
        """
        words = worker_words(("a.yaml",), config, ServerFlags(listen="127.0.0.1:0", vault="sqlite:v"), "127.0.0.1:4711")

        assert [
            "a.yaml",
            "--as-worker",
            "--json",
            f"--config={config}",
            "--listen=127.0.0.1:4711",
            "--vault=sqlite:v",
        ] == words


class TestCheck:
    def test_check_reads_settings_and_their_graphs(self, run: Run, config: str) -> None:
        """
        To check a file of settings is to check the graphs that it names, too.
        """
        checked = run("check", config, "--json")

        assert 0 == checked.code
        assert checked.json["ok"] is True
        assert [None, "desk"] == [card.get("graph") for card in checked.json["graphs"]]

    def test_check_tells_the_faults_of_settings(self, run: Run, config: str) -> None:
        """
        A fault of the settings is shown with its line, as one of a graph is.
        """
        Path(config).write_text("server: 1\ngraphs: [desk.yaml]\nlisen: 127.0.0.1:0\n", encoding="utf-8")
        checked = run("check", config)

        assert 1 == checked.code
        assert f"{config}:3:1: the server takes no key 'lisen' [unknown-key]" in checked.out
        assert "did you mean 'listen'?" in checked.out

    def test_words_of_the_log_are_those_of_settings(self) -> None:
        """
        The flags list the forms and levels of the log themselves, so that a help need not load the model.
        """
        hints = get_type_hints(ServerFlags)

        assert get_args(hints["log"])[0] == LogFormat
        assert get_args(hints["log_level"])[0] == LogLevel

    def test_schema_of_settings(self, run: Run) -> None:
        """
        The schema of settings is printed like the others, one at a time.
        """
        assert "meshwalk-server.schema.json" == run("schema", "--server").json["$id"]
        assert 2 == run("schema", "--server", "--cases").code

    def test_check_knows_the_graphs_of_tenants(self, run: Run, config: str) -> None:
        """
        A tenant's graph that is not served is a fault of the settings, for `check` and for `serve`.
        """
        made = run("keys", "new", "--tenant", "acme", "--json").json["entry"]
        head = "server: 1\ngraphs: [desk.yaml]\ntenants: {acme: {graphs: [dask]}}\n"
        Path(config).write_text(f"{head}identities: {{keys: [{json.dumps(made)}]}}\n", encoding="utf-8")

        for command in (("check", config), ("serve", "--config", config)):
            ran = run(*command)
            assert 0 != ran.code
            assert f"{config}:3:27: tenant 'acme' may walk the graph 'dask', which is not served here" in ran.out + ran.err
