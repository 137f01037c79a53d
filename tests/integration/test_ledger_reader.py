"""Reading the ledger: beside a scheduler that writes, where nothing may be written, and what is no ledger."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from integration.ledger_builder import START_NS, LedgerBuilder

from taskman_cli.core.engine.runs import encode_run_id
from taskman_cli.core.model import Durability, State
from taskman_cli.errors import TaskmanError
from taskman_cli.ledger.queries.attempts import attempts_of, find_run, latest_begun, tasks_of
from taskman_cli.ledger.queries.history import Filter, SkipRow, history
from taskman_cli.ledger.queries.journal import after, bounds, latest
from taskman_cli.ledger.queries.reader import NoLedger, data_version, find_job, job_names, reading
from taskman_cli.ledger.schema import APPLICATION_ID, MIGRATIONS
from taskman_cli.ledger.store import LedgerBroken, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Above any uid that has files here.
NOBODY = 65534


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[LedgerBuilder]:
    builder = LedgerBuilder(tmp_path / "state")
    yield builder
    builder.close()


def told(directory: Path, wanted: Filter | None = None) -> list[str]:
    """Return the rows of the history as `job.task state attempt`, `job state` or `job skipped reason`."""
    with reading(directory) as ledger:
        return [words(row) for row in history(ledger, wanted or Filter())]


def words(row) -> str:
    if isinstance(row, SkipRow):
        return f"{row.job} skipped {row.reason}"
    if row.attempt is None:
        return f"{row.job} {row.state}"
    return f"{row.job}.{row.attempt.task} {row.attempt.state} {row.attempt.number}"


# --- what there is to open ---


@pytest.mark.parametrize(
    "kind", ["no directory", "no file", "an empty file", "an empty database", "a file above"]
)
def test_where_nothing_was_recorded_there_is_no_ledger(tmp_path: Path, kind: str) -> None:
    directory = tmp_path / "state"
    if kind == "a file above":
        directory.touch()
    elif kind != "no directory":
        directory.mkdir()
    if kind == "an empty file":
        (directory / "ledger.db").touch()
    if kind == "an empty database":
        connection = sqlite3.connect(directory / "ledger.db")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
    expected = f"there is no ledger in {directory}: nothing has run with this state directory yet"
    with pytest.raises(NoLedger) as caught, reading(directory):
        pass
    assert (expected, 1) == (str(caught.value), caught.value.exit_code)


@pytest.mark.parametrize(
    ("pragmas", "told"),
    [
        pytest.param("PRAGMA application_id = 7", "is a database of another program", id="another program's"),
        pytest.param(
            f"PRAGMA user_version = {len(MIGRATIONS) + 1}",
            f"by a newer taskman (version {len(MIGRATIONS) + 1}, this one knows {len(MIGRATIONS)})"
            ": use the newer one",
            id="a newer version",
        ),
        pytest.param("PRAGMA user_version = 0", "`taskman run` will migrate it", id="an older version"),
    ],
)
def test_a_ledger_that_is_not_ours_to_read_says_why(builder: LedgerBuilder, pragmas: str, told: str) -> None:
    builder.connection.execute(pragmas)
    with pytest.raises(TaskmanError) as caught, reading(builder.directory):
        pass
    assert told in str(caught.value)
    assert str(builder.directory / "ledger.db") in str(caught.value)


def test_a_file_that_is_no_database_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"what is this? " * 100)
    with pytest.raises(TaskmanError, match=r"ledger\.db is not a ledger: file is not a database"):
        told(tmp_path)


def test_damage_that_is_met_on_the_way_is_an_error_in_words(builder: LedgerBuilder) -> None:
    builder.run("a")
    builder.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    builder.close()
    path = builder.directory / "ledger.db"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(TaskmanError, match=r"ledger\.db is damaged: "):
        told(builder.directory)


@pytest.mark.parametrize("name", ["with space", "what?mode=rwc", "50%25#x"])
def test_the_name_of_the_directory_may_be_anything(tmp_path: Path, name: str) -> None:
    builder = LedgerBuilder(tmp_path / name)
    builder.run("a")
    builder.close()
    assert told(tmp_path / name) == ["a succeeded"]


# --- beside a writer, and where nothing may be written ---


def test_what_a_scheduler_writes_is_seen_at_once_and_nothing_is_in_its_way(builder: LedgerBuilder) -> None:
    builder.run("a")
    with reading(builder.directory) as ledger:
        version = data_version(ledger)
        assert [words(row) for row in history(ledger, Filter())] == ["a succeeded"]
        assert version == data_version(ledger)
        builder.run("b", at=1)
        assert version != data_version(ledger)
        assert [words(row) for row in history(ledger, Filter())] == ["b succeeded", "a succeeded"]


def test_a_reader_in_the_middle_of_its_rows_holds_no_snapshot(builder: LedgerBuilder) -> None:
    for number in range(1200):
        builder.run("a", at=number)
    with reading(builder.directory) as ledger:
        rows = history(ledger, Filter())
        next(rows)
        # A snapshot would keep the log from being emptied: busy, with frames left.
        busy, frames, _ = builder.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert (busy, frames) == (0, 0)
        assert len(list(rows)) == 1199


def test_a_reader_cannot_write(builder: LedgerBuilder) -> None:
    with pytest.raises(TaskmanError, match="readonly"), reading(builder.directory) as ledger:
        ledger.execute("DELETE FROM runs")


@pytest.fixture
def foreign() -> Iterator[LedgerBuilder]:
    """A ledger in a directory that others can enter."""
    # Not under tmp_path, which others cannot enter.
    top = Path(tempfile.mkdtemp(prefix="taskman-test-"))
    builder = LedgerBuilder(top / "state")
    builder.run("a")
    try:
        yield builder
    finally:
        builder.close()
        (top / "state").chmod(0o700)
        shutil.rmtree(top)


@contextmanager
def only_reading(directory: Path) -> Iterator[None]:
    """Take away the right to write: ours, or as root, who has every right, by being somebody else."""
    directory.parent.chmod(0o755)
    for path in directory.iterdir():
        path.chmod(0o444)
    directory.chmod(0o555)
    with as_nobody():
        with pytest.raises(PermissionError):
            (directory / "x").touch()
        yield
    directory.chmod(0o700)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be somebody else if we are root; only inside the test, since coverage is measured around it."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_a_directory_where_nothing_may_be_written_is_read_when_no_scheduler_is_there(
    foreign: LedgerBuilder,
) -> None:
    foreign.close()
    with only_reading(foreign.directory):
        assert [path.name for path in foreign.directory.iterdir()] == ["ledger.db"]
        assert told(foreign.directory) == ["a succeeded"]


def test_a_directory_where_nothing_may_be_written_is_read_beside_a_scheduler(foreign: LedgerBuilder) -> None:
    with only_reading(foreign.directory):
        assert told(foreign.directory) == ["a succeeded"]


def test_a_log_that_cannot_be_read_in_place_is_no_reason_to_show_old_news(foreign: LedgerBuilder) -> None:
    copy = foreign.directory.with_name("copy")
    copy.mkdir()
    for name in ("ledger.db", "ledger.db-wal"):
        shutil.copy(foreign.directory / name, copy)
    message = r"the latest records are in ledger\.db-wal.*--state-dir"
    with only_reading(copy), pytest.raises(TaskmanError, match=message):
        told(copy)


def test_a_ledger_that_may_not_be_read_is_told_so(foreign: LedgerBuilder) -> None:
    foreign.close()
    foreign.directory.parent.chmod(0o755)
    foreign.directory.chmod(0o755)
    (foreign.directory / "ledger.db").chmod(0)
    with as_nobody(), pytest.raises(TaskmanError, match=r"cannot read .*ledger\.db: Permission denied"):
        told(foreign.directory)


# --- the history ---


def test_runs_come_by_their_queueing_and_skips_in_between_newest_first(builder: LedgerBuilder) -> None:
    for number, job in enumerate("abc"):
        builder.attempt(builder.run(job, at=10 * number), at=10 * number)
    builder.skip("s", at=15)
    builder.skip("t", "missed", at=25)
    runs = [f"{job}.main succeeded 1" for job in "cba"]
    assert told(builder.directory) == ["t skipped missed", runs[0], "s skipped overlap", *runs[1:]]


def test_each_attempt_of_each_task_has_a_row_the_latest_first(builder: LedgerBuilder) -> None:
    run = builder.run("j")
    builder.attempt(run, "failed", task="x", at=0)
    builder.attempt(run, task="y", at=1)
    builder.attempt(run, task="x", number=2, at=2)
    assert told(builder.directory) == ["j.x succeeded 2", "j.y succeeded 1", "j.x failed 1"]


def test_a_run_that_was_given_up_while_it_waited_is_its_skip_and_nothing_else(builder: LedgerBuilder) -> None:
    run = builder.run("j", "skipped")
    with reading(builder.directory) as ledger:
        found = find_run(ledger, int_of(run))
        assert found is not None
        assert found.is_over
    builder.skip("j", "late", at=5, run=int_of(run))
    assert told(builder.directory) == ["j skipped late"]


def int_of(run: str) -> int:
    from taskman_cli.core.engine.runs import decode_run_id

    return decode_run_id(run)


@pytest.fixture
def varied(builder: LedgerBuilder) -> LedgerBuilder:
    """One row in each state, and two jobs."""
    run = builder.run("a", at=0)
    builder.attempt(run, "failed", at=0)
    builder.attempt(run, at=1, number=2)
    builder.attempt(builder.run("b", "timed_out", at=2), "timed_out", at=2)
    builder.attempt(builder.run("a", "lost", at=3), "lost", at=3)
    builder.skip("b", at=4)
    builder.run("b", "cancelled", at=5, begun_ns=None)
    builder.attempt(builder.run("b", "cancelled", at=6), "cancelled", at=6)
    builder.attempt(builder.run("a", "running", at=7), "running", at=7)
    builder.run("a", "queued", at=8)
    return builder


@pytest.mark.parametrize("many_runs", [0, 1_000], ids=["by attempt", "by run"])
@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("failed", ["a.main failed 1"]),
        ("succeeded", ["a.main succeeded 2"]),
        ("timed_out", ["b.main timed_out 1"]),
        ("lost", ["a.main lost 1"]),
        ("cancelled", ["b.main cancelled 1", "b cancelled"]),
        ("running", ["a.main running 1"]),
        ("queued", ["a queued"]),
        ("queued running", ["a queued", "a.main running 1"]),
        ("skipped", ["b skipped overlap"]),
        ("skipped lost failed", ["b skipped overlap", "a.main lost 1", "a.main failed 1"]),
    ],
)
def test_states_are_those_of_attempts_and_of_what_has_none(
    varied: LedgerBuilder, monkeypatch: pytest.MonkeyPatch, many_runs: int, states: str, expected: list[str]
) -> None:
    monkeypatch.setattr("taskman_cli.ledger.queries.history._MANY_RUNS", many_runs)
    wanted = frozenset(map(State, states.split()))
    assert told(varied.directory, Filter(states=wanted)) == expected
    for number, job in enumerate("ab", 1):
        of_job = [row for row in expected if row.startswith(job)]
        assert of_job == told(varied.directory, Filter(job=number, states=wanted))


@pytest.mark.parametrize("states", [frozenset(), frozenset(State)], ids=["no state", "every state"])
def test_no_state_is_every_state(varied: LedgerBuilder, states: frozenset[State]) -> None:
    assert len(told(varied.directory, Filter(states=states))) == 9


@pytest.mark.parametrize("most_skips", [1, 100], ids=["many skips", "few skips"])
def test_since_is_about_the_queueing_of_runs_and_the_last_of_equal_skips(
    builder: LedgerBuilder, monkeypatch: pytest.MonkeyPatch, most_skips: int
) -> None:
    monkeypatch.setattr("taskman_cli.ledger.queries.history._MOST_SKIPS", most_skips)
    for at in (0, 10, 20):
        builder.attempt(builder.run(f"r{at}", at=at), at=at)
    builder.skip("old", at=5, until=9)
    builder.skip("grown", at=5, until=15)
    builder.skip("late", at=19)
    since = Filter(since_ns=START_NS + 10 * 1_000_000_000)
    assert told(builder.directory, since) == [
        "r20.main succeeded 1",
        "late skipped overlap",
        "r10.main succeeded 1",
        "grown skipped overlap",
    ]


def test_since_is_right_though_the_clock_was_set_back(builder: LedgerBuilder) -> None:
    # Ids go on from the last one, whatever the clock says.
    builder.run("before", at=100)
    builder.run("after", id=int_of(builder.run("x", at=101, state="skipped")) + 1, at=50)
    assert told(builder.directory) == ["after succeeded", "before succeeded"]
    since = Filter(since_ns=START_NS + 60 * 1_000_000_000)
    assert told(builder.directory, since) == ["before succeeded"]


@pytest.mark.parametrize("state", [None, State.FAILED], ids=["all", "one state"])
def test_what_comes_in_pages_is_whole(
    builder: LedgerBuilder, monkeypatch: pytest.MonkeyPatch, state: State | None
) -> None:
    monkeypatch.setattr("taskman_cli.ledger.queries.history._PAGE", 3)
    expected = []
    for at in range(20):
        run = builder.run("j", "failed", at=at)
        for number in range(1, at % 5 + 1):
            builder.attempt(run, "failed", number=number, at=at + number / 10)
            expected.insert(0, f"j.main failed {number}")
        if at % 5 == 0 and state is None:
            builder.connection.execute("UPDATE runs SET begun_ns = NULL WHERE id = ?", (int_of(run),))
            expected.insert(0, "j failed")
        builder.skip("j", at=at + 0.9)
        if state is None:
            expected.insert(0, "j skipped overlap")
    wanted = Filter(states=frozenset({state} if state else ()))
    assert told(builder.directory, wanted) == expected


# --- look-ups ---


def test_jobs_are_found_by_name_whether_they_are_defined_still_or_not(builder: LedgerBuilder) -> None:
    builder.job("b")
    builder.job("a")
    builder.connection.execute("UPDATE job_state SET removed_ns = 1 WHERE name = 'b'")
    with reading(builder.directory) as ledger:
        assert job_names(ledger) == ["a", "b"]
        assert find_job(ledger, "b") == (1, "b")
        assert find_job(ledger, "c") is None


def test_the_latest_run_is_the_last_that_has_begun_or_has_begun_the_task(builder: LedgerBuilder) -> None:
    first = builder.run("j", at=0)
    builder.attempt(first, task="x", at=0)
    second = builder.run("j", at=1)
    builder.attempt(second, task="y", at=1)
    builder.run("j", "queued", at=2)
    builder.job("idle")
    with reading(builder.directory) as ledger:
        assert second == encode_run_id(latest_begun(ledger, 1) or 0)
        assert first == encode_run_id(latest_begun(ledger, 1, task="x") or 0)
        assert latest_begun(ledger, 1, task="z") is None
        assert latest_begun(ledger, 2) is None
        assert tasks_of(ledger, 1) == ["x", "y"]
        assert [attempt.task for attempt in attempts_of(ledger, int_of(second))] == ["y"]


# --- the journal ---


def test_the_journal_is_read_from_either_end(builder: LedgerBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskman_cli.ledger.queries.journal._PAGE", 2)
    with reading(builder.directory) as ledger:
        assert bounds(ledger) == (1, 0)
        assert latest(ledger, 5) == []
    for number in range(1, 8):
        builder.event("queued", at=number, job="ab"[number % 2])
    builder.connection.execute("DELETE FROM events WHERE seq < 3")
    with reading(builder.directory) as ledger:
        assert bounds(ledger) == (3, 7)
        assert [event.seq for event in latest(ledger, 2)] == [6, 7]
        assert [event.seq for event in after(ledger, 0)] == [3, 4, 5, 6, 7]
        assert [event.seq for event in after(ledger, 4, count=9)] == [5, 6, 7]
        assert [event.seq for event in after(ledger, 4, count=2)] == [5, 6]
        assert [event.seq for event in after(ledger, 3, job="b")] == [5, 7]
        assert list(after(ledger, 7)) == []


def test_the_builder_makes_what_the_schema_says(builder: LedgerBuilder) -> None:
    with reading(builder.directory) as ledger:
        assert ledger.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_a_state_directory_that_is_a_loop_of_links_is_said(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    with (
        pytest.raises(TaskmanError, match=r"cannot read .*: Too many levels of symbolic links"),
        reading(loop),
    ):
        pass


def test_a_row_that_no_version_wrote_is_said(builder: LedgerBuilder) -> None:
    builder.close()
    words = r"has a row that no version of taskman wrote: 'x' is not a valid"
    with pytest.raises(TaskmanError, match=words), reading(builder.directory):
        State("x")


def test_a_fault_of_who_reads_is_none_of_the_ledger(builder: LedgerBuilder) -> None:
    builder.close()
    with pytest.raises(BrokenPipeError), reading(builder.directory):
        raise BrokenPipeError


def test_a_schema_that_is_no_text_is_damage_for_readers_and_for_the_scheduler(builder: LedgerBuilder) -> None:
    builder.close()
    path = builder.directory / "ledger.db"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"CREATE TABLE runs", b"CREATE TABLE \xb6uns"))
    with pytest.raises(TaskmanError, match=r"ledger\.db is damaged"), reading(builder.directory):
        pass
    with pytest.raises(LedgerBroken):
        open_store(path, Durability.PROCESS)
