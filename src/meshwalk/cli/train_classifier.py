"""
`meshwalk train-classifier`: learn from an outcomes file which prompts need the strong model.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from meshwalk.cli.options import Json
from meshwalk.cli.output import OK, Misuse, complain, counted, emit, visible


if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshwalk.review.training.metrics import Figure
    from meshwalk.review.training.train import Progress, Training


def train_classifier(
    data: str,
    /,
    *,
    output: Annotated[str, Parameter(name=["--output", "-o"])],
    weak: str = "",
    strong: str = "",
    head: tuple[str, ...] = (),
    embedding: bool = True,
    seed: int = 0,
    json: Json = False,
) -> int:
    """
    Learn from a labelled file how right two models are on a prompt, and write weights for a classifier node.

    The node (`role: classifier, use: weights, weights: FILE`) writes signals.weak and signals.strong, from 0 to 1; a guard
    compares `signals.strong - signals.weak` with a threshold.  The figures shown are of rows that were held out.

    Parameters
    ----------
    data
        The outcomes file, JSON lines, gzipped or not, with scores of both models.
    output
        Where the weights go.
    weak
        The cheap model; may be left out, with --strong, where the file has two models.
    strong
        The dear model.
    head
        NAME=MODEL: one more signal, of how right another model of the file is; may be given several times.
    embedding
        Whether prompts are embedded with wordllama beside their features.
    seed
        Where chance starts.
    """
    others = dict(_head(text) for text in head)
    lacking = [package for package in ("sklearn", "wordllama") if find_spec(package) is None]
    if "sklearn" in lacking or (embedding and lacking):
        from meshwalk.model.problems import SetupError

        raise SetupError("training needs scikit-learn and wordllama; install the extra: pip install 'meshwalk[train]'")
    target = Path(output)
    if not target.parent.is_dir():
        from meshwalk.model.problems import SetupError

        raise SetupError(f"the weights cannot be written to '{output}': its folder is not there; make it first")

    from meshwalk.review.training.train import train

    with _progress() as progress:
        training = train(data, weak=weak, strong=strong, others=others, embedded=embedding, seed=seed, progress=progress)
    try:
        target.write_bytes(training.text())
    except OSError as error:
        from meshwalk.model.problems import SetupError

        raise SetupError(f"the weights cannot be written to '{output}': {error.strerror or error}") from error
    if json:
        emit(_document(training, output))
    else:
        _show(training, output)

    return OK


def _head(text: str) -> tuple[str, str]:
    name, equals, model = text.partition("=")
    if not (name and equals and model):
        raise Misuse(f"--head takes NAME=MODEL, and was given {text!r}")
    if name in ("weak", "strong"):
        raise Misuse(f"the head '{name}' is named by --{name}; write --{name} {model}")

    return name, model


@contextmanager
def _progress() -> Iterator[Progress | None]:
    if not sys.stderr.isatty():
        yield lambda what, done, total: complain(f"{what} ({done} of {total})")
        return

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading prompts", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def _document(training: Training, output: str) -> dict[str, Any]:
    weights = training.weights

    return {
        "weights": output,
        "rows": training.rows,
        "skipped": dict(training.skipped),
        "models": dict(weights.models),
        "embedding": None if weights.embedding is None else weights.embedding._asdict(),
        "topics": 0 if weights.topics is None else len(weights.topics.names),
        "recipe": training.recipe._asdict(),
        **training.metrics,
    }


def _show(training: Training, output: str) -> None:
    from meshwalk.cli.show import console, table

    screen = console()
    screen.print(
        table(
            f"Held out: {counted(training.rows, 'row')}, each scored by weights fitted on others",
            ("signal", "model", "right", "AUROC", "log-loss", "of the mean", "calibration error"),
            (
                (
                    f"signals.{name}",
                    head.model,
                    f"{head.right:.4f}",
                    _figure(head.auroc),
                    _figure(head.log_loss),
                    f"{head.guess:.4f}",
                    _figure(head.ece),
                )
                for name, head in training.heads.items()
            ),
            right=(2, 3, 4, 5, 6),
        )
    )
    if training.apgr:
        screen.print(
            table(
                "Share of the gap between the models that is won, over all shares of strong calls (APGR)",
                ("by", "APGR", "95 % interval"),
                (
                    *(
                        (name, f"{figure.value:.4f}", f"{figure.low:.4f} to {figure.high:.4f}")
                        for name, figure in training.apgr.items()
                    ),
                    ("a random mix", "0.5000", ""),
                ),
                right=(1, 2),
            )
        )
    for note in _notes(training, output):
        screen.print(visible(note), markup=False)


def _figure(figure: Figure) -> str:
    return f"{figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f})"


def _notes(training: Training, output: str) -> Iterator[str]:
    if training.ahead is not None:
        low, high = training.ahead.low, training.ahead.high
        verdict = "" if low > 0 else "; the interval holds 0, so on these rows it may be no better"
        yield (
            f"Above the best baseline ({training.best_baseline}) by {training.ahead.value:+.4f}, row by row "
            f"{low:+.4f} to {high:+.4f}{verdict}."
        )
    for reason, count in training.skipped.items():
        yield f"Left out: {counted(count, 'row')} ({reason})."
    yield f"Written to {output}. In a graph: {{role: classifier, use: weights, weights: {output}, next: …}}"
