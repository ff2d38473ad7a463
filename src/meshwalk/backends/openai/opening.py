"""
Read addresses and keys from the environment, when a mesh opens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import orjson

from meshwalk.backends.openai.client import CONNECTIONS, OpenAIBackend, Place
from meshwalk.backends.openai.faults import whose
from meshwalk.backends.openai.shape import PLAIN_SHAPE, CallShape
from meshwalk.backends.secrets import Secrets, values_in
from meshwalk.model import Endpoint, OpenAISpec, environment
from meshwalk.model.problems import SetupError


DEFAULT_BASE_URL = "${OPENAI_BASE_URL}"

_SECRET_CHARACTERS = 12


def open_openai(spec: OpenAISpec) -> OpenAIBackend:
    """
    Read the addresses and the keys of *spec* from the environment.

    Raises:
        SetupError: If a variable is not set, or what it holds cannot be an address or a key.
    """
    endpoints = spec.endpoints or (Endpoint(""),)
    templates = [endpoint.base_url or spec.base_url or DEFAULT_BASE_URL for endpoint in endpoints]
    key_envs = [endpoint.key_env or spec.key_env or "" for endpoint in endpoints]
    # All that is missing is told at once.
    needed = [name for template in templates for name in environment.names_in(template)] + list(filter(None, key_envs))
    needed += [name for _, template in spec.headers for name in environment.names_in(template)]
    given = environment.read(dict.fromkeys(needed), f"backend '{spec.name}'")
    places = []
    for endpoint, template, key_env in zip(endpoints, templates, key_envs, strict=True):
        subject = whose(spec.name, endpoint.name)
        url = environment.fill(template, given)
        if why := _no_address(url):
            raise SetupError(f"{subject}: its base_url {why}{_origin(template)}")
        key = given[key_env] if key_env else ""
        if key and not re.fullmatch(r"[!-~]+", key):
            raise SetupError(f"{subject}: what {key_env} holds cannot be a key: it has a space or an odd character")
        places.append(Place(endpoint.name, url, key, key_env))

    shape = _shape(spec, given)

    return OpenAIBackend(
        spec.name,
        spec.model,
        places=places,
        connections=_connections(spec, endpoints),
        shape=shape,
        secrets=_secrets(spec, places, shape, templates, given),
    )


def _secrets(
    spec: OpenAISpec, places: list[Place], shape: CallShape, templates: list[str], variables: Mapping[str, str]
) -> Secrets:
    # A header of the graph itself may name a key as well; shorter ones are words, which an error may well say.
    keys = [place.key for place in places] + [value for _, value in shape.headers if len(value) >= _SECRET_CHARACTERS]
    keys += [value for _, template in spec.headers for value in values_in(template, variables)]

    return Secrets(
        keys,
        [place.base_url for place in places],
        [value for template in templates for value in values_in(template, variables)],
    )


def _shape(spec: OpenAISpec, given: Mapping[str, str]) -> CallShape:
    headers = []
    for name, template in spec.headers:
        value = environment.fill(template, given)
        if not re.fullmatch(r"[\t\x20-\x7e]*", value):
            raise SetupError(f"backend '{spec.name}': its header '{name}' has an odd character{_origin(template)}")
        headers.append((name, value))
    shape = CallShape(
        max_tokens_name=spec.max_tokens_name or PLAIN_SHAPE.max_tokens_name,
        leave_out=frozenset(spec.leave_out),
        extra=orjson.loads(spec.extra) if spec.extra else {},
        headers=tuple(headers),
        key_header=spec.key_header or "",
        roles=dict(spec.roles),
        stream_options=spec.stream_options,
        thoughts=spec.thoughts,
        settles_reported=spec.settles_reported,
        takes_images="image" in spec.takes,
        image_tokens=spec.image_tokens or 0,
    )

    return PLAIN_SHAPE if shape == PLAIN_SHAPE else shape


def _connections(spec: OpenAISpec, endpoints: tuple[Endpoint, ...]) -> int:
    # The limiter meets the bound of a graph before a connection is looked for; and no endpoint takes another's.
    own = None if spec.traffic is None else spec.traffic.concurrency
    allowed = sum(endpoint.concurrency or own or CONNECTIONS for endpoint in endpoints)

    return max(CONNECTIONS, allowed)


def _no_address(url: str) -> str:
    """
    Say why nothing can be called at *url*, or nothing if it can; a part of it may be a secret, so it is not quoted.
    """
    if not re.fullmatch(r"https?://[^\s/$][^\s$]*", url):
        return "is no http:// or https:// address"
    try:
        parts = urlsplit(url)
        port = parts.port
        # A label that is empty or too long for the domain name system.
        (parts.hostname or "").encode("idna")
    except ValueError:
        return "has a host or a port that cannot be one"
    if parts.username is not None or parts.password is not None:
        return "has a user or a password in it; name the variable of the key as 'key_env:'"
    if not parts.hostname or port == 0:
        return "has a host or a port that cannot be one"

    return ""


def _origin(template: str) -> str:
    names = environment.names_in(template)

    return f"; it is made of {', '.join(names)} from the environment" if names else f": {template!r}"
