"""The ledger's file: made, migrated, refused or set aside; and nothing is ever deleted."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from integration.ledger_tables import second, wall
from wait import wait_until

from taskman_cli.core.engine import effects
from taskman_cli.core.model import Durability, Settings, Trigger
from taskman_cli.errors import TaskmanError
from taskman_cli.ledger import ledger as ledger_module
from taskman_cli.ledger import reportqueue, schema, store
from taskman_cli.ledger.ledger import Ledger
from taskman_cli.ledger.store import NAME, LedgerBroken, LedgerUnwritable, open_store

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = second(0)
PAGE = 4096
EVENTS: list[effects.Record | effects.Mark] = [
    effects.SchedulerNoted("scheduler_started"), effects.SuspendNoted(5), effects.Accounted(NOW.wall_ns)
]  # fmt: skip


#: Of a ledger that this version makes.
NOW_VERSION = len(schema.MIGRATIONS)


def open_ledger(directory: Path, settings: Settings | None = None) -> Ledger:
    return Ledger(directory, settings or Settings(), supervisor=1, now=NOW)


def make(directory: Path, *records: effects.Record | effects.Mark) -> Path:
    """Make a ledger with something in it, and return its path."""
    ledger = open_ledger(directory)
    ledger.write([*EVENTS, *records], NOW)
    ledger.close()
    return directory / NAME


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def count_events(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        count: int = connection.execute("SELECT count(*) FROM events").fetchone()[0]
        return count


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# --- a new one ---


def test_a_new_ledger_is_private_and_says_what_it_is(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        connection = open_store(tmp_path / NAME, Durability.PROCESS)
        connection.execute("INSERT INTO events (at_ns, kind) VALUES (1, 'x')")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert names(tmp_path) == [NAME, f"{NAME}-shm", f"{NAME}-wal"]
    assert ("wal", schema.APPLICATION_ID, len(schema.MIGRATIONS)) == (
        pragma(connection, "journal_mode"), pragma(connection, "application_id"),
        pragma(connection, "user_version"),
    )  # fmt: skip
    connection.close()
    assert names(tmp_path) == [NAME]


@pytest.mark.parametrize(("durability", "synchronous"), [(Durability.PROCESS, 1), (Durability.POWER, 2)])
def test_durability_says_how_often_the_disk_is_waited_for(
    tmp_path: Path, durability: Durability, synchronous: int
) -> None:
    with closing(open_store(tmp_path / NAME, durability)) as connection:
        assert synchronous == pragma(connection, "synchronous")


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    make(tmp_path)
    ledger = open_ledger(tmp_path)
    assert (ledger.is_new, ledger.standing.accounted_ns, ledger.set_aside) == (False, NOW.wall_ns, None)
    ledger.close()
    assert names(tmp_path) == [NAME]


def test_an_empty_file_is_a_new_ledger(tmp_path: Path) -> None:
    (tmp_path / NAME).touch()
    ledger = open_ledger(tmp_path)
    assert (ledger.is_new, ledger.set_aside) == (True, None)
    ledger.close()


@pytest.mark.parametrize(
    ("is_same", "is_there", "lost"),
    [
        (True, True, None),
        (False, False, (None, "it was removed")),
        (False, True, (None, "it was replaced by another file")),
    ],
    ids=["there", "removed", "replaced"],
)
def test_the_ledger_of_the_last_scheduler_is_missed(
    tmp_path: Path, is_same: bool, is_there: bool, lost: tuple[None, str] | None
) -> None:
    make(tmp_path)
    before = open_ledger(tmp_path)
    before.close()
    if not is_same:
        (tmp_path / NAME).unlink()
    if is_there:
        make(tmp_path)
    ledger = Ledger(tmp_path, Settings(), supervisor=1, now=NOW, identity=before.standing.identity)
    ledger.close()
    assert (ledger.is_new, ledger.set_aside) == (not is_there, lost)


# --- migrations ---


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let there be further migrations, as in a later version of taskman."""

    def newer(*migrations: str) -> None:
        monkeypatch.setattr(store, "MIGRATIONS", (*schema.MIGRATIONS, *migrations))

    return newer


