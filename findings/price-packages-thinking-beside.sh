#!/usr/bin/env bash
# genai-prices 0.2.3: thinking that a provider counts beside the completion is read as nothing where the usage has OpenAI's
# form.
#
# Seen with extract_usage for x-ai (chat) and google (chat): 100 prompt tokens, 5 completion tokens and a total of 155 are 5
# output tokens, with or without reasoning_tokens 50 in the details; google's own form of the same call, with
# thoughtsTokenCount, is 55. The total, which is the only sign of the 50 tokens in the one case, is not looked at.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'genai-prices==0.2.3'
cat > "$folder/look.py" <<'PY'
from genai_prices import extract_usage

COUNTS = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 155}
DETAILS = {"completion_tokens_details": {"reasoning_tokens": 50}}


def output(provider, data, **options):
    return extract_usage(data, provider_id=provider, **options).usage.output_tokens


chat = {
    "x-ai, details": output("x-ai", {"model": "grok-4", "usage": COUNTS | DETAILS}),
    "x-ai": output("x-ai", {"model": "grok-4", "usage": COUNTS}),
    "google, chat": output("google", {"model": "gemini-2.5-pro", "usage": COUNTS}, api_flavor="chat"),
}
native = output(
    "google",
    {
        "modelVersion": "gemini-2.5-pro",
        "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 5, "thoughtsTokenCount": 50, "totalTokenCount": 155},
    },
)
print(chat, "google, own form:", native)
assert set(chat.values()) == {5}
assert native == 55
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: genai-prices 0.2.3"
