"""
Embeddings of prompts by wordllama: static token vectors, averaged; small, offline, the same on every machine.

The model comes with its package, and nothing is fetched.  It is loaded once a process; 256 dimensions take about a second
and 20 MB.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from meshwalk.model.problems import SetupError
from meshwalk.model.weights import PACKAGE, Embedding


# Questions stand at the ends of long prompts, and a pasted megabyte must not hold up the server.
READ_CHARACTERS = 4096

DIMS = 256

Embed = Callable[[Sequence[str]], list[list[float]]]


def installed_version() -> str:
    """
    Return the version of wordllama that is here, or nothing.
    """
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return ""


def open_embedding(wanted: Embedding, whose: str) -> Embed:
    """
    Return a function that embeds texts as *wanted* says: vectors of length 1, or all zeros for a text without tokens.

    Args:
        whose: Who wants it, in the words of an error.

    Raises:
        SetupError: If the package is not installed, or is not the version that the weights were trained with.
    """
    here = installed_version()
    if not here:
        raise SetupError(
            f"{whose} embeds prompts with {wanted.package}, which is not installed; "
            f"install the extra: pip install 'meshwalk[classify]', or train with --no-embedding"
        )
    if here != wanted.version:
        raise SetupError(
            f"{whose} was trained with {wanted.package} {wanted.version}, and {here} is installed, whose vectors may differ; "
            f"install {wanted.package}=={wanted.version}, or train again with `meshwalk train-classifier`"
        )
    if wanted.dims != DIMS:
        raise SetupError(f"{whose} was trained on {wanted.dims} dimensions, and {wanted.package} gives {DIMS}; train again")
    model = _model()

    def embed(texts: Sequence[str]) -> list[list[float]]:
        # A batch is filled up to its longest text, so texts of one length go together.
        order = sorted(range(len(texts)), key=lambda position: len(texts[position]))
        vectors = model.embed([_ends(texts[position]) for position in order]).tolist()
        found: list[list[float]] = [[] for _ in texts]
        for position, vector in zip(order, vectors, strict=True):
            found[position] = _unit(vector)

        return found

    return embed


def _ends(text: str) -> str:
    return text if len(text) <= 2 * READ_CHARACTERS else f"{text[:READ_CHARACTERS]}\n{text[-READ_CHARACTERS:]}"


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.sqrt(math.fsum(part * part for part in vector))

    # Nothing to embed has no direction: the mean of no vectors is no number.
    return [part / length for part in vector] if length > 0 and math.isfinite(length) else [0.0] * len(vector)


@cache
def _model() -> Any:
    import wordllama  # noqa: PLC0415 - an extra

    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
