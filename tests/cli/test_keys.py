"""
`meshwalk keys new`.
"""

from __future__ import annotations

import pytest

from meshwalk.loader.parts.server import build_settings
from meshwalk.server.identity.keys import ApiKeys, key_fault
from tests.cli.conftest import Run


def test_the_key_is_alone_on_stdout_and_its_entry_can_be_pasted(run: Run) -> None:
    """
    The entry on stderr is one of `identities.keys`, and the key on stdout is the one that it takes.
    """
    made = run("keys", "new", "--tenant", "acme", "--right", "route", "--expires", "2999-12-31")
    key, entry = made.out.removesuffix("\n"), made.err[made.err.index("  - id") :]
    text = f"server: 1\ntenants: {{acme: {{}}}}\nidentities:\n  keys:\n{entry}"
    settings = build_settings(text.encode(), file="server.yaml", folder=".")

    assert "" == key_fault(key)
    assert key not in made.err
    assert settings.keys[0] == ApiKeys(settings.keys).find(key)
    assert frozenset({"route"}) == settings.keys[0].rights
    assert 32_503_593_600 == settings.keys[0].expires_unix


def test_no_two_keys_are_alike(run: Run) -> None:
    """
    Each key has an id, a salt and random bytes of its own.
    """
    first, second = (run("keys", "new", "--json").json for _ in range(2))

    assert not {first["key"], *first["entry"].values()} & {second["key"], *second["entry"].values()} - {"default"}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--right", "rout"), "'rout' is none; did you mean 'route'?"),
        (("--expires", "tomorrow"), "--expires takes a day such as 2027-12-31, and 'tomorrow' is none"),
        (("--expires", "20271231"), "and '20271231' is none"),
    ],
)
def test_wrong_use(run: Run, words: tuple[str, ...], why: str) -> None:
    """
    A right or a day that is none is refused, and no key is made.
    """
    refused = run("keys", "new", *words)

    assert 2 == refused.code
    assert "" == refused.out
    assert why in refused.err
