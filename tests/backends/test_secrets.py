"""
Secrets are taken out of a text however it spells them, and nothing else is.
"""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.secrets import Secrets, values_in


KEY = "sk-canary-0123456789-abcdef"
ADDRESS = "https://Desk.Canary.example:8443/tenant-4711/v1?sig=swordfish"
SECRETS = Secrets([KEY], [ADDRESS], [ADDRESS])


def _twice(text: str) -> str:
    return quote(quote(text, safe=""), safe="")


def _each(text: str) -> str:
    return "".join(f"%{ord(char):02x}" for char in text)


def _as_json(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" for char in text)


def _as_html(text: str) -> str:
    return "".join(f"&#{ord(char)};" for char in text)


SPELLINGS = [
    str,
    str.upper,
    str.swapcase,
    lambda text: quote(text, safe=""),
    _twice,
    _each,
    _as_json,
    _as_html,
    html.escape,
    lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
]


class TestKeys:
    @pytest.mark.parametrize("spelt", SPELLINGS)
    def test_a_key_is_found_however_it_is_spelt(self, spelt: object) -> None:
        """
        Other letters and escapes of any kind do not save a key.
        """
        assert callable(spelt)
        assert "bad [key] given" == SECRETS.hidden(f"bad {spelt(KEY)} given")

    @pytest.mark.parametrize("size", range(6, len(KEY)))
    def test_its_beginnings_are_as_secret(self, size: int) -> None:
        """
        Providers like to quote how a key begins.
        """
        assert "key [key]... is bad" == SECRETS.hidden(f"key {KEY[:size]}... is bad")

    @pytest.mark.parametrize(("start", "end"), [(3, 11), (10, 22), (-8, None), (-12, None)])
    def test_so_is_any_longer_part(self, start: int, end: int | None) -> None:
        """
        Eight characters in a row are too many to be told.
        """
        assert "key ...[key] is bad" == SECRETS.hidden(f"key ...{KEY[start:end]} is bad")

    def test_so_are_basic_credentials(self) -> None:
        """
        A key among credentials in base64 is found, and what such credentials say is found plainly.
        """
        alone = base64.b64encode(f":{KEY}".encode()).decode()
        pair = base64.b64encode(b"canary-user:canary-password").decode()
        basic = Secrets([f"Basic {pair}"])

        assert "[key]" in SECRETS.hidden(alone)
        assert alone[:20] not in SECRETS.hidden(alone)
        assert "[key] and [key], [key]" == basic.hidden(f"{pair} and canary-user, canary-password")

    def test_a_bearer_is_no_secret_by_itself(self) -> None:
        """
        The name of a scheme is a word like any other.
        """
        assert "Bearer [key]" == Secrets([f"Bearer {KEY}"]).hidden(f"Bearer {KEY}")


class TestAddresses:
    @pytest.mark.parametrize("spelt", SPELLINGS)
    @pytest.mark.parametrize(
        "part",
        [
            ADDRESS,
            "desk.canary.example:8443",
            "desk.canary.example",
            "tenant-4711",
            "swordfish",
        ],
    )
    def test_each_part_is_found_however_it_is_spelt(self, spelt: object, part: str) -> None:
        """
        Host, path and query are secrets alone, too.
        """
        assert callable(spelt)
        assert "no route [address] here" == SECRETS.hidden(f"no route {spelt(part)} here")

    def test_an_address_of_the_graph_is_hidden_whole(self) -> None:
        """
        What the graph itself says is hidden as a whole and by its host, and its path is no secret.
        """
        secrets = Secrets(addresses=["http://desk.internal:8443/public-path/v1"])

        assert "[address]/chat at [address]" == secrets.hidden(
            "http://desk.internal:8443/public-path/v1/chat at desk.internal:8443"
        )
        assert "no route /public-path" == secrets.hidden("no route /public-path")

    def test_a_part_of_an_address_is_found_as_well(self) -> None:
        """
        A variable may hold no more than a host, a port, a path or what stands before them.
        """
        secrets = Secrets(values=["canary-user:canary-password", "/canary-path/deep-path/", "8443"])

        assert "[address] [address] [address] [address]" == secrets.hidden("canary-user canary-path deep-path 8443")

    def test_values_are_those_that_a_template_names(self) -> None:
        """
        Only what the template takes is read.
        """
        assert ["one", "two"] == values_in("http://${A}/${B}", {"A": "one", "B": "two", "C": "three"})


class TestOthers:
    @given(st.text())
    def test_without_secrets_a_text_stays_as_it_is(self, text: str) -> None:
        """
        Nothing to hide changes nothing.
        """
        assert text == Secrets().hidden(text)

    @given(st.text(), st.text())
    def test_no_text_keeps_a_key(self, before: str, after: str) -> None:
        """
        Whatever stands round a key, it is gone.
        """
        assert KEY not in SECRETS.hidden(before + KEY + after)

    @pytest.mark.parametrize("key", ["none", "EMPTY", "ollama"])
    def test_a_key_that_stands_for_none_is_a_word(self, key: str) -> None:
        """
        Servers without keys are given some word.
        """
        assert f"there is {key}" == Secrets([key]).hidden(f"there is {key}")

    def test_a_usual_host_is_a_word(self) -> None:
        """
        A machine's own name is no secret; the port beside it is one.
        """
        secrets = Secrets(values=["http://localhost:8123/v1"])

        assert "localhost [address]" == secrets.hidden("localhost localhost:8123")

    def test_long_texts_are_read_for_what_stands_there_plainly(self) -> None:
        """
        Content is looked through for keys and addresses, and left as it is where it has none.
        """
        assert "a [key] at [address]" == SECRETS.hidden_in_content(f"a {KEY} at tenant-4711")
        assert "nothing %20 here" == SECRETS.hidden_in_content("nothing %20 here")

    @pytest.mark.parametrize("short", ["", "v1", "abc"])
    def test_short_values_are_words(self, short: str) -> None:
        """
        What is too short for a secret stays in the text.
        """
        assert "see v1 abc" == Secrets([short], (), [short]).hidden("see v1 abc")
