"""
Compare `proto/` with the last release, and fail where callers of it would break.

The last release is the newest tag that holds the same packages; before there is one, nothing can break.  Its files are taken
out of git into a temporary folder: buf reads a repository only where `.git` is a folder, and in a worktree it is a file.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path


BUF = Path(sys.executable).with_name("buf")


def last_tag(root: Path) -> str | None:
    """
    Return the newest tag behind HEAD that holds every package of `proto/`; None if there is none, or no repository.
    """
    packages = sorted({path.parent.relative_to(root).as_posix() for path in (root / "proto").rglob("*.proto")})
    listed = _git(root, "tag", "--merged", "HEAD", "--sort=-creatordate")
    tags = listed.stdout.decode().split() if listed.returncode == 0 else []
    holds = (
        tag for tag in tags if all(_git(root, "cat-file", "-e", f"{tag}:{package}").returncode == 0 for package in packages)
    )

    return next(holds, None)


def breaks(root: Path, tag: str) -> bool:
    """
    Tell whether `proto/` breaks callers of *tag*; buf names each place.
    """
    archive = _git(root, "archive", "--format=tar", tag, "proto", "buf.yaml")
    archive.check_returncode()
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        return subprocess.run([BUF, "breaking", "--against", folder], cwd=root, check=False).returncode != 0


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=root, check=False, capture_output=True)  # noqa: S607 (git is the user's own)


def main() -> None:
    """
    Compare the repository that the script is called in.
    """
    root = Path.cwd()
    tag = last_tag(root)
    if tag is None:
        print("no release holds these packages yet, so nothing can break")
    elif breaks(root, tag):
        sys.exit(f"these changes break callers of {tag}; keep the old names and numbers, or begin a new package version")
    else:
        print(f"callers of {tag} go on to work")


if __name__ == "__main__":
    main()
