#!/usr/bin/env bash
# litellm 1.106.12: tokens that a deepseek-chat reply reports as written to the cache cost nothing; for gpt-4o they cost what input does.
#
# Seen with generic_cost_per_token: 1,000 input tokens of which 500 are cache writes cost half of 1,000 without any for
# deepseek-chat, whose row has a cache-write price of 0, and the same as without any for gpt-4o, whose row has none.  A price of 0 and
# no price are two things in that table, and a reader that takes 0 for "not stated" or "not stated" for 0 is wrong for one of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'litellm==1.106.12'
cat > "$folder/look.py" <<'PY'
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from litellm.litellm_core_utils.llm_cost_calc.utils import generic_cost_per_token
from litellm.types.utils import PromptTokensDetailsWrapper, Usage


def cost(model, provider, written):
    usage = Usage(
        prompt_tokens=1000, completion_tokens=0, total_tokens=1000, cache_creation_input_tokens=written,
        prompt_tokens_details=PromptTokensDetailsWrapper(cached_tokens=0, cache_creation_tokens=written),
    )
    return round(generic_cost_per_token(model=model, usage=usage, custom_llm_provider=provider)[0], 9)


for model, provider in (("deepseek-chat", "deepseek"), ("gpt-4o", "openai")):
    row = litellm.model_cost[f"{provider}/{model}" if provider == "deepseek" else model]
    print(model, "price of a cache write:", row.get("cache_creation_input_token_cost"),
          "cost without and with 500 writes:", cost(model, provider, 0), cost(model, provider, 500))
assert litellm.model_cost["deepseek/deepseek-chat"]["cache_creation_input_token_cost"] == 0
assert cost("deepseek-chat", "deepseek", 500) == cost("deepseek-chat", "deepseek", 0) / 2
assert "cache_creation_input_token_cost" not in litellm.model_cost["gpt-4o"]
assert cost("gpt-4o", "openai", 500) == cost("gpt-4o", "openai", 0)
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: litellm 1.106.12"
