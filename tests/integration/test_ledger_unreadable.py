"""Unreadable rows are set aside one by one; the scheduler continues, on the safe side."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from integration.ledger_tables import second
from unit.engine_driver import make_job

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.arming import arm_new
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.engine.outbox import Outbox
from taskman_cli.core.engine.takeover import take_jobs
from taskman_cli.core.model import Settings, State, Trigger
from taskman_cli.core.schedule import Interval
from taskman_cli.ledger.ledger import Ledger
from taskman_cli.ledger.oncejobs import once_job
from taskman_cli.ledger.store import NAME
from taskman_cli.ledger.unreadable import PAUSED

if TYPE_CHECKING:
    from pathlib import Path

    from taskman_cli.core.model import Job

NOW = second(100)
RUN = "67avwsa1m4"
JOB = make_job()
ONCE = once_job("once-1", "true", at_ns=NOW.wall_ns, timezone="UTC", cwd="/", env={}, umask=0o22)


def open_ledger(directory: Path, *, watched: frozenset[str] = frozenset()) -> Ledger:
    return Ledger(directory, Settings(), supervisor=1, now=NOW, boot="this", watched=watched)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a directory with a ledger that has a job, a run of it that is going on, and a one-off."""
    ledger = open_ledger(tmp_path)
    records: list[effects.Record | effects.Mark] = [
        effects.LifeBegun("this", 1),
        effects.JobArmed("job", definition_of(JOB), 5, 5),
        effects.RunQueued(RUN, "job", NOW.wall_ns - 9, Trigger.SLOT, NOW.wall_ns - 9),
        effects.AttemptBegun(RUN, "job", "main", 1, NOW.wall_ns - 9),
        effects.AttemptSpawned(RUN, "job", "main", 1, 4711, NOW),
        effects.JobArmed("once-1", definition_of(ONCE), 0, 0),
        effects.OnceAdded(ONCE),
        effects.Accounted(NOW.wall_ns),
    ]
    ledger.write(records, NOW)
    ledger.close()
    return tmp_path


def damage(state: Path, statement: str) -> None:
    """Change a row, to what the schema does not allow too."""
    with closing(sqlite3.connect(state / NAME, isolation_level=None)) as connection:
        tables = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall()
        connection.execute("PRAGMA writable_schema = ON")
        change = "UPDATE sqlite_schema SET sql = ? WHERE name = ?"
        for name, sql in tables:
            loose = sql.replace(") STRICT, WITHOUT", ") WITHOUT").replace(") STRICT", ")")
            connection.execute(change, (loose.replace(" NOT NULL", ""), name))
        connection.execute("PRAGMA writable_schema = RESET")
        connection.execute(statement)
        connection.execute("PRAGMA writable_schema = ON")
        for name, sql in tables:
            connection.execute(change, (sql, name))


def rows(state: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(state / NAME)) as connection:
        return connection.execute(query).fetchall()


JOB_DAMAGES = [
    "definition = '{'", "definition = '[1]'", "definition = x'ff'", "definition = NULL",
    """definition = '{"every_ns": "x"}'""", "since_ns = 9223372036854775807", "anchor_ns = 'soon'",
    "run_count = -1", "finish_ns = x''", "taken_ns = 1.5", "pause = '{'", "pause = '[]'", "hidden = '{'",
    """pause = '{"since_ns": "x"}'""", "removed_ns = 'never'",
    "definition = CAST(x'7bff7d' AS TEXT)", "definition = zeroblob(5000000)",
]  # fmt: skip


