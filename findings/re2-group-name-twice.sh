#!/usr/bin/env bash
# google-re2 1.1.20251105: a pattern may name two groups alike, and `groupdict()` then has the first one's match alone.
#
# Seen: "(?P<x>a)|(?P<x>b)" compiles; on "b" groups() is (None, "b") and groupdict() is {"x": None}. Python's re refuses such
# a pattern ("redefinition of group name"). Whoever moves patterns from re and reads by name loses values without an error:
# count the names against the groups when a pattern is read.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'google-re2==1.1.20251105'
cat > "$folder/look.py" <<'PY'
import re

import re2

PATTERN = "(?P<x>a)|(?P<x>b)"
try:
    re.compile(PATTERN)
except re.error as error:
    print("re:", error)
else:
    raise AssertionError("re takes it")
match = re2.compile(PATTERN).match("b")
print("re2:", match.groups(), match.groupdict(), match.re.groupindex)
assert match.groups() == (None, "b")
assert match.groupdict() == {"x": None}
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: google-re2 1.1.20251105"
