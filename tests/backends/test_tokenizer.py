"""
Tokenizers: what they count, and what is said where there is none.
"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.tokenizer import open_tokenizer
from meshwalk.model.problems import SetupError
from meshwalk.prompts import text_bytes
from tests.support.tokenizer import trained


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("tokenizer"))


def changed(file: Path, into: Path, **parts: Any) -> Path:
    path = into / "changed.json"
    path.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | parts), encoding="utf-8")

    return path


class TestCount:
    def test_words_it_learnt_are_few_tokens(self, file: Path) -> None:
        """
        A text of known words is far fewer tokens than bytes, and an empty one is none.
        """
        count = open_tokenizer(file)

        assert 0 == count("")
        assert 3 == count("the next hop")

    def test_bytes_bound_it(self, file: Path) -> None:
        """
        No text has more tokens than UTF-8 bytes.
        """
        count = open_tokenizer(file)

        @given(st.text())
        def bounded(text: str) -> None:
            assert count(text) <= len(text.encode("utf-8", "replace"))

        bounded()

    def test_what_a_template_adds_is_not_counted(self, file: Path, tmp_path: Path) -> None:
        """
        Special tokens that the file puts round every text are left out.
        """
        special = {"id": 0, "content": "<s>", "single_word": False, "lstrip": False, "rstrip": False}
        special |= {"normalized": False, "special": True}
        start = {"SpecialToken": {"id": "<s>", "type_id": 0}}
        template = {
            "type": "TemplateProcessing",
            "single": [start, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [start, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
        }
        path = changed(file, tmp_path, post_processor=template, added_tokens=[special])

        assert open_tokenizer(file)("the next hop") == open_tokenizer(path)("the next hop")

    def test_long_texts_are_not_cut(self, file: Path, tmp_path: Path) -> None:
        """
        A file that cuts texts, or fills them up, counts them whole.
        """
        cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
        fill: dict[str, Any] = {"strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": None}
        fill |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}
        path = changed(file, tmp_path, truncation=cut, padding=fill)

        assert open_tokenizer(file)("the next hop of the walk") == open_tokenizer(path)("the next hop of the walk")


class TestSetup:
    def test_file_that_is_not_there(self, tmp_path: Path) -> None:
        """
        A missing file is named with the reason.
        """
        with pytest.raises(SetupError, match=r"the tokenizer '.*none\.json' cannot be read: No such file"):
            open_tokenizer(tmp_path / "none.json")

    @pytest.mark.parametrize("text", [b"", b"{}", b'{"model": 1}', b"\xff\xfe"])
    def test_file_that_is_no_tokenizer(self, tmp_path: Path, text: bytes) -> None:
        """
        A file of something else is named with what the library misses in it.
        """
        path = tmp_path / "broken.json"
        path.write_bytes(text)

        with pytest.raises(SetupError, match=r"broken\.json' is no tokenizer in the format of tokenizers"):
            open_tokenizer(path)

    def test_package_that_is_not_installed(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Without the package, what installs it is named.
        """
        monkeypatch.setattr("meshwalk.backends.tokenizer.find_spec", lambda _: None)

        with pytest.raises(SetupError, match=r"pip install 'meshwalk\[tokenizer\]'"):
            open_tokenizer(file)


TOKENIZERS = sorted(
    (Path(__file__).parents[2] / ".venvs" / "litellm").glob("lib/python3*/site-packages/litellm/**/anthropic_tokenizer.json")
)


@pytest.mark.slow
@pytest.mark.skipif(not TOKENIZERS, reason="`make .venvs/litellm/.made` brings a tokenizer that normalises")
def test_no_character_has_more_tokens_than_bytes_are_counted_for_it() -> None:
    """
    A tokenizer that normalises makes up to five tokens a byte; the bytes of the longest form bound it, for every character.
    """
    count = open_tokenizer(TOKENIZERS[0])
    known = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in {"Cn", "Cs", "Co"}]
    # Of the others each token is of bytes that stand there.
    longer = [char for char in known if unicodedata.normalize("NFKC", char) != char]
    past = [char for char in longer if count(char) > text_bytes(char) or count(char * 10) > text_bytes(char * 10)]

    assert [] == past
    assert 250 < sum(count(char) > len(char.encode()) for char in longer)
