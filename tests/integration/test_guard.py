"""A state directory that is removed while its scheduler runs is made anew, or it is said why not."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects
from taskman_cli.core.model import Settings
from taskman_cli.errors import TaskmanError
from taskman_cli.instance.directory import make_state
from taskman_cli.instance.guard import StateGuard
from taskman_cli.instance.lock import holder, take_lock
from taskman_cli.ledger.ledger import LOOK_NS, Ledger
from taskman_cli.ledger.store import NAME, LedgerBroken, LedgerUnwritable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOTE = effects.SchedulerNoted("scheduler_started")


class World:
    """A ledger in a state directory that is locked."""

    def __init__(self, directory: Path) -> None:
        self.directory = make_state(directory / "state")
        self.moves = 0
        self.guard = StateGuard(self.directory, take_lock(self.directory), pid=os.getpid(), moved=self._moved)
        self.now = Now(10**18, 0)
        self.ledger = Ledger(
            self.directory, Settings(), supervisor=1, now=self.now, restore=self.guard.restore
        )

    def _moved(self) -> None:
        self.moves += 1

    def write(self) -> None:
        """Write something, when it is time to look again."""
        self.now = Now(self.now.wall_ns + LOOK_NS, self.now.elapsed_ns + LOOK_NS)
        self.ledger.write([NOTE], self.now)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.write()
    yield world
    world.ledger.close()


def test_an_intact_directory_is_left_alone(world: World) -> None:
    inode = (world.directory / NAME).stat().st_ino
    world.write()
    assert (inode, 0) == ((world.directory / NAME).stat().st_ino, world.moves)


def test_a_removed_directory_is_created_again_private_and_locked(world: World) -> None:
    shutil.rmtree(world.directory)
    with pytest.raises(LedgerBroken, match="it was removed"):
        world.write()
    modes = [stat.S_IMODE((world.directory / name).stat().st_mode) for name in ("", "output", "lock")]
    assert ([0o700, 0o700, 0o600], os.getpid(), 1) == (modes, holder(world.directory), world.moves)
    world.ledger.replace("it was removed", world.now)
    assert world.ledger.set_aside == (None, "it was removed")
    world.write()
    assert world.moves == 1


def test_nothing_is_written_to_a_directory_that_another_taskman_uses_now(world: World) -> None:
    shutil.rmtree(world.directory)
    fd = take_lock(make_state(world.directory))
    with pytest.raises(LedgerUnwritable, match=f"another taskman .process {os.getpid()}. is running"):
        world.write()
    assert not (world.directory / NAME).exists()
    os.close(fd)
    with pytest.raises(LedgerBroken):
        world.write()


def test_a_lock_file_that_was_removed_is_taken_again(world: World) -> None:
    (world.directory / "lock").unlink()
    world.write()
    assert (os.getpid(), 1) == (holder(world.directory), world.moves)
    world.write()
    assert world.moves == 1


@pytest.mark.parametrize(
    ("what", "words"),
    [("removed", "it was removed"), ("replaced", "another file"), ("emptied", "it was emptied")],
)
def test_a_replaced_ledger_is_noticed(world: World, what: str, words: str) -> None:
    path = world.directory / NAME
    if what == "emptied":
        os.truncate(path, 0)
    else:
        path.rename(path.with_name("away"))
    if what == "replaced":
        path.write_text("")
    with pytest.raises(LedgerBroken, match=words):
        world.write()
    world.ledger.replace(words, world.now)
    world.write()
    assert world.ledger.set_aside is not None
    assert (what == "removed") == (world.ledger.set_aside[0] is None)
    assert world.moves == 0


def test_a_directory_that_cannot_be_created_is_reported(world: World) -> None:
    shutil.rmtree(world.directory)
    world.directory.write_text("a file")
    with pytest.raises(LedgerUnwritable, match="cannot keep state"):
        world.write()
    with pytest.raises(TaskmanError):
        world.guard.restore()
