"""
Keys by the names that other tools have for them, and keys that stand one table too high or too low.
"""

from __future__ import annotations

import pytest

from meshwalk.loader import read_graph
from meshwalk.model.problems import GraphError, Problem


TEXT = """\
meshwalk: 1
name: rest
start: small
limits: {{cost_usd: 0.5, input_bytes: 900}}
backends:
  little: {{kind: openai, model: little-1, {backend}usd_per_mtok: {{input: 0.1, output: 0.4}}}}
nodes:
  small: {{role: answer, backend: little, {node}next: done}}
"""


def problems_of(*, backend: str = "", node: str = "") -> tuple[Problem, ...]:
    text = TEXT.format(backend=backend and f"{backend}, ", node=node and f"{node}, ")
    try:
        return tuple(read_graph(text.encode(), file="g.yaml").problems)
    except GraphError as error:
        return tuple(error.problems)


@pytest.mark.parametrize(
    ("meant", "keys"),
    [
        ("base_url", "url uri address host hostname server endpoint api_base api_url base-url URL"),
        ("key_env", "env api_key_env key_name auth credentials"),
        ("usd_per_mtok", "price pricing"),
        ("context_tokens", "context context_window context_length n_ctx"),
        ("model", "model_name deployment"),
        ("requests_per_minute", "rpm rate_limit"),
    ],
)
def test_a_backend_names_the_key_that_was_meant(meant: str, keys: str) -> None:
    """
    A key that other tools have is answered by the one that stands for it here, and by one fault alone.
    """
    for key in keys.split():
        (problem,) = problems_of(backend=f"{key}: 'http://models.example/v1'")

        assert (key, "unknown-key", True) == (key, problem.code, f"did you mean '{meant}'?" in problem.help)


@pytest.mark.parametrize(
    "key", ["api_key", "apikey", "key", "token", "secret", "password", "bearer", "OPENAI_API_KEY", "api_token", "access-token"]
)
def test_a_secret_is_told_to_stand_in_the_environment(key: str) -> None:
    """
    A key that holds a secret is refused with the key that names a variable, under whatever name it stands.
    """
    (problem,) = problems_of(backend=f"{key}: sk-hunter2")

    assert ("secret-in-graph", True) == (problem.code, problem.help.endswith("key_env: NAME"))
    assert "hunter2" not in f"{problem.message} {problem.help}"


@pytest.mark.parametrize("value", ["${MODELS_KEY}", "$MODELS_KEY"])
def test_a_variable_in_the_place_of_a_secret_is_named(value: str) -> None:
    """
    Where the variable stands already, the remedy is the line to write.
    """
    (problem,) = problems_of(backend=f'api_key: "{value}"')

    assert problem.help.endswith("key_env: MODELS_KEY")


@pytest.mark.parametrize(
    "line", ["max_tokens: 5", "temperature: 0", "deadline: 3s", "system: Be brief", "timeout: 3s", "stream: true"]
)
def test_a_key_of_nodes_is_sent_to_the_node(line: str) -> None:
    """
    A backend that has a key of nodes is told where it belongs.
    """
    (problem,) = problems_of(backend=line)

    assert ("unknown-key", True) == (problem.code, "under the node that calls the backend" in problem.help)


@pytest.mark.parametrize(
    "line", ["base_url: 'http://models.example/v1'", "key_env: KEY", "url: x1", "context_tokens: 5", "price: 3"]
)
def test_a_key_of_backends_is_sent_to_the_backend(line: str) -> None:
    """
    A node that has a key of backends is told where it belongs.
    """
    (problem,) = problems_of(node=line)

    assert ("unknown-key", True) == (problem.code, "under the backend that the node calls" in problem.help)


@pytest.mark.parametrize(
    ("key", "meant"), [("timeout", "deadline"), ("max_retries", "retries"), ("max_output_tokens", "max_tokens")]
)
def test_a_node_names_the_key_that_was_meant(key: str, meant: str) -> None:
    """
    A node's key by another tool's name is answered by the one that stands for it here.
    """
    (problem,) = problems_of(node=f"{key}: 5")

    assert f"did you mean '{meant}'?" in problem.help
