"""
Drive walks: make the calls they wish for, and tell them what happened.

Here data turns round: the walk decides and the engine acts, and neither does the other's work.  A decision is one synchronous
`feed`; I/O comes after it.  The engine owns the clock, the walk's purse, cancellation, and the ids under which spans
will stand; when a walk is over it hands the finished traversal to whoever records it and forgets it.

Time limits cost about ten microseconds each to open, so one is opened only round a call that may wait (`Backend.waits`).
What has to be done on the way out awaits nothing but the vault, and talking to a vault is shielded and bounded (`purse`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from anyio import to_thread

from meshwalk import roles
from meshwalk.admission import Admission
from meshwalk.backends.base import Backend, Classifier
from meshwalk.counting import Tokenizer, count_inputs
from meshwalk.engine.drive import Clock, Drive, Features, Observer
from meshwalk.engine.preview import preview
from meshwalk.engine.purse import Purse, shared_scopes
from meshwalk.engine.results import Preview, PreviewEdge, Walked
from meshwalk.model import Limits
from meshwalk.plan import Plan
from meshwalk.trace import Facts, Request, Traversal, View
from meshwalk.vaults.base import DEFAULT_TENANT, Vault


# Messages of more bytes are counted in a thread, so that other walks do not wait for it.
_COUNTED_AT_ONCE = 4096


class Engine:
    """
    Walk requests over *plan*.

    Args:
        backends: An open backend for each that the plan's nodes name.
        record: Takes each finished traversal; it must not block and must not raise.
        vault: Where the budgets are kept that walks share.
        tenant: Whose walks these are, where a request does not say.
        tokenizers: What counts the input of a backend's calls, by its name; the others' is bounded by bytes.
        classifiers: What the classifiers ask that are neither features nor a backend's model, by their nodes' names.
        features: What classifiers make of messages.
        clock_ns: What walks are timed by; it never goes back.
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
        classifiers: Mapping[str, Classifier] | None = None,
        features: Features = roles.features,
        clock_ns: Clock = time.perf_counter_ns,
    ) -> None:
        self.plan = plan
        self.backends = backends
        self.record = record
        self.vault = vault
        self.tokenizers = tokenizers or {}
        self.classifiers = classifiers or {}
        self.features = features
        self.clock_ns = clock_ns
        self.admission = Admission(plan, tenant)

    async def walk(self, request: Request, observe: Observer | None = None) -> Walked:
        """
        Walk *request* to its end, and record it whatever that end is.

        Args:
            observe: Told of every entry, the wishes it led to and the walk that made them, as they come.

        Raises:
            RequestError: If the request cannot begin a walk.
        """
        facts, limits = await self._admitted(request)

        return await Drive(
            self.plan,
            self.backends,
            self.record,
            request,
            facts,
            limits,
            observe,
            classifiers=self.classifiers,
            features=self.features,
            clock_ns=self.clock_ns,
            vault=self.vault,
        ).run()

    async def decide(self, request: Request) -> Preview:
        """
        Go as far as the first call and say what would follow; nothing is called, spent or recorded.

        Raises:
            RequestError: If the request cannot begin a walk.
        """
        facts, limits = await self._admitted(request)

        views = await self._views(facts, limits)

        return await preview(self.plan, request, facts, limits, self.features, self.classifiers, views)

    async def _admitted(self, request: Request) -> tuple[Facts, Limits]:
        facts, limits = self.admission.admit(request)
        if not self.tokenizers:
            return facts, limits

        def count() -> tuple[tuple[str, int], ...]:
            return count_inputs(self.plan, self.tokenizers, request.messages, dict(facts.attributes))

        counted = count() if facts.input_bytes <= _COUNTED_AT_ONCE else await to_thread.run_sync(count)

        return facts._replace(counted=counted), limits

    async def _views(self, facts: Facts, limits: Limits) -> tuple[View, ...]:
        budgets = tuple(self.plan.graph.budgets.values())
        purse = Purse(self.plan.name, limits, shared_scopes(budgets, facts.scopes), self.vault, "", lambda: 0)
        if self.plan.looks_first:
            await purse.look()

        return purse.views()


__all__ = ["Clock", "Engine", "Features", "Observer", "Preview", "PreviewEdge", "Walked"]
