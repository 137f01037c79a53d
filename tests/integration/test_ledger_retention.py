"""What the ledger does not keep any more is removed, a few rows at a time; what is not over never is."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from integration.ledger_builder import LedgerBuilder
from integration.ledger_tables import second, wall

from taskman_cli.core.engine import effects
from taskman_cli.core.engine.runs import decode_run_id, encode_run_id
from taskman_cli.core.model import Settings, SkipReason, Trigger
from taskman_cli.ledger import departed, retention
from taskman_cli.ledger.ledger import Ledger
from taskman_cli.ledger.retention import KEPT_RUNS, STEP_ROWS, Retention

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[LedgerBuilder]:
    builder = LedgerBuilder(tmp_path)
    yield builder
    builder.close()


class Tidy:
    """Retention over a ledger, and steps to its end."""

    def __init__(self, connection: sqlite3.Connection, *, keep_events: int = 1_000_000) -> None:
        self.connection = connection
        self.retention = Retention(connection, keep_events=keep_events)

    def note(
        self, job: str = "job", *, keep_runs: int | None = None, keep_for_s: int | None = None, times: int = 1
    ) -> None:
        keep_for_ns = None if keep_for_s is None else keep_for_s * 10**9
        for _ in range(times):
            self.retention.note(job, keep_runs=keep_runs, keep_for_ns=keep_for_ns)

    def rows(self) -> int:
        return self.connection.total_changes

    def step(self, at: float = 0) -> int:
        """Do a step; return how many rows it removed."""
        before = self.rows()
        self.retention.step(wall(at))
        return self.rows() - before

    def finish(self, at: float = 0) -> int:
        """Do all there is to do; return in how many steps."""
        steps = 0
        while self.retention.is_due:
            self.step(at)
            steps += 1
            assert steps < 10_000
        return steps

    def removed(self, at: float = 0) -> dict[str, list[int]]:
        """Do all there is to do; return the runs whose output is to go, by job."""
        found: dict[str, list[int]] = {}
        while self.retention.is_due:
            if removed := self.retention.step(wall(at)):
                found.setdefault(removed.job, []).extend(removed.runs)
        return found

    def count(self, table: str, where: str = "1") -> int:
        count: int = self.connection.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0]
        return count


@pytest.fixture
def tidy(builder: LedgerBuilder) -> Tidy:
    return Tidy(builder.connection)


def fill(builder: LedgerBuilder, runs: int, *, job: str = "job", attempts: int = 1) -> list[str]:
    """Make runs, one a second."""
    made = []
    for number in range(runs):
        run = builder.run(job, at=number + (0.5 if job != "job" else 0))
        for attempt in range(attempts):
            builder.attempt(run, number=attempt + 1, at=number)
        made.append(run)
    return made


def ids(builder: LedgerBuilder, job: str = "job") -> list[int]:
    query = "SELECT runs.id FROM runs JOIN job_state ON job_state.id = job WHERE name = ? ORDER BY runs.id"
    return [row[0] for row in builder.connection.execute(query, (job,))]


# --- runs ---


def test_the_latest_runs_of_a_job_are_kept_with_their_attempts_and_no_others(
    builder: LedgerBuilder, tidy: Tidy
) -> None:
    runs = fill(builder, 50, attempts=2)
    fill(builder, 50, job="other", attempts=2)
    tidy.note(keep_runs=7)
    tidy.finish()
    assert [decode_run_id(run) for run in runs[-7:]] == ids(builder)
    assert len(ids(builder, "other")) == 50
    assert (
        tidy.count("attempts"), tidy.count("attempts", "run NOT IN (SELECT id FROM runs)")
    ) == (14 + 100, 0)  # fmt: skip


@pytest.mark.parametrize("counted", [1, 2, 5, 100])
@pytest.mark.parametrize("kept", [1, 3, 4, 6, 29, 30, 31])
def test_rows_that_are_kept_are_counted_a_part_in_each_step(
    builder: LedgerBuilder, monkeypatch: pytest.MonkeyPatch, kept: int, counted: int
) -> None:
    monkeypatch.setattr(retention, "MOST_COUNTED", counted)
    runs = fill(builder, 30)
    for number in range(30):
        builder.skip("job", at=number + 0.25)
    tidy = Tidy(builder.connection)
    tidy.note(keep_runs=kept)
    tidy.finish()
    assert [decode_run_id(run) for run in runs[-kept:]] == ids(builder)
    assert tidy.count("skips") == min(kept, 30)


def test_a_look_that_has_begun_goes_by_what_is_kept_now(
    builder: LedgerBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOST_COUNTED", 2)
    runs = fill(builder, 30)
    tidy = Tidy(builder.connection)
    tidy.note(keep_runs=20)
    tidy.step()
    tidy.note(keep_runs=5)
    tidy.finish()
    assert [decode_run_id(run) for run in runs[-5:]] == ids(builder)


def test_a_run_with_very_many_attempts_is_removed_a_part_in_each_step(
    builder: LedgerBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departed, "MOST_ATTEMPTS", 4)
    runs = fill(builder, 1) + fill(builder, 1, job="other")
    fill_more = [(1, 1), (2, 9), (3, 2), (4, 2), (5, 1)]
    for second_, attempts in fill_more:
        run = builder.run("job", at=second_)
        for number in range(attempts):
            builder.attempt(run, number=number + 1, at=second_)
        runs.append(run)
    tidy = Tidy(builder.connection)
    tidy.note(keep_runs=1)
    removed = [tidy.step() for _ in range(9) if tidy.retention.is_due]
    assert max(removed) <= 2 * 4 + 2
    assert [decode_run_id(runs[-1])] == ids(builder)
    assert tidy.count("attempts", "run NOT IN (SELECT id FROM runs)") == 0
    assert tidy.count("attempts") == 2


def test_a_job_that_does_not_say_keeps_many(builder: LedgerBuilder) -> None:
    builder.connection.execute("BEGIN")
    fill(builder, KEPT_RUNS + 5)
    builder.connection.execute("COMMIT")
    tidy = Tidy(builder.connection)
    tidy.note()
    tidy.finish()
    assert tidy.count("runs") == KEPT_RUNS


def test_a_job_that_was_not_on_record_is_looked_at_when_it_may_have_too_many(
    builder: LedgerBuilder, tidy: Tidy
) -> None:
    tidy.finish()  # the journal
    fill(builder, 100)
    tidy.note(keep_runs=50, times=5)
    assert not tidy.retention.is_due
    tidy.note(keep_runs=50)
    tidy.finish()
    assert tidy.count("runs") == 50


def test_a_run_that_is_not_over_is_kept_however_old(builder: LedgerBuilder, tidy: Tidy) -> None:
    queued, running = builder.run("job", "queued", at=-20), builder.run("job", "running", at=-10)
    builder.attempt(running, "running", at=-10)
    fill(builder, 30)
    tidy.note(keep_runs=1, keep_for_s=1)
    tidy.finish(at=HOUR)
    assert ids(builder) == [decode_run_id(queued), decode_run_id(running)]
    assert tidy.count("attempts") == 1


def test_open_runs_that_are_too_many_hide_none_of_the_old(builder: LedgerBuilder, tidy: Tidy) -> None:
    for number in range(3 * STEP_ROWS):
        builder.run("job", "queued", at=number / 100 - 10)
    fill(builder, 30)
    tidy.note(keep_runs=4)
    tidy.finish()
    assert tidy.count("runs") == 3 * STEP_ROWS + 4


def test_runs_that_are_too_old_go_though_they_are_few(builder: LedgerBuilder, tidy: Tidy) -> None:
    runs = fill(builder, 60)
    tidy.note(keep_runs=1000, keep_for_s=20)
    tidy.finish(at=60)
    assert [decode_run_id(run) for run in runs[39:]] == ids(builder)  # each took a second


def test_what_is_too_old_goes_at_the_next_end_however_few_runs_there_are(
    builder: LedgerBuilder, tidy: Tidy
) -> None:
    fill(builder, 3)
    tidy.note(keep_runs=1000, keep_for_s=20)
    tidy.finish(at=3)
    assert tidy.count("runs") == 3
    tidy.note(keep_runs=1000, keep_for_s=20)
    tidy.finish(at=60)
    assert tidy.count("runs") == 0


def test_keeping_for_longer_than_the_clock_has_run_keeps_all(builder: LedgerBuilder, tidy: Tidy) -> None:
    fill(builder, 5)
    tidy.note(keep_for_s=100 * 365 * 24 * HOUR)
    tidy.finish(at=60)
    assert tidy.count("runs") == 5


def test_each_step_removes_a_few_rows(builder: LedgerBuilder, tidy: Tidy) -> None:
    fill(builder, 10 * STEP_ROWS)
    for number in range(10 * STEP_ROWS):
        builder.skip("job", at=number)
    tidy.note(keep_runs=1)
    removed = []
    while tidy.retention.is_due:
        removed.append(tidy.step())
    assert max(removed) <= 3 * STEP_ROWS
    assert sum(removed) == 3 * (10 * STEP_ROWS - 1)


def test_rows_are_looked_at_again_after_a_tenth_of_what_is_kept(builder: LedgerBuilder, tidy: Tidy) -> None:
    fill(builder, 1)
    tidy.note(keep_runs=100)
    tidy.finish()
    looks = []
    for _ in range(100):
        tidy.note(keep_runs=100)
        looks.append(tidy.retention.is_due)
        tidy.finish()
    assert 8 <= sum(looks) <= 10


def test_few_runs_to_keep_are_looked_at_each_time(builder: LedgerBuilder, tidy: Tidy) -> None:
    for number in range(12):
        builder.run("job", at=number)
        tidy.note(keep_runs=3)
        tidy.finish()
        assert min(number + 1, 3) == tidy.count("runs")


def test_fewer_runs_to_keep_are_fewer_from_the_next_end_on(builder: LedgerBuilder, tidy: Tidy) -> None:
    fill(builder, 60)
    tidy.note(keep_runs=1000)
    tidy.finish()
    tidy.note(keep_runs=50)
    tidy.finish()
    assert tidy.count("runs") == 50


# --- from the end on ---


def end(builder: LedgerBuilder, run: str, *, at: float) -> None:
    builder.end_run(run, "succeeded")
    builder.connection.execute("UPDATE runs SET ended_ns = ? WHERE id = ?", (wall(at), decode_run_id(run)))


def test_a_run_that_ends_after_many_that_were_queued_later_is_the_latest(
    builder: LedgerBuilder, tidy: Tidy
) -> None:
    long = builder.run("job", "running", at=-1)
    builder.attempt(long, "running", at=-1)
    runs = fill(builder, 20)
    tidy.note(keep_runs=2)
    tidy.finish(at=20)
    assert [long, *runs[-2:]] == [encode_run_id(run) for run in ids(builder)]
    end(builder, long, at=21)
    tidy.note(keep_runs=2)
    tidy.finish(at=21)
    assert [long, runs[-1]] == [encode_run_id(run) for run in ids(builder)]
    later = builder.run("job", at=22)
    tidy.note(keep_runs=2)
    tidy.finish(at=22)
    assert [long, later] == [encode_run_id(run) for run in ids(builder)]


def test_how_long_a_run_is_kept_counts_from_its_end(builder: LedgerBuilder, tidy: Tidy) -> None:
    long = builder.run("job", "running", at=-1)
    fill(builder, 3)
    end(builder, long, at=HOUR)
    tidy.note(keep_for_s=60)
    tidy.finish(at=HOUR + 59)
    assert ids(builder) == [decode_run_id(long)]
    tidy.note(keep_for_s=60)
    tidy.finish(at=HOUR + 61)
    assert ids(builder) == []


def test_runs_of_a_wrong_future_are_neither_kept_for_it_nor_in_the_way_of_others(
    builder: LedgerBuilder, tidy: Tidy
) -> None:
    year = 365 * 24 * HOUR
    wrong = [builder.run("job", at=14 * year + number) for number in range(30)]
    runs = [builder.run("job", at=number) for number in range(-30, 0)]
    tidy.note(keep_for_s=20)
    tidy.finish(at=-25)  # the clock was put right a moment ago
    assert len(wrong) + 30 == len(ids(builder))
    tidy.note(keep_for_s=20)
    tidy.finish(at=0)
    assert runs[9:] == [encode_run_id(run) for run in ids(builder)]
    tidy.note(keep_runs=2)
    tidy.finish(at=0)
    assert runs[-2:] == [encode_run_id(run) for run in ids(builder)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.sampled_from(["begin", "end", "tidy"]), st.integers(0, 100)), max_size=60),
    keep_runs=st.integers(1, 5),
    keep_for_s=st.sampled_from([None, 5, 30]),
)
def test_nothing_of_a_run_that_is_not_over_is_removed_and_of_the_others_what_ended_first(
    tmp_path: Path, steps: list[tuple[str, int]], keep_runs: int, keep_for_s: int | None
) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as directory:
        builder = LedgerBuilder(Path(directory))
        tidy = Tidy(builder.connection)
        going: list[str] = []
        over: list[tuple[str, int]] = []
        for second_, (what, dice) in enumerate(steps):
            if what == "begin":
                going.append(builder.run("job", "running", at=second_))
                # An attempt that is over: the run waits for the next one.
                builder.attempt(going[-1], "failed", at=second_)
            elif what == "end" and going:
                over.append((going.pop(dice % len(going)), second_))
                end(builder, over[-1][0], at=second_)
            elif what == "tidy":
                tidy.note(keep_runs=keep_runs, keep_for_s=keep_for_s)
                tidy.finish(at=second_)
                over = [
                    (run, at)
                    for run, at in over[-keep_runs:]
                    if keep_for_s is None or at >= second_ - keep_for_s
                ]
                expected = sorted(map(decode_run_id, [*going, *(run for run, _ in over)]))
                assert ids(builder) == expected
                assert len(expected) == tidy.count("attempts")
        builder.close()


# --- jobs that are defined no more ---


def gone(builder: LedgerBuilder, number: int, *, job: str = "", **values: Any) -> str:
    """Write a one-off that is over, or another job that is gone; return its name."""
    name = job or f"once-{number}"
    builder.job(name, at_ns=1, timezone="UTC")
    columns = {"since_ns": 0, "removed_ns": wall(number), "removed_seq": number} | values
    names = ", ".join(f"{column} = ?" for column in columns)
    builder.connection.execute(f"UPDATE job_state SET {names} WHERE name = ?", (*columns.values(), name))
    return name


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for constant, count in (("KEPT_ONE_OFFS", 5), ("KEPT_ONE_OFF_OUTPUTS", 2), ("KEPT_REMOVED", 3)):
        monkeypatch.setattr(departed, constant, count)


def names(builder: LedgerBuilder) -> list[str]:
    return [row[0] for row in builder.connection.execute("SELECT name FROM job_state ORDER BY id")]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("is_of_earlier_version", [False, True])
def test_one_offs_that_are_over_are_kept_as_the_runs_of_one_job_are(
    builder: LedgerBuilder, *, is_of_earlier_version: bool
) -> None:
    runs = {}
    for number in range(1, 10):
        seq = {"removed_seq": 0} if is_of_earlier_version else {}
        name = gone(builder, number, **seq)
        runs[name] = builder.run(name, at=number)
        builder.attempt(runs[name], at=number)
    builder.skip("once-1", at=1)
    builder.run("job", at=20)
    tidy = Tidy(builder.connection)
    removed = tidy.removed()
    left = [f"once-{number}" for number in range(5, 10)]
    assert names(builder) == [*left, "job"]
    assert [*(runs[name] for name in left)] == [
        encode_run_id(run) for name in left for run in ids(builder, name)
    ]
    assert (tidy.count("runs"), tidy.count("attempts"), tidy.count("skips")) == (6, 5, 0)
    # With the rows goes the output, and of the latest two it stays.
    assert {name: [decode_run_id(runs[name])] for name in runs if name not in left[3:]} == removed


@pytest.mark.usefixtures("few")
def test_a_one_off_that_was_handed_in_early_and_ended_late_is_a_late_one(builder: LedgerBuilder) -> None:
    gone(builder, 1, job="in-a-year", removed_seq=100)
    for number in range(2, 10):
        gone(builder, number)
    Tidy(builder.connection).finish()
    assert names(builder) == ["in-a-year", *(f"once-{number}" for number in range(6, 10))]


@pytest.mark.usefixtures("few")
def test_a_job_that_is_gone_is_kept_while_a_run_of_it_goes_on_or_a_file_may_define_it(
    builder: LedgerBuilder,
) -> None:
    builder.run(gone(builder, 1), "running", at=1)
    gone(builder, 2, job="left-out", hidden="true")
    for number in range(3, 10):
        gone(builder, number)
    tidy = Tidy(builder.connection)
    assert "once-1" not in tidy.removed()
    assert names(builder) == ["once-1", "left-out", *(f"once-{number}" for number in range(5, 10))]
    builder.connection.execute("UPDATE runs SET state = 'succeeded', ended_seq = 1")
    for _ in range(10):
        tidy.retention.note_departed()
    tidy.finish()
    assert names(builder) == ["left-out", *(f"once-{number}" for number in range(5, 10))]


@pytest.mark.usefixtures("few")
def test_jobs_that_were_taken_out_of_the_files_are_bounded_by_themselves(builder: LedgerBuilder) -> None:
    for number in range(1, 6):
        name = gone(builder, number, job=f"old-{number}", since_ns=1)
        for second_ in range(50):
            builder.run(name, at=100 * number + second_)
    for number in range(6, 10):
        gone(builder, number)
    tidy = Tidy(builder.connection)
    assert tidy.removed().keys() - {"once-6", "once-7"} == {"old-1", "old-2"}
    assert (tidy.count("runs"), tidy.count("job_state")) == (150, 7)


@pytest.mark.usefixtures("few")
def test_a_job_whose_rows_were_removed_may_come_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, Settings(), supervisor=1, now=second(0))
    for number in range(1, 21):
        once = [
            effects.JobArmed(f"once-{number}", '{"at_ns": 1, "timezone": "UTC"}', 0, 0),
            effects.JobRemoved(f"once-{number}"),
        ]
        ledger.write(once, second(number))
        ledger.note_departed()
    while ledger.has_chores:
        ledger.tidy(wall(60))
    queued = effects.RunQueued("67avwsa1m4", "once-1", None, Trigger.ONCE, wall(70))
    ledger.write([effects.JobArmed("once-1", "{}", 0, 0), queued], second(70))
    assert ledger._connection
    rows = ledger._connection.execute("SELECT name FROM runs JOIN job_state ON job_state.id = job").fetchall()
    assert rows == [("once-1",)]
    ledger.close()


# --- skips ---


def test_the_latest_skips_are_kept_as_many_as_runs(builder: LedgerBuilder, tidy: Tidy) -> None:
    for number in range(60):
        builder.skip("job", at=number)
        builder.skip("other", at=number)
    tidy.note(keep_runs=5)
    tidy.finish()
    assert [wall(number) for number in range(55, 60)] == [
        row[0] for row in builder.connection.execute("SELECT slot_ns FROM skips WHERE job = 1")
    ]
    assert tidy.count("skips", "job <> 1") == 60


def test_a_skip_is_too_old_when_the_last_of_its_slots_is(builder: LedgerBuilder, tidy: Tidy) -> None:
    builder.skip("job", at=0, until=10)
    builder.skip("job", at=5, until=90, count=30)
    tidy.note(keep_for_s=20)
    tidy.finish(at=100)
    assert builder.connection.execute("SELECT slot_ns FROM skips").fetchall() == [(wall(5),)]


# --- the journal ---


@pytest.mark.parametrize(("keep_events", "kept"), [(300, 300), (1, 1), (5000, 1000)])
def test_the_latest_events_are_kept(builder: LedgerBuilder, keep_events: int, kept: int) -> None:
    builder.connection.execute("BEGIN")
    for number in range(1000):
        builder.event("queued", at=number)
    builder.connection.execute("COMMIT")
    tidy = Tidy(builder.connection, keep_events=keep_events)
    removed = []
    while tidy.retention.is_due:
        removed.append(tidy.step())
    assert max(removed) <= 5 * STEP_ROWS
    assert tuple(builder.connection.execute("SELECT count(*), max(seq) FROM events").fetchone()) == (
        kept,
        1000,
    )


def test_the_journal_is_looked_at_again_after_many_runs(builder: LedgerBuilder) -> None:
    tidy = Tidy(builder.connection, keep_events=10)
    tidy.finish()
    builder.run("job")
    for number in range(100):
        builder.event("queued", at=number)
    tidy.note(times=999)
    tidy.finish()
    assert tidy.count("events") == 100
    tidy.note()
    tidy.finish()
    assert tidy.count("events") == 10


# --- trouble ---


def test_a_job_that_could_not_be_written_yet_is_no_trouble(builder: LedgerBuilder, tidy: Tidy) -> None:
    tidy.note("unwritten")
    tidy.finish()
    assert not tidy.retention.is_due


def make_ledger(directory: Path) -> Ledger:
    """Open a ledger with 50 skips that are too many."""
    ledger = Ledger(directory, Settings(keep_events=10), supervisor=1, now=second(0))
    skips = [
        effects.SlotsSkipped(
            "job", wall(number), wall(number), 1, SkipReason.MISSED, f"reached {number}s late"
        )
        for number in range(50)
    ]
    ledger.write(skips, second(60))
    ledger.note_kept("job", keep_runs=1, keep_for_ns=None)
    return ledger


def test_a_step_that_fails_removes_nothing_and_is_done_again_later(tmp_path: Path) -> None:
    ledger = make_ledger(tmp_path)
    connection = ledger._connection
    assert connection
    connection.execute(
        "CREATE TEMP TRIGGER no BEFORE DELETE ON skips WHEN old.id = 12 BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    ledger.tidy(wall(60))
    assert (
        connection.execute("SELECT count(*) FROM skips").fetchone()[0], connection.in_transaction
    ) == (50, False)  # fmt: skip
    is_restless = ledger.has_chores
    assert not is_restless, "a loop that has chores does not sleep"
    connection.execute("DROP TRIGGER no")
    ledger.note_kept("job", keep_runs=1, keep_for_ns=None)
    steps = 0
    while ledger.has_chores:
        ledger.tidy(wall(60))
        steps += 1
    assert steps > 1
    assert connection.execute("SELECT count(*) FROM skips").fetchone()[0] == 1
    assert connection.execute("SELECT count(*) FROM events").fetchone()[0] == 10
    ledger.close()


def test_chores_and_records_take_turns(tmp_path: Path) -> None:
    ledger = make_ledger(tmp_path)
    number = 60
    while ledger.has_chores:
        ledger.tidy(wall(60))
        ledger.write(
            [
                effects.SlotsSkipped("job", wall(number), wall(number), 1, SkipReason.MISSED, "late"),
                effects.SlotsSkipped("other", wall(number), wall(number), 1, SkipReason.MISSED, "late"),
            ],
            second(number),
        )
        number += 1
    assert ledger._connection
    rows = ledger._connection.execute("SELECT job, count FROM skips WHERE detail = 'late'").fetchall()
    assert sorted(rows) == [(1, number - 60), (2, number - 60)]
    ledger.close()


def test_a_skip_that_goes_on_after_its_row_was_too_old_is_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, Settings(), supervisor=1, now=second(0))
    skip = effects.SlotsSkipped("job", wall(0), wall(0), 1, SkipReason.DISABLED, "enabled = false")
    ledger.write([skip], second(0))
    ledger.write([effects.RunQueued("67avwsa1m4", "job", None, Trigger.START, wall(0))], second(1))
    ledger.note_kept("job", keep_runs=None, keep_for_ns=10**9)
    ledger.tidy(wall(HOUR))
    again = effects.SlotsSkipped("job", wall(HOUR), wall(HOUR), 1, SkipReason.DISABLED, "enabled = false")
    ledger.write([again], second(HOUR))
    assert ledger._connection
    assert ledger._connection.execute("SELECT slot_ns, count FROM skips").fetchall() == [(wall(HOUR), 1)]
    ledger.close()
