"""
The faults of a server's settings, beside those of every text.
"""
# ruff: noqa: D103 (a docstring would say the sentence a second time)

from __future__ import annotations

from collections.abc import Iterable

from meshwalk.loader.messages.faults import quoted
from meshwalk.model.problems import Problem, Span
from meshwalk.model.spelling import did_you_mean


def not_settings(span: Span) -> Problem:
    return Problem(
        span, "not-settings", "a server's settings are a table of keys", "start with 'server: 1' and 'graphs: [graph.yaml]'"
    )


def unknown_tenant(span: Span, subject: str, name: str, tenants: Iterable[str]) -> Problem:
    tenants = tuple(tenants)
    known = f"there are: {', '.join(tenants)}" if tenants else "there are none; write tenants: {NAME: {}}"

    return Problem(
        span, "unknown-tenant", f"{subject} is of the tenant {quoted(name)}, and no such tenant is declared",
        did_you_mean(name, tenants) or known,
    )  # fmt: skip


def more_rights_than_tenant(span: Span, subject: str, rights: Iterable[str], tenant: str) -> Problem:
    return Problem(
        span,
        "too-many-rights",
        f"{subject} has rights that its tenant {quoted(tenant)} has not: {', '.join(sorted(rights))}",
        "give them to the tenant, too, or leave them out",
    )


def duplicate_key(span: Span, id: str, first: Span) -> Problem:
    return Problem(span, "duplicate-id", f"another key, in line {first.line}, has the id {quoted(id)}", "make a new key")


def duplicate_issuer(span: Span, issuer: str, first: Span) -> Problem:
    return Problem(
        span, "duplicate-id", f"line {first.line} is about the issuer {quoted(issuer)}, too", "say everything about it once"
    )


def no_identities(span: Span) -> Problem:
    return Problem(
        span, "no-identities", "no credentials are taken, so no caller is of these tenants", "declare identities, too"
    )


def unknown_graph(span: Span, tenant: str, name: str, graphs: Iterable[str]) -> Problem:
    graphs = tuple(graphs)

    return Problem(
        span, "unknown-graph", f"tenant {quoted(tenant)} may walk the graph {quoted(name)}, which is not served here",
        did_you_mean(name, graphs) or f"there are: {', '.join(graphs)}",
    )  # fmt: skip


def bad_tenant(span: Span, name: str) -> Problem:
    return Problem(
        span, "bad-name", f"{quoted(name)} cannot name a tenant",
        "use at most 64 letters, digits, '.', '_' and '-', a letter or digit first",
    )  # fmt: skip
