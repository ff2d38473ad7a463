#!/usr/bin/env bash
# google-re2 1.1.20251105: a pattern that cannot be compiled is written to stderr by the C++ library besides the exception,
# and the exception's text is the repr of bytes.
#
# Seen: str(error) is "b'missing ): (a'", and stderr gets a line with the pattern, past Python's logging and sys.stderr. With
# Options().log_errors = False the line is gone. `re2.compile(pattern, re.IGNORECASE)` is an AttributeError about max_mem,
# because the second argument is an Options object.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'google-re2==1.1.20251105'
cat > "$folder/look.py" <<'PY'
import os
import re
import tempfile

import re2

with tempfile.TemporaryFile() as file:
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    texts = []
    for options in (None, re2.Options()):
        if options:
            options.log_errors = False
        try:
            re2.compile("(a", options)
        except re2.error as error:
            texts.append(str(error))
        file.seek(0)
        written = file.read()
        file.truncate(0)
        file.seek(0)
        texts.append(b"Error parsing '(a'" in written)
    os.dup2(kept, 2)
print(texts)
assert texts == ["b'missing ): (a'", True, "b'missing ): (a'", False]
try:
    re2.compile("a", re.IGNORECASE)
except AttributeError as error:
    print(error)
else:
    raise AssertionError("flags are taken now")
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: google-re2 1.1.20251105"
