#!/usr/bin/env bash
# genai-prices 0.2.3 halves the price of deepseek-chat at night (16:30 to 00:30 UTC), today as in 2025; litellm 1.106.12 has
# one price for the whole day, another one.
#
# Seen: a million input tokens of deepseek-chat cost 0.27 at 10:00 UTC and 0.135 at 20:00 UTC of the same day in November
# 2026; litellm's row says 0.28 and knows no hour. A datetime without a zone is read as UTC. A budget that is checked against
# the one table and charged by the other is off by a factor of two for a third of the day.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'genai-prices==0.2.3' 'litellm==1.106.12'
cat > "$folder/look.py" <<'PY'
import os
from datetime import datetime, timezone

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
from genai_prices import Usage, calc_price


def price(hour, zone=timezone.utc):
    moment = datetime(2026, 11, 30, hour, tzinfo=zone)
    usage = Usage(input_tokens=1_000_000)
    return str(calc_price(usage, model_ref="deepseek-chat", genai_request_timestamp=moment).total_price)


flat = litellm.model_cost["deepseek-chat"]["input_cost_per_token"] * 1_000_000
print("10:00", price(10), "20:00", price(20), "20:00 without a zone", price(20, None), "litellm", flat)
assert (price(10), price(20), price(20, None)) == ("0.27", "0.135", "0.135")
assert round(flat, 6) == 0.28
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: genai-prices 0.2.3, litellm 1.106.12"
