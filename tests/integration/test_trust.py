"""Whose files decide what root runs, judged on real files of several users."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from people import let_write

from taskman_cli.trust import Trust, Untrusted, standing_trust

if TYPE_CHECKING:
    from people import Person

#: A number without an account.
STRANGER = 54_321

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root is protected from others, and can be them"
)


@pytest.fixture
def place(public_path: Path) -> Path:
    """Return a directory of root's own, with a file in it, in one where everybody may write."""
    place = public_path / "place"
    (place / "sub").mkdir(parents=True)
    (place / "sub" / "file").write_text("content")
    return place


def read(path: Path | str, trust: Trust | None = None) -> str:
    with os.fdopen((trust or Trust()).open(path)) as file:
        return file.read()


def refusal(path: Path | str, trust: Trust | None = None) -> str:
    with pytest.raises(Untrusted) as refused:
        (trust or Trust()).open(path)
    return str(refused.value)


def test_a_path_that_belongs_to_root_is_accepted_through_links_too(place: Path) -> None:
    (place / "link").symlink_to("sub/../sub")
    (place / "absolute").symlink_to(place / "link" / "file")
    for name in ("sub/file", "link/file", "absolute", "./sub/./file", "../place//sub/file"):
        assert read(f"{place}/{name}") == "content"


@pytest.mark.parametrize("component", [".", "sub", "sub/file"])
def test_each_component_must_belong_to_root(place: Path, component: str, mallory: Person) -> None:
    path = place / component
    os.chown(path, mallory.uid, 0)
    assert refusal(place / "sub" / "file") == (
        f"{path} belongs to {mallory}, who would decide what root runs: "
        f"chown root {path}, or --trust {mallory.uid}"
    )


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (0o777, "anybody can write {path}, and so decide what root runs: chmod o-w {path}"),
        (0o702, "anybody can write {path}, and so decide what root runs: chmod o-w {path}"),
        (0o775, "the group {group} can write {path}, and so decide what root runs: chmod g-w {path}"),
    ],
)
@pytest.mark.parametrize("component", [".", "sub", "sub/file"])
def test_no_component_may_be_writable_by_others(
    place: Path, component: str, mode: int, words: str, mallory: Person
) -> None:
    path = place / component
    os.chown(path, 0, mallory.gid)
    path.chmod(mode)
    assert refusal(place / "sub" / "file") == words.format(path=path, group=mallory.group)


def test_root_s_own_group_may_write(place: Path) -> None:
    (place / "sub").chmod(0o775)
    assert read(place / "sub" / "file") == "content"


@pytest.mark.parametrize("component", ["sub", "sub/file"])
def test_who_may_write_by_an_access_control_list_is_no_member_of_roots_own_group(
    place: Path, component: str, mallory: Person
) -> None:
    """The mode shows what the list allows as if it were the group's."""
    path = place / component
    path.chmod(0o755)
    let_write(path, mallory)
    assert path.stat().st_mode & 0o777 == 0o775
    words = (
        f"who is in its access control list can write {path}, and so decide what root runs: chmod g-w {path}"
    )
    assert refusal(place / "sub" / "file") == words
    path.chmod(0o755)
    assert read(place / "sub" / "file") == "content"


def test_links_are_checked_where_they_are_and_where_they_lead(
    place: Path, public_path: Path, mallory: Person
) -> None:
    """The middle link of a chain in a directory of everybody's."""
    (public_path / "first").symlink_to("open/second")
    (public_path / "open").mkdir()
    (public_path / "open" / "second").symlink_to(place / "sub" / "file")
    assert read(public_path / "first") == "content"
    (public_path / "open").chmod(0o777)
    assert refusal(public_path / "first").startswith(f"anybody can write {public_path}/open,")
    (public_path / "open").chmod(0o755)
    mallory.owns(public_path / "first")
    assert refusal(public_path / "first").startswith(f"{public_path}/first belongs to {mallory}")


def test_a_path_through_a_directory_of_others_is_refused_even_if_it_leads_out_again(
    place: Path, mallory: Person
) -> None:
    (place / "theirs").mkdir()
    (place / "link").symlink_to("theirs")
    mallory.owns(place / "theirs")
    (place / "round").symlink_to("link/../sub/file")
    for path in (place / "round", f"{place}/link/../sub/file", f"{place}/theirs/../sub/file"):
        assert refusal(path).startswith(f"{place}/theirs belongs to {mallory}")


def test_missing_files_and_circular_links_are_errors_of_the_system(place: Path) -> None:
    (place / "loop").symlink_to("loop")
    for name, error in (
        ("missing", FileNotFoundError),
        ("sub/file/x", NotADirectoryError),
        ("loop", OSError),
    ):
        with pytest.raises(error):
            Trust().open(place / name)
        Trust().check(place / name)


def test_a_directory_is_opened_itself(place: Path) -> None:
    fd = Trust().open(place / "sub")
    assert os.listdir(fd) == ["file"]  # noqa: PTH208 - of a descriptor
    os.close(fd)


def test_no_descriptor_is_left_open(place: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        read(place / "sub" / "file")
        (place / "sub" / "file").chmod(0o666)
        refusal(place / "sub" / "file")
        (place / "sub" / "file").chmod(0o600)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_more_users_and_paths_can_be_trusted(place: Path, mallory: Person, alice: Person) -> None:
    mallory.owns(place / "sub")
    alice.owns(place / "sub" / "file")
    (place / "sub" / "file").chmod(0o666)
    path = place / "sub" / "file"
    both = Trust(uids=frozenset((mallory.uid, alice.uid)))
    assert refusal(path, both).startswith("anybody can write")
    path.chmod(0o644)
    assert read(path, both) == "content"
    assert both.used == {}
    assert refusal(path, Trust().and_user(mallory.uid)).startswith(f"{path} belongs to {alice}")
    real = os.path.realpath(place / "sub")
    assert read(path, Trust(paths=frozenset((real,)))) == "content"
    assert refusal(path, Trust(paths=frozenset((real[:-1],))))


def test_in_a_container_owners_without_an_account_are_trusted(place: Path) -> None:
    os.chown(place / "sub", STRANGER, STRANGER)
    alone = Trust(has_no_strangers=True)
    assert read(place / "sub" / "file", alone) == "content"
    assert alone.used == {STRANGER: str(place / "sub")}
    os.chown(place / "sub", 65_534, 0)  # nobody
    assert re.match(r".* belongs to user nobody", refusal(place / "sub" / "file", alone))


def test_the_caller_of_sudo_counts_as_root(place: Path, mallory: Person) -> None:
    mallory.owns(place / "sub")
    path = place / "sub" / "file"
    assert read(path, standing_trust({"SUDO_UID": str(mallory.uid)}, is_init=False)) == "content"
    assert refusal(path, standing_trust({"SUDO_UID": "x"}, is_init=False))
    assert read(path, standing_trust({}, is_init=False, named=(str(mallory.uid),))) == "content"
    assert read(path, standing_trust({}, is_init=False, named=(str(place),))) == "content"
    os.chown(place / "sub", STRANGER, STRANGER)
    assert read(path, standing_trust({}, is_init=True)) == "content"
