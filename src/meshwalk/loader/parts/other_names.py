"""
Names that other tools have for the keys of a backend, and keys that stand under a node instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType


_ADDRESS = "did you mean 'base_url'? It is the address up to and with /v1, as in https://host/v1"
_KEY = "did you mean 'key_env'? It names the environment variable that holds the key"
_PRICE = "did you mean 'usd_per_mtok'? It is a price in USD, as in {input: 0.15, output: 0.6}"
_CONTEXT = "did you mean 'context_tokens'? It is the most tokens that a call may have"

_OF_BACKENDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("url", "uri", "base", "base_uri", "baseurl", "address", "host", "hostname", "server", "server_url", "port"),
            _ADDRESS,
        ),
        **dict.fromkeys(
            ("endpoint", "endpoint_url", "api", "api_base", "api_url", "api_host", "api_endpoint", "openai_api_base"), _ADDRESS
        ),
        **dict.fromkeys(("env", "auth", "credential", "credentials", "key_name", "key_variable", "api_key_env"), _KEY),
        **dict.fromkeys(("api_key_name", "api_key_variable", "token_env"), _KEY),
        **dict.fromkeys(("price", "prices", "pricing", "cost_usd", "usd", "usd_per_million", "usd_per_1k"), _PRICE),
        **dict.fromkeys(("context", "context_window", "context_length", "context_size", "n_ctx", "window"), _CONTEXT),
        **dict.fromkeys(
            ("model_name", "model_id", "deployment", "deployment_name"),
            "did you mean 'model'? It is the model's name at the endpoint",
        ),
        **dict.fromkeys(
            ("rpm", "rate_limit", "requests"),
            "did you mean 'requests_per_minute'? It is the rate that is never exceeded",
        ),
        "tpm": "did you mean 'tokens_per_minute'? It is the rate that is never exceeded",
        **dict.fromkeys(
            ("max_concurrency", "parallel", "parallelism", "workers"),
            "did you mean 'concurrency'? It is the most calls at a time",
        ),
        **dict.fromkeys(
            ("organization", "organisation", "project", "api_version"),
            "write it as a header, as in headers: {X-Org: '${ORG}'}, or as a part of base_url",
        ),
        **dict.fromkeys(
            ("timeout", "timeout_seconds", "request_timeout"),
            "write deadline: under the node that calls the backend, as in 20s",
        ),
        **dict.fromkeys(
            ("max_retries", "num_retries", "retry"), "write retries: under the node that calls the backend, as in retries: 2"
        ),
        **dict.fromkeys(("stream", "streaming"), "write stream: under the node that calls the backend, as in stream: live"),
    }
)

_OF_NODES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("timeout", "timeout_seconds", "request_timeout"), "did you mean 'deadline'? It takes a time, as in 20s"
        ),
        **dict.fromkeys(("max_retries", "num_retries", "retry"), "did you mean 'retries'? It takes a number, as in 2"),
        **dict.fromkeys(("max_completion_tokens", "max_output_tokens", "max_new_tokens"), "did you mean 'max_tokens'?"),
        **dict.fromkeys(("model_name", "model_id"), "a node names its backend, and the backend its model"),
        "streaming": "did you mean 'stream'? It takes hold, live or {hold_first: N}",
    }
)


def remedies_for_backend(keys: Iterable[str], node_keys: Iterable[str]) -> dict[str, str]:
    """
    Return the remedy for each of *keys* that a backend does not take under this name, and is understood all the same.

    Args:
        node_keys: The keys of nodes.
    """
    of_nodes = frozenset(node_keys)
    remedies = {}
    for key in keys:
        plain = plain_name(key)
        if plain in _OF_BACKENDS:
            remedies[key] = _OF_BACKENDS[plain]
        elif plain in of_nodes:
            remedies[key] = f"'{plain}' is for nodes: write it under the node that calls the backend"

    return remedies


def remedies_for_node(keys: Iterable[str], backend_keys: Iterable[str]) -> dict[str, str]:
    """
    Return the remedy for each of *keys* that a node does not take, and that other tools or backends have.

    Args:
        backend_keys: The keys of backends.
    """
    of_backends = frozenset(backend_keys)
    remedies = {}
    for key in keys:
        plain = plain_name(key)
        if plain in _OF_NODES:
            remedies[key] = _OF_NODES[plain]
        elif plain in of_backends:
            remedies[key] = f"'{plain}' is for backends: write it under the backend that the node calls"
        elif plain in _OF_BACKENDS:
            remedies[key] = f"{_OF_BACKENDS[plain]}; write it under the backend that the node calls"

    return remedies


def plain_name(key: str) -> str:
    """
    Return *key* in lower case, its words joined as those of a graph's keys are.
    """
    return key.lower().replace("-", "_").replace(".", "_")
