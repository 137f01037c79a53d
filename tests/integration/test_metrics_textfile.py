"""The text file of the metrics: whose directory it is in, and what happens when it cannot be written."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from taskman_cli.metrics import textfile
from taskman_cli.metrics.textfile import TextFile
from taskman_cli.trust import Trust, Untrusted

if TYPE_CHECKING:
    from pathlib import Path

EVERYBODY = Trust(is_checked=False)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
OTHER = 61_234


def test_a_file_is_replaced_whole_and_what_was_a_link_is_not_followed(tmp_path: Path) -> None:
    place, target = tmp_path / "a.prom", tmp_path / "target"
    target.write_text("mine")
    place.symlink_to(target)
    file = TextFile(str(place), EVERYBODY)
    file.write(b"one\n")
    first = place.stat()
    file.write(b"two\n")
    assert (place.read_text(), target.read_text()) == ("two\n", "mine")
    assert place.stat().st_ino != first.st_ino, "whoever reads the old one reads all of it"
    assert file.note == ""
    file.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_what_somebody_has_put_in_its_place_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "a.prom"
    file = TextFile(str(place), EVERYBODY)
    file.remove()
    file.write(b"one\n")
    place.unlink()
    place.write_text("another's")
    file.remove()
    assert place.read_text() == "another's"


def test_a_link_in_the_way_of_the_new_file_is_removed_and_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "a.prom.new").symlink_to(target)
    TextFile(str(tmp_path / "a.prom"), EVERYBODY).write(b"one\n")
    assert (target.read_text(), (tmp_path / "a.prom").read_text()) == ("mine", "one\n")


def test_on_a_full_disk_the_file_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = TextFile(str(tmp_path / "a.prom"), EVERYBODY)
    file.write(b"one\n")

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(textfile.os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            file.write(b"two\n")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.prom", "one\n")]


def test_a_directory_in_the_way_is_an_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.prom").mkdir()
    with pytest.raises(IsADirectoryError):
        TextFile(str(tmp_path / "a.prom"), EVERYBODY).write(b"one\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.prom"]


@as_root
def test_a_directory_of_another_user_is_used_and_told_if_nobody_else_decides_which_it_is(
    tmp_path: Path,
) -> None:
    trust = Trust(paths=frozenset({str(tmp_path.parent)}))
    trust = Trust() if _is_roots(tmp_path) else trust
    base = tmp_path / "roots"
    base.mkdir(0o755)
    theirs = base / "theirs"
    theirs.mkdir()
    os.chown(theirs, OTHER, OTHER)
    if not _is_roots(base):
        pytest.skip("the temporary directory is not root's alone")
    file = TextFile(str(theirs / "a.prom"), trust)
    file.write(b"one\n")
    assert (theirs / "a.prom").stat().st_uid == 0
    assert f"the directory {theirs}, which belongs to uid {OTHER}" in file.note


@as_root
def test_a_link_that_another_user_has_put_in_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    if not _is_roots(tmp_path):
        pytest.skip("the temporary directory is not root's alone")
    theirs, victim = tmp_path / "theirs", tmp_path / "victim"
    victim.mkdir()
    theirs.mkdir()
    (theirs / "link").symlink_to(victim)
    os.chown(theirs, OTHER, OTHER)
    os.chown(theirs / "link", OTHER, OTHER, follow_symlinks=False)
    with pytest.raises((Untrusted, OSError)):
        TextFile(str(theirs / "link" / "a.prom"), Trust()).write(b"one\n")
    assert list(victim.iterdir()) == []


def _is_roots(path: Path) -> bool:
    try:
        os.close(Trust().open(path))
    except Untrusted:
        return False
    return True
