"""
Several processes behind one port: a supervisor that starts workers, replaces those that die, and stops them together.

The kernel shares the connections to a port among all who listen there with SO_REUSEPORT, in turns where it lets itself be
told to (`turns`).  The supervisor is bound to it too and
never listens, so that port 0 is chosen once and nobody else takes the port while a worker is being replaced.  A worker is any
command that writes one line of JSON to stdout when it is ready, stops on SIGTERM, and stops when its stdin ends (`lifeline`):
the kernel closes that pipe however the supervisor ends, `kill -9` included.

The first worker starts alone: what keeps one from starting keeps all of them, and is said once.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from subprocess import PIPE
from typing import Any

import anyio
import orjson
from anyio.abc import Process

from meshwalk.model.problems import SetupError
from meshwalk.wire.address import checked_address


# How long a worker that died is waited for: soon for one that had served, ever longer for one that dies again and again.
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
SETTLED_SECONDS = 30.0

# How much longer than its own grace a worker is given before it is killed.
MARGIN_SECONDS = 5.0

# How a worker ends that is told to stop: one that is told very early has not learnt yet what that means.
_STOPPED = (0, -signal.SIGTERM)

# How a worker's line begins.
_READY = b'{"ready":true'


class WorkerFailed(Exception):
    """
    Say that a worker ended before it was ready; why, it has told on stderr.

    Args:
        said: What it wrote to stdout.
    """

    def __init__(self, code: int, said: str) -> None:
        self.code = code
        self.said = said
        super().__init__(f"a worker ended with {code} before it was ready")


# An address of a family that this machine does not have; `localhost` may name one.
_ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


@contextmanager
def reserved(listen: str) -> Iterator[str]:
    """
    Keep the port of *listen* for workers, and give the address with the port that port 0 became.

    Raises:
        SetupError: If it is no address, or something is there already.
    """
    checked_address(listen, first_port=0)
    host, _, text = listen.rpartition(":")
    with ExitStack() as stack:
        try:
            port = _reserve(stack, host.strip("[]"), int(text))
        except OSError as error:
            raise SetupError(
                f"cannot listen at {listen!r}: it is no address of this machine, or something listens there already"
            ) from error
        yield f"{host}:{port}"


def _reserve(stack: ExitStack, host: str, port: int) -> int:
    absent: OSError | None = None
    reserved = False
    for family, _, _, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
        try:
            # Nobody is asked before a port is shared; so first look, as one who does not share, whether it is free.
            with socket.socket(family) as alone:
                port = _bound(alone, (where[0], port, *where[2:]))
            _keep(stack.enter_context(socket.socket(family)), (where[0], port, *where[2:]))
            reserved = True
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            absent = error
    if absent is not None and not reserved:
        raise absent

    return port


def _keep(one: socket.socket, where: tuple[Any, ...]) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        # Who binds without leave to reuse the address keeps it from all who do not share the port.
        _bound(one, where, reuse=False)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        # Connections that ended are left of a server that did not share it; they go by themselves.
        _bound(one, where)


def _bound(one: socket.socket, where: tuple[Any, ...], *, reuse: bool = True) -> int:
    if one.family == socket.AF_INET6:
        # As gRPC does: `[::]` is every address of either family.
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    # What is left of connections that ended keeps nobody from listening again.
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
    one.bind(where)

    return int(one.getsockname()[1])


def lifeline() -> None:
    """
    Stop this process, as SIGTERM does, when its stdin ends.
    """

    def watch() -> None:
        # Not through `sys.stdin`, whose lock would be held when the interpreter ends.
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="meshwalk-lifeline", daemon=True).start()


class Workers:
    """
    Keep processes of one command running, see `working`.

    Args:
        complain: Told of each worker that died.
        grace: How many seconds a worker takes at most to stop by itself.
    """

    def __init__(self, command: Sequence[str], complain: Callable[[str], None], grace: float) -> None:
        self._command = command
        self._complain = complain
        self._grace = grace
        self._running: dict[int, Process] = {}
        self.said: dict[str, Any] = {}

    @property
    def pids(self) -> list[int]:
        """
        Return the ids of the processes that run now, by worker.
        """
        return [process.pid for _, process in sorted(self._running.items())]

    async def start(self, *numbers: int) -> None:
        """
        Start the workers of these *numbers* together, and wait until all are ready.

        Raises:
            WorkerFailed: If one ends instead.
        """
        for number in numbers:
            await self._spawn(number)
        for number in numbers:
            await self._ready(number)

    async def _spawn(self, number: int) -> None:
        # A process that nobody knows of would be left behind.
        with anyio.CancelScope(shield=True):
            # In a session of its own, so that Ctrl-C reaches the supervisor alone, which stops them in order.
            process = await anyio.open_process(self._command, stdin=PIPE, stdout=PIPE, stderr=None, start_new_session=True)
            self._running[number] = process

    async def _ready(self, number: int) -> None:
        process = self._running[number]
        said = await _said(process)
        if not said.startswith(_READY):
            code = await process.wait()
            raise WorkerFailed(code, said.decode(errors="replace"))
        self.said = orjson.loads(said)

    async def keep(self, number: int) -> None:
        """
        Replace worker *number* whenever it has died.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            began = anyio.current_time()
            await self._die(number, pause)
            if anyio.current_time() - began > SETTLED_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            await anyio.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)
            # One that cannot start has died as well.
            with suppress(WorkerFailed):
                await self.start(number)

    async def _die(self, number: int, pause: float) -> None:
        process = self._running[number]
        code = await process.wait()
        del self._running[number]
        await process.aclose()
        self._complain(f"worker {number + 1} (process {process.pid}) {_ended(code)}; another one starts in {pause:g} s")

    async def stop(self) -> None:
        """
        Let every worker end what it does, and kill those that do not come to an end; who does not end well is told of.
        """
        # One that had ended before was told of then.
        running = {number for number, process in self._running.items() if process.returncode is None}
        for process in self._running.values():
            _tell(process, signal.SIGTERM)
        patience = self._grace + MARGIN_SECONDS
        with anyio.move_on_after(patience):
            for process in self._running.values():
                await process.wait()
        for number, process in sorted(self._running.items()):
            code = process.returncode
            _tell(process, signal.SIGKILL)
            await process.aclose()
            if number in running and code not in _STOPPED:
                how = (
                    f"had not stopped after {patience:g} s and was killed" if code is None else f"{_ended(code)} as it stopped"
                )
                self._complain(f"worker {number + 1} (process {process.pid}) {how}; what it had not recorded yet is lost")
        self._running.clear()


@asynccontextmanager
async def working(
    command: Sequence[str], count: int, *, complain: Callable[[str], None], grace: float
) -> AsyncIterator[Workers]:
    """
    Keep *count* processes of *command* running until the context is left.

    Raises:
        WorkerFailed: If one cannot start.
    """
    workers = Workers(command, complain, grace)
    try:
        await workers.start(0)
        await workers.start(*range(1, count))
        async with anyio.create_task_group() as keepers:
            for number in range(count):
                keepers.start_soon(workers.keep, number)
            yield workers
            keepers.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await workers.stop()


def _ended(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


async def _said(process: Process) -> bytes:
    """
    Read the line that says that *process* is ready, or all it says if that is not what it says.
    """
    assert process.stdout is not None
    said = b""
    with suppress(anyio.EndOfStream):
        while not (said.startswith(_READY) and said.endswith(b"\n")):
            said += await process.stdout.receive()

    return said


def _tell(process: Process, what: signal.Signals) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(what)