@pytest.mark.parametrize("change", JOB_DAMAGES)
def test_a_job_whose_state_cannot_be_read_is_paused_and_all_else_goes_on(state: Path, change: str) -> None:
    damage(state, f"UPDATE job_state SET {change} WHERE name = 'job'")
    ledger = open_ledger(state)
    assert (ledger.set_aside, ledger.paused_for([JOB])) == (None, {"job": PAUSED})
    pause = ledger.jobs["job"].pause
    assert pause
    assert (pause.since_ns, pause.until_ns, pause.by) == (NOW.wall_ns, None, "taskman")
    assert pause.reason.startswith(f"{PAUSED}: {change.split()[0]} is ")
    assert [job.id for job in ledger.once_jobs] == ["once-1"]
    assert [run.run for run in ledger.open_runs] == [RUN]
    ledger.close()
    ((source, job, kept),) = rows(state, "SELECT source, job, row FROM set_aside")
    assert (source, job, json.loads(kept)["name"]) == ("job_state", "job", "job")
    again = open_ledger(state)
    again.close()
    assert ([], pause) == (again.unreadable, again.jobs["job"].pause)


RUN_DAMAGES = [
    "params = '[1]'", "params = '{'", """params = '{"A": 1}'""", "slot_ns = 9223372036854775807",
    "trigger = 'magic'", "trigger = x'00'", "state = 'sleeping'", "job = 77", "job = 'x'", "task = 'a/b'",
    "is_cancelled = 2", "queued_ns = 'x'", "begun_ns = 1.5", "ended_ns = 5", "due_ns = NULL",
]  # fmt: skip


@pytest.mark.parametrize("change", RUN_DAMAGES)
def test_a_run_that_cannot_be_read_is_lost(state: Path, change: str) -> None:
    damage(state, f"UPDATE runs SET {change}")
    ledger = open_ledger(state)
    assert (ledger.set_aside, ledger.open_runs, sorted(ledger.jobs)) == (None, [], ["job", "once-1"])
    (found,) = ledger.unreadable
    assert found.words.startswith(f"run {RUN} of ")
    assert "process 4711 may still run" in found.words
    assert ledger.jobs["job"].pause is None
    ledger.close()
    ((run_state, detail),) = rows(state, "SELECT state, detail FROM runs")
    assert run_state == State.LOST
    assert detail.startswith("its row in the ledger could not be read: ")
    assert rows(state, "SELECT state FROM attempts") == [("lost",)]


@pytest.mark.parametrize(
    "change",
    ["state = 'x'", "number = 0", "pid = 'x'", "task = x'ff'", "begun_ns = NULL", "ending = 'lost'",
     "state = 'failed'", "told_ns = 9223372036854775807", "holds = '[1]'", "holds = '{'",
     """holds = '{"db": -1}'"""],
)  # fmt: skip
def test_so_is_one_with_an_attempt_that_cannot_be_read(state: Path, change: str) -> None:
    damage(state, f"UPDATE attempts SET {change}")
    ledger = open_ledger(state)
    ledger.close()
    assert (ledger.set_aside, ledger.open_runs) == (None, [])
    assert rows(state, "SELECT state FROM runs") == [("lost",)]
    assert {source for (source,) in rows(state, "SELECT source FROM set_aside")} == {"runs", "attempts"}


def test_one_without_its_attempt_does_not_begin_again(state: Path) -> None:
    damage(state, "DELETE FROM attempts")
    ledger = open_ledger(state)
    ledger.close()
    assert ledger.open_runs == []
    assert rows(state, "SELECT state FROM runs") == [("lost",)]


def test_a_run_whose_command_the_supervisor_watches_goes_on_as_that_knows_it(state: Path) -> None:
    damage(state, "UPDATE runs SET params = '[1]'")
    ledger = open_ledger(state, watched=frozenset({RUN}))
    assert ledger.open_runs == []
    ledger.write([effects.RunQueued(RUN, "job", 7, Trigger.SLOT, 7)], NOW)
    ledger.close()
    assert rows(state, "SELECT state FROM runs") == [("queued",)]


