"""
The trust in a graph: its files lie in its folder, and names are held to their beginnings.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meshwalk.model.trust import GraphFiles, OutsideFolderError, Trust, refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """
    Make a folder with a file, beside another file.
    """
    (tmp_path / "graphs" / "deep").mkdir(parents=True)
    (tmp_path / "graphs" / "deep" / "mine").write_text("mine")
    (tmp_path / "theirs").write_text("theirs")

    return tmp_path / "graphs"


class TestFiles:
    @pytest.mark.parametrize("name", ["deep/mine", "./deep/mine", "deep/../deep/mine", "../graphs/deep/mine"])
    def test_what_lies_in_the_folder_is_opened(self, folder: Path, name: str) -> None:
        """
        However a path is written, it is the file that counts.
        """
        with GraphFiles(str(folder)).open(name) as file:
            assert b"mine" == file.read()

    def test_links_within_the_folder_are_followed(self, folder: Path) -> None:
        """
        A link is judged by where it leads.
        """
        (folder / "link").symlink_to("deep/mine")

        with GraphFiles(str(folder)).open("link") as file:
            assert b"mine" == file.read()

    @pytest.mark.parametrize("name", ["../theirs", "deep/../../theirs", "link", "linked/theirs", "absolute"])
    def test_what_lies_outside_is_refused_unless_it_is_trusted(self, folder: Path, name: str) -> None:
        """
        Neither a path nor a link leads out of the folder, unless files outside are allowed.
        """
        (folder / "link").symlink_to("../theirs")
        (folder / "linked").symlink_to("..")
        name = str(folder.parent / "theirs") if name == "absolute" else name

        with pytest.raises(OutsideFolderError):
            GraphFiles(str(folder)).open(name)
        with GraphFiles(str(folder), Trust(files=True)).open(name) as file:
            assert b"theirs" == file.read()

    @pytest.mark.timeout(10)
    @pytest.mark.parametrize("trust", [Trust(), Trust(files=True)])
    def test_pipes_and_folders_are_refused_at_once(self, folder: Path, trust: Trust) -> None:
        """
        Nothing is waited for, whatever is trusted.
        """
        os.mkfifo(folder / "pipe")

        for name in ("pipe", "deep"):
            with pytest.raises(OSError, match=r"folder|plain file"):
                GraphFiles(str(folder), trust).open(name)

    @pytest.mark.timeout(10)
    def test_devices_are_refused(self) -> None:
        """
        A device might never end, and is refused where files outside are allowed.
        """
        with pytest.raises(OSError, match="a device"):
            GraphFiles("/", Trust(files=True)).open("/dev/zero")


class TestNames:
    def test_none_allows_all(self) -> None:
        """
        Without a list every name is taken.
        """
        assert [] == refused(["A", "B"], None)

    def test_beginnings_allow(self) -> None:
        """
        A name is taken by how it begins, and each other one is told once.
        """
        assert ["B"] == refused(["A_KEY", "B", "A_URL", "B"], ("A_", "C"))
        assert ["A"] == refused(["A"], ())