MORE = "ALTER TABLE runs ADD COLUMN mood TEXT; UPDATE runs SET mood = 'good';"


def test_an_older_ledger_is_migrated_with_a_copy_of_it_beside(
    tmp_path: Path, newer: Callable[..., None]
) -> None:
    path = make(tmp_path, effects.RunQueued("67avwsa1m4", "job", None, Trigger.START, NOW.wall_ns))
    newer(MORE, "CREATE TABLE more (x INTEGER) STRICT;")
    ledger = open_ledger(tmp_path)
    ledger.write([effects.SchedulerNoted("scheduler_stopped")], NOW)
    assert ([run.run for run in ledger.open_runs], ledger.set_aside) == (["67avwsa1m4"], None)
    ledger.close()
    backup = tmp_path / f"{NAME}.version-{NOW_VERSION}"
    assert names(tmp_path) == [NAME, backup.name]
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with closing(sqlite3.connect(path)) as new, closing(sqlite3.connect(backup)) as old:
        assert new.execute("SELECT mood FROM runs").fetchall() == [("good",)]
        assert (pragma(new, "user_version"), pragma(old, "user_version")) == (NOW_VERSION + 2, NOW_VERSION)
        assert (count_events(path), count_events(backup)) == (4, 3)
        assert pragma(old, "integrity_check") == "ok"


@pytest.mark.parametrize("version", range(1, NOW_VERSION))
def test_a_ledger_of_each_earlier_version_becomes_one_of_this(tmp_path: Path, version: int) -> None:
    (tmp_path / "new").mkdir()
    with closing(sqlite3.connect(tmp_path / NAME)) as connection:
        connection.executescript(
            "BEGIN;" + "".join(schema.MIGRATIONS[:version]) + f"PRAGMA user_version = {version};"
            f"PRAGMA application_id = {schema.APPLICATION_ID};"
            "INSERT INTO events (at_ns, kind) VALUES (1, 'old'); COMMIT;"
        )
    ledger = open_ledger(tmp_path)
    ledger.write(EVENTS, NOW)
    ledger.close()
    assert (ledger.set_aside, count_events(tmp_path / NAME)) == (None, 3)
    tables = []
    for path in (tmp_path / NAME, make(tmp_path / "new")):
        with closing(sqlite3.connect(path)) as connection:
            tables.append(connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall())
    assert tables[0] == tables[1]


def test_what_a_large_ledger_takes_long_for_is_told_beforehand(
    tmp_path: Path, newer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path)
    told: list[str] = []
    open_store(path, Durability.PROCESS, tell=told.append).close()
    newer(MORE)
    monkeypatch.setattr(store, "_LARGE_BYTES", path.stat().st_size + 1)
    open_store(path, Durability.PROCESS, tell=told.append).close()
    assert told == []
    newer(MORE, "CREATE TABLE more (x INTEGER) STRICT;")
    monkeypatch.setattr(store, "_LARGE_BYTES", 1)
    open_store(path, Durability.PROCESS, tell=told.append).close()
    (words,) = told
    assert words.startswith("the ledger was written by an earlier version and is large (0 MiB)")


@pytest.mark.parametrize(
    ("kinds", "was_stopped"),
    [
        ([], True),
        (["scheduler_started"], False),
        (["scheduler_started", "scheduler_stopped"], True),
        (["scheduler_stopped", "scheduler_started"], False),
        (["scheduler_started", *["queued"] * 5], False),
        (["scheduler_started", "scheduler_stopped", *["noted"] * 2], True),
        (["scheduler_stopped", *["queued"] * 5], False),
    ],
    ids=[
        "new",
        "began",
        "stopped",
        "began again",
        "began long ago",
        "stopped, with last words",
        "began, removed",
    ],
)
def test_whether_the_last_scheduler_was_stopped_is_said_by_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: list[str], was_stopped: bool
) -> None:
    monkeypatch.setattr(reportqueue, "_LAST_LINES", 4)
    with closing(open_store(tmp_path / NAME, Durability.PROCESS)) as connection:
        connection.executemany("INSERT INTO events (at_ns, kind) VALUES (1, ?)", [(kind,) for kind in kinds])
    ledger = open_ledger(tmp_path)
    assert ledger.was_stopped == was_stopped
    ledger.close()