def test_the_attempts_of_a_run_that_is_gone_and_goes_on_make_room_for_what_the_supervisor_knows(
    state: Path,
) -> None:
    damage(state, "DELETE FROM runs")
    ledger = open_ledger(state, watched=frozenset({RUN, "no run"}))
    assert [found.words for found in ledger.unreadable] == [
        f"an attempt of run {RUN}, whose row is missing: it continues as the supervisor knows it"
    ]
    assert frozenset() == ledger.over_runs
    ledger.close()
    assert rows(state, "SELECT * FROM attempts") == []


def test_a_run_that_is_over_on_record_is_told_from_others_that_the_supervisor_watches(state: Path) -> None:
    watched = frozenset({RUN, "67avwsa1m5"})
    ledger = open_ledger(state, watched=watched)
    ledger.close()
    assert frozenset() == ledger.over_runs
    damage(state, "UPDATE runs SET state = 'failed', ended_ns = 5")
    ledger = open_ledger(state, watched=watched)
    ledger.close()
    assert ledger.over_runs == {RUN}


@pytest.mark.parametrize("job", ["'{}'", "'{'", "'[1]'", "x'ff'", "'null'", """'{"command": []}'"""])
def test_a_one_off_that_cannot_be_read_does_not_run(state: Path, job: str) -> None:
    damage(state, f"UPDATE once_jobs SET job = {job}")
    ledger = open_ledger(state)
    ledger.close()
    assert (ledger.set_aside, ledger.once_jobs) == (None, ())
    assert [row.job for row in ledger.unreadable] == ["once-1"]


@pytest.mark.parametrize(
    "change",
    ["DELETE FROM standing", "UPDATE standing SET accounted_ns = 'x'", "UPDATE standing SET accounted_ns = 0",
     "UPDATE standing SET accounted_ns = NULL", "UPDATE standing SET last_run = 9223372036854775807",
     "UPDATE standing SET boot = x'ff'", "UPDATE standing SET supervisor = 'x'"],
)  # fmt: skip
def test_without_the_row_of_the_whole_all_slots_until_now_are_accounted_for(state: Path, change: str) -> None:
    damage(state, change)
    ledger = open_ledger(state)
    ledger.close()
    whole = ledger.standing
    assert (ledger.set_aside, ledger.is_new) == (None, False)
    # Nor is anything done again that is done once in a life.
    assert (whole.accounted_ns, whole.boot, whole.supervisor) == (NOW.wall_ns, "this", 1)
    assert whole.last_run < 2**50


def test_a_skip_tells_too_that_slots_were_accounted_for(state: Path) -> None:
    """Where the slots of runs and of the journal are damaged as well."""
    for change in (
        "INSERT INTO skips VALUES (1, 1, 20, 30, 2, 'overlap', '', NULL, NULL, 20, 30)",
        "UPDATE runs SET slot_ns = NULL",
        "UPDATE events SET slot_ns = NULL",
        "UPDATE standing SET accounted_ns = 29",
    ):
        damage(state, change)
    ledger = open_ledger(state)
    ledger.close()
    assert NOW.wall_ns == ledger.standing.accounted_ns


@pytest.mark.parametrize(
    ("jobs", "set_aside"),
    [
        pytest.param((), {}, id="removed"),
        pytest.param((make_job(schedule=Interval(7)),), {}, id="changed"),
        pytest.param((), {"job": "its schedule fails"}, id="set aside"),
    ],
)
def test_a_slot_that_is_skipped_while_jobs_are_loaded_does_not_tell_that(
    tmp_path: Path, jobs: tuple[Job, ...], set_aside: dict[str, str]
) -> None:
    """The scheduler may stop before a slot is due, and so before anything is accounted for."""
    ledger = open_ledger(tmp_path)
    ledger.write([*arm_new(JOB, definition_of(JOB), 0, second(5))[1], effects.Accounted(5)], second(5))
    ledger.close()
    ledger = open_ledger(tmp_path)
    loaded = events.JobsLoaded(jobs, ledger.jobs, ledger.standing.accounted_ns, set_aside=set_aside)
    records = take_jobs(loaded, NOW, Outbox()).records
    assert [record.job for record in records if isinstance(record, effects.SlotsSkipped)] == ["job"]
    ledger.write(records, NOW)
    ledger.close()
    ledger = open_ledger(tmp_path)
    ledger.close()
    assert ledger.unreadable == []


