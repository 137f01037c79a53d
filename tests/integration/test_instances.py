"""Where the state of an instance is, and the way to it on a real disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from taskman_cli.errors import InstanceError, TaskmanError
from taskman_cli.instance.directory import instance_names, make_state, state_directory

ENVIRON = {"STATE_DIRECTORY": "/var/lib/x"}


def test_an_instance_is_stored_under_its_name_in_the_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path("/var/lib/x/instances/web-2") == state_directory(ENVIRON, is_root=False, instance="web-2")
    assert Path("/var/lib/taskman/instances/_") == state_directory({}, is_root=True, instance="_")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    assert Path("/home/me/state/taskman/instances/a") == state_directory({}, is_root=False, instance="a")


def test_a_given_directory_is_used_unchanged() -> None:
    assert Path("some/where") == state_directory(ENVIRON, is_root=True, given="some/where")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a b", "a.b", "x" * 65, "zürich", "a\n", "\x1b[2J"], ids=ascii
)
def test_a_name_consists_of_letters_digits_and_two_signs(name: str) -> None:
    with pytest.raises(InstanceError, match=r'use up to 64 letters, digits, "-" and "_"') as caught:
        state_directory(ENVIRON, is_root=False, instance=name)
    assert caught.value.exit_code == 2
    assert str(caught.value).isprintable()


def test_a_name_together_with_a_directory_is_wrong_usage() -> None:
    with pytest.raises(InstanceError, match="give --instance or --state-dir, not both"):
        state_directory(ENVIRON, is_root=False, instance="a", given="b")


def test_the_instances_are_the_directories_with_such_names(tmp_path: Path) -> None:
    assert instance_names(tmp_path) == []
    for name in ("web", "mail", "not.one"):
        (tmp_path / "instances" / name).mkdir(parents=True)
    (tmp_path / "instances" / "file").touch()
    assert instance_names(tmp_path) == ["mail", "web"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027], ids=oct)
def test_all_created_parents_are_private(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        made = make_state(tmp_path / "base" / "instances" / "web")
    finally:
        os.umask(before)
    levels = [made / "output", made, made.parent, made.parents[1]]
    assert [path.stat().st_mode & 0o777 for path in levels] == [0o700] * 4
    assert [os.geteuid()] * 4 == [path.stat().st_uid for path in levels]


def test_an_instance_can_be_made_beside_others(tmp_path: Path) -> None:
    for name in ("one", "two", "one"):
        make_state(tmp_path / "instances" / name)
    assert instance_names(tmp_path) == ["one", "two"]


def test_a_directory_of_instances_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "instances").mkdir()
    (tmp_path / "instances").chmod(0o777)
    with pytest.raises(TaskmanError, match=r"everybody may write in .*/instances \(chmod o-w"):
        make_state(tmp_path / "instances" / "web")


def test_a_directory_of_instances_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "instances").mkdir()
    stat = Path.stat

    def somebody_elses(path: Path, **options: bool) -> os.stat_result:
        found = stat(path, **options)
        if path.name != "instances":
            return found
        return os.stat_result([*found[:4], os.geteuid() + 4321, *found[5:]])

    monkeypatch.setattr(Path, "stat", somebody_elses)
    with pytest.raises(TaskmanError, match=r"/instances belongs to uid \d+ \(set STATE_DIRECTORY"):
        make_state(tmp_path / "instances" / "web")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "instances").touch()
    with pytest.raises(TaskmanError, match=r"cannot keep state in .*/instances/web: Not a directory"):
        make_state(tmp_path / "instances" / "web")
