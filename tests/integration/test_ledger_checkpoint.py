"""The write-ahead log goes back into the file, whoever reads and whatever fails for a while."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from wait import wait_until

from taskman_cli.core.model import Durability
from taskman_cli.ledger import checkpoint
from taskman_cli.ledger.checkpoint import EVERY_RECORDS, EVERY_WRITES, MOST_PAGES, Checkpoints
from taskman_cli.ledger.store import NAME, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class World:
    """A ledger that is written, and its checkpoints."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self.connection = open_store(self.path, Durability.PROCESS)
        self.checkpoints = Checkpoints(self.path, self.connection)

    def write(self, rows: int = EVERY_RECORDS, *, size: int = 10) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany("INSERT INTO events (at_ns, kind) VALUES (1, ?)", [("x" * size,)] * rows)
        self.connection.execute("COMMIT")
        self.checkpoints.note(rows)

    def in_file(self) -> int:
        """Return how many events there are in the file alone, without its log."""
        uri = f"{self.path.as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as alone:
            try:
                count: int = alone.execute("SELECT count(*) FROM events").fetchone()[0]
            except sqlite3.Error:  # it is being written
                return -1
        return count

    def log_bytes(self) -> int:
        return self.path.with_name(f"{NAME}-wal").stat().st_size


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.checkpoints.close()
    world.connection.close()


def test_what_was_written_is_copied_once_there_is_much_of_it(world: World) -> None:
    world.write(EVERY_RECORDS - 1)
    assert world.checkpoints._thread is None
    world.write(1)
    wait_until(lambda: world.in_file() == EVERY_RECORDS, what="the copy")


def test_many_small_writes_count_as_much_as_many_records(world: World) -> None:
    for _ in range(EVERY_WRITES - 1):
        world.write(1)
    assert world.checkpoints._thread is None
    world.write(1)
    wait_until(lambda: world.in_file() == EVERY_WRITES, what="the copy")


def test_an_error_does_not_end_the_copying(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Path] = []
    connect = checkpoint._connect

    def failing(path: Path) -> sqlite3.Connection:
        tries.append(path)
        if len(tries) < 3:
            raise sqlite3.OperationalError("disk I/O error")
        return connect(path)

    monkeypatch.setattr(checkpoint, "_connect", failing)
    for count in (1, 2):
        world.write()
        wait_until(lambda count=count: len(tries) == count, what="a try")
    world.write()
    wait_until(lambda: world.in_file() == 3 * EVERY_RECORDS, what="the copy")


def test_an_error_in_the_midst_does_not_either(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(sqlite3.Connection):
        def execute(self, *_: object) -> sqlite3.Cursor:
            asked.append(1)
            raise sqlite3.OperationalError("disk I/O error")

    asked: list[int] = []
    connect = checkpoint._connect
    monkeypatch.setattr(checkpoint, "_connect", lambda path: sqlite3.connect(path, factory=Failing))
    world.write()
    wait_until(lambda: asked, what="the error")
    monkeypatch.setattr(checkpoint, "_connect", connect)
    world.write()
    wait_until(lambda: world.in_file() == 2 * EVERY_RECORDS, what="the copy")


def test_a_long_log_is_copied_by_the_writer_without_waiting_for_a_reader(world: World) -> None:
    """A reader holds a snapshot until the writer is done; a writer that waits is let go, and told of."""
    world.connection.execute("PRAGMA busy_timeout = 60000")
    world.write(1)  # or there is nothing in the log to hold
    is_reading, is_done = threading.Event(), threading.Event()
    waited: list[bool] = []

    def read() -> None:
        with closing(sqlite3.connect(world.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM events").fetchone()
            is_reading.set()
            waited.append(not is_done.wait(30))
            reader.execute("ROLLBACK")

    reader = threading.Thread(target=read)
    reader.start()
    assert is_reading.wait(30)
    world.checkpoints._pages = MOST_PAGES + 1
    world.write()
    is_done.set()
    reader.join()
    assert waited == [False]
    world.write()
    wait_until(lambda: world.in_file() == 2 * EVERY_RECORDS + 1, what="the copy")


def test_a_long_log_that_the_writer_copied_begins_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checkpoints, "_run", lambda _: None)  # the thread does not get there
    world.write(size=300)
    before = world.log_bytes()
    world.checkpoints._pages = MOST_PAGES + 1
    world.write()
    size = world.log_bytes()
    world.write()
    assert before < size == world.log_bytes()


def test_a_file_that_was_removed_is_not_made_by_a_copy(world: World) -> None:
    world.path.unlink()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        checkpoint._connect(world.path).execute("PRAGMA wal_checkpoint(PASSIVE)")
    assert not world.path.exists()


def test_without_a_thread_to_be_had_the_writer_copies_and_a_thread_does_once_there_is_one(
    world: World, no_threads: pytest.MonkeyPatch
) -> None:
    world.write()
    assert world.in_file() == EVERY_RECORDS
    no_threads.undo()
    world.write()
    wait_until(lambda: world.in_file() == 2 * EVERY_RECORDS, what="the copy of the thread")
