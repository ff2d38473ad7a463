"""
Write the reference of the wire for callers in other languages, or check that the committed one is current.

The page is made of the comments in `proto/`, so that nothing stands in two places.  It runs in the environment of the stubs.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc


PROTO = Path(__file__).resolve().parent
PAGE = PROTO.parent / "docs" / "reference" / "wire.md"
PACKAGE = "meshwalk.v1beta1"

# Numbers of fields in descriptor.proto, of which the paths to comments are made.
_MESSAGE, _ENUM, _SERVICE = 4, 5, 6
_FIELD, _NESTED, _VALUE, _METHOD = 2, 3, 2, 2

# The files in the order that a caller wants them, and those whose openings are sections of their own.
_ORDER = "routing", "trace", "graph", "budget", "error", "traversal", "common"
_OPENED = "common", "error"

_SCALARS = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}

_OPENING = """\
# The wire: `{package}`

This page is made of the comments in `proto/` by `make stubs`; edit them there.

gRPC services, for callers in any language. Until 1.0 the package is a beta: a release that must break callers takes a new
package name, and `make proto` compares each change with the last release.

**Descriptors.** A running server answers gRPC reflection, so `grpcurl -plaintext HOST:PORT describe {package}.RouteRequest`
needs no files. To generate stubs, take the folder `proto/`, or make a `FileDescriptorSet` of it:

```
buf build -o meshwalk.binpb
python -m grpc_tools.protoc -Iproto --include_imports --descriptor_set_out=meshwalk.binpb proto/meshwalk/v1beta1/*.proto
```

