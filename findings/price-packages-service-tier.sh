#!/usr/bin/env bash
# litellm 1.106.12 and genai-prices 0.2.3: a reply that says it was served at the tier "priority" has the tier's price in the
# one and the standard price in the other; an unknown tier is the standard price in both.
#
# Seen for gpt-4o: litellm's generic_cost_per_token takes 4.25 for a million input tokens at "priority" and 2.5 without a tier
# or with a tier it does not know; genai-prices reads the same reply's usage and leaves its service_tier aside: 2.5. A tier
# that is missing from a table is no error anywhere, so a priced tier needs a row of its own before it is used.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'genai-prices==0.2.3' 'litellm==1.106.12'
cat > "$folder/look.py" <<'PY'
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
from genai_prices import extract_usage
from litellm.litellm_core_utils.llm_cost_calc.utils import generic_cost_per_token
from litellm.types.utils import Usage


def by_litellm(tier):
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=0, total_tokens=1_000_000)
    return round(generic_cost_per_token(model="gpt-4o", usage=usage, custom_llm_provider="openai", service_tier=tier)[0], 6)


reply = {"model": "gpt-4o", "service_tier": "priority", "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0}}
other = extract_usage(reply, provider_id="openai", api_flavor="chat").calc_price().total_price
print("litellm", by_litellm(None), by_litellm("priority"), by_litellm("no such tier"), "genai-prices", other)
assert by_litellm(None) == by_litellm("no such tier") == 2.5
assert by_litellm("priority") == 4.25
assert float(other) == 2.5
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: genai-prices 0.2.3, litellm 1.106.12"
