"""
The engine of a plan: it admits a request, walks it, and hands over the record.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

import anyio
from anyio import to_thread

from meshwalk.backends import roles
from meshwalk.backends.base import Backend, Classifier
from meshwalk.backends.token_counts import Tokenizer, count_inputs
from meshwalk.budgets.vaults.base import DEFAULT_TENANT, Vault
from meshwalk.engine.context import WalkContext
from meshwalk.engine.cut import mark_cut
from meshwalk.engine.deps import ClockNs, EngineDeps, Features, OnDelta, Sleep
from meshwalk.engine.driver import OnEvent, WalkDriver
from meshwalk.engine.fastpath.driver import FastDriver
from meshwalk.engine.limiter import BackendLimiter
from meshwalk.engine.preview import preview
from meshwalk.engine.walk_budget import WalkBudget, shared_scopes, unsettled_log
from meshwalk.model import Limits
from meshwalk.plan import Plan
from meshwalk.records.previews import Preview
from meshwalk.records.results import RouteResult
from meshwalk.trace import Facts, Request, ScopeView, Source, Traversal
from meshwalk.walk.admission import Admission


# Messages of more bytes are counted in a thread, so that other walks do not wait for it.
_COUNTED_AT_ONCE = 4096


class Engine:
    """
    The engine of *plan*.

    Args:
        backends: An open backend for each that the plan's nodes name.
        record: Takes each finished traversal; it must not block and must not raise.
        vault: Where the budgets are kept that walks share.
        tenant: Whose walks these are, where a request does not say.
        tokenizers: By backend, to count the input of its calls; the others' is bounded by bytes.
        limiters: By backend, if the graph bounds the traffic to it.
        classifiers: By node, unless its classifier is built in.
        features: Computes the features of messages, for built-in classifiers.
        clock_ns: The clock of walks; it never goes back.
        unix_ns: The wall clock that records are dated by.
        sleep: How a retry that is put off waits.
        chance: Gives numbers from 0 to below 1.
    """

    def __init__(
        self,
        plan: Plan,
        backends: Mapping[str, Backend],
        record: Callable[[Traversal], None],
        *,
        vault: Vault,
        tenant: str = DEFAULT_TENANT,
        tokenizers: Mapping[str, Tokenizer] | None = None,
        limiters: Mapping[str, BackendLimiter] | None = None,
        classifiers: Mapping[str, Classifier] | None = None,
        features: Features = roles.features,
        clock_ns: ClockNs = time.perf_counter_ns,
        unix_ns: ClockNs = time.time_ns,
        sleep: Sleep = anyio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.plan = plan
        self.vault = vault
        self.tokenizers = tokenizers or {}
        # Otherwise the request itself holds all facts.
        self._learns = bool(plan.watched or self.tokenizers)
        graph = plan.graph
        source = Source(plan.name, graph.version, plan.plan_digest, plan.shape_digest, graph.prices)
        self.with_deps(
            EngineDeps(
                source,
                backends,
                limiters or {},
                classifiers or {},
                features,
                vault,
                record,
                clock_ns,
                sleep,
                chance,
                unix_ns,
                unsettled_log(),
            )
        )
        self.admission = Admission(plan, tenant)

    def with_deps(self, deps: EngineDeps) -> None:
        """
        Walk with *deps* from now on.
        """
        self.deps = deps
        self._clock_ns, self._unix_ns = deps.clock_ns, deps.unix_ns
        self._fast_driver = FastDriver(self.plan, deps)

    async def walk(self, request: Request, on_event: OnEvent | None = None, on_delta: OnDelta | None = None) -> RouteResult:
        """
        Walk *request* to its end, and record it whatever that end is.

        Args:
            on_event: Called with every entry, the wishes it led to and the walk that made them, as they come.
            on_delta: Called with each piece of an answer that is passed on as it comes.

        Raises:
            RequestError: If the request cannot begin a walk.
        """
        facts, limits = self.admission.admit(request)
        if self._learns:
            facts = await self._learnt(request, facts)
        context = WalkContext(request, facts, limits, self._clock_ns, self._unix_ns)
        try:
            if on_event is None and on_delta is None:
                return await self._fast_driver.walk(context)
            return await WalkDriver(self.plan, self.deps, context, on_event, on_delta).run()
        except anyio.get_cancelled_exc_class() as gone:
            mark_cut(gone, context)
            raise

    async def decide(self, request: Request) -> Preview:
        """
        Go as far as the first call and say what would follow; nothing is called, spent or recorded.

        Raises:
            RequestError: If the request cannot begin a walk.
        """
        facts, limits = self.admission.admit(request)
        if self._learns:
            facts = await self._learnt(request, facts)

        return await preview(self.plan, self.deps, request, facts, limits, await self._views(facts, limits))

    async def _learnt(self, request: Request, facts: Facts) -> Facts:
        if self.plan.watched:
            facts = facts._replace(healthy=tuple((name, self._healthy(name)) for _, name in self.plan.watched))
        if not self.tokenizers:
            return facts

        def count() -> tuple[tuple[str, int], ...]:
            return count_inputs(self.plan, self.tokenizers, request.messages, dict(facts.attributes), request.form)

        counted = count() if facts.input_bytes <= _COUNTED_AT_ONCE else await to_thread.run_sync(count)

        return facts._replace(counted=counted)

    def _healthy(self, backend: str) -> bool:
        limiter = self.deps.limiters.get(backend)

        return limiter is None or limiter.healthy

    async def _views(self, facts: Facts, limits: Limits) -> tuple[ScopeView, ...]:
        budgets = tuple(self.plan.graph.budgets.values())
        walk_budget = WalkBudget(self.plan.name, limits, shared_scopes(budgets, facts.scopes), self.vault, "", lambda: 0)
        if self.plan.reads_budget_first:
            await walk_budget.refresh()

        return walk_budget.views()
