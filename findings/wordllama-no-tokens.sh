#!/usr/bin/env bash
# wordllama 0.4.0.post1: the embedding of an empty text is zeros, and NaN where it is asked for at length 1 (norm=True), without an error.
#
# Seen: embed("") is all zeros, embed("", norm=True) is all NaN (numpy warns of an invalid division), and deduplicate() keeps
# every empty text, since NaN is like nothing.  A blank is no empty text: it has a direction of its own.  A score that is
# computed from the vector of an empty prompt is NaN, and each comparison with a threshold is false.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'wordllama==0.4.0.post1'
cat > "$folder/look.py" <<'PY'
import pathlib
import warnings

import numpy as np
import wordllama

warnings.simplefilter("ignore")
model = wordllama.WordLlama.load(cache_dir=pathlib.Path(wordllama.__file__).parent, disable_download=True)
plain, unit, blank = model.embed(""), model.embed("", norm=True), model.embed(" ", norm=True)
kept = model.deduplicate(["a", "a", "", "", "b"], threshold=0.9)
print("embed(''):", float(np.abs(plain).sum()), "norm=True:", float(unit[0][0]), "blank:", float(blank[0][0]), "deduplicate:", kept)
assert not plain.any() and np.isnan(unit).all() and np.isfinite(blank).all()
assert kept.count("") == 2 and kept.count("a") == 1
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: wordllama 0.4.0.post1"
