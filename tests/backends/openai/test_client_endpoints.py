"""
Several endpoints of one backend: each with its own address and key, and none with another's.
"""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from meshwalk.backends import open_backend
from meshwalk.backends.openai import CONNECTIONS, OpenAIBackend, Place
from meshwalk.model import Endpoint, OpenAISpec, Traffic
from meshwalk.model.private_text import disclosed_error
from meshwalk.model.problems import SetupError, Span
from tests.backends.chat_endpoint import ASK, KEY, answer, fails, says, serving


pytestmark = pytest.mark.anyio

OTHER = 'sk-other-secret-0123456789-"quoted"'


def spec(*endpoints: Endpoint, **changes: Any) -> OpenAISpec:
    return OpenAISpec(name="large", span=Span("g.yaml", 1, 1), model="large-1", endpoints=endpoints, **changes)


class TestCalls:
    async def test_a_request_names_its_endpoint(self) -> None:
        """
        Each endpoint is called with its own key; a request that names none goes to the first.
        """
        seen: list[tuple[str, str]] = []

        async def east(request: web.Request) -> web.Response:
            seen.append(("east", request.headers["Authorization"]))
            return web.json_response(answer())

        async def west(request: web.Request) -> web.Response:
            seen.append(("west", request.headers["Authorization"]))
            return web.json_response(answer())

        async with serving(east) as one, serving(west) as other:
            backend = OpenAIBackend("large", "large-1", places=[Place("east", one, KEY), Place("west", other, OTHER)])
            for name in ("west", "east", ""):
                await backend.chat(ASK._replace(endpoint=name))
            await backend.aclose()

        assert [("west", f"Bearer {OTHER}"), ("east", f"Bearer {KEY}"), ("east", f"Bearer {KEY}")] == seen

    @pytest.mark.parametrize("body", [{"error": {"message": f"no {KEY}, no {OTHER}"}}, {"detail": [KEY, OTHER]}])
    async def test_an_error_names_the_endpoint_and_nobodys_key(self, body: dict[str, Any]) -> None:
        """
        What one endpoint knows of another's key is not said, in JSON's spelling either.
        """
        async with serving(says(body, status=400)) as url:
            backend = OpenAIBackend("large", "large-1", places=[Place("east", url, KEY), Place("west", url, OTHER)])
            error = await fails(backend, ASK._replace(endpoint="west"))
            await backend.aclose()

        assert disclosed_error(error).startswith("backend 'large' at endpoint 'west' answered HTTP 400: ")
        assert "secret" not in disclosed_error(error)
        assert 2 == disclosed_error(error).count("[key]")

    async def test_a_rejected_key_names_its_own_variable(self) -> None:
        """
        The remedy is that of the endpoint that was called.
        """
        async with serving(says(status=401)) as url:
            backend = OpenAIBackend("large", "large-1", places=[Place("east", url, KEY, "E"), Place("west", url, OTHER, "W")])
            error = await fails(backend, ASK._replace(endpoint="west"))
            await backend.aclose()

        assert disclosed_error(error).endswith("check the key in W")

    async def test_an_endpoint_that_is_not_there_costs_nothing(self) -> None:
        """
        A name that the backend does not know is said to be one.
        """
        backend = OpenAIBackend(
            "large", "large-1", places=[Place("east", "http://127.0.0.1:9"), Place("west", "http://127.0.0.1:9")]
        )
        error = await fails(backend, ASK._replace(endpoint="north"))

        assert not error.billable
        assert "backend 'large' has no endpoint 'north'; it has: east, west" == disclosed_error(error)


class TestOpen:
    async def test_each_has_its_address_and_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Endpoints are read from the environment, and what one does not say is the backend's own.
        """
        seen: list[str] = []

        async def handler(request: web.Request) -> web.Response:
            seen.append(request.headers["Authorization"])
            return web.json_response(answer())

        async with serving(handler) as url:
            monkeypatch.setenv("EAST_URL", url)
            monkeypatch.setenv("EAST_KEY", KEY)
            monkeypatch.setenv("COMMON_KEY", "common")
            endpoints = Endpoint("east", "${EAST_URL}", "EAST_KEY"), Endpoint("west", url)
            backend = await open_backend(spec(*endpoints, key_env="COMMON_KEY"))
            assert isinstance(backend, OpenAIBackend)
            await backend.chat(ASK._replace(endpoint="east"))
            await backend.chat(ASK._replace(endpoint="west"))
            await backend.aclose()

        assert [f"Bearer {KEY}", "Bearer common"] == seen

    async def test_what_is_missing_is_told_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        The variables of all endpoints are named, and an address that is none with its endpoint.
        """
        for name in ("EAST_URL", "WEST_URL", "WEST_KEY"):
            monkeypatch.delenv(name, raising=False)
        endpoints = Endpoint("east", "${EAST_URL}"), Endpoint("west", "${WEST_URL}", "WEST_KEY")

        with pytest.raises(SetupError, match="variables EAST_URL, WEST_URL, WEST_KEY, which are not set"):
            await open_backend(spec(*endpoints))

        monkeypatch.setenv("EAST_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("WEST_URL", "ftp://hidden")
        monkeypatch.setenv("WEST_KEY", "two words")
        with pytest.raises(SetupError, match="backend 'large' at endpoint 'west': its base_url is no http") as caught:
            await open_backend(spec(*endpoints))

        assert "hidden" not in str(caught.value)

        monkeypatch.setenv("WEST_URL", "http://127.0.0.1:9")
        with pytest.raises(SetupError, match="at endpoint 'west': what WEST_KEY holds cannot be a key"):
            await open_backend(spec(*endpoints))

    @pytest.mark.parametrize(
        ("endpoints", "traffic", "expected"),
        [
            ((), None, CONNECTIONS),
            ((), Traffic(concurrency=8), CONNECTIONS),
            ((), Traffic(concurrency=500), 500),
            ((Endpoint("e"), Endpoint("w")), None, 2 * CONNECTIONS),
            ((Endpoint("e", concurrency=300), Endpoint("w")), Traffic(concurrency=20), 320),
        ],
    )
    async def test_connections_are_no_bottleneck(
        self, monkeypatch: pytest.MonkeyPatch, endpoints: tuple[Endpoint, ...], traffic: Traffic | None, expected: int
    ) -> None:
        """
        As many calls as the graph allows can be under way.
        """
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
        backend = await open_backend(spec(*endpoints, traffic=traffic))
        assert isinstance(backend, OpenAIBackend)

        assert expected == backend.connections
