"""
Several processes behind one port: a supervisor that starts workers, replaces those that die, and stops them together.

The kernel shares the connections to a port among all that listen there with SO_REUSEPORT, in turn where it can (`reuseport`).
The supervisor is bound to the port too and never listens, so that port 0 is chosen once and nobody else takes the port while a
worker is replaced.  A worker is any command that writes one line of JSON to stdout when it is ready, stops on SIGTERM, and
stops when its stdin ends (`lifeline`): the kernel closes that pipe however the supervisor ends, `kill -9` included.

The first worker starts alone: a fault that keeps one from starting keeps all, and is reported once.
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
from meshwalk.wire.address import checked_address, socket_path


# The pause before a dead worker is replaced: short for one that had served, ever longer for one that dies again and again.
FIRST_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 10.0
SETTLED_SECONDS = 30.0

# The time past its own grace after which a worker is killed.
MARGIN_SECONDS = 5.0

# The time between two signals to workers that are to make haste.
HURRY_SECONDS = 0.5

# The exit codes of a worker that was told to stop: one told very early has no handler for the signal yet.
_STOPPED = (0, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, 130)

# The beginning of a worker's line of JSON.
_READY = b'{"ready":true'


class WorkerFailed(Exception):
    """
    The end of a worker before it was ready; it wrote the reason to stderr.

    Args:
        stdout: The text that it wrote to stdout.
    """

    def __init__(self, code: int, stdout: str) -> None:
        self.code = code
        self.stdout = stdout
        super().__init__(f"a worker ended with {code} before it was ready")


# An address of a family that this machine does not have; `localhost` may name one.
_ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


@contextmanager
def reserved_port(listen: str) -> Iterator[str]:
    """
    Keep the port of *listen* for workers, and give the address with the port that port 0 became.

    Raises:
        SetupError: If it is no address, or something is there already.
    """
    checked_address(listen, first_port=0)
    if socket_path(listen) is not None:
        raise SetupError(
            f"workers share a port, and no Unix socket; serve {listen!r} with one worker, or listen at 127.0.0.1:0"
        )
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
            # The kernel lets a port be shared unasked, so a socket that does not share first tests that it is free.
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


def _keep(listener: socket.socket, where: tuple[Any, ...]) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        # Binding without SO_REUSEADDR keeps the address from all that do not share the port.
        _bound(listener, where, reuse=False)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        # Ended connections of a server that did not share the port linger for a while.
        _bound(listener, where)


def _bound(listener: socket.socket, where: tuple[Any, ...], *, reuse: bool = True) -> int:
    if listener.family == socket.AF_INET6:
        # As gRPC does: `[::]` is every address of either family.
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    # Ended connections that linger keep nobody from listening again.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
    listener.bind(where)

    return int(listener.getsockname()[1])


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


class WorkerPool:
    """
    Running processes of one command, see `worker_pool`.

    Args:
        report: Called with a sentence on each worker that died.
        grace: The most seconds that a worker takes to stop by itself.

    Attributes:
        ready: The line of the worker that became ready last.
    """

    def __init__(self, command: Sequence[str], report: Callable[[str], None], grace: float) -> None:
        self._command = command
        self._report = report
        self._grace = grace
        self._running: dict[int, Process] = {}
        self._stopping = False
        self._hasty = anyio.Event()
        self.ready: dict[str, Any] = {}

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
        # A cancellation between start and note would leave the process behind.
        with anyio.CancelScope(shield=True):
            # In a session of its own, so that Ctrl-C reaches the supervisor alone, which stops them in order.
            process = await anyio.open_process(self._command, stdin=PIPE, stdout=PIPE, stderr=None, start_new_session=True)
            self._running[number] = process

    async def _ready(self, number: int) -> None:
        process = self._running[number]
        line = await _ready_line(process)
        if not line.startswith(_READY):
            code = await process.wait()
            raise WorkerFailed(code, line.decode(errors="replace"))
        self.ready = orjson.loads(line)

    async def keep(self, number: int) -> None:
        """
        Replace worker *number* whenever it has died.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            began = anyio.current_time()
            await self._running[number].wait()
            if self._stopping:
                return
            await self._die(number, pause)
            if anyio.current_time() - began > SETTLED_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            await anyio.sleep(pause)
            pause = min(MAX_PAUSE_SECONDS, 2 * pause)
            # A worker that cannot start is one more that died.
            with suppress(WorkerFailed):
                await self.start(number)

    async def _die(self, number: int, pause: float) -> None:
        process = self._running[number]
        code = await process.wait()
        del self._running[number]
        await process.aclose()
        # One that ends by itself stores its records first.
        lost = "; walks of its last second may have no record" if code < 0 else ""
        self._report(f"worker {number + 1} (process {process.pid}) {_ended(code)}; another one starts in {pause:g} s{lost}")

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """
        Let every worker end its calls, kill those that take too long, and report each that did not end well.

        Args:
            number: The signal that tells them.
        """
        self._stopping = True
        # A worker that had ended before was reported then.
        running = {worker for worker, process in self._running.items() if process.returncode is None}
        for process in self._running.values():
            _signal(process, number)
        patience = self._grace + MARGIN_SECONDS
        with anyio.move_on_after(patience):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._hurry)
                for process in self._running.values():
                    await process.wait()
                tasks.cancel_scope.cancel()
        for worker, process in sorted(self._running.items()):
            code = process.returncode
            _signal(process, signal.SIGKILL)
            await process.aclose()
            if worker in running and code not in _STOPPED:
                end = (
                    f"had not stopped after {patience:g} s and was killed" if code is None else f"{_ended(code)} as it stopped"
                )
                self._report(f"worker {worker + 1} (process {process.pid}) {end}; what it had not recorded yet is lost")
        self._running.clear()

    def hasten(self) -> None:
        """
        Let workers that are stopping cut off what they wait for.
        """
        self._hasty.set()

    async def _hurry(self) -> None:
        await self._hasty.wait()
        while True:
            # Two signals are one to a process that has not looked at the first yet, so they come again.
            for process in self._running.values():
                _signal(process, signal.SIGTERM)
            await anyio.sleep(HURRY_SECONDS)


@asynccontextmanager
async def worker_pool(
    command: Sequence[str], count: int, *, report: Callable[[str], None], grace: float
) -> AsyncIterator[WorkerPool]:
    """
    Keep *count* processes of *command* running until the context is left.

    Raises:
        WorkerFailed: If one cannot start.
    """
    workers = WorkerPool(command, report, grace)
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


async def _ready_line(process: Process) -> bytes:
    """
    Read the line by which *process* reports that it is ready, or all of its output if it never does.
    """
    assert process.stdout is not None
    output = b""
    with suppress(anyio.EndOfStream):
        while not (output.startswith(_READY) and output.endswith(b"\n")):
            output += await process.stdout.receive()

    return output


def _signal(process: Process, number: signal.Signals) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number)
