#!/usr/bin/env bash
# cel-expr-python 0.1.3: an evaluation that fails does not raise; it returns a value whose `value()` is a text, and a text is
# true.
#
# Seen: a missing variable, a missing key, an overflow and a value of a wrong type each give a Value with `type()` ERROR or
# UNKNOWN and the message as `value()`. `if expression.eval(...).value():` takes the branch for a guard that could not be
# evaluated. Look at the type before the value, or compare with `is True`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'cel-expr-python==0.1.3'
cat > "$folder/look.py" <<'PY'
from cel_expr_python import cel

T = cel.Type
env = cel.NewEnv(variables={"x": T.DOUBLE, "i": T.INT, "m": T.Map(T.STRING, T.DYN)})
for text, data in [
    ("x > 1.0", {}),
    ("m.a == 1", {"m": {}}),
    ("i + 1 > 0", {"i": 2**63 - 1}),
    ("x > 1.0", {"x": "high"}),
]:
    result = env.compile(text).eval(data=data)
    print(text, data, "->", result.type(), repr(result.value()))
    assert result.type() in (T.ERROR, T.UNKNOWN), "such an evaluation has another type now"
    assert isinstance(result.value(), str) and result.value()
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: cel-expr-python 0.1.3"