def test_slots_of_a_clock_that_was_ahead_do_not_tell_that(tmp_path: Path) -> None:
    """The clock was put back, and taskman was stopped until after these slots."""
    ahead, put_right = second(90), second(20)
    run = effects.RunQueued(RUN, "job", ahead.wall_ns, Trigger.SLOT, ahead.wall_ns)
    stepped = effects.ClockStepNoted(put_right.wall_ns - ahead.wall_ns)
    ledger = open_ledger(tmp_path)
    ledger.write([run, effects.Accounted(ahead.wall_ns)], ahead)
    ledger.write([stepped, effects.Accounted(put_right.wall_ns)], put_right)
    ledger.close()
    ledger = open_ledger(tmp_path)
    ledger.close()
    assert ledger.unreadable == []


def test_a_herd_that_is_half_decided_does_not_tell_that(tmp_path: Path) -> None:
    run = effects.RunQueued(RUN, "job", NOW.wall_ns, Trigger.SLOT, NOW.wall_ns)
    ledger = open_ledger(tmp_path)
    ledger.write([effects.Accounted(5), run, effects.SlotsDecided(("job",), NOW.wall_ns)], NOW)
    ledger.close()
    ledger = open_ledger(tmp_path)
    ledger.close()
    assert (ledger.unreadable, ledger.standing.accounted_ns) == ([], 5)
    assert ledger.decided == {"job": NOW.wall_ns}


@pytest.mark.parametrize(
    ("change", "decided", "accounted_ns"),
    [
        ("until_ns = 'x'", {"job": NOW.wall_ns, "other": 7}, 5),
        ("until_ns = 9223372036854775807", {"job": NOW.wall_ns, "other": 7}, 5),
        ("job = x'ff'", {"other": 7}, NOW.wall_ns),
        ("job = CAST(x'7bff7d' AS TEXT)", {"other": 7}, NOW.wall_ns),
    ],
)  # fmt: skip
def test_a_damaged_row_of_what_is_decided_runs_no_slot_twice(
    tmp_path: Path, change: str, decided: dict[str, int], accounted_ns: int
) -> None:
    ledger = open_ledger(tmp_path)
    ledger.write([effects.Accounted(5), effects.SlotsDecided(("job", "other"), 7)], NOW)
    ledger.close()
    damage(tmp_path, f"UPDATE decided SET {change} WHERE job = 'job'")
    ledger = open_ledger(tmp_path)
    ledger.close()
    assert [row.source for row in ledger.unreadable] == ["decided"]
    assert (ledger.set_aside, ledger.decided, ledger.standing.accounted_ns) == (None, decided, accounted_ns)


@pytest.mark.parametrize(
    ("table", "column"), [("events", "seq"), ("runs", "id"), ("skips", "id"), ("job_state", "id")]
)
@pytest.mark.parametrize("number", [2**63 - 1, -5])
def test_a_number_that_leaves_no_room_for_others_is_taken_out(
    state: Path, table: str, column: str, number: int
) -> None:
    if table == "skips":
        damage(state, f"INSERT INTO skips VALUES ({number}, 1, 0, 0, 1, 'missed', '', NULL, NULL, 0, 0)")
    else:
        damage(
            state,
            f"UPDATE {table} SET {column} = {number} WHERE {column} = (SELECT max({column}) FROM {table})",
        )
    ledger = open_ledger(state)
    assert None is ledger.set_aside
    ledger.write([effects.SchedulerNoted("scheduler_started"), effects.JobArmed("new", "{}", 0, 0)], NOW)
    ledger.close()
    assert table in [row.source for row in ledger.unreadable]
    ((highest, lowest),) = rows(state, f"SELECT max({column}), min({column}) FROM {table}")
    assert (highest or 0) < 2**60
    assert (lowest or 1) > 0


