#!/usr/bin/env bash
# google-re2 1.1.20251105 and Python's re take the same pattern without a word and match other texts with it.
#
# Seen: "a{,3}" is zero to three times a for re, and the five characters a{,3} for re2; "a$" finds the end before a last
# newline for re only; "[[:alpha:]]" is a letter for re2 and two characters for re; the last round of "(a*)*" is kept by re2
# as "aa" and by re as "". None of the four is an error in either, so a move from the one to the other has to look for them by
# hand.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'google-re2==1.1.20251105'
cat > "$folder/look.py" <<'PY'
import re
import warnings

import re2

warnings.simplefilter("ignore")


def found(engine, pattern, text):
    match = engine.search(pattern, text)
    return match and (match.group(), *match.groups())


for pattern, text, theirs, ours in [
    ("a{,3}", "aaa", None, ("aaa",)),
    ("a{,3}", "a{,3}", ("a{,3}",), ("a",)),
    ("a$", "a\n", None, ("a",)),
    ("[[:alpha:]]", "x", ("x",), None),
    ("(a*)*", "aa", ("aa", "aa"), ("aa", "")),
]:
    print(repr(pattern), repr(text), "re2", found(re2, pattern, text), "re", found(re, pattern, text))
    assert found(re2, pattern, text) == theirs
    assert found(re, pattern, text) == ours
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: google-re2 1.1.20251105"
