"""
A graph against labelled data: what it would have answered, and paid, beside three dull ways to route.

Every row is walked by a real mesh over the graph's `recorded` backends, and every figure is read off the records those walks
left.  The baselines are walked too, over graphs that ask one backend and nothing else, so that a cost means the same
everywhere: what the file records, else the declared price of the recorded tokens, else of the engine's estimate of them.

* *Quality* is the mean score, in the file, of the model whose answer was served.  A walk that served none, whether refused or
  failed, or whose request the graph does not take, scores the least its scale has.
* *Cost* is the sum over all rows.
* *Always best* asks, for every row, the backend whose own answers score highest on the file, and *always cheapest* the one
  that costs least; both choose among the backends whose answers the graph may serve, whatever the role of their nodes.
* *Random mix* is what to expect of tossing a coin for each row: with p the share of walks that called the always-best backend,
  p · best + (1 - p) · cheapest, for quality and for cost.  A graph that decides anything beats it.
* *Confidences* are held against the answers they are about, over all walks that saw them (`confidences`).
* *Latency* percentiles are nearest-rank.  Recorded answers come at once, so this is the mesh's own time.

Intervals are 95 % and normal, mean ± 1.96 standard errors cut off at the ends of the scale, or of the scores if some lie
past it: scores need not be 0 or 1, so Wilson's interval for proportions does not fit them.  The difference from always-best
is taken row by row, which takes out how hard the rows are (both as in Miller, "Adding Error Bars to Evals", arXiv
2411.00640).

A row that cannot be judged is left out, counted under its reason: an unscored or missing outcome of a model the graph uses
(a walk might need it), a conversation of several turns (its score judges all of them), a prompt that an earlier row has
(recorded answers are found by prompt), a model without a cost or a price.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple

import anyio
from anyio import lowlevel

from meshwalk.backends.outcomes import Outcomes, Row, load_outcomes
from meshwalk.mesh import Mesh, Sink
from meshwalk.model import DONE, CacheSpec, Edge, Graph, Limits, Node, RecordedSpec
from meshwalk.model.problems import RequestError, SetupError
from meshwalk.plan import Plan, compile_plan
from meshwalk.review import confidences
from meshwalk.review.confidences import Judged, NodeArea
from meshwalk.review.provenance import trained_on
from meshwalk.trace import Basis, Message, Request, weakest


Progress = Callable[[int, int], None]

# Walks under way at once: enough to keep a slow backend busy, few enough not to be a load test.
IN_FLIGHT = 16

_Z = NormalDist().inv_cdf(0.975)


class Interval(NamedTuple):
    """
    The bounds of a mean at 95 %.
    """

    low: float
    high: float


class Percentiles(NamedTuple):
    """
    Three quantiles of the walks' latency, in microseconds.
    """

    p50: int
    p95: int
    p99: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """
    The figures of a trivial way to route.

    Args:
        backend: The one it always asks; empty for the random mix.
        share: The share of requests that go to the best backend.
    """

    backend: str
    share: float
    quality: float
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PathShare:
    """
    The figures of the walks that took one path; rejected requests have an empty one.
    """

    path: tuple[str, ...]
    n: int
    share: float
    quality: float
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """
    The figures of a graph on a labelled file.

    Args:
        n: The rows walked.
        skipped: The number of rows left out, by reason.
        contaminated: The number of walked rows that are marked as known to the models.
        trained_on_it: The nodes whose weights were trained on this very file.
        outcomes: The number of walks by outcome; `rejected` is a request that the graph does not take.
        failures: The number of failed walks by cause.
        gain: Quality above always-best, row by row.
        cost_ratio: Cost over always-best's; None if that is nothing.
    """

    graph: str
    plan_digest: str
    n: int
    skipped: Mapping[str, int]
    contaminated: int
    trained_on_it: tuple[str, ...] = ()
    outcomes: Mapping[str, int]
    failures: Mapping[str, int]
    quality: float
    quality_interval: Interval
    cost_usd: float
    cost_basis: Basis
    latency_us: Percentiles
    confidences: tuple[NodeArea, ...]
    paths: tuple[PathShare, ...]
    always_best: Baseline
    always_cheapest: Baseline
    random_mix: Baseline
    gain: float
    gain_interval: Interval
    cost_ratio: float | None


async def evaluate(
    plan: Plan,
    data: str | Path,
    *,
    sinks: Sequence[Sink] = (),
    limit: int | None = None,
    contaminated: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """
    Walk every row of the outcomes file *data* over *plan*, and compare what came of it with the baselines.

    Args:
        sinks: Fed with the traversals of the graph, not with the baselines'.
        limit: Look at the first rows only.
        contaminated: Walk rows that are marked as known to the models, too.
        progress: Told after each row of the graph's how many of how many are done.

    Raises:
        SetupError: If the graph's answers are not recorded ones, or the file cannot judge them.
    """
    candidates = _candidates(plan.graph, data)
    file = await anyio.to_thread.run_sync(load_outcomes, data)
    # Opened first, so that a model that the file does not have at all is said as such and not a row at a time.
    async with Mesh(plan, outcomes=data, sinks=sinks) as mesh:
        rows, skipped = _usable(file, plan.graph, limit, contaminated=contaminated)
        walks = await _walk(mesh, rows, progress)
    alone = {}
    for backend in candidates:
        async with Mesh(_alone(plan.graph, backend), outcomes=data) as mesh:
            alone[backend] = await _walk(mesh, rows)

    seen = await anyio.to_thread.run_sync(trained_on, plan.graph, data)
    return replace(_evaluation(plan, rows, skipped, walks, alone), trained_on_it=seen)


# ---- what can be judged ---------------------------------------------------------------------------------------------


def _candidates(graph: Graph, data: str | Path) -> tuple[str, ...]:
    """
    Return the backends whose answers may be served, all of them recorded in *data*.
    """
    recorded = {name for name, spec in graph.backends.items() if isinstance(spec, RecordedSpec)}
    if not any(node.backend in recorded for node in graph.nodes.values()):
        raise SetupError(
            f"graph '{graph.name}' has no recorded answers to evaluate: give its nodes backends of `kind: recorded` "
            f"that name models of '{data}'"
        )
    for node in _answerers(graph):
        if node.backend not in recorded:
            assert node.backend is not None
            spec = graph.backends[node.backend]
            if isinstance(spec, CacheSpec):
                raise SetupError(
                    f"node '{node.name}' answers with cache '{node.backend}', and an evaluation asks each prompt once, so that "
                    f"nothing is ever found in it; give the node backend '{spec.of}'"
                )
            raise SetupError(
                f"node '{node.name}' answers with backend '{node.backend}', whose answers have no scores in '{data}'; "
                f"make it `kind: recorded`"
            )
    for name in sorted(recorded):
        _same_file(graph, name, data)

    return tuple(dict.fromkeys(node.backend for node in _answerers(graph) if node.backend is not None))


def _answerers(graph: Graph) -> Iterator[Node]:
    edges = [edge for node in graph.nodes.values() for edge in (*node.next, *node.on_error)]
    named = {edge.answer for edge in edges}
    yield from (node for node in graph.nodes.values() if node.role in ("answer", "primary") or node.name in named)


def _same_file(graph: Graph, name: str, data: str | Path) -> None:
    spec = graph.backends[name]
    assert isinstance(spec, RecordedSpec)
    if spec.data is None:
        return
    own = Path(graph.folder) / spec.data
    if own.resolve() != Path(data).resolve():
        raise SetupError(
            f"backend '{name}' answers from '{own}', and the scores of '{data}' do not judge those answers; "
            f"evaluate '{own}', or leave `data:` out of the graph"
        )


def _usable(file: Outcomes, graph: Graph, limit: int | None, *, contaminated: bool) -> tuple[list[Row], dict[str, int]]:
    used = {node.backend for node in graph.nodes.values()}
    specs = [spec for name, spec in graph.backends.items() if name in used and isinstance(spec, RecordedSpec)]
    rows: list[Row] = []
    reasons: Counter[str] = Counter()
    for row in file.rows[:limit]:
        known = row.contaminated and not contaminated
        reason = "marked as known to the models" if known else _unusable(file, row, specs)
        if reason:
            reasons[reason] += 1
        else:
            rows.append(row)
    if not rows:
        counted = "; ".join(f"{count} of them: {reason}" for reason, count in reasons.most_common())
        raise SetupError(f"no row of '{file.path}' can be judged on graph '{graph.name}' ({counted})")
    if len({row.score_scale for row in rows}) > 1:
        raise SetupError(
            f"the rows of '{file.path}' are scored on several scales, which have no common mean; evaluate each alone"
        )

    return rows, dict(reasons)


def _unusable(file: Outcomes, row: Row, specs: Iterable[RecordedSpec]) -> str:
    if row.turns > 1:
        return "a conversation of several turns"
    if file.find(row.prompt) is not row:
        return "a prompt that an earlier row has"
    for spec in specs:
        outcome = row.outcomes.get(spec.model)
        if outcome is None:
            return f"no outcome of '{spec.model}'"
        if outcome.score is None:
            return f"no score of '{spec.model}'"
        if outcome.cost_nano_usd is None and spec.price is None:
            return f"no cost of '{spec.model}', and backend '{spec.name}' declares no usd_per_mtok"

    return ""


# ---- the walks ------------------------------------------------------------------------------------------------------


class _Walk(NamedTuple):
    """
    The part of one walk that the figures need.
    """

    outcome: str
    score: float
    cause: str = ""
    cost_nano_usd: int = 0
    basis: Basis = "none"
    latency_us: int | None = None
    path: tuple[str, ...] = ()
    called: frozenset[str] = frozenset()
    judged: tuple[Judged, ...] = ()


async def _walk(mesh: Mesh, rows: Sequence[Row], progress: Progress | None = None) -> list[_Walk]:
    walks: dict[int, _Walk] = {}
    waiting = iter(enumerate(rows))

    async def work() -> None:
        for position, row in waiting:
            walks[position] = await _judge(mesh, row)
            if progress is not None:
                progress(len(walks), len(rows))
            # Recorded answers never wait, and the sinks' task wants its turn.
            await lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for _ in range(min(IN_FLIGHT, len(rows))):
            tasks.start_soon(work)

    return [walks[position] for position in range(len(rows))]


async def _judge(mesh: Mesh, row: Row) -> _Walk:
    least = row.score_scale[0]
    try:
        walked = await mesh.walk(Request((Message("user", row.prompt),)))
    except RequestError:
        return _Walk("rejected", least)
    traversal = walked.traversal
    score: float | None = least
    if traversal.answer_node:
        backend = mesh.plan.node(traversal.answer_node).node.backend
        spec = mesh.plan.graph.backends[backend or ""]
        assert isinstance(spec, RecordedSpec)
        score = row.outcomes[spec.model].score
    assert score is not None

    return _Walk(
        traversal.outcome.value,
        score,
        traversal.finish.cause,
        traversal.cost_nano_usd,
        traversal.basis,
        traversal.latency_us,
        tuple(traversal.path),
        frozenset(attempt.backend for attempt in traversal.attempts()),
        tuple(confidences.seen(mesh.plan, traversal, row)),
    )


def _alone(graph: Graph, backend: str) -> Plan:
    """
    Compile a graph that asks *backend* and nothing else, without limits that were meant for whole walks.
    """
    node = Node(name="alone", role="primary", span=graph.span, backend=backend, next=(Edge(DONE, graph.span, graph.span),))

    return compile_plan(
        replace(
            graph,
            name=f"always-{backend}",
            start=node.name,
            nodes={node.name: node},
            backends={backend: graph.backends[backend]},
            limits=Limits(),
            hashes={},
            problems=(),
        )
    )


# ---- the figures ----------------------------------------------------------------------------------------------------


def _evaluation(
    plan: Plan, rows: Sequence[Row], skipped: Mapping[str, int], walks: Sequence[_Walk], alone: Mapping[str, Sequence[_Walk]]
) -> Evaluation:
    best, cheapest, mix = _baselines(walks, alone)
    scores = [walk.score for walk in walks]
    gains = [mine.score - theirs.score for mine, theirs in zip(walks, alone[best.backend], strict=True)]
    low, high = rows[0].score_scale
    cost = _cost_usd(walks)

    return Evaluation(
        graph=plan.name,
        plan_digest=plan.plan_digest,
        n=len(rows),
        skipped=skipped,
        contaminated=sum(row.contaminated for row in rows),
        outcomes=dict(Counter(walk.outcome for walk in walks).most_common()),
        failures=dict(Counter(walk.cause for walk in walks if walk.cause).most_common()),
        quality=fmean(scores),
        quality_interval=_interval(scores, low, high),
        cost_usd=cost,
        cost_basis=weakest(walk.basis for walk in walks),
        latency_us=_percentiles([walk.latency_us for walk in walks if walk.latency_us is not None]),
        confidences=confidences.of_nodes(plan, (judged for walk in walks for judged in walk.judged)),
        paths=_paths(walks),
        always_best=best,
        always_cheapest=cheapest,
        random_mix=mix,
        gain=fmean(gains),
        gain_interval=_interval(gains, low - high, high - low),
        cost_ratio=cost / best.cost_usd if best.cost_usd else None,
    )


def _baselines(walks: Sequence[_Walk], alone: Mapping[str, Sequence[_Walk]]) -> tuple[Baseline, Baseline, Baseline]:
    quality = {name: fmean(walk.score for walk in its) for name, its in alone.items()}
    cost = {name: _cost_usd(its) for name, its in alone.items()}
    # Of two that are as good the cheaper is better, and of two that cost the same the better is cheaper.
    best = min(alone, key=lambda name: (-quality[name], cost[name]))
    cheapest = min(alone, key=lambda name: (cost[name], -quality[name]))
    share = fmean(best in walk.called for walk in walks)

    return (
        Baseline(backend=best, share=1.0, quality=quality[best], cost_usd=cost[best]),
        Baseline(backend=cheapest, share=float(best == cheapest), quality=quality[cheapest], cost_usd=cost[cheapest]),
        Baseline(
            backend="",
            share=share,
            quality=share * quality[best] + (1 - share) * quality[cheapest],
            cost_usd=round(share * cost[best] + (1 - share) * cost[cheapest], 9),
        ),
    )


def _paths(walks: Sequence[_Walk]) -> tuple[PathShare, ...]:
    by_path: dict[tuple[str, ...], list[_Walk]] = {}
    for walk in walks:
        by_path.setdefault(walk.path, []).append(walk)

    return tuple(
        PathShare(
            path=path,
            n=len(its),
            share=len(its) / len(walks),
            quality=fmean(walk.score for walk in its),
            cost_usd=_cost_usd(its),
        )
        for path, its in sorted(by_path.items(), key=lambda item: (-len(item[1]), item[0]))
    )


def _cost_usd(walks: Iterable[_Walk]) -> float:
    return sum(walk.cost_nano_usd for walk in walks) / 1e9


def _interval(values: Sequence[float], low: float, high: float) -> Interval:
    if len(values) < 2:
        # One value says nothing about its own spread.
        return Interval(low, high)
    mean, reach = fmean(values), _Z * stdev(values) / math.sqrt(len(values))

    # No end may cut the mean itself off.
    return Interval(max(min(low, *values), mean - reach), min(max(high, *values), mean + reach))


def _percentiles(latencies: Sequence[int]) -> Percentiles:
    ranked = sorted(latencies) or [0]

    return Percentiles._make(ranked[math.ceil(share * len(ranked)) - 1] for share in (0.50, 0.95, 0.99))
