"""
The litellm package's table of prices: each row is priced or refused, and prices as that package does.
"""

from __future__ import annotations

import json
import math
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from meshwalk.loader.parts.litellm_prices import read_rows
from meshwalk.model import Mark, Price, Rates


ENVIRONMENT = Path(__file__).parents[3] / ".venvs" / "litellm"
PYTHON = ENVIRONMENT / "bin" / "python"
CALLS = 600
MODELS = 250


def table(**rows: Any) -> bytes:
    return json.dumps({name: {"litellm_provider": "acme"} | row for name, row in rows.items()}).encode()


def test_a_row_is_priced_by_the_token() -> None:
    """
    Cached and written input, thoughts, marks and tiers have their prices; finer than a nano-dollar is rounded up.
    """
    row = {
        "input_cost_per_token": 1.25e-06,
        "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1.25e-07,
        "cache_creation_input_token_cost": 1.5e-06,
        "output_cost_per_reasoning_token": 2e-05,
        "input_cost_per_token_above_200k_tokens": 2.5e-06,
        "output_cost_per_token_above_200k_tokens": 1.5e-05,
        "input_cost_per_token_batches": 6.25e-07,
        "output_cost_per_token_batches": 5e-06,
    }
    rows = read_rows(table(m=row, fine={"input_cost_per_token": 1e-16, "output_cost_per_token": 0}))
    plain = (1_250_000_000, 10_000_000_000, 125_000_000, 20_000_000_000, 1_500_000_000)
    above = Mark(200_000, Rates(2_500_000_000, 15_000_000_000, *plain[2:]))

    assert rows is not None
    assert Price(*plain, (above,)) == rows.prices["m"]
    assert (625_000_000, 5_000_000_000) == rows.prices["m@batches"][:2]
    assert Price(1, 0) == rows.prices["fine"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"output_cost_per_image": 0.04}, "it is priced by the image"),
        ({"input_cost_per_second": 1e-4, "output_cost_per_second": 0}, "it is priced by the second"),
        ({"mode": "chat"}, "it has no input_cost_per_token and no output_cost_per_token"),
        ({"input_cost_per_token": 1e-6}, "it has no output_cost_per_token"),
        ({"input_cost_per_token": -1, "output_cost_per_token": 1}, "a price of it is below zero"),
        ({"tiered_pricing": [{"range": [0, 10]}]}, "its prices are in ranges"),
        ({"off_peak_pricing": {"start": "16:30"}}, "its prices go by the clock"),
    ],
)
def test_a_row_without_such_a_price_is_refused(row: dict[str, Any], why: str) -> None:
    """
    Each has its reason, which a backend that names it is told.
    """
    rows = read_rows(table(m=row))

    assert rows is not None
    assert {"m": why} == rows.refused


@pytest.mark.parametrize("text", [b"[]", b"{}", b"{", b'{"models": {}}'])
def test_another_file_is_no_such_table(text: bytes) -> None:
    """
    A table of our own, or nothing at all.
    """
    assert read_rows(text) is None


# What the package itself says that calls cost: a list of [model, provider, usage] in, of dollars or null out.
ORACLE = """
import json, os, sys
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
from litellm.litellm_core_utils.llm_cost_calc.utils import generic_cost_per_token
from litellm.types.utils import PromptTokensDetailsWrapper, CompletionTokensDetailsWrapper, Usage

found = []
for model, provider, (incoming, outgoing, cached, reasoning, written) in json.load(sys.stdin):
    usage = Usage(
        prompt_tokens=incoming, completion_tokens=outgoing, total_tokens=incoming + outgoing,
        prompt_tokens_details=PromptTokensDetailsWrapper(
            cached_tokens=cached, cache_creation_tokens=written, text_tokens=incoming - cached - written
        ),
        completion_tokens_details=CompletionTokensDetailsWrapper(reasoning_tokens=reasoning, text_tokens=outgoing - reasoning),
        cache_read_input_tokens=cached, cache_creation_input_tokens=written,
    )
    try:
        found.append(sum(generic_cost_per_token(model=model, usage=usage, custom_llm_provider=provider)))
    except Exception:
        found.append(None)
json.dump(found, sys.stdout)
"""


@pytest.mark.skipif(not PYTHON.is_file(), reason="`make .venvs/litellm/.made` makes the environment of litellm")
@pytest.mark.timeout(300)
@pytest.mark.process
@pytest.mark.slow
def test_calls_cost_what_that_package_says() -> None:
    """
    Random calls of many models, with cached and written input and thoughts, past marks and below, to the nano-dollar.
    """
    (path,) = ENVIRONMENT.glob("lib/python3*/site-packages/litellm/model_prices_and_context_window_backup.json")
    text = Path(path).read_bytes()
    rows, raw = read_rows(text), json.loads(text)
    assert rows is not None
    assert raw.keys() == (rows.prices.keys() & raw.keys()) | rows.refused.keys()
    dice = random.Random(7)
    chosen = dice.sample(sorted(name for name in rows.prices if name in raw and raw[name].get("mode") == "chat"), MODELS)
    asked: list[tuple[str, str, tuple[int, ...]]] = []
    for number in range(CALLS):
        name = chosen[number % MODELS]
        incoming, outgoing = dice.choice((900, 90_000, 200_000, 300_000)) + dice.randrange(9), dice.randrange(9_000)
        marks = [mark.input_tokens for mark in rows.prices[name].above]
        incoming = dice.choice([incoming, *marks, *(mark + 1 for mark in marks)])
        row, parts = raw[name], [0, 0, 0]
        if row.get("cache_read_input_token_cost"):
            parts[0] = dice.randrange(incoming // 2)
        if row.get("output_cost_per_reasoning_token"):
            parts[1] = dice.randrange(outgoing + 1)
        if row.get("cache_creation_input_token_cost"):
            parts[2] = dice.randrange(incoming // 2)
        asked.append((name, row["litellm_provider"], (incoming, outgoing, *parts)))
    ran = subprocess.run([PYTHON, "-c", ORACLE], input=json.dumps(asked), capture_output=True, text=True, check=True)
    oracle: list[float | None] = json.loads(ran.stdout.splitlines()[-1])
    both = [(call, dollars) for call, dollars in zip(asked, oracle, strict=True) if dollars is not None]
    wrong = [
        (call, dollars, rows.prices[call[0]].cost(*call[2]))
        for call, dollars in both
        # Theirs are sums of floats, and ours are exact and rounded up.
        if not math.isclose(rows.prices[call[0]].cost(*call[2]), dollars * 1e9, rel_tol=1e-12, abs_tol=1.0)
    ]

    assert [] == wrong
    assert len(both) >= 500
    assert len({call[0] for call, _ in both}) >= 200
