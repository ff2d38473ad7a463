"""
Generate the Python stubs of `proto/` into `meshwalk.wire.gen`, or check that the committed ones are current.

Runs in an environment of its own (`make stubs`, `make test`): stubs refuse a grpcio older than the grpcio-tools that made
them, so they are made with the oldest we support.  protoc names Python modules by the folders of `proto/`, and a package
called `meshwalk.v1beta1` would have to lie beside our own packages; the imports are therefore moved below `meshwalk.wire.gen`.
"""

from __future__ import annotations

import re
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc


PROTO = Path(__file__).resolve().parent
STUBS = PROTO.parent / "src" / "meshwalk" / "wire" / "gen"
HOME = "meshwalk.wire.gen"

# Both forms that protoc and mypy-protobuf write: `from meshwalk.v1beta1 import x_pb2` and `import meshwalk.v1beta1.x_pb2 as y`.
_OWN_IMPORT = re.compile(r"^(\s*(?:from|import) )(meshwalk\.v\d+(?:(?:alpha|beta)\d+)?)(?=[. ])", re.MULTILINE)


def generate(into: Path) -> None:
    """
    Write the stubs of every proto file to *into*.
    """
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    includes = [f"-I{PROTO}", f"-I{files('grpc_tools') / '_proto'}"]
    outputs = [f"--{plugin}_out={into}" for plugin in ("python", "grpc_python")]
    for plugin in ("mypy", "mypy_grpc"):
        # The environment need not be activated, so its programs are named whole.
        program = Path(sys.executable).with_name(f"protoc-gen-{plugin}")
        outputs += [f"--plugin={program}", f"--{plugin}_out=quiet:{into}"]
    if protoc.main(["protoc", *includes, *outputs, *sources]) != 0:
        sys.exit("protoc refused the files named above; `buf lint` may say more")
    for stub in [*into.rglob("*.py"), *into.rglob("*.pyi")]:
        stub.write_text(_OWN_IMPORT.sub(rf"\1{HOME}.\2", stub.read_text()))
    for folder in [into, *(path for path in into.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").touch()


def contents(folder: Path) -> dict[str, str]:
    """
    Read every stub below *folder*, by its path there.
    """
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py*") if path.suffix in {".py", ".pyi"}}


def check(fresh: dict[str, str], committed: dict[str, str]) -> None:
    """
    Name every committed stub that differs from the fresh one, and fail if there is any.
    """
    stale = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    if stale:
        sys.exit(f"these stubs are not what proto/ says, run `make stubs`: {', '.join(stale)}")
    print(f"{len(fresh)} stubs are what proto/ says")


def replace(fresh: dict[str, str]) -> None:
    """
    Put *fresh* in the place of the committed stubs.
    """
    for name in contents(STUBS).keys() - fresh.keys():
        (STUBS / name).unlink()
    for name, text in fresh.items():
        path = STUBS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    print(f"wrote {len(fresh)} stubs")


def main() -> None:
    """
    Generate into a temporary folder, then check or replace.
    """
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = contents(Path(folder))
    if "--check" in sys.argv[1:]:
        check(fresh, contents(STUBS))
    else:
        replace(fresh)


if __name__ == "__main__":
    main()
