"""
A server's settings, from the text.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwalk.loader import holds_settings, load_settings
from meshwalk.loader.parts.server import build_settings
from meshwalk.loader.schema.export import settings_schema
from meshwalk.loader.schema.server import ServerShape
from meshwalk.model.problems import GraphError, SetupError
from meshwalk.model.serving import ServerSettings
from tests.loader.reading import places
from tests.support.files import ROOT


def read(text: str) -> ServerSettings:
    return build_settings(text.encode(), file="server.yaml", folder="etc")


def faults(text: str) -> list[tuple[str, int, int]]:
    with pytest.raises(GraphError) as refused:
        read(text)

    return places(refused.value.problems)


class TestValues:
    def test_unsaid_keys_are_as_unset_flags(self) -> None:
        """
        A file that says nothing makes the settings of a command line without flags.
        """
        assert ServerSettings() == read("server: 1\n")

    def test_each_key_is_read(self) -> None:
        """
        Times become microseconds, and paths start at the folder of the file.
        """
        settings = read(
            """
            server: 1
            graphs: [one.yaml, graphs/two.yaml, /srv/three.yaml]
            listen: "[::1]:0"
            workers: 2
            traces: traces
            data: ../data.jsonl
            vault: sqlite:vault.sqlite
            tenant: acme
            operator_key_env: OPERATOR
            retry_window: 1h
            grace: 0s
            walks_in_flight: 7
            insecure: true
            reflection: false
            """
        )

        assert (
            ServerSettings(
                graphs=("etc/one.yaml", "etc/graphs/two.yaml", "/srv/three.yaml"),
                listen="[::1]:0",
                workers=2,
                traces="etc/traces",
                data="etc/../data.jsonl",
                vault="sqlite:etc/vault.sqlite",
                tenant="acme",
                operator_key_env="OPERATOR",
                retry_window_us=3_600_000_000,
                grace_us=0,
                walks_in_flight=7,
                insecure=True,
                reflection=False,
            )
            == settings
        )

    @pytest.mark.parametrize(
        ("written", "address"),
        [
            ("memory", "memory"),
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("sqlite:/srv/vault.sqlite", "sqlite:/srv/vault.sqlite"),
            ("sqlite:${VAULT_PATH}", "sqlite:${VAULT_PATH}"),
        ],
    )
    def test_only_relative_paths_move(self, written: str, address: str) -> None:
        """
        What is no path, or a whole one, stays as it is.
        """
        assert address == read(f"server: 1\nvault: {written}\n").vault


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("server: 1\nlisen: 127.0.0.1:0\n", ("unknown-key", 2, 1)),
            ("server: 1\ngrace: 3\n", ("bad-duration", 2, 8)),
            ("server: 1\nretry_window: 0s\n", ("out-of-range", 2, 15)),
            ("server: 1\nworkers: 0\n", ("out-of-range", 2, 10)),
            ("server: 1\nworkers: two\n", ("wrong-type", 2, 10)),
            ("server: 1\ngraphs: []\n", ("list-too-short", 2, 9)),
            ("server: 1\ntenant:\n", ("no-value", 2, 1)),
            ("server: 2\n", ("unsupported-version", 1, 9)),
            ("workers: 1\n", ("missing-key", 1, 1)),
            ("- server\n", ("not-settings", 1, 1)),
            ("server: 1\nworkers: 1\nworkers: 2\n", ("duplicate-key", 3, 1)),
        ],
    )
    def test_a_fault_has_its_place(self, text: str, fault: tuple[str, int, int]) -> None:
        """
        A file is refused as a graph is: with a code, a line and a column.
        """
        assert [fault] == faults(text)

    def test_every_fault_is_found_in_one_run(self) -> None:
        """
        One slip hides no other.
        """
        assert [("unknown-key", 2, 1), ("bad-duration", 3, 8), ("wrong-type", 4, 10)] == faults(
            "server: 1\nlisen: 127.0.0.1:0\ngrace: 3\nworkers: many\n"
        )

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        """
        The error names the file, and calls it settings.
        """
        with pytest.raises(SetupError, match=r"the server's settings in '.*none\.yaml' cannot be read"):
            load_settings(tmp_path / "none.yaml")


class TestKinds:
    def test_settings_are_told_from_graphs(self, tmp_path: Path) -> None:
        """
        Only a file with the key `server` holds settings; a graph, and what is no YAML, does not.
        """
        for name, text in (("server", "server: 1\n"), ("broken", "server: [\n")):
            (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")

        assert [True, False, False, False] == [
            holds_settings(path)
            for path in (
                tmp_path / "server.yaml",
                tmp_path / "broken.yaml",
                tmp_path / "none.yaml",
                ROOT / "graphs" / "quickstart.yaml",
            )
        ]

    def test_the_schema_knows_every_key(self) -> None:
        """
        An editor completes the keys that are read.
        """
        assert list(ServerShape.known_keys()) == list(settings_schema()["properties"])
