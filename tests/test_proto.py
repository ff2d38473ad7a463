"""
The files in `proto/`: their names suit other languages, their reference is whole, and a change that breaks callers is found.
"""

from __future__ import annotations

import keyword
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor

from meshwalk.wire.gen.meshwalk.v1beta1 import (
    budget_pb2,
    common_pb2,
    error_pb2,
    graph_pb2,
    routing_pb2,
    trace_pb2,
    traversal_pb2,
)


ROOT = Path(__file__).resolve().parents[1]
FILES: list[FileDescriptor] = [
    module.DESCRIPTOR for module in (budget_pb2, common_pb2, error_pb2, graph_pb2, routing_pb2, trace_pb2, traversal_pb2)
]

_OTHERS = """
    abstract alignas alignof and as asm assert async auto await become bool boolean box break byte bytes case catch char
    class concept const constexpr continue crate decltype default delete do double else enum explicit export extends
    extern false final finally fixed32 fixed64 float fn for friend goto if impl implements import in inline instanceof
    int int32 int64 interface let long loop macro map match mod module move mut mutable namespace native new noexcept
    not nullptr operator optional or override package priv private protected pub public ref register repeated requires
    required return self sealed short signed sizeof static string struct super switch synchronized template this
    thread_local throw throws trait transient true try type typedef typeid typename typeof uint32 uint64 union unsafe
    unsigned unsized use using var virtual void volatile where while xor yield
"""

# Words that a field of that name would be renamed for: of C++, Java, Rust and Python, and the types and labels of protobuf.
RESERVED = {
    *keyword.kwlist,
    *_OTHERS.split(),
}


def messages(file: FileDescriptor) -> Iterator[Descriptor]:
    waiting = list(file.message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        if not message.GetOptions().map_entry:
            yield message
        waiting += message.nested_types


def enums(file: FileDescriptor) -> Iterator[EnumDescriptor]:
    yield from file.enum_types_by_name.values()


def test_no_field_is_a_reserved_word() -> None:
    """
    No field has a name that the compilers of other languages would have to change.
    """
    fields = [
        field.full_name for file in FILES for message in messages(file) for field in message.fields if field.name in RESERVED
    ]

    assert [] == fields


def test_spans_of_time_have_their_unit() -> None:
    """
    A span of time is a number of microseconds and says so; a point of time is a timestamp and says so.
    """
    fields = [field for file in FILES for message in messages(file) for field in message.fields]
    times = [
        field for field in fields if field.message_type is not None and field.message_type.file.package == "google.protobuf"
    ]

    assert {"Timestamp"} == {field.message_type.name for field in times if field.message_type is not None}
    assert [] == [field.full_name for field in times if not field.name.endswith("_time")]


def test_the_reference_is_whole() -> None:
    """
    The page for callers in other languages has every service, method, message, field and enum value.
    """
    text = (ROOT / "docs" / "reference" / "wire.md").read_text()
    names = [f"\n### {service}\n" for file in FILES for service in file.services_by_name]
    names += [
        f"**`{method.name}`**" for file in FILES for service in file.services_by_name.values() for method in service.methods
    ]
    names += [f"#### {message.full_name.removeprefix(f'{file.package}.')}\n" for file in FILES for message in messages(file)]
    names += [f" | `{field.name}` | " for file in FILES for message in messages(file) for field in message.fields]
    names += [f" | `{value.name}` | " for file in FILES for enum in enums(file) for value in enum.values]

    assert [] == [name for name in names if name not in text]


class TestBreaking:
    """
    `proto/breaking.py`, in a repository of its own.
    """

    PROTO = """\
        // Words.
        syntax = "proto3";

        package words.v1beta1;

        // A word.
        message Word {
          // Its text.
          string text = 1;
        }
        """

    @pytest.fixture
    def repository(self, tmp_path: Path) -> Path:
        (tmp_path / "buf.yaml").write_text((ROOT / "buf.yaml").read_text())
        self.git(tmp_path, "init", "--quiet")
        self.write(tmp_path, self.PROTO)
        self.git(tmp_path, "add", ".")
        self.git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message=Begin")

        return tmp_path

    def git(self, root: Path, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=root, check=True)

    def write(self, root: Path, text: str) -> None:
        file = root / "proto" / "words" / "v1beta1" / "words.proto"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def run(self, root: Path) -> subprocess.CompletedProcess[str]:
        script = ROOT / "proto" / "breaking.py"

        return subprocess.run([sys.executable, script], cwd=root, capture_output=True, text=True, timeout=50, check=False)

    @pytest.mark.process
    def test_before_the_first_release(self, repository: Path) -> None:
        """
        Before a tag holds the package nothing can break, and the script says so.
        """
        ran = self.run(repository)

        assert (0, "no release holds these packages yet, so nothing can break\n") == (ran.returncode, ran.stdout)

    @pytest.mark.process
    def test_a_field_that_goes(self, repository: Path) -> None:
        """
        A field that the last release had and that is gone fails, and the place is named; one that is added does not.
        """
        self.git(repository, "tag", "v0.1.0")
        self.write(repository, self.PROTO.replace("string text = 1;", "string text = 1;\n  // Its length.\n  int64 size = 2;"))
        added = self.run(repository)
        self.write(repository, self.PROTO.replace("string text = 1;", "string letters = 2;"))
        gone = self.run(repository)

        assert (0, "callers of v0.1.0 go on to work\n") == (added.returncode, added.stdout)
        assert 1 == gone.returncode
        assert 'field "1" with name "text" on message "Word" was deleted' in gone.stdout
        assert "these changes break callers of v0.1.0" in gone.stderr
