"""
A server's settings, from the text.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwalk.loader import holds_settings, load_settings, source_lines
from meshwalk.loader.parts.server import build_settings
from meshwalk.loader.parts.server_access import unknown_graphs
from meshwalk.loader.schema.export import settings_schema
from meshwalk.loader.schema.server import ServerShape
from meshwalk.model.problems import GraphError, SetupError, Span
from meshwalk.model.serving import ApiKey, ServerSettings, TenantRules, TlsFiles, TokenIssuer
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


ACCESS = """
server: 1
tls: {certificate: server.pem, key: server.key, client_ca: /etc/clients.pem}
tenants:
  acme: {graphs: [desk], rights: [route, operate], requests_per_minute: 60, walks_in_flight: 5}
  beta: {}
identities:
  keys:
    - id: "00112233"
      tenant: acme
      salt: "SALT"
      sha256: "HASH"
      rights: [route]
      expires: "2027-01-01"
  jwt:
    - {issuer: https://login.example, audience: meshwalk, jwks: jwks.json, algorithms: [ES256], rights_claim: scope, leeway: 5s}
""".replace("SALT", "ab" * 16).replace("HASH", "cd" * 32)


class TestAccess:
    def test_each_part_is_read(self) -> None:
        """
        A file says everything about who comes in.
        """
        settings = read(ACCESS)

        assert TlsFiles(certificate="etc/server.pem", key="etc/server.key", client_ca="/etc/clients.pem") == settings.tls
        assert (
            ApiKey(
                id="00112233",
                tenant="acme",
                salt="ab" * 16,
                sha256="cd" * 32,
                rights=frozenset({"route"}),
                expires_unix=1_798_761_600,
            ),
        ) == settings.keys
        assert (
            TokenIssuer(
                issuer="https://login.example",
                audience="meshwalk",
                jwks="etc/jwks.json",
                algorithms=("ES256",),
                rights_claim="scope",
                leeway_us=5_000_000,
            ),
        ) == settings.issuers
        assert {
            "acme": TenantRules(
                graphs={"desk": Span("server.yaml", 5, 19, 4)},
                rights=frozenset({"route", "operate"}),
                requests_per_minute=60,
                walks_in_flight=5,
            ),
            "beta": TenantRules(),
        } == settings.tenants
        assert settings.access.guarded

    @pytest.mark.parametrize(
        ("before", "after", "fault"),
        [
            ("certificate: server.pem, ", "", ("missing-key", 3, 1)),
            ("client_ca", "clientca", ("unknown-key", 3, 49)),
            ("rights: [route, operate]", "rights: [rout]", ("unknown-right", 5, 35)),
            ("requests_per_minute: 60", "requests_per_minute: 0", ("out-of-range", 5, 73)),
            ("  beta: {}", "  be/ta: {}", ("bad-name", 6, 3)),
            ("  beta: {}", "  beta: 3", ("wrong-type", 6, 9)),
            ('"00112233"', "112233", ("bad-id", 9, 11)),
            ("tenant: acme", "tenant: acne", ("unknown-tenant", 10, 15)),
            ("ab" * 16, "the key itself", ("bad-hash", 11, 13)),
            ("rights: [route]\n", "rights: [read]\n", ("too-many-rights", 13, 15)),
            ('"2027-01-01"', '"2027-13-01"', ("bad-day", 14, 16)),
            ("[ES256]", "[HS256]", ("unknown-algorithm", 16, 89)),
            ("[ES256]", "[none]", ("unknown-algorithm", 16, 89)),
            ("issuer: https", "isuer: https", ("unknown-key", 16, 8)),
            ("jwt:", "jwts:", ("unknown-key", 15, 3)),
        ],
    )
    def test_faults(self, before: str, after: str, fault: tuple[str, int, int]) -> None:
        """
        A slip in any part is told at its place, and what rests on it is not.
        """
        assert before in ACCESS
        assert [fault] == faults(ACCESS.replace(before, after, 1))

    def test_a_key_in_the_place_of_its_hash_is_not_shown(self, tmp_path: Path) -> None:
        """
        Who pastes the key itself does not find it in the message, nor in the line that is shown with it.
        """
        path = tmp_path / "server.yaml"
        path.write_text(ACCESS.replace("cd" * 32, "the-key-itself"), encoding="utf-8")
        with pytest.raises(GraphError) as refused:
            load_settings(path)

        assert "the-key-itself" not in str(refused.value)
        assert "the-key-itself" not in "\n".join(source_lines(path, refused.value.problems))

    def test_two_of_a_kind(self) -> None:
        """
        A key's id and an issuer stand once.
        """
        key = ACCESS[ACCESS.index("    - id") : ACCESS.index("  jwt:")]
        issuer = ACCESS[ACCESS.index("    - {issuer") :]

        assert [("duplicate-id", 15, 11)] == faults(ACCESS.replace(key, key * 2))
        assert [("duplicate-id", 17, 16)] == faults(ACCESS.replace(issuer, issuer * 2))

    def test_tenants_without_credentials(self) -> None:
        """
        Tenants that nobody can be of are a mistake.
        """
        assert [("no-identities", 2, 1)] == faults("server: 1\ntenants: {acme: {}}\n")

    def test_graphs_that_are_not_served(self) -> None:
        """
        A tenant's graph that the server does not have is told at its place.
        """
        problems = unknown_graphs(read(ACCESS).tenants, {"dask": None})

        assert [("unknown-graph", 5, 19)] == places(tuple(problems))
        assert "did you mean 'dask'?" == problems[0].help
        assert [] == unknown_graphs(read(ACCESS).tenants, {"desk": None})


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
