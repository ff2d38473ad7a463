"""
The flags of a connection to a server, which every command with --target takes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from meshwalk.cli.options import existing_file, name_text
from meshwalk.cli.output import Misuse


if TYPE_CHECKING:
    from meshwalk.wire.client import Client


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFlags:
    """
    The flags that were set.

    Parameters
    ----------
    tls
        With --target: speak TLS, and trust the authorities that everybody does.
    tls_ca
        With --target: speak TLS, and trust the authorities in this file.
    tls_cert
        This caller's certificate, where the server asks for one.
    tls_key
        The key of --tls-cert.
    api_key_env
        The environment variable that holds the API key, or the token, to send.
    insecure
        Send it in the clear, even to another machine.
    """

    tls: Annotated[bool, Parameter(negative="")] = False
    tls_ca: Annotated[str | None, Parameter(name="--tls-ca", converter=existing_file)] = None
    tls_cert: Annotated[str | None, Parameter(name="--tls-cert", converter=existing_file)] = None
    tls_key: Annotated[str | None, Parameter(name="--tls-key", converter=existing_file)] = None
    api_key_env: Annotated[str | None, Parameter(name="--api-key-env", converter=name_text)] = None
    insecure: Annotated[bool, Parameter(negative="")] = False

    def check_unused(self) -> None:
        """
        Check that none was set, where no server is called.

        Raises:
            Misuse: If one was.
        """
        for field in fields(self):
            if getattr(self, field.name):
                raise Misuse(f"--{field.name.replace('_', '-')} is for a connection to a server; leave it out without --target")

    def client(self, target: str) -> Client:
        """
        Return a client of *target* with these flags.

        Raises:
            SetupError: If a file cannot be read, the variable is not set, or the key would be sent in the clear.
        """
        from meshwalk.wire.client import Client, TlsOptions
        from meshwalk.wire.keys import key_from

        options: dict[str, Any] = {}
        if self.tls or self.tls_ca or self.tls_cert or self.tls_key:
            options["tls"] = TlsOptions(self.tls_ca, self.tls_cert, self.tls_key)
        if self.api_key_env is not None:
            options["api_key"] = key_from(self.api_key_env, os.environ)

        return Client(target, insecure=self.insecure, **options)


NO_FLAGS = RemoteFlags()
