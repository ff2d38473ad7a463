"""
Commands that call a server with TLS and keys: real processes, which share a port, too.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import DESK, Ran, Run
from tests.cli.test_serve import COMMAND, ENVIRONMENT, serving
from tests.support.identities import authority, signed_by


KEY_ENV = "MESHWALK_KEY"


class Remote:
    """
    A server with two workers, and the keys of its tenants by right.
    """

    def __init__(self, folder: Path, ready: dict[str, Any], keys: dict[str, str]) -> None:
        self.folder = folder
        self.ready = ready
        self.target = f"127.0.0.1:{ready['port']}"
        self._keys = keys

    def run(self, *words: str, key: str = "", trusting: bool = True) -> Ran:
        """
        Run a command on the server with the key of this name.
        """
        flags = ["--target", self.target, *(("--tls-ca", str(self.folder / "ca.pem")) if trusting else ())]
        flags += ["--api-key-env", KEY_ENV] if key else []
        environment = ENVIRONMENT | ({KEY_ENV: self._keys[key]} if key else {})
        done = subprocess.run(
            [*COMMAND, *words, *flags],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=environment,
            check=False,
            timeout=60,
        )

        return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    folder = tmp_path_factory.mktemp("remote")
    made = {name: json.loads(_ran("keys", "new", "--tenant", tenant, "--json", *rights)) for name, tenant, rights in KEYS}
    issuer = authority()
    signed_by(issuer, "server").write(folder / "server.pem", folder / "server.key")
    issuer.write(folder / "ca.pem", folder / "ca.key")
    (folder / "desk.yaml").write_text(DESK, encoding="utf-8")
    settings = {
        "server": 1,
        "graphs": ["desk.yaml"],
        "workers": 2,
        "vault": "sqlite:vault.sqlite",
        "traces": "traces",
        "tls": {"certificate": "server.pem", "key": "server.key"},
        "tenants": {"acme": {"rights": ["route", "read", "operate"]}, "beta": {}},
        "identities": {"keys": [one["entry"] for one in made.values()]},
    }
    (folder / "server.yaml").write_text(json.dumps(settings), encoding="utf-8")
    with serving("--config", folder / "server.yaml") as (_, ready):
        yield Remote(folder, ready, {name: one["key"] for name, one in made.items()})


KEYS = (
    ("caller", "acme", ("--right", "route")),
    ("operator", "acme", ("--right", "read", "--right", "operate")),
    ("other", "beta", ()),
)


def _ran(*words: str) -> str:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, env=ENVIRONMENT, check=True).stdout


@pytest.mark.process
@pytest.mark.slow
class TestRemote:
    def test_the_ready_line_says_who_comes_in(self, remote: Remote) -> None:
        """
        A supervisor learns whether the port takes TLS, and whether it knows its callers.
        """
        assert [True, True] == [remote.ready[key] for key in ("tls", "identified")]

    def test_route(self, remote: Remote) -> None:
        """
        A key with the right routes, with attributes of the graph, too, on whichever worker it comes to.
        """
        for _ in range(4):
            routed = remote.run("route", "hello", "--set", "task=prose", "--json", key="caller")
            assert "answered" == routed.json["outcome"], routed.err

    @pytest.mark.parametrize(
        ("key", "trusting", "why"),
        [
            ("", True, "this call has no credential"),
            ("operator", True, "Route takes the right route"),
            ("", False, "it may take TLS alone (--tls-ca)"),
        ],
    )
    def test_refusals(self, remote: Remote, key: str, trusting: bool, why: str) -> None:
        """
        A refusal says what is missing, and ends with wrong use.
        """
        refused = remote.run("route", "hello", key=key, trusting=trusting)

        assert 2 == refused.code
        assert why in refused.err

    def test_budgets(self, remote: Remote) -> None:
        """
        A key with the right sees and sets its tenant's budgets, and a caller's key does not.
        """
        assert "acme" == remote.run("budget", "show", "--json", key="operator").json["tenant"]
        assert "beta" == remote.run("budget", "show", "--json", key="other").json["tenant"]
        refused = remote.run("budget", "set", "--session", "s", "--calls", "5", key="caller")
        assert "SetBudget takes the right operate" in refused.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--target", "192.0.2.7:1", "--api-key-env", "HOME"), "a credential is not sent to '192.0.2.7:1' in the clear"),
        (("--target", "127.0.0.1:1", "--api-key-env", "NO_SUCH_KEY"), "'NO_SUCH_KEY' in the environment, and that is not set"),
        (("--target", "127.0.0.1:1", "--tls-ca", "none.pem"), "--tls-ca takes a file"),
        (("--target", "127.0.0.1:1", "--tls-cert", __file__), "a caller's certificate and its key go together"),
    ],
)
def test_connections_that_are_not_opened(run: Run, words: tuple[str, ...], why: str) -> None:
    """
    A key that would be sent in the clear, and a file or a variable that is missing, is told before anything is sent.
    """
    assert os.environ.get("HOME")
    refused = run("route", "hello", *words)

    assert 2 == refused.code
    assert why in refused.err


def test_flags_without_a_server(run: Run, tmp_path: Path) -> None:
    """
    With a graph file there is no connection that they could be for.
    """
    (tmp_path / "desk.yaml").write_text(DESK, encoding="utf-8")
    refused = run("route", tmp_path / "desk.yaml", "hello", "--insecure")

    assert "--insecure is for a connection to a server; leave it out without --target" in refused.err
