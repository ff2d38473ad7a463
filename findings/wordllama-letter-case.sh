#!/usr/bin/env bash
# wordllama 0.4.0.post1: a prompt in capital letters is about as far from itself as another prompt is.
#
# Seen: the cosine of five English prompts with themselves in capitals is 0.25 to 0.53; in small letters it is 0.79 to 0.97.
# The static embeddings are of a cased vocabulary, and a word in capitals falls apart into other pieces.  A classifier that
# was trained on such vectors takes a shouted question for another kind of question: fold the case before embedding, or
# train on both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'wordllama==0.4.0.post1'
cat > "$folder/look.py" <<'PY'
import pathlib

import wordllama

model = wordllama.WordLlama.load(cache_dir=pathlib.Path(wordllama.__file__).parent, disable_download=True)
PROMPTS = [
    "Write a function that merges two sorted lists.", "Is 91 a prime number?", "Summarise this ticket in one line",
    "What is the capital of France?", "Explain why the sky is blue",
]
upper = [float(model.similarity(prompt, prompt.upper())) for prompt in PROMPTS]
lower = [float(model.similarity(prompt, prompt.lower())) for prompt in PROMPTS]
print("itself in capitals:", [round(x, 2) for x in upper], "in small letters:", [round(x, 2) for x in lower])
assert max(upper) < 0.6, "capitals are nearer now"
assert min(lower) > 0.7
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: wordllama 0.4.0.post1"
