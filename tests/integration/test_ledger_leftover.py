"""The log that a killed scheduler left beside its ledger, whole or damaged; its index says which."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from integration.ledger_tables import second

from taskman_cli.core.engine import effects
from taskman_cli.core.model import Durability, Settings
from taskman_cli.ledger.ledger import Ledger
from taskman_cli.ledger.leftover import left_log
from taskman_cli.ledger.store import NAME, LedgerBroken, open_store

if TYPE_CHECKING:
    from pathlib import Path

BOOT, NOW = "this start of the machine", second(0)
COPY = 48


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """Return the path of a ledger as kill -9 leaves it: what happened last is in its log alone."""
    (tmp_path / "alive").mkdir()
    (tmp_path / "killed").mkdir()
    ledger = Ledger(tmp_path / "alive", Settings(), supervisor=1, now=NOW, boot=BOOT)
    assert ledger._connection
    ledger.write([effects.LifeBegun(BOOT, 1), effects.Accounted(NOW.wall_ns)], NOW)
    ledger._connection.execute("PRAGMA wal_checkpoint(RESTART)")
    for _ in range(5):
        ledger.write([effects.SuspendNoted(5)], NOW)
    for suffix in ("", "-wal", "-shm"):
        name = f"{NAME}{suffix}"
        (tmp_path / "killed" / name).write_bytes((tmp_path / "alive" / name).read_bytes())
    ledger.close()
    return tmp_path / "killed" / NAME


def events(path: Path, boot: str = BOOT) -> int:
    with closing(open_store(path, Durability.PROCESS, boot=boot)) as connection:
        count: int = connection.execute("SELECT count(*) FROM events WHERE kind LIKE '%suspend%'").fetchone()[
            0
        ]
        return count


def cut(path: Path, *, frames: int) -> None:
    """Take the end of the log away."""
    log = path.with_name(f"{NAME}-wal")
    log.write_bytes(log.read_bytes()[: 32 + frames * (24 + 4096)])


def spoil(path: Path, *at: int) -> None:
    """Change bytes of the index."""
    index = path.with_name(f"{NAME}-shm")
    data = bytearray(index.read_bytes())
    for place in at:
        data[place] ^= 0x55
    index.write_bytes(data)


def test_a_whole_log_is_read(killed: Path) -> None:
    assert events(killed) == 5


@pytest.mark.parametrize("spoilt", [(), (20,), (COPY + 20,)], ids=["none", "the first", "the second"])
def test_a_log_that_lost_its_end_is_damaged_whichever_copy_of_the_index_is_left(
    killed: Path, spoilt: tuple[int, ...]
) -> None:
    cut(killed, frames=1)
    spoil(killed, *spoilt)
    with pytest.raises(LedgerBroken, match="its log is damaged"):
        events(killed)


def test_a_log_that_lost_its_end_is_not_believed_without_an_index(killed: Path) -> None:
    """Both copies are damaged, so nobody can tell what has been done since."""
    cut(killed, frames=1)
    spoil(killed, 20, COPY + 21)
    with pytest.raises(LedgerBroken, match="its log is damaged"):
        events(killed)


def test_an_index_that_lost_its_end_is_no_index(killed: Path) -> None:
    cut(killed, frames=1)
    index = killed.with_name(f"{NAME}-shm")
    index.write_bytes(index.read_bytes()[:99])
    with pytest.raises(LedgerBroken, match="its log is damaged"):
        events(killed)


def test_one_damaged_copy_costs_nothing(killed: Path) -> None:
    spoil(killed, 20)
    assert events(killed) == 5


@pytest.mark.parametrize("content", [None, b"", bytes(32_768)], ids=["missing", "empty", "zeros"])
def test_a_log_without_an_index_is_one_that_was_brought_from_elsewhere(
    killed: Path, content: bytes | None
) -> None:
    index = killed.with_name(f"{NAME}-shm")
    index.unlink()
    if content is not None:
        index.write_bytes(content)
    assert left_log(killed) is None
    assert events(killed) == 5


def test_after_another_start_of_the_machine_the_index_counts_for_nothing(killed: Path) -> None:
    spoil(killed, 20, COPY + 21)
    assert events(killed, boot="the next") == 5
