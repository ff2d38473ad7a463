"""
The part of a server's settings that says who comes in: its certificate, credentials and tenants.

Parts are fitted one by one, so that one slip hides no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from meshwalk.loader.messages import faults, server_faults
from meshwalk.loader.parts.fit import Part, ShapeT, fit, part_of, respelt
from meshwalk.loader.schema.server import ApiKeyShape, IdentitiesShape, TenantShape, TlsShape, TokenIssuerShape
from meshwalk.loader.yaml.document import Scalar, Series, Table, plain
from meshwalk.model.problems import Problem, Span
from meshwalk.model.serving import DEFAULT_RIGHTS, ApiKey, TenantRules, TlsFiles, TokenIssuer


_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def read_access(part: Part, folder: Path, problems: list[Problem]) -> dict[str, Any]:
    """
    Read the certificate, the credentials and the tenants of the settings in *part*.
    """
    reader = _Reader(folder, problems)
    entries = part.table.entries
    access: dict[str, Any] = {}
    if isinstance(tls := entries.get("tls"), Table):
        access["tls"] = reader.tls(Part(tls, "'tls'", part.table.key_spans["tls"]))
    if isinstance(tenants := entries.get("tenants"), Table):
        access["tenants"] = reader.tenants_of(tenants)
    if isinstance(identities := entries.get("identities"), Table):
        inner = respelt(
            Part(identities, "'identities'", part.table.key_spans["identities"]), IdentitiesShape.known_keys(), problems
        )
        fit(IdentitiesShape, inner, problems, preset={key: [] for key in ("keys", "jwt") if _is_list(inner, key)})
        access["keys"] = tuple(reader.keys(inner))
        access["issuers"] = tuple(reader.issuers(inner))
    elif "tenants" in access and "identities" not in entries:
        problems.append(server_faults.no_identities(part.table.key_spans["tenants"]))

    return access


def unknown_graphs(tenants: Mapping[str, TenantRules], graphs: Mapping[str, object]) -> list[Problem]:
    """
    Return the faults of *tenants* that may walk graphs which are not among *graphs*.
    """
    return [
        server_faults.unknown_graph(span, tenant, name, graphs)
        for tenant, rules in tenants.items()
        for name, span in (rules.graphs or {}).items()
        if name not in graphs
    ]


def _is_list(part: Part, key: str) -> bool:
    return isinstance(part.table.entries.get(key), Series)


class _Reader:
    """
    A reader of tables whose paths start at *folder*.
    """

    def __init__(self, folder: Path, problems: list[Problem]) -> None:
        self._folder = folder
        self._problems = problems
        self._tenants: Mapping[str, TenantRules] = {}

    def tls(self, part: Part) -> TlsFiles:
        shape = self._fitted(TlsShape, part)

        return TlsFiles(
            certificate=str(self._folder / shape.certificate),
            key=str(self._folder / shape.key),
            client_ca=None if shape.client_ca is None else str(self._folder / shape.client_ca),
        )

    def tenants_of(self, table: Table) -> Mapping[str, TenantRules]:
        tenants: dict[str, TenantRules] = {}
        for name, piece in table.entries.items():
            subject, span = f"tenant {faults.quoted(name)}", table.key_spans[name]
            if not _TENANT.fullmatch(name):
                self._problems.append(server_faults.bad_tenant(span, name))
            part = part_of(piece, subject, span, self._problems)
            tenants[name] = TenantRules() if part is None else self._tenant(part)
        self._tenants = tenants

        return tenants

    def _tenant(self, part: Part) -> TenantRules:
        shape = self._fitted(TenantShape, part)
        listed = part.table.entries.get("graphs")
        spans = [item.span for item in listed.items] if isinstance(listed, Series) else []

        return TenantRules(
            graphs=None if shape.graphs is None else dict(zip(shape.graphs, spans, strict=True)),
            rights=DEFAULT_RIGHTS if shape.rights is None else frozenset(shape.rights),
            requests_per_minute=shape.requests_per_minute,
            walks_in_flight=shape.walks_in_flight,
        )

    def keys(self, identities: Part) -> Iterator[ApiKey]:
        ids: dict[str, Span] = {}
        for number, part in self._items(identities, "keys", "key"):
            shape = self._fitted(ApiKeyShape, part)
            subject, span = f"key {number}", part.table.place("id")
            if shape.id in ids:
                self._problems.append(server_faults.duplicate_key(span, shape.id, ids[shape.id]))
            ids.setdefault(shape.id, span)
            rights = None if shape.rights is None else frozenset(shape.rights)
            rules = self._tenants.get(shape.tenant)
            if rules is None and isinstance(part.table.entries.get("tenant"), Scalar):
                place = part.table.place("tenant")
                self._problems.append(server_faults.unknown_tenant(place, subject, shape.tenant, self._tenants))
            elif rules is not None and rights is not None and (beyond := rights - rules.rights):
                place = part.table.place("rights")
                self._problems.append(server_faults.more_rights_than_tenant(place, subject, beyond, shape.tenant))
            yield ApiKey(
                id=shape.id,
                tenant=shape.tenant,
                salt=shape.salt,
                sha256=shape.sha256,
                rights=rights,
                expires_unix=shape.expires,
            )

    def issuers(self, identities: Part) -> Iterator[TokenIssuer]:
        names: dict[str, Span] = {}
        for _, part in self._items(identities, "jwt", "issuer"):
            shape = self._fitted(TokenIssuerShape, part)
            span = part.table.place("issuer")
            if shape.issuer in names:
                self._problems.append(server_faults.duplicate_issuer(span, shape.issuer, names[shape.issuer]))
            names.setdefault(shape.issuer, span)
            unset = TokenIssuer(issuer="", audience="", jwks="")
            yield TokenIssuer(
                issuer=shape.issuer,
                audience=shape.audience,
                jwks=str(self._folder / shape.jwks),
                algorithms=unset.algorithms if shape.algorithms is None else tuple(shape.algorithms),
                tenant_claim=shape.tenant_claim,
                rights_claim=shape.rights_claim,
                leeway_us=unset.leeway_us if shape.leeway is None else shape.leeway,
            )

    def _items(self, identities: Part, key: str, kind: str) -> Iterator[tuple[int, Part]]:
        listed = identities.table.entries.get(key)
        for number, item in enumerate(listed.items if isinstance(listed, Series) else (), 1):
            if isinstance(item, Table):
                yield number, Part(item, f"{kind} {number}", item.span)
            else:
                self._problems.append(faults.wrong_type(item.span, f"{kind} {number}", plain(item), "a table of keys"))

    def _fitted(self, shape: type[ShapeT], part: Part) -> ShapeT:
        return fit(shape, respelt(part, shape.known_keys(), self._problems), self._problems).shape
