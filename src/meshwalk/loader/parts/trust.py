"""
The functions, variables and addresses that a graph names, held to the trust in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from meshwalk.loader.messages import trust_faults
from meshwalk.model import AnyBackendSpec, Node, OpenAISpec, PythonSpec, Recording, environment
from meshwalk.model.problems import Problem, Span
from meshwalk.model.trust import Trust, refused


# Hosts at which clouds tell a machine its credentials.
_METADATA = re.compile(
    r"https?://\[?(169\.254\.169\.254|169\.254\.170\.2|fd00:ec2::254|100\.100\.100\.200|metadata\.google\.internal)\]?"
    r"(?=[:/?#]|\Z)",
    re.IGNORECASE,
)


class _Named(NamedTuple):
    """
    The names that one part of a graph has for what lies beyond it.
    """

    span: Span
    subject: str
    functions: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


def check_trust(
    backends: Iterable[AnyBackendSpec],
    nodes: Iterable[Node],
    recording: Recording,
    top: Span,
    trust: Trust,
    problems: list[Problem],
) -> None:
    """
    Report each function and variable that is not trusted, and addresses that are no model's.

    Args:
        top: The place of what the graph says as a whole.
    """
    named = [*map(_backend, backends), *map(_node, nodes), _Named(top, "'record'", functions=recording.redact)]
    for span, subject, functions, variables, addresses in named:
        problems += [
            trust_faults.not_allowed(span, subject, "function", name, "--allow-functions")
            for name in refused(functions, trust.functions)
        ]
        problems += [
            trust_faults.not_allowed(span, subject, "environment variable", name, "--allow-env")
            for name in refused(variables, trust.variables)
        ]
        hosts = [match[1] for address in addresses if (match := _METADATA.match(address))]
        problems += [trust_faults.metadata_address(span, subject, host) for host in hosts]


def _backend(spec: AnyBackendSpec) -> _Named:
    subject = f"backend '{spec.name}'"
    match spec:
        case PythonSpec():
            return _Named(spec.span, subject, functions=(spec.function,))
        case OpenAISpec():
            addresses = tuple(filter(None, [spec.base_url, *[endpoint.base_url for endpoint in spec.endpoints]]))
            return _Named(spec.span, subject, variables=tuple(_variables(spec)), addresses=addresses)
        case _:
            return _Named(spec.span, subject)


def _variables(spec: OpenAISpec) -> Iterator[str]:
    places = [(endpoint.base_url, endpoint.key_env) for endpoint in spec.endpoints] or [(None, None)]
    for base_url, key_env in places:
        address = base_url or spec.base_url
        yield from ["OPENAI_BASE_URL"] if address is None else environment.names_in(address)
        yield from filter(None, [key_env or spec.key_env])
    for _, value in spec.headers:
        yield from environment.names_in(value)


def _node(node: Node) -> _Named:
    variables = [*environment.names_in(node.url or ""), *filter(None, [node.key_env])]
    functions = tuple(filter(None, [node.function]))

    return _Named(node.span, f"node '{node.name}'", functions, tuple(variables), tuple(filter(None, [node.url])))
