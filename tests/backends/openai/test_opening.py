from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from meshwalk.backends import open_backend
from meshwalk.model import OpenAISpec
from meshwalk.model.problems import SetupError, Span
from tests.backends.chat_endpoint import ASK, KEY, answer, serving


pytestmark = pytest.mark.anyio


class TestOpen:
    def spec(self, **changes: Any) -> OpenAISpec:
        return OpenAISpec(name="large", span=Span("g.yaml", 1, 1), model="large-1", **changes)

    async def test_address_and_key_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Names in the address are filled in, and the key is sent as it stands in its variable.
        """
        seen: list[str] = []

        async def handler(request: web.Request) -> web.Response:
            seen.append(request.headers["Authorization"])
            return web.json_response(answer())

        async with serving(handler) as url:
            monkeypatch.setenv("LARGE_HOST", url.removesuffix("/v1/"))
            monkeypatch.setenv("LARGE_KEY", KEY + "\n")
            backend = await open_backend(self.spec(base_url="${LARGE_HOST}/v1", key_env="LARGE_KEY"))
            await backend.chat(ASK)
            await backend.aclose()

        assert [f"Bearer {KEY}"] == seen

    @pytest.mark.parametrize(
        ("changes", "variable"),
        [({}, "OPENAI_BASE_URL"), ({"base_url": "${LARGE_URL}"}, "LARGE_URL"), ({"base_url": "http://x", "key_env": "K"}, "K")],
    )
    async def test_a_missing_variable_is_named(
        self, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], variable: str
    ) -> None:
        """
        The error says which variable to set; an empty one counts as missing.
        """
        monkeypatch.setenv(variable, " ")

        with pytest.raises(SetupError, match=f"backend 'large' needs the environment variable {variable}, which is not set"):
            await open_backend(self.spec(**changes))

    async def test_all_missing_variables_are_named_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Who sets one variable is not told of the next one only then.
        """
        monkeypatch.delenv("LARGE_URL", raising=False)
        monkeypatch.delenv("LARGE_KEY", raising=False)

        with pytest.raises(
            SetupError, match="needs the environment variables LARGE_URL, LARGE_KEY, which are not set; set them"
        ):
            await open_backend(self.spec(base_url="${LARGE_URL}", key_env="LARGE_KEY"))

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("http://user:hidden@127.0.0.1:1/v1", "has a user or a password in it"),
            ("http://hidden@127.0.0.1:1/v1", "has a user or a password in it"),
            ("http://127.0.0.1:99999/hidden", "has a host or a port that cannot be one"),
            ("http://127.0.0.1:0/hidden", "has a host or a port that cannot be one"),
            ("http://[::1/hidden", "has a host or a port that cannot be one"),
            ("http://:80/hidden", "has a host or a port that cannot be one"),
            ("http://a..b/hidden", "has a host or a port that cannot be one"),
        ],
    )
    async def test_an_address_that_cannot_be_called_does_not_open(
        self, monkeypatch: pytest.MonkeyPatch, url: str, words: str
    ) -> None:
        """
        What would fail at every call is refused before the first, and what the variable holds is not shown.
        """
        monkeypatch.setenv("LARGE_URL", url)

        with pytest.raises(SetupError, match=f"backend 'large': its base_url {words}") as caught:
            await open_backend(self.spec(base_url="${LARGE_URL}"))

        assert "hidden" not in str(caught.value)

    async def test_a_bad_address_is_not_repeated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        What came from the environment is named by its variable, what stands in the graph is quoted.
        """
        monkeypatch.setenv("LARGE_URL", "ftp://hidden")

        with pytest.raises(SetupError, match="is made of LARGE_URL from the environment") as caught:
            await open_backend(self.spec(base_url="${LARGE_URL}"))
        with pytest.raises(SetupError, match="'localhost:80'"):
            await open_backend(self.spec(base_url="localhost:80"))

        assert "hidden" not in str(caught.value)

    async def test_a_key_that_cannot_be_one_is_not_repeated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A variable that holds a sentence is refused by its name.
        """
        monkeypatch.setenv("LARGE_KEY", "two words")

        with pytest.raises(SetupError, match="what LARGE_KEY holds cannot be a key") as caught:
            await open_backend(self.spec(base_url="http://x", key_env="LARGE_KEY"))

        assert "two words" not in str(caught.value)
