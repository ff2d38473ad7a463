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


# What the package itself says that calls cost: a list of [model, provider, tier, usage] in, of dollars or null out.
ORACLE = """
import json, os, sys
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
from litellm.litellm_core_utils.llm_cost_calc.utils import generic_cost_per_token
from litellm.types.utils import PromptTokensDetailsWrapper, CompletionTokensDetailsWrapper, Usage

found = []
for model, provider, tier, (incoming, outgoing, cached, reasoning, written) in json.load(sys.stdin):
    usage = Usage(
        prompt_tokens=incoming, completion_tokens=outgoing, total_tokens=incoming + outgoing,
        prompt_tokens_details=PromptTokensDetailsWrapper(
            cached_tokens=cached, cache_creation_tokens=written, text_tokens=incoming - cached - written
        ),
        completion_tokens_details=CompletionTokensDetailsWrapper(reasoning_tokens=reasoning, text_tokens=outgoing - reasoning),
        cache_read_input_tokens=cached, cache_creation_input_tokens=written,
    )
    try:
        found.append(sum(generic_cost_per_token(model=model, usage=usage, custom_llm_provider=provider, service_tier=tier)))
    except Exception:
        found.append(None)
json.dump(found, sys.stdout)
"""


# A model, its provider, its tier, and its tokens: in, out, cached, reasoning, written.
Call = tuple[str, str, str | None, tuple[int, ...]]


def call_of(dice: random.Random, name: str, tier: str | None, row: dict[str, Any], price: Price) -> Call:
    """
    Draw a call of a model, past its marks and below, with the parts that its row has prices for.
    """
    incoming, outgoing = dice.choice((900, 90_000, 200_000, 300_000)) + dice.randrange(9), dice.randrange(9_000)
    marks = [mark.input_tokens for mark in price.above]
    incoming = dice.choice([incoming, *marks, *(mark + 1 for mark in marks)])
    parts = [0, 0, 0]
    if row.get("cache_read_input_token_cost"):
        parts[0] = dice.randrange(incoming // 2)
    if row.get("output_cost_per_reasoning_token"):
        parts[1] = dice.randrange(outgoing + 1)
    if row.get("cache_creation_input_token_cost"):
        parts[2] = dice.randrange(incoming // 2)

    return name, row["litellm_provider"], tier, (incoming, outgoing, *parts)


def compared(calls: list[Call], prices: dict[str, Price]) -> tuple[int, list[tuple[Call, float, int]]]:
    """
    Return how many calls the package can price, and those that cost otherwise by ours.
    """
    ran = subprocess.run([PYTHON, "-c", ORACLE], input=json.dumps(calls), capture_output=True, text=True, check=True)
    oracle: list[float | None] = json.loads(ran.stdout.splitlines()[-1])
    both = [(call, dollars) for call, dollars in zip(calls, oracle, strict=True) if dollars is not None]
    found = []
    for call, dollars in both:
        name, _, tier, tokens = call
        ours = prices[f"{name}@{tier}" if tier else name].cost(*tokens)
        # Theirs are sums of floats, and ours are exact and rounded up.
        if not math.isclose(ours, dollars * 1e9, rel_tol=1e-12, abs_tol=1.0):
            found.append((call, dollars, ours))

    return len(both), found


@pytest.fixture(scope="module")
def table_of_theirs() -> tuple[Any, dict[str, Any]]:
    (path,) = ENVIRONMENT.glob("lib/python3*/site-packages/litellm/model_prices_and_context_window_backup.json")
    text = Path(path).read_bytes()
    rows = read_rows(text)
    assert rows is not None

    return rows, json.loads(text)


@pytest.mark.skipif(not PYTHON.is_file(), reason="`make .venvs/litellm/.made` makes the environment of litellm")
@pytest.mark.timeout(300)
@pytest.mark.process
@pytest.mark.slow
class TestTheirs:
    def test_calls_cost_what_that_package_says(self, table_of_theirs: tuple[Any, dict[str, Any]]) -> None:
        """
        Random calls of many models, with cached and written input and thoughts, to the nano-dollar.
        """
        rows, raw = table_of_theirs
        assert raw.keys() == (rows.prices.keys() & raw.keys()) | rows.refused.keys()
        dice = random.Random(7)
        chosen = dice.sample(sorted(name for name in rows.prices if name in raw and raw[name].get("mode") == "chat"), MODELS)
        named = [chosen[number % MODELS] for number in range(CALLS)]
        calls = [call_of(dice, name, None, raw[name], rows.prices[name]) for name in named]
        priced, wrong = compared(calls, rows.prices)

        assert [] == wrong
        assert priced >= 500

    @pytest.mark.parametrize("tier", ["flex", "priority"])
    def test_tiers_cost_what_that_package_says(self, table_of_theirs: tuple[Any, dict[str, Any]], tier: str) -> None:
        """
        Each row that has prices of a tier, to the nano-dollar.
        """
        rows, raw = table_of_theirs
        dice = random.Random(8)
        end = f"@{tier}"
        named = [name.removesuffix(end) for name in sorted(rows.prices) if name.endswith(end)]
        calls = [call_of(dice, name, tier, raw[name], rows.prices[name + end]) for name in named if raw[name]["mode"] == "chat"]
        priced, wrong = compared(calls, rows.prices)

        assert [] == wrong
        assert priced >= 100
