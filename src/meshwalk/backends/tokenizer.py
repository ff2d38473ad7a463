"""
Tokenizers in the format of `tokenizers` (a `tokenizer.json`), to count what a call sends before it is sent.

Only counts leave this module.  A file may say that texts are cut at some length or filled up to one, which would make every
long text look short: both are switched off.  Tokens that a chat template adds are not counted here; the bound on a
call's input allows for them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from meshwalk.model.files import read_plain
from meshwalk.model.problems import SetupError


# The largest tokenizers that are published have a tenth of this.
_MAX_BYTES = 256 << 20


def open_tokenizer(path: str | Path) -> Callable[[str], int]:
    """
    Return a function that counts the tokens of a text with the tokenizer in the file at *path*.

    Raises:
        SetupError: If the package `tokenizers` is not installed, or the file is not there or holds no tokenizer.
    """
    if find_spec("tokenizers") is None:
        raise SetupError(
            f"the tokenizer '{path}' needs the package tokenizers; install the extra: pip install 'meshwalk[tokenizer]'"
        )
    from tokenizers import Tokenizer  # noqa: PLC0415 - an extra

    try:
        text = read_plain(path, _MAX_BYTES).decode("utf-8")
    except OSError as error:
        raise SetupError(f"the tokenizer '{path}' cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SetupError(f"{_NO_TOKENIZER.format(path)}: it is not UTF-8") from error
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise SetupError(f"{_NO_TOKENIZER.format(path)}: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    return count


_NO_TOKENIZER = "'{}' is no tokenizer in the format of tokenizers (a tokenizer.json)"
