"""
Retries that cost nothing: requests with one idempotency key are walked once.

The first request claims its key in the vault and walks.  Later ones, at any server of the same vault, get the result of that
walk.  The walk goes on when its caller goes away, since a key announces that the caller will come back.  If its process dies,
the claim expires with the walk's own deadline, and the next request walks.  A walk that failed and cost nothing frees its key,
so that a retry may succeed; so does a refusal to which an `on_error` edge led, since a fault led there and no decision.  Every
answer, every other refusal, and every walk that cost something stays in the vault for the retry window.
The vault keeps no prompt, only a hash of the request.
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
from meshwalk.engine.cut import CutWalk, closed_error, cut_of
from meshwalk.model import Limits
from meshwalk.model.problems import RequestError, RequestInProgress, VaultUnavailable, Violation
from meshwalk.model.rate_limited_log import RateLimitedLog
from meshwalk.plan import Plan
from meshwalk.records.results import RouteResult
from meshwalk.trace import Message, Outcome, Request, ToolCall, decode, encode


_log = logging.getLogger(__name__)

# A walk keeps its claim so long past its deadline, for its last steps.
CLAIM_GRACE_US = 5_000_000


class IdempotentWalks:
    """
    The walks over *plan* whose requests carry an idempotency key.

    Args:
        keep_us: The time that a result is kept for retries after the walk's end.
        spawn: Starts a task that outlives its caller, and that the mesh waits for when it closes.
    """

    def __init__(
        self, plan: Plan, vault: Vault, keep_us: int, spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], object]
    ) -> None:
        self._plan = plan
        self._vault = vault
        self._keep_us = keep_us
        self._spawn = spawn
        self._unfinished = RateLimitedLog(_log)

    async def walk(
        self, request: Request, tenant: str, limits: Limits, start: Callable[[], Awaitable[RouteResult]]
    ) -> RouteResult:
        """
        Return the result of *start*, or that of an earlier request with the same key.

        Raises:
            RequestError: If the key was used for another request.
            RequestInProgress: If the first walk has not ended within this request's own deadline.
            VaultUnavailable: If the vault does not answer, so that a walk might be a second one.
        """
        tenant = tenant or DEFAULT_TENANT
        owner, fingerprint = f"{random.getrandbits(128):032x}", self._fingerprint(request)
        assert limits.deadline_us is not None
        lease_us = limits.deadline_us + CLAIM_GRACE_US
        deadline = anyio.current_time() + limits.deadline_us / 1e6
        pause_seconds, longest_seconds = self._vault.poll_seconds
        queue = tenant, "retries", request.idempotency_key
        while True:
            # A claim that is cancelled halfway might hold the key until its lease ends.
            with CancelScope(shield=True):
                claim = await self._vault.claim(tenant, request.idempotency_key, owner, fingerprint, lease_us)
            if claim.fingerprint != fingerprint:
                description = "was used for another request within its window; take a new key for each request"
                raise RequestError([Violation("idempotency_key", description)])
            if claim.result is not None:
                # Other requests with this key may wait, too.
                self._vault.waiters.wake_next(queue)
                return self._unpacked(claim.result)
            if claim.owner == owner:
                return await self._first(request.idempotency_key, tenant, owner, start)
            left_seconds = deadline - anyio.current_time()
            if left_seconds <= 0:
                message = "the first request with this idempotency key is still under way; ask again with the same key"
                raise RequestInProgress(message)
            await self._vault.waiters.wait(queue, min(left_seconds, pause_seconds * random.uniform(0.5, 1.5)))  # noqa: S311 (no secret)
            pause_seconds = min(longest_seconds, 2 * pause_seconds)

    async def _first(self, key: str, tenant: str, owner: str, start: Callable[[], Awaitable[RouteResult]]) -> RouteResult:
        finished = anyio.Event()
        results: list[RouteResult] = []
        errors: list[Exception] = []
        cut = CutWalk()

        async def walk_to_the_end() -> None:
            nonlocal cut
            packed: bytes | None = None
            try:
                results.append(await start())
                packed = _packed(results[0]) if _is_kept(results[0]) else None
            except Exception as error:  # noqa: BLE001 (it is raised in the caller)
                errors.append(error)
            except anyio.get_cancelled_exc_class() as gone:
                cut = cut_of(gone)
                raise
            finally:
                with CancelScope(shield=True):
                    await self._finish(key, tenant, owner, packed)
                finished.set()

        self._spawn(walk_to_the_end)
        await finished.wait()
        if errors:
            raise errors[0]
        if not results:
            raise closed_error(f"the mesh of graph '{self._plan.name}'", cut)

        return results[0]

    async def _finish(self, key: str, tenant: str, owner: str, result: bytes | None) -> None:
        try:
            await self._vault.finish(tenant, key, owner, result, self._keep_us)
        except VaultUnavailable as error:
            # The caller has its answer all the same.  The claim expires by itself, and a retry after that walks again.
            self._unfinished.warning(f"a retry of this walk may be walked again: {error}")
        self._vault.waiters.wake_next((tenant, "retries", key))

    def _fingerprint(self, request: Request) -> str:
        # A retry has less time left, but is the same request.
        limits = request.limits._replace(deadline_us=None)
        fields = [
            self._plan.name,
            [_listed(message) for message in request.messages],
            _listed(request.form),
            sorted(request.attributes.items()),
            list(request.sampling),
            list(request.scopes),
            list(limits),
        ]

        return hashlib.sha256(orjson.dumps(fields)).hexdigest()

    def _unpacked(self, result: bytes) -> RouteResult:
        # Results of older versions end before *carried*.
        answer, finish_reason, calls, partial, record, *carried = orjson.loads(result)
        traversal = decode(record.encode())
        # A walk over an earlier plan has no hops here, since only that plan can tell them.
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
    # orjson takes no NamedTuple, and these are nested.
    if isinstance(value, Message | ToolCall) and not value.carried:
        # Older versions have no field *carried*; without it both versions compute the same fingerprint.
        value = value[: value._fields.index("carried")]

    return [_listed(part) for part in value] if isinstance(value, tuple) else value


def _is_kept(result: RouteResult) -> bool:
    if result.traversal.cost_nano_usd > 0 or result.outcome is Outcome.ANSWERED:
        return True

    decisions = result.traversal.decisions

    return result.outcome is Outcome.REFUSED and not (decisions and decisions[-1].section == "on_error")


def _packed(result: RouteResult) -> bytes:
    # Content is for the sinks, which get it redacted; a retry needs the answer alone.
    traversal = copy(result.traversal)
    traversal.content = None

    words = [result.answer, result.finish_reason, [list(call) for call in result.tool_calls], result.partial]

    return orjson.dumps([*words, encode(traversal).decode(), result.carried])
