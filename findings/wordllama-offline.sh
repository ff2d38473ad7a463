#!/usr/bin/env bash
# wordllama 0.4.0.post1: `WordLlama.load()` of a wheel that holds the weights and the tokenizer still wants to download the tokenizer.
#
# Seen: the wheel has weights/l2_supercat_256.safetensors and tokenizers/l2_supercat_tokenizer_config.json, but the tokenizer is looked
# for in the project's root and in a cache folder only; with disable_download=True that is a FileNotFoundError.  Naming the
# package's own folder as cache_dir finds it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'wordllama==0.4.0.post1'
cat > "$folder/look.py" <<'PY'
import pathlib

import wordllama

home = pathlib.Path(wordllama.__file__).parent
held = [(home / name).is_file() for name in ("weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json")]
print("the wheel holds weights and tokenizer:", held)
assert all(held)
try:
    wordllama.WordLlama.load(disable_download=True)
except FileNotFoundError as error:
    print("load(disable_download=True):", str(error)[:120])
else:
    raise SystemExit("load() finds its own files now")
model = wordllama.WordLlama.load(cache_dir=home, disable_download=True)
print("with cache_dir of the package:", model.embed("hello").shape)
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: wordllama 0.4.0.post1"
