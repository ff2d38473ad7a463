#!/usr/bin/env bash
# cel-expr-python 0.1.3 with numpy 2.3.5: a `dyn` variable takes a numpy integer and refuses a numpy float, with a message
# about integers; a `double` variable takes both.
#
# Seen: numpy.float64, which is a subclass of float, gives "Integer value 'np.float64(1.5)' out of range" where the variable
# is DYN or stands in a map of DYN, and 1.5 where it is DOUBLE; numpy.int64 is an INT in both. Scores come from numpy, and one
# in a map of attributes makes the whole guard an error: convert with float() first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'cel-expr-python==0.1.3' 'numpy==2.3.5'
cat > "$folder/look.py" <<'PY'
import numpy
from cel_expr_python import cel

T = cel.Type
env = cel.NewEnv(variables={"number": T.DOUBLE, "anything": T.DYN, "facts": T.Map(T.STRING, T.DYN)})
score, count = numpy.float64(1.5), numpy.int64(3)
assert isinstance(score, float)


def read(text, **data):
    result = env.compile(text).eval(data=data)
    print(text, data, "->", result.type(), result.value())
    return result.type(), result.value()


assert read("number", number=score) == (T.DOUBLE, 1.5)
assert read("anything", anything=float(score)) == (T.DOUBLE, 1.5)
assert read("anything", anything=count) == (T.INT, 3)
for kind, message in (read("anything", anything=score), read("facts.a > 1.0", facts={"a": score})):
    assert kind == T.ERROR and "out of range" in message
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: cel-expr-python 0.1.3, numpy 2.3.5"