@pytest.mark.parametrize("name", ["x'ff'", "NULL", "''", "CAST(x'ff' AS TEXT)"])
def test_where_a_name_is_lost_every_job_that_is_new_to_the_ledger_is_paused(state: Path, name: str) -> None:
    damage(state, f"UPDATE job_state SET name = {name} WHERE name = 'job'")
    ledger = open_ledger(state)
    ledger.close()
    assert (ledger.set_aside, sorted(ledger.jobs)) == (None, ["once-1"])
    assert ledger.paused_for([JOB, ONCE]) == {"job": PAUSED}
    assert rows(state, "SELECT name FROM job_state WHERE removed_ns IS NOT NULL") == [("damaged-1",)]


def test_a_good_ledger_is_left_as_it_is(state: Path) -> None:
    before = rows(state, "SELECT * FROM job_state"), rows(state, "SELECT * FROM runs")
    ledger = open_ledger(state)
    ledger.close()
    assert (
        ledger.unreadable,
        ledger.paused_for([JOB]),
        [run.run for run in ledger.open_runs],
    ) == ([], {}, [RUN])
    assert before == (rows(state, "SELECT * FROM job_state"), rows(state, "SELECT * FROM runs"))


@pytest.mark.parametrize(
    "change", ["resource = x'ff'", "resource = ''", "full_ns = 'x'", "full_elapsed_ns = 1.5"]
)
def test_a_rate_that_cannot_be_read_begins_anew(state: Path, change: str) -> None:
    ledger = open_ledger(state)
    ledger.write([effects.RateUsed("api", 5)], NOW)
    ledger.close()
    damage(state, f"UPDATE rates SET {change}")
    ledger = open_ledger(state)
    assert (ledger.set_aside, ledger.rates) == (None, {})
    (found,) = ledger.unreadable
    assert found.words.endswith("its rate begins anew")
    ledger.close()


@pytest.mark.parametrize(
    "change",
    ["job = 77", "job = 'x'", "job = 9223372036854775807", "task = x'ff'", "task = 'a/b'", "need_bytes = 0",
     "need_bytes = 'x'", "need_bytes = 1.5", "need_bytes = 9223372036854775807", "need_bytes = NULL"],
)  # fmt: skip
def test_a_need_that_cannot_be_read_is_set_aside_and_learned_anew(state: Path, change: str) -> None:
    ledger = open_ledger(state)
    ledger.write([effects.NeedLearned("job", "main", 5), effects.NeedLearned("once-1", "main", 6)], NOW)
    ledger.close()
    damage(state, f"UPDATE needs SET {change} WHERE need_bytes = 5")
    ledger = open_ledger(state)
    assert (ledger.set_aside, ledger.needs) == (None, {("once-1", "main"): 6})
    (found,) = ledger.unreadable
    assert found.words.endswith("it is learned anew")
    ledger.close()
    ((source, kept),) = rows(state, "SELECT source, row FROM set_aside")
    assert (source, sorted(json.loads(kept))) == ("needs", ["job", "need_bytes", "task"])
    again = open_ledger(state)
    again.close()
    assert (again.unreadable, again.needs) == ([], {("once-1", "main"): 6})


def test_what_the_tasks_of_a_removed_job_needed_stays(state: Path) -> None:
    ledger = open_ledger(state)
    ledger.write([effects.NeedLearned("job", "main", 5), effects.JobRemoved("job")], NOW)
    ledger.close()
    ledger = open_ledger(state)
    ledger.close()
    assert (ledger.unreadable, rows(state, "SELECT need_bytes FROM needs")) == ([], [(5,)])
