#!/usr/bin/env bash
# litellm 1.106.12 and genai-prices 0.2.3 price the same call of claude-sonnet-4-5 a factor of two apart once its input is long.
#
# Seen: to 200,000 input tokens both agree to the nano-dollar.  At 200,001 genai-prices doubles the input's price and takes 1.5
# times the output's, for all tokens of the call; litellm's row of that model has no mark.  For gemini-2.5-pro both have
# the mark and agree.  A budget that counts by the one table is wrong by half against the other: compare a table's marks
# with the provider's page before money depends on it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'litellm==1.106.12' 'genai-prices==0.2.3'
cat > "$folder/look.py" <<'PY'
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

from genai_prices import Usage, calc_price
from litellm import cost_per_token


def both(model, provider, theirs, tokens):
    listed = sum(cost_per_token(model=model, custom_llm_provider=provider, prompt_tokens=tokens, completion_tokens=1000))
    priced = calc_price(Usage(input_tokens=tokens, output_tokens=1000), model_ref=model, provider_id=theirs).total_price
    return round(listed, 9), round(float(priced), 9)


for model, provider, theirs in (("claude-sonnet-4-5", "anthropic", "anthropic"), ("gemini-2.5-pro", "gemini", "google")):
    for tokens in (200_000, 200_001, 300_000):
        print(model, tokens, *both(model, provider, theirs, tokens))
assert len(set(both("claude-sonnet-4-5", "anthropic", "anthropic", 200_000))) == 1
listed, priced = both("claude-sonnet-4-5", "anthropic", "anthropic", 200_001)
assert 1.9 < priced / listed < 2, "the tables agree now, or differ otherwise"
assert len(set(both("gemini-2.5-pro", "gemini", "google", 200_001))) == 1
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: litellm 1.106.12, genai-prices 0.2.3"
