"""
The scripted backend.
"""

from __future__ import annotations

import pytest

from meshwalk.backends.base import ChatRequest
from meshwalk.model.problems import Overloaded
from meshwalk.testing import ScriptedBackend
from meshwalk.trace import Message, Reply, Usage


pytestmark = pytest.mark.anyio

REQUEST = ChatRequest((Message("user", "Hello"),))


class TestScriptedBackend:
    async def test_replies_one_after_the_other(self) -> None:
        """
        Answers come in order, the last one from then on, and errors are raised.
        """
        backend = ScriptedBackend.replying(Overloaded("busy", backend="b"), "first", Reply("last"))
        with pytest.raises(Overloaded, match="busy"):
            await backend.chat(REQUEST)
        replies = [await backend.chat(REQUEST) for _ in range(3)]

        assert ["first", "last", "last"] == [reply.text for reply in replies]
        assert Usage(10, 5) == replies[0].usage
        assert [REQUEST] * 4 == backend.requests
        assert "<ScriptedBackend: 4 requests>" == repr(backend)

    async def test_a_script_may_wait(self) -> None:
        """
        A script is a function of the request, which may be asynchronous.
        """

        async def script(request: ChatRequest) -> str:
            return request.messages[0].content.upper()

        backend = ScriptedBackend(script)

        assert "HELLO" == (await backend.chat(REQUEST)).text

    async def test_tells_whether_it_was_closed(self) -> None:
        """
        A test can see that a backend was closed.
        """
        backend = ScriptedBackend.replying("x")
        await backend.aclose()

        assert backend.closed