The server also answers `grpc.health.v1.Health`; the names of the services below are its service names, and the empty name is
the whole server.
"""


class Documented:
    """
    The comments of one proto file, by the path of what they stand before.
    """

    def __init__(self, file: FileDescriptorProto) -> None:
        self.file = file
        self.name = Path(file.name).stem
        self._comments = {
            tuple(place.path): _lines(place.leading_comments)
            for place in file.source_code_info.location
            if place.leading_comments
        }
        syntax = next(place for place in file.source_code_info.location if list(place.path) == [12])
        self.opening = _lines(syntax.leading_comments)

    def text(self, *path: int) -> str:
        """
        Return the comment before *path*.
        """
        return self._comments.get(path, "")


class Section(NamedTuple):
    """
    A message or an enum, and the path to it.
    """

    name: str
    path: tuple[int, ...]
    type: DescriptorProto | EnumDescriptorProto


def _lines(comment: str) -> str:
    # Sentences are parted by two blanks in the files, and by one on the page.
    paragraphs = comment.strip().split("\n\n")

    return "\n\n".join(" ".join(line.strip() for line in text.splitlines()).replace(".  ", ". ") for text in paragraphs)


def read() -> list[Documented]:
    """
    Read every proto file with its comments.
    """
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.binpb"
        includes = [f"-I{PROTO}", f"-I{files('grpc_tools') / '_proto'}"]
        if protoc.main(["protoc", *includes, "--include_source_info", f"--descriptor_set_out={out}", *sources]) != 0:
            sys.exit("protoc refused the files named above; `buf lint` may say more")
        documents = [Documented(file) for file in FileDescriptorSet.FromString(out.read_bytes()).file]

    return sorted(documents, key=lambda document: _ORDER.index(document.name))


def page(documents: Sequence[Documented]) -> str:
    """
    Write the whole page.
    """
    parts = [_OPENING.format(package=PACKAGE), "## Conventions\n", _of("common", documents).opening, ""]
    parts += ["## Services\n"]
    for document in documents:
        for place, service in enumerate(document.file.service):
            parts += [f"### {service.name}\n", document.text(_SERVICE, place), ""]
            for position, method in enumerate(service.method):
                asked = _type(method.input_type, streamed=method.client_streaming)
                given = _type(method.output_type, streamed=method.server_streaming)
                parts += [f"**`{method.name}`**: {asked} → {given}\n", document.text(_SERVICE, place, _METHOD, position), ""]
    parts += ["## Errors\n", _of("error", documents).opening, "", f"{_type(f'.{PACKAGE}.ErrorReason')} lists the reasons.", ""]
    parts += ["## Messages and enums\n"]
    for document in documents:
        parts += [f"### {document.name}.proto\n"]
        if document.name not in _OPENED:
            parts += [document.opening, ""]
        for section in _sections(document):
            parts += [f"#### {section.name}\n", document.text(*section.path), ""]
            parts += _values(document, section) if isinstance(section.type, EnumDescriptorProto) else _fields(document, section)

    return "\n".join(parts).rstrip() + "\n"


def _of(name: str, documents: Sequence[Documented]) -> Documented:
    return next(document for document in documents if document.name == name)


def _sections(document: Documented) -> Iterator[Section]:
    for place, message in enumerate(document.file.message_type):
        yield from _nested(message, (_MESSAGE, place), "")
    for place, enum in enumerate(document.file.enum_type):
        yield Section(enum.name, (_ENUM, place), enum)


def _nested(message: DescriptorProto, path: tuple[int, ...], prefix: str) -> Iterator[Section]:
    if message.options.map_entry:
        return
    name = prefix + message.name
    yield Section(name, path, message)
    for place, inner in enumerate(message.nested_type):
        yield from _nested(inner, (*path, _NESTED, place), f"{name}.")


def _fields(document: Documented, section: Section) -> Iterator[str]:
    message = section.type
    assert isinstance(message, DescriptorProto)
    if not message.field:
        yield "It has no fields.\n"
        return
    yield "| # | field | type | meaning |\n| ---: | --- | --- | --- |"
    for place, field in enumerate(message.field):
        text = document.text(*section.path, _FIELD, place)
        if field.HasField("oneof_index") and not field.proto3_optional:
            text = f"{text} One of `{message.oneof_decl[field.oneof_index].name}`."
        yield f"| {field.number} | `{field.name}` | {_field_type(field, message)} | {_cell(text)} |"
    yield ""


def _field_type(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    name = _type(field.type_name) if field.type_name else f"`{_SCALARS[field.type]}`"
    entries = [inner for inner in message.nested_type if inner.options.map_entry]
    entry = next((inner for inner in entries if field.type_name.endswith(f".{inner.name}")), None)
    if entry is not None:
        key, value = (_type(part.type_name) if part.type_name else f"`{_SCALARS[part.type]}`" for part in entry.field)
        return f"map of {key} to {value}"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"

    return f"optional {name}" if field.proto3_optional else name


def _values(document: Documented, section: Section) -> Iterator[str]:
    assert isinstance(section.type, EnumDescriptorProto)
    yield "| # | value | meaning |\n| ---: | --- | --- |"
    for place, value in enumerate(section.type.value):
        yield f"| {value.number} | `{value.name}` | {_cell(document.text(*section.path, _VALUE, place))} |"
    yield ""


def _type(name: str, *, streamed: bool = False) -> str:
    own = name.removeprefix(f".{PACKAGE}.")
    # An anchor is the heading in lower case, without its points.
    shown = f"`{own.removeprefix('.')}`" if own == name else f"[{own}](#{own.lower().replace('.', '')})"

    return f"stream of {shown}" if streamed else shown


def _cell(text: str) -> str:
    return text.replace("\n\n", "<br>").replace("|", "\\|")


def main() -> None:
    """
    Write the page, or compare it with the committed one.
    """
    text = page(read())
    if "--check" not in sys.argv[1:]:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(text)
        print(f"wrote {PAGE.name}")
    elif not PAGE.exists() or PAGE.read_text() != text:
        sys.exit(f"{PAGE.relative_to(PROTO.parent)} is not what proto/ says, run `make stubs`")
    else:
        print(f"{PAGE.name} is what proto/ says")


if __name__ == "__main__":
    main()