def test_a_copy_has_all_though_a_reader_keeps_it_in_the_log(
    tmp_path: Path, newer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "WRITE_TIMEOUT_S", 0.01)
    path = make(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM events").fetchall()
        ledger = open_ledger(tmp_path)
        ledger.write([effects.SchedulerNoted("scheduler_stopped")], NOW)
        ledger.close()
        newer(MORE)
        open_ledger(tmp_path).close()
        assert count_events(tmp_path / f"{NAME}.version-{NOW_VERSION}") == 3


def test_a_migrated_ledger_keeps_its_locks(tmp_path: Path, newer: Callable[..., None]) -> None:
    """Whoever closes it last removes the log: that must not be another while the scheduler has it open."""
    path = make(tmp_path)
    newer(MORE)
    ledger = open_ledger(tmp_path)
    ledger.write([effects.SchedulerNoted("scheduler_stopped")], NOW)
    script = (
        "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM runs').fetchone()"
    )
    subprocess.run([sys.executable, "-c", script, path], check=True)
    assert names(tmp_path) == [NAME, f"{NAME}-shm", f"{NAME}-wal", f"{NAME}.version-{NOW_VERSION}"]
    ledger.close()


def test_a_copy_that_was_cut_short_is_made_anew(tmp_path: Path, newer: Callable[..., None]) -> None:
    make(tmp_path)
    (tmp_path / f"{NAME}.version-{NOW_VERSION}.part").write_text("half of it")
    newer(MORE)
    open_ledger(tmp_path).close()
    assert names(tmp_path) == [NAME, f"{NAME}.version-{NOW_VERSION}"]
    assert count_events(tmp_path / f"{NAME}.version-{NOW_VERSION}") == 2


def test_a_migration_that_fails_halfway_leaves_the_old_version(
    tmp_path: Path, newer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path)
    newer(MORE, "INSERT INTO no_such_table VALUES (1);")
    backup = f"{NAME}.version-{NOW_VERSION}"
    with pytest.raises(
        TaskmanError, match=rf"no_such_table.*{backup} is a copy: use the taskman that wrote it"
    ):
        open_ledger(tmp_path)
    assert ([NAME, backup], 2) == (names(tmp_path), count_events(tmp_path / backup))
    monkeypatch.undo()
    ledger = open_ledger(tmp_path)
    assert (ledger.standing.accounted_ns, ledger.set_aside) == (NOW.wall_ns, None)
    ledger.close()
    with closing(sqlite3.connect(path)) as connection:
        assert pragma(connection, "user_version") == NOW_VERSION
        assert "mood" not in [row[1] for row in connection.execute("PRAGMA table_info(runs)")]


KILLED = """
import sys
from pathlib import Path
from taskman_cli.core.model import Durability
from taskman_cli.ledger import reportqueue, schema, store
rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
rows += "INSERT INTO more SELECT i, hex(zeroblob(500)) FROM n;"
store.MIGRATIONS = (
    *schema.MIGRATIONS, "CREATE TABLE more (x INTEGER, y TEXT);" + rows.format(20_000) + rows.format(10**12)
)
print("migrating", flush=True)
store.open_store(Path(sys.argv[1]), Durability.PROCESS)
"""


def test_a_migration_that_is_killed_leaves_the_old_version(tmp_path: Path) -> None:
    path = make(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE)
    log = path.with_name(f"{NAME}-wal")
    try:  # its pages are in the log, and no end of it is
        wait_until(lambda: log.exists() and log.stat().st_size > 100 * PAGE, what="a long log")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    ledger = open_ledger(tmp_path)
    assert (ledger.standing.accounted_ns, ledger.set_aside) == (NOW.wall_ns, None)
    ledger.close()
    with closing(sqlite3.connect(path)) as connection:
        assert pragma(connection, "user_version") == NOW_VERSION
        assert connection.execute("SELECT * FROM sqlite_schema WHERE name = 'more'").fetchall() == []


def test_a_newer_ledger_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = make(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE runs ADD COLUMN mood TEXT")
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(TaskmanError, match=r"written by a newer taskman \(version 99, .*--state-dir"):
        open_ledger(tmp_path)
    assert ([NAME], before) == (names(tmp_path), path.read_bytes())


@pytest.mark.parametrize(
    "pragma_", ["user_version = 99", "user_version = 3", "user_version = 0", "application_id = 1"]
)
def test_a_head_that_says_something_else_than_the_tables_is_put_right(tmp_path: Path, pragma_: str) -> None:
    path = make(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA {pragma_}")
    ledger = open_ledger(tmp_path)
    ledger.close()
    assert (ledger.is_new, ledger.set_aside) == (False, None)
    with closing(sqlite3.connect(path)) as connection:
        assert (
            pragma(connection, "user_version"), pragma(connection, "application_id")
        ) == (NOW_VERSION, schema.APPLICATION_ID)  # fmt: skip
    assert names(tmp_path) == [NAME]


@pytest.mark.parametrize("change", ["DROP INDEX runs_open", "DROP TRIGGER definition_replaced"])
def test_an_index_or_a_trigger_that_is_missing_is_made_again(tmp_path: Path, change: str) -> None:
    path = make(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        before = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
        connection.execute(change)
    open_ledger(tmp_path).close()
    with closing(sqlite3.connect(path)) as connection:
        assert before == connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


# --- what belongs to others ---


def make_foreign(path: Path, *, mode: str = "DELETE", version: int = 0) -> None:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.execute(f"PRAGMA user_version = {version}")


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("version", [0, 99])
def test_a_database_of_another_program_is_refused_and_left_as_it_is(
    tmp_path: Path, mode: str, version: int
) -> None:
    make_foreign(tmp_path / NAME, mode=mode, version=version)
    before = contents(tmp_path)
    with pytest.raises(TaskmanError, match=rf"{NAME} is a database of another program: move it.*--state-dir"):
        open_ledger(tmp_path)
    assert before == contents(tmp_path)


def test_so_is_one_of_which_all_is_in_its_log(tmp_path: Path) -> None:
    """As when its program was killed, or is at work."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    theirs = sqlite3.connect(tmp_path / "theirs" / NAME)
    theirs.execute("PRAGMA journal_mode = WAL")
    theirs.execute("CREATE TABLE bookmarks (url TEXT)")
    for suffix in ("", "-wal"):
        (tmp_path / "ours" / f"{NAME}{suffix}").write_bytes(
            (tmp_path / "theirs" / f"{NAME}{suffix}").read_bytes()
        )
    theirs.close()
    with pytest.raises(TaskmanError, match="another program"):
        open_ledger(tmp_path / "ours")
    with closing(sqlite3.connect(tmp_path / "ours" / NAME)) as connection:
        assert connection.execute("SELECT * FROM bookmarks").fetchall() == []


@pytest.mark.parametrize("is_newer", [True, False], ids=["a newer ledger", "another program's"])
def test_what_others_put_in_its_place_holds_everything_up_until_they_take_it_away(
    tmp_path: Path, *, is_newer: bool
) -> None:
    path = tmp_path / NAME
    ledger = open_ledger(tmp_path)
    ledger.write(EVENTS, NOW)
    theirs = tmp_path / "theirs"
    make_foreign(theirs)
    if is_newer:
        with closing(sqlite3.connect(theirs)) as connection:
            connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            connection.execute("PRAGMA user_version = 99")
    path.rename(tmp_path / "ours")
    theirs.rename(path)
    before = path.read_bytes()
    with pytest.raises(LedgerBroken, match="by another file"):
        ledger.write(EVENTS, second(5))
    words = "newer taskman" if is_newer else "another program"
    with pytest.raises(LedgerUnwritable, match=words):
        ledger.replace("it was replaced by another file", NOW)
    with pytest.raises(LedgerUnwritable, match=words):
        ledger.write(EVENTS, second(6))
    aside = f"{NAME}.broken-{NOW.wall_ns // 10**9}"
    # Our log beside it would be read, and written, into it.
    assert names(tmp_path) == [NAME, f"{aside}-shm", f"{aside}-wal", "ours"]
    assert (before, 2) == (path.read_bytes(), count_events(tmp_path / "ours"))
    path.unlink()
    ledger.write(EVENTS, second(7))
    ledger.close()
    assert ledger.set_aside == (None, "it was replaced by another file")
    assert count_events(path) == 2


def test_a_copy_that_is_put_in_its_place_is_set_aside_without_our_log(tmp_path: Path) -> None:
    """The two together would be a ledger of neither."""
    path = make(tmp_path)
    copy = path.read_bytes()
    ledger = open_ledger(tmp_path)
    ledger.write(EVENTS, NOW)
    path.rename(tmp_path / "ours")
    path.write_bytes(copy)
    ledger.replace("it was replaced by another file", NOW)
    ledger.close()
    assert ledger.set_aside
    aside = ledger.set_aside[0]
    assert aside
    assert (count_events(aside), count_events(tmp_path / "ours"), count_events(path)) == (2, 4, 0)


def test_a_log_that_came_with_it_stays_with_it(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    make_foreign(tmp_path / "theirs" / NAME, mode="WAL")
    theirs = sqlite3.connect(tmp_path / "theirs" / NAME, isolation_level=None)
    theirs.execute("INSERT INTO bookmarks VALUES ('x')")
    ledger = open_ledger(tmp_path / "ours")
    ledger.write(EVENTS, NOW)
    before = contents(tmp_path / "theirs")
    for name in before:
        (tmp_path / "theirs" / name).rename(tmp_path / "ours" / name)
    with pytest.raises(LedgerUnwritable, match="another program"):
        ledger.replace("it was replaced by another file", NOW)
    assert before == contents(tmp_path / "ours")
    theirs.close()


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    store.refuse_others(tmp_path / NAME)


# --- what is no ledger, or a broken one ---


def text(path: Path) -> None:
    path.write_text("This is not what you are looking for.\n" * 100)


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // PAGE * PAGE)


def cut_in_a_page(path: Path) -> None:
    os.truncate(path, PAGE + 100)


def zeroed(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(PAGE)
        file.write(bytes(size - PAGE))


def zeroed_head(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(PAGE))


def without_a_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE skips")


def without_a_column(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE attempts DROP COLUMN next_ns")


def that_takes_no_row(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TRIGGER no BEFORE INSERT ON skips BEGIN SELECT RAISE(ABORT, 'no'); END")


DAMAGES = [
    text, truncated, cut_in_a_page, zeroed, zeroed_head, without_a_table, without_a_column,
    that_takes_no_row,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_ledger_is_set_aside_and_a_new_one_begun(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = make(tmp_path, effects.RunQueued("67avwsa1m4", "job", None, Trigger.START, NOW.wall_ns))
    damage(path)
    before = path.read_bytes()
    ledger = open_ledger(tmp_path)
    aside = tmp_path / f"{NAME}.broken-{NOW.wall_ns // 10**9}"
    assert ledger.set_aside
    assert aside == ledger.set_aside[0]
    assert ledger.set_aside[1]
    assert (ledger.is_new, ledger.open_runs, ledger.jobs) == (True, [], {})
    ledger.write(EVENTS, NOW)
    ledger.close()
    assert (before, 2) == (aside.read_bytes(), count_events(path))
    assert names(tmp_path) == [NAME, aside.name]


@pytest.mark.parametrize("damage", DAMAGES[:-1])
def test_what_is_wrong_is_said_by_the_store_too(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = make(tmp_path)
    damage(path)
    with pytest.raises(LedgerBroken):
        open_store(path, Durability.PROCESS)


def test_no_name_is_taken_twice(tmp_path: Path) -> None:
    for number in ("", "-2", "-3"):
        (tmp_path / NAME).write_text(f"junk{number}" * 100)
        open_ledger(tmp_path).close()
        aside = tmp_path / f"{NAME}.broken-{NOW.wall_ns // 10**9}{number}"
        assert f"junk{number}" * 100 == aside.read_text()
        (tmp_path / NAME).unlink()


def test_the_log_of_a_broken_ledger_is_not_lost(tmp_path: Path) -> None:
    """As after kill -9: what happened last is in the log alone."""
    (tmp_path / "alive").mkdir()
    (tmp_path / "killed").mkdir()
    ledger = open_ledger(tmp_path / "alive")
    ledger.write(EVENTS, NOW)
    assert ledger._connection
    ledger._connection.execute("DROP TABLE skips")
    for suffix in ("", "-wal"):
        name = f"{NAME}{suffix}"
        (tmp_path / "killed" / name).write_bytes((tmp_path / "alive" / name).read_bytes())
    ledger.close()
    broken = open_ledger(tmp_path / "killed")
    broken.close()
    assert broken.set_aside
    assert count_events(broken.set_aside[0]) == 2


def test_two_tables_in_one_place_are_damage_though_all_rows_can_be_read(tmp_path: Path) -> None:
    path = make(tmp_path, effects.RateUsed("api", 5))
    with closing(sqlite3.connect(path)) as ledger:
        ledger.execute("PRAGMA writable_schema = ON")
        ledger.execute(
            "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'rates')"
            " WHERE name = 'standing'"
        )
        ledger.commit()
    ledger = open_ledger(tmp_path)
    ledger.close()
    assert ledger.set_aside
    assert ledger.set_aside[1] == "rates and standing are in the same place of it"


def test_damage_that_shows_while_it_is_written_is_told_and_the_file_replaced(tmp_path: Path) -> None:
    path = make(tmp_path)
    ledger = open_ledger(tmp_path)
    connection = ledger._connection
    assert connection
    connection.execute("PRAGMA cache_size = 0")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * PAGE)
        file.write(b"\xff" * PAGE)
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    with pytest.raises(LedgerBroken, match="malformed"):
        ledger.write(EVENTS, NOW)
    ledger.replace("malformed", NOW)
    ledger.write(EVENTS, NOW)
    ledger.close()
    assert ledger.set_aside
    assert count_events(path) == 2


# --- where nothing can be written ---


def test_a_directory_that_is_none_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerUnwritable, match="Not a directory"):
        open_ledger(tmp_path / "file")
    with pytest.raises(LedgerUnwritable, match="No such file or directory"):
        open_ledger(tmp_path / "missing")


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", ["directory", "pipe", "link to itself", "link to nothing", "link to a file"])
def test_what_is_no_file_in_the_place_of_one_is_set_aside(tmp_path: Path, kind: str, suffix: str) -> None:
    make(tmp_path)
    victim, odd = tmp_path / "victim", tmp_path / f"{NAME}{suffix}"
    victim.write_text("precious")
    odd.unlink(missing_ok=True)
    if kind == "directory":
        odd.mkdir()
    elif kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to({"link to itself": odd.name, "link to nothing": "nothing"}.get(kind, "victim"))
    ledger = open_ledger(tmp_path)
    ledger.write(EVENTS, NOW)
    ledger.close()
    assert ledger.set_aside
    aside = f"{NAME}.broken-{NOW.wall_ns // 10**9}"
    assert kind.split()[-1 if kind == "pipe" else 0] in ledger.set_aside[1]
    assert sorted({NAME, aside, f"{aside}{suffix}", "victim"}) == names(tmp_path)
    assert victim.read_text() == "precious"


LIMITED = """
import resource, signal, sys
from pathlib import Path
from taskman_cli.core.engine import effects
from taskman_cli.core.clock import Now
from taskman_cli.core.model import Settings
from taskman_cli.ledger.ledger import Ledger
from taskman_cli.ledger.store import LedgerUnwritable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
now = Now(10**18, 0)
if "open" in sys.argv:
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    ledger = Ledger(Path(sys.argv[1]), Settings(), supervisor=1, now=now)
    ledger.write([effects.SchedulerNoted("one")], now)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
    for _ in range(2):
        try:
            ledger.write([effects.SpawnDelayed("x" * 1000, 1)] * 1000, now)
        except LedgerUnwritable as error:
            print(f"write: {error}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    ledger.write([effects.SchedulerNoted("two")], now)
except LedgerUnwritable as error:
    print(f"open: {error}")
"""


@pytest.mark.parametrize("when", ["open", "write"])
def test_a_disk_that_takes_no_more_is_said_so_and_harms_nothing(tmp_path: Path, when: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path, when], capture_output=True, text=True, check=False
    )
    assert process.stderr == ""
    lines = process.stdout.splitlines()
    assert [when] * (1 if when == "open" else 2) == [line.split(":")[0] for line in lines]
    if when == "write":
        with closing(sqlite3.connect(tmp_path / NAME)) as connection:
            assert connection.execute("SELECT kind FROM events").fetchall() == [("one",), ("two",)]
    else:
        open_ledger(tmp_path).close()
        assert names(tmp_path) == [NAME]


def test_a_full_disk_holds_up_a_replacement_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = open_ledger(tmp_path)

    def is_full(*_: object, **__: object) -> sqlite3.Connection:
        raise LedgerUnwritable("database or disk is full")

    monkeypatch.setattr(ledger_module, "open_store", is_full)
    with pytest.raises(LedgerUnwritable, match="full"):
        ledger.replace("malformed", NOW)
    for _ in range(2):
        with pytest.raises(LedgerUnwritable, match="full"):
            ledger.write(EVENTS, NOW)
    ledger.note_kept("job", keep_runs=1, keep_for_ns=None)
    assert not ledger.has_chores
    ledger.tidy(NOW.wall_ns)
    monkeypatch.setattr(ledger_module, "open_store", open_store)
    ledger.write(EVENTS, NOW)
    ledger.close()
    assert ledger.set_aside
    assert (ledger.set_aside[1], count_events(tmp_path / NAME)) == ("malformed", 2)
    assert len(names(tmp_path)) == 2


def test_a_new_ledger_that_is_broken_at_once_is_another_to_be_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path)
    ledger = open_ledger(tmp_path)

    def break_it(*_: object, **__: object) -> None:
        raise LedgerBroken("malformed")

    with monkeypatch.context() as patch:
        patch.setattr(ledger_module, "open_store", break_it)
        with pytest.raises(LedgerBroken, match="malformed"):
            ledger.replace("malformed", NOW)
        with pytest.raises(LedgerBroken, match="malformed"):
            ledger.write(EVENTS, NOW)
        with pytest.raises(LedgerBroken, match="malformed"):
            open_ledger(tmp_path)
    ledger.replace("malformed", NOW)
    ledger.write(EVENTS, NOW)
    ledger.close()
    assert count_events(tmp_path / NAME) == 2


def test_a_broken_ledger_that_cannot_be_moved_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path)
    ledger = open_ledger(tmp_path)
    rename = Path.rename

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(LedgerUnwritable, match="Permission denied"):
        ledger.replace("malformed", NOW)
    with pytest.raises(LedgerUnwritable, match="Permission denied"):
        ledger.write(EVENTS, NOW)
    assert count_events(path) == 2
    monkeypatch.setattr(Path, "rename", rename)
    ledger.write(EVENTS[:1], NOW)
    ledger.close()
    assert ledger.set_aside
    assert (count_events(path), count_events(ledger.set_aside[0])) == (1, 2)
    assert wall(0) // 10**9 == int(ledger.set_aside[0].name.rpartition("-")[2])
