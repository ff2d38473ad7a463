"""
Messages, tools and response formats, as files have them.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from meshwalk.cli.chat_files import read_messages, read_response_format, read_tools
from meshwalk.cli.output import Misuse
from meshwalk.trace import Image, Message, ResponseFormat, Tool, ToolCall


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.fixture
def at(tmp_path: Path) -> Any:
    """
    Write a value to a JSON file, and give its path.
    """

    def written(value: Any, name: str = "file.json") -> str:
        path = tmp_path / name
        path.write_bytes(orjson.dumps(value))
        return str(path)

    return written


class TestMessages:
    def test_roles_and_calls(self, at: Any) -> None:
        """
        Each role is kept, and a call is read with and without OpenAI's outer object.
        """
        path = at(
            [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Rome?", "name": "ann"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                        {"id": "c2", "name": "look", "arguments": "{}"},
                    ],
                },
                {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
            ]
        )

        assert (
            Message("system", "Be brief."),
            Message("user", "Rome?", name="ann"),
            Message("assistant", "", tool_calls=(ToolCall("c1", "look", "{}"), ToolCall("c2", "look", "{}"))),
            Message("tool", "sunny", tool_call_id="c1"),
        ) == read_messages(path)

    def test_contents_of_parts(self, at: Any) -> None:
        """
        Texts alone are one text; an image stands among the parts, with the text beside it.
        """
        url = "data:image/png;base64,iVBORw0KGgo="
        texts = [{"type": "text", "text": "Four and "}, {"type": "text", "text": "five?"}]
        image = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
        path = at([{"role": "system", "content": texts}, {"role": "user", "content": [texts[0], image]}])

        assert (
            Message("system", "Four and five?"),
            Message("user", "Four and ", parts=("Four and ", Image(url, "low"))),
        ) == read_messages(path)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ([], r"\[0\]\.content: is list, and takes a text or a list of parts"),
            ([{"type": "input_audio"}], r"\[0\]\.content\[0\]: is no part of a message"),
            ([{"type": "image_url", "image_url": 3}], r"is no part of a message"),
        ],
    )
    def test_a_part_that_is_none_is_named(self, at: Any, content: Any, words: str) -> None:
        """
        With its place in the file.
        """
        with pytest.raises(Misuse, match=words):
            read_messages(at([{"role": "user", "content": content}]))

    def test_stdin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        `-` is stdin.
        """
        monkeypatch.setattr(sys, "stdin", io.StringIO('[{"role": "user", "content": "Hi"}]'))

        assert (Message("user", "Hi"),) == read_messages("-")

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ({"role": "user"}, "holds no list: write [{…}, {…}]"),
            ([], "holds an empty list"),
            (["Hi"], "[0] is no object"),
            ([{"content": "Hi"}], "[0] has no 'role'"),
            ([{"role": "user"}], "[0] has neither 'content' nor 'tool_calls'"),
            ([{"role": "user", "content": [{"type": "text"}]}], "[0].content[0]: is no part of a message"),
            ([{"role": "user", "contents": "Hi"}], "[0] has a field 'contents' that is not known; did you mean 'content'?"),
            ([{"role": "assistant", "tool_calls": [{"id": "c"}]}], "[0].tool_calls[0] has no 'name'"),
            ([{"role": "assistant", "tool_calls": [{"type": "custom"}]}], "[0].tool_calls[0].type is 'custom'"),
        ],
    )
    def test_faults_name_the_place(self, at: Any, value: Any, said: str) -> None:
        """
        The file, the message and the field are named.
        """
        path = at(value)

        with pytest.raises(Misuse) as caught:
            read_messages(path)

        assert str(caught.value).startswith(f"--messages {path}")
        assert said in str(caught.value)

    def test_files_that_are_none(self, tmp_path: Path) -> None:
        """
        A file that is not there, and one that is no JSON, are told of by their names.
        """
        (tmp_path / "chat.json").write_text("hello", encoding="utf-8")

        with pytest.raises(Misuse, match=r"cannot be read: No such file"):
            read_messages(str(tmp_path / "none.json"))
        with pytest.raises(Misuse, match=r"chat\.json is no JSON"):
            read_messages(str(tmp_path / "chat.json"))


class TestTools:
    def test_both_shapes(self, at: Any) -> None:
        """
        A tool is read with and without OpenAI's outer object; its parameters become JSON text.
        """
        inner = {"name": "look", "description": "Look.", "parameters": SCHEMA}
        path = at([{"type": "function", "function": inner}, inner, {"name": "wait"}])

        assert (look := Tool("look", "Look.", orjson.dumps(SCHEMA).decode()), look, Tool("wait")) == read_tools(path)

    def test_fault(self, at: Any) -> None:
        """
        Parameters are a schema, not its text.
        """
        with pytest.raises(Misuse, match=r"\[0\]\.parameters is not an object"):
            read_tools(at([{"name": "look", "parameters": "{}"}]))


class TestResponseFormat:
    def test_any_object(self, at: Any) -> None:
        """
        The word `json` asks for any JSON object, and so does OpenAI's object.
        """
        assert ResponseFormat("json_object") == read_response_format("json")
        assert ResponseFormat("json_object") == read_response_format(at({"type": "json_object"}))

    def test_schema(self, at: Any) -> None:
        """
        A file is a JSON Schema, named after the file, or OpenAI's object around one.
        """
        text = orjson.dumps(SCHEMA).decode()
        outer = {"type": "json_schema", "json_schema": {"name": "town", "schema": SCHEMA, "strict": True}}

        assert ResponseFormat("json_schema", "my_town", text) == read_response_format(at(SCHEMA, "my town.json"))
        assert ResponseFormat("json_schema", "town", text, strict=True) == read_response_format(at(outer))

    def test_fault(self, at: Any) -> None:
        """
        OpenAI's object without a name is told of.
        """
        with pytest.raises(Misuse, match=r"json_schema has no 'name'"):
            read_response_format(at({"type": "json_schema", "json_schema": {"schema": SCHEMA}}))
