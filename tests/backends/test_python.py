from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwalk.backends import ChatRequest, open_backend
from meshwalk.model import PythonSpec
from meshwalk.problems import BackendError, RateLimited, SetupError, Span
from meshwalk.trace import Message


pytestmark = pytest.mark.anyio

SOURCE = """
from meshwalk.problems import RateLimited
from meshwalk.trace import Reply

async def text(request): return "You said " + request.prompt
async def reply(request): return Reply("whole", confidence=0.5)
async def number(request): return 7
async def slow(request): raise RateLimited("later", backend="mine")
async def broken(request): raise ValueError(request.prompt)
async def gone(request): raise ConnectionResetError(request.prompt)
async def leaving(request): raise SystemExit(3)
async def odd(request): raise GeneratorExit
async def half(request): return chr(0xD800)
async def count(request): return Reply(5)
def plain(request): return "sync"

class Callable:
    async def __call__(self, request): return "object"

class holder:
    instance = Callable()
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "users_models.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "users_script.py").write_text("raise SystemExit(1)", encoding="utf-8")
    (tmp_path / "users_broken.py").write_text("import no_such_module_anywhere", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("users_models", None)


def spec(function: str) -> PythonSpec:
    return PythonSpec(name="mine", span=Span("g.yaml", 1, 1), function=function)


ASK = ChatRequest((Message("user", "secret words"),))


class TestChat:
    @pytest.mark.parametrize(
        ("function", "expected"), [("text", "You said secret words"), ("reply", "whole"), ("holder.instance", "object")]
    )
    async def test_a_reply_or_a_text_is_given(self, function: str, expected: str) -> None:
        """
        An async function, or an object that is called like one, answers with a Reply or a text.
        """
        backend = await open_backend(spec(f"users_models:{function}"))

        assert expected == (await backend.chat(ASK)).text
        await backend.aclose()

    async def test_its_own_backend_error_passes(self) -> None:
        """
        The function may choose the class it fails with.
        """
        with pytest.raises(RateLimited, match="later"):
            await (await open_backend(spec("users_models:slow"))).chat(ASK)

    @pytest.mark.parametrize(
        ("function", "error_class", "words"),
        [
            ("broken", "malformed", "the function of backend 'mine' raised ValueError"),
            ("gone", "unreachable", "the function of backend 'mine' raised ConnectionResetError"),
            ("leaving", "malformed", "the function of backend 'mine' raised SystemExit"),
            ("odd", "malformed", "the function of backend 'mine' raised GeneratorExit"),
            ("half", "malformed", "the function of backend 'mine' returned a reply whose text is no Unicode text"),
            ("count", "malformed", "the function of backend 'mine' returned a reply whose text is no Unicode text"),
            ("number", "malformed", "the function of backend 'mine' returned int, not a Reply or a text"),
        ],
    )
    async def test_what_else_goes_wrong_is_mapped(self, function: str, error_class: str, words: str) -> None:
        """
        The error has a class, may have cost something, and does not repeat what was said.
        """
        with pytest.raises(BackendError) as caught:
            await (await open_backend(spec(f"users_models:{function}"))).chat(ASK)

        assert (error_class, words, True) == (caught.value.error_class, str(caught.value), caught.value.billable)


class TestOpen:
    @pytest.mark.parametrize(
        ("function", "words"),
        [
            ("users_models:plain", "is not an async function; write 'async def'"),
            ("users_models:holder", "is not an async function"),
            ("users_models:none", "module 'users_models' has no 'none'"),
            ("no_such_module:f", r"cannot be imported \(ModuleNotFoundError: No module named 'no_such_module'\)"),
            ("users_script:f", r"cannot be imported \(SystemExit: 1\)"),
            ("users_broken:f", "cannot be imported .*no_such_module_anywhere"),
        ],
    )
    async def test_what_cannot_be_used_is_said_when_a_mesh_opens(self, function: str, words: str) -> None:
        """
        The error names the backend, the function and the remedy.
        """
        with pytest.raises(SetupError, match=words) as caught:
            await open_backend(spec(function))

        assert f"backend 'mine': '{function}'" in str(caught.value)
