"""`taskman history`: rows as a table and as JSON, what is let through, and what there is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from integration.following import TASKMAN
from integration.ledger_builder import START_NS, LedgerBuilder

from taskman_cli.__main__ import main
from taskman_cli.core.engine.runs import decode_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Rows = Callable[..., list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let the machine be in Paris, in 2026, with its state in a directory of the test's."""
    monkeypatch.setenv("TZ", "Europe/Paris")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.delenv("TASKMAN_INSTANCE", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(time, "time_ns", lambda: START_NS + 3600 * 1_000_000_000)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[LedgerBuilder]:
    builder = LedgerBuilder(tmp_path / "state")
    yield builder
    builder.close()


@pytest.fixture
def rows(capsys: pytest.CaptureFixture[str]) -> Rows:
    """Run `taskman history --json` and return its rows."""

    def run(*arguments: str) -> list[dict[str, Any]]:
        assert main(["history", "--json", *arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        document = json.loads(out)
        assert isinstance(document, list)
        return document

    return run


def brief(row: dict[str, Any]) -> str:
    """Say which row it is: job, state and attempt."""
    return f"{row['job']} {row['state']}" + (f" {row['attempt']}" if row["attempt"] else "")


# --- JSON ---


def test_what_a_lost_command_used_is_not_known(builder: LedgerBuilder, rows: Rows) -> None:
    builder.job("job")
    run = builder.run("job", "lost")
    builder.attempt(run, "lost", cpu_s=0.0)
    [row] = rows()
    assert (row["state"], row["cpu_s"], row["exit_code"], row["signal"]) == ("lost", None, None, None)


def test_an_attempt_says_all_there_is_to_say_of_it(builder: LedgerBuilder, rows: Rows) -> None:
    builder.job("backup", cron="0 4 * * *", timezone="America/New_York")
    run = builder.run("backup", "timed_out", at=0.5)
    builder.attempt(run, "timed_out", at=1, number=2, signal=9, detail="killed by SIGKILL", output_bytes=5)
    path = builder.output_path("backup", run, number=2)
    path.write_text("hello")
    expected = {
        "run": run, "job": "backup", "task": "main", "slot": "2026-11-23T23:00:00.500000-05:00",
        "slot_to": None, "count": None, "state": "timed_out", "reason": "killed by SIGKILL",
        "detail": "killed by SIGKILL", "trigger": "slot", "attempt": 2,
        "queued_at": "2026-11-24T05:00:00.500000+01:00", "started_at": "2026-11-24T05:00:01+01:00",
        "ended_at": "2026-11-24T05:00:02.500000+01:00", "duration_s": 1.5, "exit_code": None, "signal": 9,
        "cpu_s": 0.25, "output": str(path), "output_error": None, "stopped_at": None,
        "stopped_s": 0.0, "clock_was_ahead": False,
    }  # fmt: skip
    assert rows() == [expected]


def test_a_command_that_is_stopped_or_was_says_for_how_long(
    builder: LedgerBuilder, rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = {"stop_ns": START_NS, "stop_elapsed_ns": 5, "stopped_for_ns": 1_500_000_000}
    builder.attempt(builder.run("a", "running"), "running", **stop)
    builder.attempt(builder.run("b", at=1), stopped_for_ns=1_500_000_000)
    found = {row["job"]: (row["stopped_at"], row["stopped_s"]) for row in rows()}
    assert found == {"a": ("2026-11-24T05:00:00+01:00", 1.5), "b": (None, 1.5)}
    assert main(["history"]) == 0
    told = capsys.readouterr().out
    assert "stopped for 1.5s of it" in told
    assert "stopped for" in next(line for line in told.splitlines() if "running" in line)


def test_an_output_that_was_lost_says_why(
    builder: LedgerBuilder, rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    builder.attempt(builder.run("a"), output_bytes=5, output_error="No space left on device: /x")
    assert [(row["output"], row["output_error"]) for row in rows()] == [(None, "No space left on device: /x")]
    assert main(["history"]) == 0
    assert "output lost" in capsys.readouterr().out


def test_an_output_that_is_not_there_any_more_is_not_named(builder: LedgerBuilder, rows: Rows) -> None:
    builder.attempt(builder.run("a"), output_bytes=5)
    assert [row["output"] for row in rows()] == [None]


def test_a_skip_says_why_and_of_how_many_slots(builder: LedgerBuilder, rows: Rows) -> None:
    given_up = builder.run("a", "skipped")
    builder.skip("a", "late", at=3, run=decode_run_id(given_up), detail="could not start for 1h")
    builder.skip("a", at=10, until=20, count=11)
    builder.skip("a", "missed", at=30, until=40, count=None)
    keys = ("run", "state", "reason", "slot", "slot_to", "count", "exit_code", "attempt", "detail")
    day = "2026-11-24T05:00"
    evidence = "run 0 is not over"
    expected = [
        (None, "skipped", "missed", f"{day}:30+01:00", f"{day}:40+01:00", None, None, None, evidence),
        (None, "skipped", "overlap", f"{day}:10+01:00", f"{day}:20+01:00", 11, None, None, evidence),
        (given_up, "skipped", "late", f"{day}:03+01:00", f"{day}:03+01:00", 1, None, None,
         "could not start for 1h"),
    ]  # fmt: skip
    assert [tuple(row[key] for key in keys) for row in rows()] == expected


def test_a_run_that_has_begun_nothing_has_a_row_without_an_attempt(
    builder: LedgerBuilder, rows: Rows
) -> None:
    run = builder.run("a", "queued", trigger="start", slot_ns=None)
    (row,) = rows()
    assert {"run": run, "job": "a", "state": "queued", "trigger": "start"} == {
        key: row[key] for key in ("run", "job", "state", "trigger")
    }
    assert [row[k] for k in ("task", "attempt", "slot", "started_at", "ended_at", "exit_code")] == [None] * 6


def test_a_task_that_was_tried_again_has_a_row_for_each_attempt(builder: LedgerBuilder, rows: Rows) -> None:
    run = builder.run("a")
    builder.attempt(run, "failed", at=0)
    builder.attempt(run, at=5, number=2)
    assert [brief(row) for row in rows()] == ["a succeeded 2", "a failed 1"]
    assert [row["exit_code"] for row in rows()] == [0, 3]
    assert [row["reason"] for row in rows()] == [None, "exit 3"]


def test_every_row_has_the_same_keys(builder: LedgerBuilder, rows: Rows) -> None:
    builder.attempt(builder.run("a"))
    builder.run("a", "queued", at=1)
    builder.skip("a", at=2)
    assert len({tuple(row) for row in rows()}) == 1


def test_the_slot_of_an_interval_is_in_the_zone_of_its_job(builder: LedgerBuilder, rows: Rows) -> None:
    builder.job("job", every_ns=10**9, timezone="Asia/Tokyo")
    builder.run("job", "queued")
    assert [row["slot"] for row in rows()] == ["2026-11-24T13:00:00+09:00"]


def test_an_unknown_zone_does_not_end_the_list(builder: LedgerBuilder, rows: Rows) -> None:
    builder.job("a", cron="* * * * *", timezone="Atlantis/City")
    builder.job("b", cron="* * * * *", timezone="../../etc/passwd")
    builder.run("a", "queued")
    builder.run("b", "queued", at=1)
    assert [row["slot"] for row in rows()] == ["2026-11-24T05:00:01+01:00", "2026-11-24T05:00:00+01:00"]


# --- what is let through ---


def test_by_default_twenty_rows_are_shown(builder: LedgerBuilder, rows: Rows) -> None:
    for at in range(30):
        builder.attempt(builder.run(f"j{at}", at=at), at=at)
    assert [f"j{at} succeeded 1" for at in range(29, 9, -1)] == [brief(row) for row in rows()]
    assert [row["job"] for row in rows("-n", "3")] == ["j29", "j28", "j27"]
    assert len(rows("-n", "0")) == 30


def test_a_job_and_a_task_of_it_can_be_asked_for(builder: LedgerBuilder, rows: Rows) -> None:
    run = builder.run("a")
    builder.attempt(run, task="x")
    builder.attempt(run, "failed", task="y", at=1)
    builder.skip("a", at=2)
    builder.attempt(builder.run("b", at=3), at=3)
    assert [brief(row) for row in rows("a")] == ["a skipped", "a failed 1", "a succeeded 1"]
    assert [brief(row) for row in rows("a.x")] == ["a skipped", "a succeeded 1"]
    assert [brief(row) for row in rows("a.x", "--state", "succeeded")] == ["a succeeded 1"]


def test_states_add_up_and_since_takes_a_duration_or_a_time(builder: LedgerBuilder, rows: Rows) -> None:
    for at, state in enumerate(["failed", "lost", "succeeded", "failed"]):
        builder.attempt(builder.run("a", state, at=600 * at), state, at=600 * at)
    assert len(rows("--state", "failed", "--state", "LOST")) == 3
    now_is = ["--state", "failed", "--since"]
    assert len(rows(*now_is, "45m")) == 1  # it is an hour after the start
    assert len(rows(*now_is, "2026-11-24T05:30:00")) == 1
    assert len(rows(*now_is, "2026-11-24 04:30:00Z")) == 1
    assert len(rows(*now_is, "2026-11-24")) == 2
    assert rows(*now_is, "10m") == []


# --- the table ---


def test_the_table_has_time_job_state_duration_run_and_words(
    builder: LedgerBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    run = builder.run("backup")
    builder.attempt(run, "failed", at=0, next_ns=0)
    builder.attempt(run, at=60, number=2, took=125)
    multi = builder.run("probe", "running", at=100)
    next_ns = START_NS + 3660 * 1_000_000_000
    builder.attempt(multi, "timed_out", task="db", at=100, took=0.003, signal=15, next_ns=next_ns)
    builder.attempt(multi, "running", task="api", at=101)
    later = builder.run("later", "queued", at=200)
    builder.skip("slow", at=300, count=1200, until=310)
    builder.skip("slow", "disabled", at=400, count=None, detail="")
    old = builder.run("old", "cancelled", at=-86_400 * 365, begun_ns=None, detail="stopped")
    assert main(["history"]) == 0
    assert (
        capsys.readouterr().out
        == f"""\
times in the machine's zone
24 Nov 05:06:40   slow       skipped    disabled, too many slots to count
24 Nov 05:05:00   slow       skipped    overlap, 1,200 slots: run 0 is not over
24 Nov 05:03:20   later      queued             {later}
24 Nov 05:01:41   probe.api  running    58m19s  {multi}
24 Nov 05:01:40   probe.db   timed out     3ms  {multi}  killed by SIGTERM, retry in 1m 00s
24 Nov 05:01:00   backup     succeeded    2m5s  {run}  attempt 2
24 Nov 05:00:00   backup     failed       1.5s  {run}  exit 3
2025-11-24 05:00  old        cancelled          {old}  stopped
"""
    )


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_table_fits_the_terminal(
    builder: LedgerBuilder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    name = "a-job-with-a-name-as-long-as-names-may-be-which-is-64-characters"
    builder.attempt(builder.run(name, "failed"), "failed", detail="a long story " * 20)
    builder.skip(name, at=1, detail="another long story " * 20)
    assert main(["history"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    # Below that, the columns that are never cut need more than there is.
    assert max(map(len, lines)) <= max(columns, 73)
    assert ["…" in line for line in lines[1:]] == [True, True]


def test_words_of_a_command_cannot_drive_the_terminal(
    builder: LedgerBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    builder.attempt(builder.run("a", "failed"), "failed", detail="\x1b[2J\nno")
    assert main(["history"]) == 0
    assert capsys.readouterr().out.rstrip().endswith(r"\x1b[2J\nno")


def test_nothing_found_is_reported_and_is_not_an_error(
    builder: LedgerBuilder, capsys: pytest.CaptureFixture[str], rows: Rows
) -> None:
    assert main(["history"]) == 0
    assert capsys.readouterr() == ("", "taskman: nothing found\n")
    assert rows() == []


# --- what there is not ---


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        pytest.param(["bakcup"], 4, 'has no job "bakcup" (did you mean "backup"?)', id="a typing error"),
        pytest.param(["x"], 4, 'the ledger has no job "x" (known: backup)', id="no near job"),
        pytest.param(["backup.y"], 4, 'of backup has started a task "y" (known: main)', id="no such task"),
        pytest.param(["backup."], 4, 'of backup has started a task "" (known: main)', id="an empty task"),
        pytest.param(["--state", "fine"], 2, '"fine" is not one of', id="no state"),
        pytest.param(["--since", "gestern"], 2, "such as", id="no time"),
        pytest.param(["--since", "3"], 2, '"3" is not a complete time', id="no unit"),
        pytest.param(["--since", "2026-02-30"], 2, "no such day: 30", id="no such day"),
        pytest.param(["--since", "2026-03-29T02:30"], 2, "the clocks jump over it", id="a time left out"),
        pytest.param(["-n", "-1"], 2, '"-1" is not a whole number of at least 0', id="a negative number"),
        pytest.param(["-n", "9" * 5000], 2, '9…" is not a whole number', id="an endless number"),
        pytest.param(["--state-dir", ""], 2, "the file name is empty", id="an empty directory"),
        pytest.param(["-i", "a b"], 2, '"a b" is not a valid instance name', id="no name"),
        pytest.param(["-i", "../x"], 2, 'up to 64 letters, digits, "-" and "_"', id="a path for a name"),
        pytest.param(["-i", "x" * 65], 2, "up to 64 letters", id="too long a name"),
        pytest.param(["-i", ""], 2, '"" is not a valid', id="an empty name"),
        pytest.param(["-i", "a", "--state-dir", "b"], 2, "not both", id="two places"),
        pytest.param(["--state-dir", "/nowhere"], 1, "there is no ledger in /nowhere: no", id="no ledger"),
    ],
)  # fmt: skip
def test_an_unknown_name_or_invalid_option_is_an_error_in_one_line(
    builder: LedgerBuilder,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    told: str,
) -> None:
    builder.attempt(builder.run("backup"))
    assert code == main(["history", *arguments])
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert len(err.splitlines()) <= 4


def test_a_broken_tz_matters_only_to_a_time_without_an_offset(
    builder: LedgerBuilder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.attempt(builder.run("a"))
    monkeypatch.setenv("TZ", "UTC+3")
    assert main(["history", "--since", "2026-11-24"]) == 2
    assert "give the time with an offset" in capsys.readouterr().err
    assert main(["history", "--since", "2026-11-24T00:00Z"]) == 0
    assert main(["history", "--since", "2h"]) == 0


# --- instances ---


def test_an_instance_has_its_ledger_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    for name in ("one", "two"):
        builder = LedgerBuilder(tmp_path / "state" / "instances" / name)
        builder.attempt(builder.run(f"of-{name}"))
        builder.close()
    assert [row["job"] for row in rows("-i", "one")] == ["of-one"]
    monkeypatch.setenv("TASKMAN_INSTANCE", "two")
    assert [row["job"] for row in rows()] == ["of-two"]
    assert [row["job"] for row in rows("--instance", "one")] == ["of-one"]
    directory = str(tmp_path / "state" / "instances" / "one")
    assert [row["job"] for row in rows("--state-dir", directory)] == ["of-one"], "what is typed wins"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        pytest.param(["-i", "webstie"], ' (did you mean "website"?)', id="a typing error"),
        pytest.param(["-i", "other"], " (instances are: mail, website)", id="another name"),
        pytest.param([], " (instances are: mail, website)", id="none named"),
    ],
)
def test_without_a_ledger_the_error_names_the_instances(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], hint: str
) -> None:
    for name in ("website", "mail"):
        (tmp_path / "state" / "instances" / name).mkdir(parents=True)
    assert main(["history", *arguments]) == 1
    assert capsys.readouterr().err.endswith(f"nothing has run with this state directory yet{hint}\n")


def test_the_error_of_an_invalid_name_in_the_environment_names_the_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKMAN_INSTANCE", "a/b")
    assert main(["history"]) == 2
    assert capsys.readouterr().err.startswith('taskman: TASKMAN_INSTANCE: "a/b" is not a valid instance name')


# --- as a process ---


def test_nothing_heavy_is_loaded_to_read_the_ledger(builder: LedgerBuilder) -> None:
    builder.attempt(builder.run("a"))
    script = "import sys; from taskman_cli.__main__ import main; main(['history']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert "taskman_cli.ledger.queries.history" in loaded.split()
    heavy = {"asyncio", "rich", "tzlocal", "taskman_cli.jobfile", "taskman_cli.core.schedule"}
    assert set() == heavy & set(loaded.split())


@pytest.mark.parametrize(
    "arguments", [["history"], ["history", "--json"], ["events"], ["log", "a"]], ids=" ".join
)
def test_a_closed_pipe_is_not_reported_as_an_error(builder: LedgerBuilder, arguments: list[str]) -> None:
    run = builder.run("a")
    builder.attempt(run)
    builder.output_path("a", run).write_bytes(b"x" * 100_000)
    builder.event("queued", job="a")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run([TASKMAN, *arguments], check=False, stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")


# --- rows that nobody can read ---


def spoil(builder: LedgerBuilder, *statements: str) -> None:
    """Change what the types of the tables would not let through, as a damaged file has it."""
    for table in ("runs", "attempts", "skips", "job_state"):
        (sql,) = builder.connection.execute(
            "SELECT sql FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchone()
        loose = sql.replace(" NOT NULL", "").replace(" STRICT", "").replace("INTEGER,", "BLOB,")
        builder.connection.executescript(
            "PRAGMA writable_schema = ON;"
            f"UPDATE sqlite_schema SET sql = '{loose.replace(chr(39), chr(39) * 2)}' WHERE name = '{table}';"
            "PRAGMA writable_schema = RESET;"
        )
    for statement in statements:
        builder.connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE runs SET state = 'x' WHERE id = ?", id="the state of a run"),
        pytest.param("UPDATE runs SET queued_ns = 'x' WHERE id = ?", id="when it was queued"),
        pytest.param("UPDATE runs SET trigger = NULL WHERE id = ?", id="why it ran"),
        pytest.param("UPDATE runs SET job = 99 WHERE id = ?", id="its job"),
        pytest.param("UPDATE attempts SET state = 7 WHERE run = ?", id="the state of an attempt"),
        pytest.param("UPDATE attempts SET begun_ns = x'00' WHERE run = ?", id="when it began"),
        pytest.param("UPDATE attempts SET duration_ns = 'x' WHERE run = ?", id="how long it took"),
    ],
)
@pytest.mark.parametrize("arguments", [(), ("--json",), ("-n", "0"), ("-n", "2")], ids=str)
def test_a_row_that_cannot_be_read_is_passed_over_and_counted(
    builder: LedgerBuilder, capsys: pytest.CaptureFixture[str], statement: str, arguments: tuple[str, ...]
) -> None:
    builder.job("job")
    runs = [builder.run("job", at=at) for at in (1, 2, 3)]
    for number, run in enumerate(runs, 1):
        builder.attempt(run, at=number)
    spoil(builder, statement.replace("?", str(decode_run_id(runs[1]))))
    assert main(["history", *arguments]) == 1
    out, err = capsys.readouterr()
    assert [run in out for run in runs] == [True, False, True]
    assert err.startswith("taskman: 1 row could not be read: ")


def test_skips_that_cannot_be_read_are_passed_over_too(
    builder: LedgerBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    builder.job("job")
    for at in range(4):
        builder.skip("job", at=at)
    spoil(
        builder,
        "UPDATE skips SET reason = x'00' WHERE id = 2",
        "UPDATE skips SET run = -1 WHERE id = 3",
        "UPDATE job_state SET definition = '[1]'",
    )
    assert main(["history"]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 + 2
    assert err.startswith("taskman: 2 rows could not be read: ")
