from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwalk.backends import ChatRequest, open_backend
from meshwalk.backends.python import FIELDS
from meshwalk.mesh import Mesh
from meshwalk.model import PythonSpec
from meshwalk.model.private_text import disclosed_error
from meshwalk.model.problems import BackendError, Malformed, RateLimited, SetupError, Span
from meshwalk.trace import Message, Reply, Timing, TokenProbabilities, ToolCall, Usage
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

SOURCE = """
from meshwalk.model.private_text import disclosed_error
from meshwalk.model.problems import RateLimited
from meshwalk.trace import Reply

REPLY = None

async def text(request): return "You said " + request.prompt
async def reply(request): return Reply("whole", confidence=0.5)
async def number(request): return 7
async def slow(request): raise RateLimited("later", backend="mine")
async def broken(request): raise ValueError(request.prompt)
async def gone(request): raise ConnectionResetError(request.prompt)
async def leaving(request): raise SystemExit(3)
async def odd(request): raise GeneratorExit
async def half(request): return chr(0xD800)
async def told(request): return REPLY
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
        with pytest.raises(RateLimited) as caught:
            await (await open_backend(spec("users_models:slow"))).chat(ASK)

        assert "later" == disclosed_error(caught.value)
        assert "the function of backend 'mine' raised RateLimited: a text of 5 characters" == str(caught.value)

    @pytest.mark.parametrize(
        ("function", "error_class", "words"),
        [
            ("broken", "malformed", "the function of backend 'mine' raised ValueError"),
            ("gone", "unreachable", "the function of backend 'mine' raised ConnectionResetError"),
            ("leaving", "malformed", "the function of backend 'mine' raised SystemExit"),
            ("odd", "malformed", "the function of backend 'mine' raised GeneratorExit"),
            ("half", "malformed", "the function of backend 'mine' returned a reply whose text is not Unicode text"),
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


HALF = chr(0xD800)


class TestReplies:
    def test_every_field_is_looked_at(self) -> None:
        """
        Whatever a reply may hold has an entry that says what it must be.
        """
        assert sorted(Reply.__slots__) == sorted(FIELDS)

    @pytest.mark.parametrize(
        "reply",
        [
            Reply("", finish_reason="", cost_nano_usd=0, confidence=0, samples=()),
            Reply(
                "x",
                usage=Usage(2**40 - 1, 0, 1, 2),
                cost_nano_usd=2**53 - 1,
                confidence=-0.5,
                probabilities=TokenProbabilities(0.5, 0.4),
                timing=Timing(1, 2, 3),
                model="m",
                simulated=True,
                tool_calls=(ToolCall("1", "look", "{}"),),
                samples=("x", "y"),
                cache_age_us=3,
            ),
        ],
        ids=["least", "most"],
    )
    async def test_what_fits_passes_as_it_is(self, reply: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A reply within the types and bounds is given on untouched.
        """
        assert reply is await self.given(reply, monkeypatch)

    @pytest.mark.parametrize(
        ("field", "value", "what"),
        [
            ("text", 5, "Unicode text"),
            ("finish_reason", None, "Unicode text"),
            ("finish_reason", HALF, "Unicode text"),
            ("model", b"m", "Unicode text"),
            ("usage", (1, 2, 0, 0), "a Usage of whole numbers from 0 to 2^40 - 1, or None"),
            ("usage", Usage._make((1.5, 2, 0, 0, 0)), "a Usage of whole numbers from 0 to 2^40 - 1, or None"),
            ("usage", Usage(2**40), "a Usage of whole numbers from 0 to 2^40 - 1, or None"),
            ("usage", Usage(1, -2), "a Usage of whole numbers from 0 to 2^40 - 1, or None"),
            ("usage", tuple.__new__(Usage, (1, 2)), "a Usage of whole numbers from 0 to 2^40 - 1, or None"),
            ("timing", tuple.__new__(Timing, (1, 2, 3, 4)), "a Timing of whole numbers from 0 to 2^40 - 1"),
            ("tool_calls", (tuple.__new__(ToolCall, ("1",)),), "a tuple of ToolCalls of Unicode text"),
            ("confidence", 10**400, "a finite number, or None"),
            ("cost_nano_usd", 2**53, "a whole number from 0 to 2^53 - 1, or None"),
            ("cost_nano_usd", True, "a whole number from 0 to 2^53 - 1, or None"),
            ("confidence", float("nan"), "a finite number, or None"),
            ("confidence", "high", "a finite number, or None"),
            ("probabilities", TokenProbabilities(float("inf"), 0.1), "TokenProbabilities of finite numbers, or None"),
            ("timing", None, "a Timing of whole numbers from 0 to 2^40 - 1"),
            ("simulated", 1, "True or False"),
            ("tool_calls", [ToolCall("1", "look", "{}")], "a tuple of ToolCalls of Unicode text"),
            ("tool_calls", (ToolCall("1", "look", HALF),), "a tuple of ToolCalls of Unicode text"),
            ("samples", ("x", HALF), "a tuple of Unicode texts"),
            ("cache_age_us", 1.0, "a whole number from 0 to 2^40 - 1, or None"),
        ],
    )
    async def test_what_does_not_fit_is_malformed(
        self, field: str, value: object, what: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        The error names the field and what it must be, and not what it held; the call may have cost something.
        """
        reply = Reply("x")
        setattr(reply, field, value)
        with pytest.raises(Malformed) as caught:
            await self.given(reply, monkeypatch)

        words = f"the function of backend 'mine' returned a reply whose {field} is not {what}"
        assert (words, True) == (str(caught.value), caught.value.billable)

    async def given(self, reply: Reply, monkeypatch: pytest.MonkeyPatch) -> Reply:
        backend = await open_backend(spec("users_models:told"))
        monkeypatch.setattr(sys.modules["users_models"], "REPLY", reply)

        return await backend.chat(ASK)

    async def test_the_walk_goes_on_as_the_graph_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A cost that no record and no message has room for follows `on_error`, and the caller has an answer.
        """
        plan = plan_of(
            """
            meshwalk: 1
            name: fallback
            start: first
            backends:
              mine: {kind: python, function: "users_models:told"}
              other: {kind: simulated}
            nodes:
              first: {role: answer, backend: mine, next: done, on_error: second}
              second: {role: primary, backend: other, next: done}
            """
        )
        async with Mesh(plan) as mesh:
            monkeypatch.setattr(sys.modules["users_models"], "REPLY", Reply("x", cost_nano_usd=2**63))
            walked = await mesh.route("Hello")

        assert ("first", "second") == walked.path


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
