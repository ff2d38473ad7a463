#!/usr/bin/env bash
# vowpalwabbit 9.11.9, contextual bandit by ips: rows with a propensity of 0, without one, or of an action that the policy
# does not have are left out of the loss in silence, and the weight of all rows is what Python is told.
#
# Seen: 50 usable rows of loss 2 give get_sum_loss() 100 over get_weighted_examples() 50; with 50 unusable rows more it is 100
# over 100, and the program's own "average loss" stays 2.0. So the mean computed from the two numbers halves by adding rows
# that say nothing, without a warning. Count the rows that an estimate can use before dividing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'vowpalwabbit==9.11.9'
cat > "$folder/look.py" <<'PY'
import vowpalwabbit

USABLE = ["1:1:0.5 | a"] * 50


def evaluate(lines):
    """Return the summed loss and the summed weight of a policy that does not learn."""
    workspace = vowpalwabbit.Workspace("--cb 2 --cb_type ips --quiet -t")
    for line in lines:
        workspace.learn(line)
    sums = workspace.get_sum_loss(), workspace.get_weighted_examples()
    workspace.finish()
    return sums


print("usable alone", evaluate(USABLE))
assert evaluate(USABLE) == (100.0, 50.0)
for name, row in {"propensity 0": "1:1:0 | a", "no propensity": "1:1 | a", "action 3 of 2": "3:1:0.5 | a"}.items():
    sums = evaluate(USABLE + [row] * 50)
    print("and 50 with", name, sums)
    assert sums == (100.0, 100.0)
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: vowpalwabbit 9.11.9"
