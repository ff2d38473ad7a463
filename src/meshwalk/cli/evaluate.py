"""
`meshwalk evaluate`: what a graph makes of a labelled file, beside the dull ways to route.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from meshwalk.cli.options import ConfidencesFile, Json, NewTraces, TrustFlags, Whole
from meshwalk.cli.output import OK, Misuse, complain, counted, emit, visible


if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshwalk.model.trust import Trust
    from meshwalk.review.auroc import Area
    from meshwalk.review.confidences import Report
    from meshwalk.review.evaluate import Baseline, Evaluation, Progress


def evaluate(
    graph: str | None = None,
    data: str | None = None,
    /,
    *,
    confidences: ConfidencesFile = None,
    traces: NewTraces = None,
    limit: Annotated[int | None, Whole] = None,
    without: Literal["contaminated"] | None = None,
    trust: TrustFlags = TrustFlags(),
    json: Json = False,
) -> int:
    """
    Walk every row of a labelled file: quality, cost, latency and paths, against the dull baselines.

    Costs are sums over all rows.  Always-best asks the model whose own answers score highest on the file, always-cheapest the
    one that costs least, and the random mix asks the best as often as the graph did.  For each node that gives a confidence
    the area under the ROC curve says how well it tells right answers from wrong ones.

    Parameters
    ----------
    graph
        The graph's YAML file; its answers come from `recorded` backends.
    data
        The outcomes file, JSON lines, gzipped or not.
    confidences
        A confidences file (CSV, gzipped or not) in place of a graph and its data: how well each kind of confidence tells
        right answers from wrong ones, by task and model.
    traces
        A folder to store every walk in, so that it can be shown and replayed.
    limit
        Look at the first rows only.
    without
        Leave out rows that are marked as known to the models.
    """
    if confidences is not None:
        if graph is not None or traces is not None or limit is not None or without is not None:
            raise Misuse("--confidences looks at its file alone; leave the graph, --traces, --limit and --without out")
        return _confidences(confidences, json=json)
    if graph is None or data is None:
        raise Misuse("evaluate takes a graph and an outcomes file, or --confidences and a confidences file")

    import anyio

    evaluation = anyio.run(_evaluate, graph, data, traces, limit, without is None, trust.trust)
    if json:
        emit(_document(evaluation))
    else:
        _show(evaluation)

    return OK


async def _evaluate(
    graph: str, data: str, traces: str | None, limit: int | None, contaminated: bool, trust: Trust
) -> Evaluation:
    from meshwalk.loader import load_graph
    from meshwalk.plan import compile_plan
    from meshwalk.records.store import TraceWriter
    from meshwalk.review.evaluate import evaluate as walk_file

    plan = compile_plan(load_graph(graph, trust=trust))
    async with AsyncExitStack() as stack:
        sinks = []
        if traces is not None:
            # A replay of what was evaluated is only worth something if nothing is missing.
            sinks.append(TraceWriter(traces, on_full="block"))
            stack.push_async_callback(sinks[0].aclose)
        with _progress_bar() as progress:
            evaluation = await walk_file(plan, data, sinks=sinks, limit=limit, contaminated=contaminated, progress=progress)
    for store in sinks:
        if lost := store.dropped + store.failed:
            complain(f"warning: {lost} of {counted(evaluation.n, 'walk')} could not be stored in '{traces}'")

    return evaluation


@contextmanager
def _progress_bar() -> Iterator[Progress | None]:
    if not sys.stderr.isatty():
        yield None
        return

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("walking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("walking", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _document(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "graph": evaluation.graph,
        "plan_digest": evaluation.plan_digest,
        "n": evaluation.n,
        "skipped": dict(evaluation.skipped),
        "contaminated": evaluation.contaminated,
        "trained_on_it": list(evaluation.trained_on_it),
        "outcomes": dict(evaluation.outcomes),
        "failures": dict(evaluation.failures),
        "quality": evaluation.quality,
        "quality_interval": list(evaluation.quality_interval),
        "cost_usd": evaluation.cost_usd,
        "cost_basis": evaluation.cost_basis,
        "baselines": {
            "always_best": _baseline(evaluation.always_best),
            "always_cheapest": _baseline(evaluation.always_cheapest),
            "random_mix": _baseline(evaluation.random_mix),
        },
        "against_best": {
            "quality": evaluation.gain,
            "quality_interval": list(evaluation.gain_interval),
            "cost_ratio": evaluation.cost_ratio,
        },
        "confidences": [
            {"node": one.node, "from": one.source, "about": one.about, **_area(one.area)} for one in evaluation.confidences
        ],
        "paths": [
            {"path": list(path.path), "n": path.n, "share": path.share, "quality": path.quality, "cost_usd": path.cost_usd}
            for path in evaluation.paths
        ],
        "latency_ms": {name: us / 1000 for name, us in evaluation.latency_us._asdict().items()},
    }


def _baseline(baseline: Baseline) -> dict[str, Any]:
    named = {"backend": baseline.backend} if baseline.backend else {"share": baseline.share}

    return named | {"quality": baseline.quality, "cost_usd": baseline.cost_usd}


def _show(evaluation: Evaluation) -> None:
    from meshwalk.cli.show import console, table

    best, cheapest, mix = evaluation.always_best, evaluation.always_cheapest, evaluation.random_mix
    low, high = evaluation.quality_interval
    screen = console()
    rows = (
        ("this graph", evaluation.quality, evaluation.cost_usd),
        (f"always the best ({best.backend})", best.quality, best.cost_usd),
        (f"always the cheapest ({cheapest.backend})", cheapest.quality, cheapest.cost_usd),
        (f"a random mix ({mix.share:.1%} the best)", mix.quality, mix.cost_usd),
    )
    screen.print(
        table(
            f"Graph {evaluation.graph} on {counted(evaluation.n, 'row')}",
            ("", "quality", "USD", "USD per 1000", "of the best's cost"),
            (
                (name, f"{quality:.4f}", f"{cost:.4f}", f"{1000 * cost / evaluation.n:.4f}", _ratio(cost, best.cost_usd))
                for name, quality, cost in rows
            ),
            right=(1, 2, 3, 4),
        )
    )
    gain_low, gain_high = evaluation.gain_interval
    screen.print(
        f"Quality {evaluation.quality:.4f}, 95 % interval {low:.4f} to {high:.4f}; "
        f"above the best by {evaluation.gain:+.4f}, row by row {gain_low:+.4f} to {gain_high:+.4f}.\n"
    )
    screen.print(
        table(
            "Paths",
            ("path", "walks", "share", "quality", "USD"),
            (
                (
                    " > ".join(path.path) or "(rejected)",
                    str(path.n),
                    f"{path.share:.1%}",
                    f"{path.quality:.4f}",
                    f"{path.cost_usd:.4f}",
                )
                for path in evaluation.paths
            ),
            right=(1, 2, 3, 4),
        )
    )
    if evaluation.confidences:
        screen.print(
            table(
                "Confidences, and how well they tell right answers from wrong ones",
                ("node", "from", "of the answers of", "answers", "right", "AUROC", "95 % interval"),
                (
                    (one.node, one.source, one.about, str(one.area.n), str(one.area.right), *_told(one.area))
                    for one in evaluation.confidences
                ),
                right=(3, 4, 5),
            )
        )
    p50, p95, p99 = (us / 1000 for us in evaluation.latency_us)
    screen.print(f"Latency: p50 {p50:.2f} ms, p95 {p95:.2f} ms, p99 {p99:.2f} ms; recorded answers come at once.")
    for note in _notes(evaluation):
        screen.print(visible(note), markup=False)


def _area(area: Area) -> dict[str, Any]:
    return {"n": area.n, "right": area.right, "auroc": area.value, "auroc_interval": [area.low, area.high]}


def _told(area: Area) -> tuple[str, str]:
    return ("", "") if area.value is None else (f"{area.value:.3f}", f"{area.low:.3f} to {area.high:.3f}")


def _confidences(path: str, *, json: bool) -> int:
    from meshwalk.review.confidences import of_file

    report = of_file(path)
    if json:
        emit(
            {
                "rows": report.rows,
                "means": [one._asdict() for one in report.means],
                "models": [{"task": one.task, "kind": one.kind, "model": one.model, **_area(one.area)} for one in report.areas],
            }
        )
    else:
        _show_confidences(path, report)

    return OK


def _show_confidences(path: str, report: Report) -> None:
    from meshwalk.cli.show import console, table

    screen = console()
    kinds = list(dict.fromkeys(one.kind for one in report.means))
    told = {(one.task, one.model, one.kind): _told(one.area)[0] for one in report.areas}
    told |= {(one.task, "mean", one.kind): "" if one.mean is None else f"{one.mean:.3f}" for one in report.means}
    for task in dict.fromkeys(one.task for one in report.means):
        models = dict.fromkeys(model for place, model, _ in told if place == task)
        rows = ((model, *(told.get((task, model, kind), "") for kind in kinds)) for model in models)
        screen.print(table(f"AUROC on {task}", ("model", *kinds), rows, right=tuple(range(1, len(kinds) + 1))))
    note = f"{counted(report.rows, 'row')} of {path}; an answer that is the pseudo label counts as right."
    screen.print(visible(note), markup=False)


def _ratio(cost: float, best: float) -> str:
    return f"{cost / best:.3f}" if best else ""


def _notes(evaluation: Evaluation) -> Iterator[str]:
    ends = ", ".join(f"{count} {outcome}" for outcome, count in evaluation.outcomes.items())
    causes = ", ".join(f"{count} of {cause}" for cause, count in evaluation.failures.items())
    yield f"Walks: {ends}{f' ({causes})' if causes else ''}."
    if evaluation.trained_on_it:
        yield (
            f"The weights of {', '.join(evaluation.trained_on_it)} were trained on this file, so these figures flatter them; "
            "evaluate on rows that they have not seen."
        )
    if evaluation.contaminated:
        yield (
            f"Rows marked as known to the models: {evaluation.contaminated}; published figures leave them out, "
            "as --without contaminated does."
        )
    for reason, count in evaluation.skipped.items():
        yield f"Left out: {counted(count, 'row')} ({reason})."
