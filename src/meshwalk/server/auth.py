"""
The operator's bearer key, compared in constant time.

The key comes from the environment and goes nowhere else: no log, no error and no span holds it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from meshwalk.model.problems import SetupError
from meshwalk.server.calls import Context
from meshwalk.wire.errors import Unauthenticated
from meshwalk.wire.keys import key_from


_BEARER = "bearer "


class OperatorKey:
    """
    The key that callers must send to act as the operator; an empty key admits nobody.
    """

    def __init__(self, key: str = "") -> None:
        self._key = key.encode()

    def __repr__(self) -> str:
        # The key itself stays out of logs.
        return f"<OperatorKey: {'set' if self._key else 'none'}>"

    @classmethod
    def from_environment(cls, name: str, environment: Mapping[str, str]) -> OperatorKey:
        """
        Read the key from the variable *name*.

        Raises:
            SetupError: If it is not set, or holds what no header can.
        """
        return cls(key_from(name, environment))

    def matches(self, key: str) -> bool:
        """
        Return whether *key* is it.
        """
        return bool(self._key) and hmac.compare_digest(key.encode(), self._key)

    def check(self, context: Context) -> None:
        """
        Check that the caller of *context* sent the key.

        Raises:
            SetupError: If this server has no key.
            Unauthenticated: If the caller sent none, or another.
        """
        if not self._key:
            raise SetupError(
                "this server was given no operator's key, so it sets no budgets; "
                "start it with `--operator-key-env NAME`, where NAME is an environment variable that holds one"
            )
        header = _authorization(context)
        scheme, key = header[: len(_BEARER)], header[len(_BEARER) :]
        if scheme.lower() != _BEARER or not self.matches(key):
            raise Unauthenticated(
                "setting a budget takes the operator's key, and this call has "
                f"{'another' if header else 'none'}; send it as `authorization: Bearer …`"
            )


def _authorization(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return value if isinstance(value, str) else ""

    return ""
