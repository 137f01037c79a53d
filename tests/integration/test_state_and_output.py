"""The state directory and env files, on a real disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from taskman_cli.core.model import Execution
from taskman_cli.errors import TaskmanError
from taskman_cli.instance.directory import make_state, state_directory
from taskman_cli.launch.environment import Environments
from taskman_cli.supervisor import envfile
from taskman_cli.trust import Trust, standing_trust

if TYPE_CHECKING:
    from people import Person


def test_systemd_says_where_the_state_is() -> None:
    assert Path("/var/lib/x") == state_directory({"STATE_DIRECTORY": "/var/lib/x:/var/lib/y"}, is_root=False)


def test_root_has_the_machines_directory_and_others_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path("/var/lib/taskman") == state_directory({}, is_root=True)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    assert Path("/home/me/state/taskman") == state_directory({}, is_root=False)


def test_a_new_state_directory_is_private(tmp_path: Path) -> None:
    directory = make_state(tmp_path / "a" / "b")
    assert [path.stat().st_mode & 0o777 for path in (directory, directory / "output")] == [0o700, 0o700]


def test_a_directory_that_is_there_keeps_its_mode_and_what_is_ours_in_it_is_private(tmp_path: Path) -> None:
    (tmp_path / "mine" / "output").mkdir(mode=0o755, parents=True)
    (tmp_path / "mine").chmod(0o775)
    directory = make_state(tmp_path / "mine")
    assert [path.stat().st_mode & 0o7777 for path in (directory, directory / "output")] == [0o775, 0o700]


def test_a_link_of_ones_own_leads_to_the_state_directory_as_systemd_makes_them(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("private")
    assert tmp_path / "private" == make_state(tmp_path / "link")


@pytest.mark.parametrize("mode", [0o1777, 0o777, 0o702], ids=oct)
def test_a_directory_where_everybody_writes_is_no_place_for_state(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    expected = (
        rf"{tmp_path}: everybody may write there \(set STATE_DIRECTORY to a .* as in {tmp_path}/taskman\)"
    )
    with pytest.raises(TaskmanError, match=expected):
        make_state(tmp_path)
    assert list(tmp_path.iterdir()) == []
    if os.geteuid() != 0 or mode & stat.S_ISVTX:
        make_state(tmp_path / "taskman")
        return
    # Nor is one below it, with root: anybody could put a link in its place.
    with pytest.raises(
        TaskmanError, match=rf"taskman: anybody can write {tmp_path}, .*: chmod o-w {tmp_path}"
    ):
        make_state(tmp_path / "taskman")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is protected from others, and can be them")
def test_what_leads_to_the_state_of_root_is_root_s(public_path: Path, mallory: Person) -> None:
    theirs, ours = public_path / "theirs", public_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    mallory.owns(theirs)
    (ours / "link").symlink_to(theirs)
    (theirs / "link").symlink_to(ours)
    for path in (theirs / "a" / "b", ours / "link" / "a", theirs / "link" / "a"):
        with pytest.raises(TaskmanError, match=f"{theirs} belongs to {mallory}, who would decide"):
            make_state(path)
    assert [[path.name for path in place.iterdir()] for place in (theirs, ours)] == [["link"], ["link"]]
    assert theirs / "a" == make_state(ours / "link" / "a", standing_trust({}, named=(str(mallory.uid),)))


@pytest.mark.parametrize("kind", ["link", "file", "dangling"])
def test_what_stands_in_the_place_of_the_output_directory_is_left_alone(tmp_path: Path, kind: str) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim").chmod(0o755)
    state = tmp_path / "state"
    state.mkdir()
    if kind == "file":
        (state / "output").touch(mode=0o644)
    else:
        (state / "output").symlink_to(tmp_path / ("victim" if kind == "link" else "nothing"))
    with pytest.raises(TaskmanError, match=rf"in {state}: {state}/output is not a directory .*move it away"):
        make_state(state)
    assert [(tmp_path / "victim").stat().st_mode & 0o777, (tmp_path / "nothing").exists()] == [0o755, False]


@pytest.mark.parametrize(("own", "foreign"), [(0, "it"), (1, "{}/output")], ids=["state", "output"])
def test_what_belongs_to_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: int, foreign: str
) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output").chmod(0o755)
    uid = os.geteuid()
    uids = [uid] * own
    monkeypatch.setattr(os, "geteuid", lambda: uids.pop() if uids else uid + 4321)
    owner = rf"{foreign.format(tmp_path)} belongs to .*, not to uid {uid + 4321}"
    with pytest.raises(TaskmanError, match=rf"in {tmp_path}: {owner} \(.*STATE_DIRECTORY"):
        make_state(tmp_path, Trust(is_checked=False))
    assert (tmp_path / "output").stat().st_mode & 0o777 == 0o755


def test_a_place_that_is_taken_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TaskmanError, match=r"cannot keep state in .*/file/x: Not a directory \(set STATE"):
        make_state(tmp_path / "file" / "x")


def test_env_files_are_read_anew_when_they_change(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("A=1\nB=file\n")
    environments = Environments({}, cwd="/")
    execution = Execution(env_file=(str(path),), env={"B": "job"})
    assert tuple(environments.compose(execution)[name] for name in "AB") == ("1", "job")
    path.write_text("A=changed\n")
    assert environments.compose(execution)["A"] == "changed"


@pytest.mark.parametrize("kind", ["pipe", "directory", "device"])
def test_an_env_file_that_is_no_file_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "env"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    with pytest.raises(TaskmanError, match=f"cannot read env_file {path}: not a regular file"):
        Environments({}, cwd="/").compose(Execution(env_file=(str(path),)))


def test_an_env_file_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envfile, "MAX_ENV_FILE_BYTES", 8)
    path = tmp_path / "env"
    path.write_text("A=123456")
    execution = Execution(env_file=(str(path),))
    assert Environments({}, cwd="/").compose(execution)["A"] == "123456"
    path.write_text("A=1234567")
    with pytest.raises(TaskmanError, match=f"cannot read env_file {path}: larger than 8 bytes"):
        Environments({}, cwd="/").compose(execution)


def test_a_file_that_takes_the_place_of_another_is_read_whatever_its_time(tmp_path: Path) -> None:
    path, other = tmp_path / "env", tmp_path / "other"
    path.write_text("A=1")
    other.write_text("A=2")
    for file in (path, other):
        os.utime(file, ns=(0, 0))
    environments, execution = Environments({}, cwd="/"), Execution(env_file=(str(path),))
    assert environments.compose(execution)["A"] == "1"
    other.rename(path)
    assert environments.compose(execution)["A"] == "2"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "No such file or directory"), (b"junk", "line 1")],
    ids=["missing", "junk"],
)
def test_an_env_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "env"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TaskmanError, match=f"env_file {path}.*{expected}"):
        Environments({}, cwd="/").compose(Execution(env_file=(str(path),)))
