"""What is looked at to read job files, and which changes a later look tells."""

from __future__ import annotations

import os
import shutil
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from taskman_cli.jobfile import JobFileError, load
from taskman_cli.jobfile.fingerprint import find, look, look_again, names_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.jobfile.fingerprint import Seen

JOB = '[jobs.{}]\nevery = "1h"\ncommand = "true"\n'


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Make a file that includes a folder, one file and a glob that matches nothing yet."""
    place = tmp_path / "house"
    (place / "jobs.d").mkdir(parents=True)
    include = '["jobs.d/*.toml", "one.toml", "later/*.toml", "deep/**/*.toml"]'
    (place / "jobs.toml").write_text(f"[taskman]\ninclude = {include}\n" + JOB.format("a"))
    (place / "jobs.d/b.toml").write_text(JOB.format("b"))
    (place / "one.toml").write_text(JOB.format("c"))
    return place


def remake(directory: Path) -> None:
    shutil.copytree(directory, directory.with_name("copy"))
    shutil.rmtree(directory)
    directory.with_name("copy").rename(directory)


def make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")


def save_as_editors_do(path: Path) -> None:
    """Write another file with the same length, times and name."""
    status, other = path.stat(), path.with_name("other")
    other.write_bytes(b"#" * status.st_size)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda house: (house / "jobs.toml").unlink(), id="removed"),
        pytest.param(lambda house: (house / "jobs.d/b.toml").unlink(), id="included one removed"),
        pytest.param(lambda house: (house / "one.toml").rename(house / "two.toml"), id="moved away"),
        pytest.param(lambda house: shutil.rmtree(house / "jobs.d"), id="directory removed"),
        pytest.param(lambda house: shutil.rmtree(house), id="all removed"),
        pytest.param(remake, id="all made anew"),
        pytest.param(lambda house: make(house / "jobs.d/c.toml"), id="one more"),
        pytest.param(lambda house: make(house / "later/x.toml"), id="first match of a glob"),
        pytest.param(lambda house: make(house / "deep/er/x.toml"), id="first match further down"),
        pytest.param(lambda house: save_as_editors_do(house / "one.toml"), id="write and rename"),
        pytest.param(lambda house: (house / "one.toml").write_text(JOB.format("d")), id="same length"),
        pytest.param(lambda house: (house / "one.toml").chmod(0o600), id="permissions"),
    ],
)
def test_each_change_is_a_difference(house: Path, change: Callable[[Path], object]) -> None:
    seen = load([house / "jobs.toml"], timezone="UTC").seen
    assert look_again(seen) == seen
    change(house)
    assert look_again(seen) != seen


def test_a_link_that_leads_elsewhere_is_a_difference(tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "jobs.toml").write_text(JOB.format("a"))
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "jobs.toml").symlink_to("..data/jobs.toml")
    seen = load([tmp_path / "jobs.toml"], timezone="UTC").seen
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").rename(tmp_path / "..data")
    assert look_again(seen) != seen


def test_a_directory_of_job_files_is_looked_at_for_more(tmp_path: Path) -> None:
    make(tmp_path / "a.toml")
    seen = load([tmp_path], timezone="UTC").seen
    (tmp_path / "a log").write_text("of no interest")
    assert look_again(seen) == seen
    make(tmp_path / "b.toml")
    assert look_again(seen) != seen


def test_an_empty_directory_is_looked_at_for_the_first(tmp_path: Path) -> None:
    seen = load([tmp_path], timezone="UTC").seen
    make(tmp_path / "b.toml")
    assert look_again(seen) != seen


@pytest.mark.parametrize("text", ["junk", '[taskman]\ninclude = ["later.toml"]\n'])
def test_what_was_looked_at_is_known_where_a_file_is_bad_too(tmp_path: Path, text: str) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text(text)
    seen: Seen = {}
    with pytest.raises(JobFileError):
        load([path], timezone="UTC", seen=seen)
    assert look_again(seen) == seen
    make(tmp_path / "later.toml") if "later" in text else make(path)
    assert look_again(seen) != seen


def test_relative_paths_begin_where_one_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "jobs.toml")
    seen = load([Path("jobs.toml")], timezone="UTC").seen
    monkeypatch.chdir("/")
    assert look_again(seen, start=str(tmp_path)) == seen
    assert look_again(seen) != seen


@pytest.mark.skipif(os.geteuid() != 0, reason="only for root it matters who can replace a file")
def test_who_may_write_in_its_directory_is_looked_at_for_root(tmp_path: Path) -> None:
    make(tmp_path / "jobs.toml")
    seen = load([tmp_path / "jobs.toml"], timezone="UTC").seen
    tmp_path.chmod(0o777)
    assert look_again(seen) != seen


def names_of(root: Path, pattern: str) -> list[str]:
    return list(find(str(root), pattern))


@pytest.mark.parametrize(
    "pattern",
    [
        "*.toml", "**/*.toml", "*/*.toml", "**", "sub/**", "**/sub/*.toml", ".h*/*", "*/", "s[a-u]b/a.toml",
        "./*.toml", "sub/../*.toml", "**/**/a.toml", "none/*.toml", "*/none", ".*", "**/.x.toml",
    ],
)  # fmt: skip
def test_patterns_match_what_glob_has_them_match(tmp_path: Path, pattern: str) -> None:
    for name in ("a.toml", "sub/a.toml", "sub/sub/b.toml", ".hidden/c.toml", "sub/.x.toml", "other/d"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "to nowhere.toml").symlink_to("nowhere")

    def files(names: list[str]) -> set[Path]:
        paths = {tmp_path / name for name in names}
        # Of `**` glob gives directories, too: as job files they would be read a second time.
        return {path for path in paths if "**" not in pattern or not path.is_dir()}

    expected = glob(pattern, root_dir=tmp_path, recursive=True)  # noqa: PTH207 - the one to compare with
    assert files(names_of(tmp_path, pattern)) == files(expected)


def test_links_that_go_round_in_circles_cost_no_more_than_the_directories_there_are(tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.toml").touch()
        for link in "abcdefgh":
            (tmp_path / name / link).symlink_to(tmp_path)
    assert len(names_of(tmp_path, "**/*.toml")) == 3


def test_too_many_directories_are_told_with_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskman_cli.jobfile.fingerprint.MOST_DIRECTORIES", 3)
    for name in "abcd":
        (tmp_path / name).mkdir()
    (tmp_path / "jobs.toml").write_text("[taskman]\ninclude = ['**/*.toml']\n")
    with pytest.raises(JobFileError, match=r"include\[0\]: searches more than .* directories: name"):
        load([tmp_path / "jobs.toml"], timezone="UTC")
    assert look(names_in(tmp_path, "**/*.toml")) is None
