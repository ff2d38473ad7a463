"""
The server that is measured: three hops behind `Route`, with its store on and its spans built.

Prints its port, and serves until its input ends; the first argument is the folder for its traces.  Further ones: `budgets` lets
the walks share budgets, `export` sends every span where the environment says, `keys ID SALT HASH` takes that key alone, and
`tls` takes the certificate in the folder.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from meshwalk.model.serving import Access, ApiKey, TenantRules, TlsFiles
from meshwalk.records.telemetry import Telemetry
from meshwalk.server import serve
from three_hops import plan, recording


def access_of(folder: Path, words: list[str]) -> Access:
    """
    Return who comes in.
    """
    if "keys" not in words:
        return Access()
    id_, salt, sha256 = words[words.index("keys") + 1 :][:3]
    tls = TlsFiles(certificate=str(folder / "server.pem"), key=str(folder / "server.key")) if "tls" in words else None

    return Access(tls=tls, keys=(ApiKey(id=id_, tenant="acme", salt=salt, sha256=sha256),), tenants={"acme": TenantRules()})


async def main() -> None:
    """
    Serve until standard input ends.
    """
    walked = plan(budgets="budgets" in sys.argv[2:])
    telemetry = Telemetry.from_environment() if "export" in sys.argv[2:] else None
    folder = Path(sys.argv[1])
    access = access_of(folder, sys.argv[2:])
    async with recording(folder, walked, telemetry=telemetry) as opened, serve([opened.mesh], access=access) as server:
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
