"""
Retries that cost nothing: requests with one idempotency key are walked once.

The first request claims its key in the vault and walks; later ones, at any server of the same vault, get the result of that
walk.  The walk goes on when its caller goes away, since a key announces that the caller will come back.  If its process dies,
the claim runs out with the walk's own deadline, and the next request walks.  A walk that failed and cost nothing frees its key,
so that trying again may help.  Every answer, and every walk that cost something, is kept in the vault for the retry window.
Prompts are not kept: of the request there is only a hash.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from copy import copy
from typing import Any

import anyio
import orjson
from anyio import CancelScope

from meshwalk.budgets.vaults import DEFAULT_TENANT, Vault
from meshwalk.model import Limits
from meshwalk.model.problems import RequestError, RequestInProgress, VaultUnavailable, Violation
from meshwalk.plan import Plan
from meshwalk.records.results import RouteResult
from meshwalk.trace import Message, Outcome, Request, ToolCall, decode, encode


_log = logging.getLogger(__name__)

# Past its deadline a walk keeps its claim so long, for its last steps.
CLAIM_GRACE_US = 5_000_000


class IdempotentWalks:
    """
    The walks over *plan* whose requests carry an idempotency key.

    Args:
        keep_us: How long a walk is kept for retries after its end.
        spawn: Starts a task that goes on when the caller has gone, and that is waited for.
    """

    def __init__(
        self, plan: Plan, vault: Vault, keep_us: int, spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], object]
    ) -> None:
        self._plan = plan
        self._vault = vault
        self._keep_us = keep_us
        self._spawn = spawn

    async def walk(
        self, request: Request, tenant: str, limits: Limits, start: Callable[[], Awaitable[RouteResult]]
    ) -> RouteResult:
        """
        Return what *start* gives, or what an earlier request with the same key was given.

        Raises:
            RequestError: If the key was used for another request.
            RequestInProgress: If the first walk has not ended within this request's own deadline.
            VaultUnavailable: If the vault does not answer, so that nobody knows whether the key was used.
        """
        tenant = tenant or DEFAULT_TENANT
        owner, fingerprint = f"{random.getrandbits(128):032x}", self._fingerprint(request)
        assert limits.deadline_us is not None
        lease_us = limits.deadline_us + CLAIM_GRACE_US
        until = anyio.current_time() + limits.deadline_us / 1e6
        pause, longest = self._vault.poll_seconds
        line = tenant, "retries", request.idempotency_key
        while True:
            # A claim whose answer nobody waits for would keep the key from everyone until its lease ends.
            with CancelScope(shield=True):
                claim = await self._vault.claim(tenant, request.idempotency_key, owner, fingerprint, lease_us)
            if claim.fingerprint != fingerprint:
                why = "was used for another request within its window; take a new key for each request"
                raise RequestError([Violation("idempotency_key", why)])
            if claim.result is not None:
                # Others may wait for it as well.
                self._vault.waiters.wake_next(line)
                return self._unpacked(claim.result)
            if claim.owner == owner:
                return await self._first(request.idempotency_key, tenant, owner, start)
            left = until - anyio.current_time()
            if left <= 0:
                message = "the first request with this idempotency key is still under way; ask again with the same key"
                raise RequestInProgress(message)
            await self._vault.waiters.wait(line, min(left, pause * random.uniform(0.5, 1.5)))  # noqa: S311 (no secret)
            pause = min(longest, 2 * pause)

    async def _first(self, key: str, tenant: str, owner: str, start: Callable[[], Awaitable[RouteResult]]) -> RouteResult:
        ended = anyio.Event()
        walked: list[RouteResult] = []
        failed: list[Exception] = []

        async def go_on() -> None:
            result: bytes | None = None
            try:
                walked.append(await start())
                result = _packed(walked[0]) if _is_kept(walked[0]) else None
            except Exception as error:  # noqa: BLE001 (it is the caller's, who waits or has gone)
                failed.append(error)
            finally:
                with CancelScope(shield=True):
                    await self._finish(key, tenant, owner, result)
                ended.set()

        self._spawn(go_on)
        await ended.wait()
        if failed:
            raise failed[0]
        if not walked:
            raise RequestInProgress("the walk of this idempotency key was cut off; ask again with the same key")

        return walked[0]

    async def _finish(self, key: str, tenant: str, owner: str, result: bytes | None) -> None:
        try:
            await self._vault.finish(tenant, key, owner, result, self._keep_us)
        except VaultUnavailable as error:
            # The answer is there all the same; the claim runs out by itself, and a retry after that walks again.
            _log.warning("a retry of this walk may be walked again: %s", error)
        self._vault.waiters.wake_next((tenant, "retries", key))

    def _fingerprint(self, request: Request) -> str:
        # A retry has less time left, and is the same request all the same.
        limits = request.limits._replace(deadline_us=None)
        asked = [
            self._plan.name,
            [_listed(message) for message in request.messages],
            _listed(request.form),
            sorted(request.attributes.items()),
            list(request.sampling),
            list(request.scopes),
            list(limits),
        ]

        return hashlib.sha256(orjson.dumps(asked)).hexdigest()

    def _unpacked(self, result: bytes) -> RouteResult:
        # What is carried came later than the first results that were kept.
        answer, finish_reason, calls, partial, record, *carried = orjson.loads(result)
        traversal = decode(record.encode())
        # An earlier walk may be of an earlier plan, which is not here to say what its hops were.
        plan = self._plan if traversal.plan_digest == self._plan.plan_digest else None
        tool_calls = tuple(ToolCall(*call) for call in calls)

        return RouteResult(
            traversal,
            plan,
            answer,
            finish_reason,
            repeated=True,
            tool_calls=tool_calls,
            partial=partial,
            carried="".join(carried),
        )


def _listed(value: Any) -> Any:
    # orjson takes no NamedTuple, and some lie in others.
    if isinstance(value, Message | ToolCall) and not value.carried:
        # As it was before there was anything to carry, so that a retry is known by servers of either age.
        value = value[: value._fields.index("carried")]

    return [_listed(part) for part in value] if isinstance(value, tuple) else value


_KEPT = frozenset({Outcome.ANSWERED, Outcome.REFUSED})


def _is_kept(walked: RouteResult) -> bool:
    return walked.outcome in _KEPT or walked.traversal.cost_nano_usd > 0


def _packed(walked: RouteResult) -> bytes:
    # What a graph records is redacted first, for its sinks; who asks again has the words.
    traversal = copy(walked.traversal)
    traversal.content = None

    words = [walked.answer, walked.finish_reason, [list(call) for call in walked.tool_calls], walked.partial]

    return orjson.dumps([*words, encode(traversal).decode(), walked.carried])
