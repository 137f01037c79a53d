"""`taskman why` on a ledger: which rows it finds, what it says, what it refuses."""

from __future__ import annotations

import json
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from integration.why_ledger import Ledger, ns

from taskman_cli.__main__ import main
from taskman_cli.cli.support.ledger_facts import facts_of, record_of, recorded_slots, scheduler_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Why = Callable[..., dict[str, Any]]

NOW = "2026-11-24T09:00:00"
SINCE = "2026-11-01T00:00:00"
#: 02:30 in Stockholm.
SLOT = "2026-11-24T01:30:00"
HOUR_NS = 3600 * 10**9


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """An empty ledger, at nine in the morning of a day in November, UTC."""
    monkeypatch.setattr("taskman_cli.cli.commands.why.time", SimpleNamespace(time_ns=lambda: ns(NOW)))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("TASKMAN_INSTANCE", raising=False)
    with closing(Ledger(tmp_path)) as ledger:
        yield ledger


@pytest.fixture
def why(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> Why:
    """Run `taskman why --json` and return its document."""

    def run(*arguments: str) -> dict[str, Any]:
        assert main(["why", "--state-dir", str(ledger.directory), "--json", *arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        document = json.loads(out)
        assert isinstance(document, dict)
        return document

    return run


@pytest.fixture
def backup(ledger: Ledger) -> int:
    return ledger.job("backup", since=SINCE, cron="30 2 * * *", timezone="Europe/Stockholm")


@pytest.fixture
def hourly(ledger: Ledger) -> int:
    return ledger.job("hourly", since=SINCE, anchor=SINCE, every_ns=HOUR_NS)


# --- the slot and its run ---


def test_a_slot_is_found_with_its_run_and_attempts(ledger: Ledger, backup: int, why: Why) -> None:
    other = ledger.job("other", since=SINCE, cron="30 2 * * *", timezone="Europe/Stockholm")
    ledger.finished(other, SLOT)
    run = ledger.finished(backup, SLOT, took_s=12.5, exit_code=3)
    found = why("backup", "--at", "2026-11-24T02:30")
    assert (found["outcome"], found["run"], found["trigger"]) == ("ran", run, "slot")
    (attempt,) = found["evidence"]["run"]["attempts"]
    assert (attempt["state"], attempt["exit_code"], attempt["pid"]) == ("failed", 3, 4711)
    assert "It failed (exit 3), after 12.5s, at 02:30:12." in found["text"]


@pytest.mark.parametrize("at", ["02:30", "2026-11-24T01:30Z", "7h30m", "2026-11-24 02:30:00"])
def test_a_time_is_in_the_zone_of_the_job_however_it_is_written(
    at: str, ledger: Ledger, backup: int, why: Why
) -> None:
    run = ledger.finished(backup, SLOT)
    found = why("backup", "--at", at)
    assert (found["run"], found["asked_at"]) == (run, "2026-11-24T02:30:00+01:00")


@pytest.mark.parametrize("definition", [{"every_ns": HOUR_NS}, {"reboot": True}], ids=["every", "@reboot"])
def test_times_are_in_the_zone_of_the_job_even_if_it_changes_no_slot(
    definition: dict[str, Any], ledger: Ledger, why: Why
) -> None:
    job = ledger.job("job", since=SINCE, timezone="Asia/Tokyo", **definition)
    run = ledger.run(job, None, queued=SLOT, begun=SLOT, trigger="start", state="running")
    found = why("job", "--at", "10:30")
    assert (found["run"], found["asked_at"]) == (run, "2026-11-24T10:30:00+09:00")
    assert "at Tue 2026-11-24 10:30:00+09:00" in found["text"]


def test_times_of_an_unknown_zone_are_shown_in_the_machines(ledger: Ledger, why: Why) -> None:
    ledger.job("job", since=SINCE, anchor=SINCE, every_ns=HOUR_NS, timezone="Atlantis/City")
    assert why("job", "--at", "09:00")["asked_at"] == "2026-11-24T09:00:00+00:00"


def test_a_job_without_a_zone_has_the_machines(ledger: Ledger, hourly: int, why: Why) -> None:
    ledger.finished(hourly, "2026-11-24T08:00:00")
    assert why("hourly", "--at", "08:00")["slot"] == "2026-11-24T08:00:00+00:00"


def test_without_a_time_it_is_the_latest_slot(ledger: Ledger, hourly: int, why: Why) -> None:
    for hour in range(1, 10):
        ledger.finished(hourly, f"2026-11-24T0{hour}:00:00")
    found = why("hourly")
    assert (found["slot"], found["outcome"]) == ("2026-11-24T09:00:00+00:00", "ran")
    assert found["next_slot"] == "2026-11-24T10:00:00+00:00"


def test_the_latest_slot_may_be_a_skip(ledger: Ledger, hourly: int, why: Why) -> None:
    seven = "2026-11-24T07:00:00"
    run = ledger.run(hourly, seven, queued=seven, begun=seven, state="running")
    ledger.skip(
        hourly, "2026-11-24T08:00:00", "overlap", f"run {run} is not over", at="2026-11-24T08:00:00",
        to="2026-11-24T09:00:00", at_to="2026-11-24T09:00:00", count=2, blocker=run,
    )  # fmt: skip
    found = why("hourly")
    assert (found["slot"], found["reason"]) == ("2026-11-24T09:00:00+00:00", "overlap")
    assert found["evidence"]["blocker"]["run"] == run
    assert found["evidence"]["stretch"]["count"] == 2


def test_a_run_without_a_slot_is_found_if_there_is_nothing_else(ledger: Ledger, why: Why) -> None:
    boot = ledger.job("boot", since=SINCE, reboot=True, timezone="UTC")
    six = "2026-11-24T06:00:00.5"
    run = ledger.run(boot, None, queued=six, begun=six, state="running", trigger="start")
    for arguments in ([], ["--at", "06:00"]):
        found = why("boot", *arguments)
        assert (found["run"], found["slot"], found["trigger"]) == (run, None, "start")
    assert why("boot", "--at", "07:00")["nearest"]["run"] == run


def test_a_catch_up_is_found_though_it_came_much_later(ledger: Ledger, backup: int, why: Why) -> None:
    ledger.event("2026-11-20T00:00:00", "scheduler_started")
    ledger.event("2026-11-23T22:00:00", "scheduler_stopped", detail="SIGTERM")
    ledger.event("2026-11-24T04:00:00", "scheduler_started")
    run = ledger.run(
        backup, SLOT, queued="2026-11-24T04:00:00.1", begun="2026-11-24T04:00:00.1", trigger="catch_up",
        ended="2026-11-24T04:01:00",
    )  # fmt: skip
    ledger.event("2026-11-24T04:00:00.1", "queued")
    found = why("backup", "--at", "02:30")
    assert (found["run"], found["trigger"]) == (run, "catch_up")
    assert found["evidence"]["absence"] == {
        "cause": "stopped", "from": "2026-11-23T23:00:00+01:00", "to": "2026-11-24T05:00:00+01:00",
        "length_s": None, "detail": None,
    }  # fmt: skip


def test_a_missed_slot_is_found_within_its_stretch_with_what_made_up_for_it(
    ledger: Ledger, hourly: int, why: Why
) -> None:
    for minute in range(60):
        ledger.event(f"2026-11-23T20:{minute:02}:00", "ended")
    ledger.event("2026-11-24T06:30:00", "suspended", length_ns=10 * HOUR_NS)
    ledger.skip(
        hourly, "2026-11-23T21:00:00", "missed", "9h30m late", at="2026-11-24T06:30:00", count=9,
        to="2026-11-24T05:00:00",
    )  # fmt: skip
    run = ledger.run(
        hourly, "2026-11-24T06:00:00", queued="2026-11-24T06:30:00", begun="2026-11-24T06:30:00",
        ended="2026-11-24T06:30:01", trigger="catch_up",
    )  # fmt: skip
    found = why("hourly", "--at", "2026-11-24T02:00")
    assert (found["outcome"], found["reason"], found["evidence"]["stretch"]["count"]) == (
        "skipped",
        "missed",
        9,
    )
    assert found["evidence"]["made_up_by"]["run"] == run
    assert found["evidence"]["absence"]["cause"] == "suspended"
    assert (
        "The machine was suspended from Mon 2026-11-23 20:30:00 to Tue 2026-11-24 06:30:00." in found["text"]
    )


def test_a_run_that_waited_is_found_with_the_one_before_it(ledger: Ledger, hourly: int, why: Why) -> None:
    first = ledger.run(
        hourly, "2026-11-24T07:00:00", queued="2026-11-24T07:00:00", begun="2026-11-24T07:00:00",
        ended="2026-11-24T08:00:09",
    )  # fmt: skip
    eight = "2026-11-24T08:00:00"
    second = ledger.run(hourly, eight, queued=eight, begun="2026-11-24T08:00:09", state="running")
    ledger.attempt(
        second, state="running", begun="2026-11-24T08:00:09", started="2026-11-24T08:00:09.5", pid=7
    )
    found = why("hourly", "--at", "08:00")
    assert (found["outcome"], found["evidence"]["earlier_run"]["run"]) == ("running", first)
    assert found["lateness"] == {
        "total_s": 9.5, "jitter_s": 0.0, "clock_s": 0.0, "wait_s": 9.0, "spawn_s": 0.5
    }  # fmt: skip
    assert f"9s waiting for run {first}, which ended at 08:00:09" in found["text"]
    assert "pid 7" in found["text"]


def test_a_run_that_never_began_is_explained_by_its_skip(ledger: Ledger, hourly: int, why: Why) -> None:
    seven = "2026-11-24T07:00:00"
    run = ledger.run(hourly, seven, queued=seven, state="skipped", ended="2026-11-24T08:00:01")
    ledger.skip(hourly, "2026-11-24T07:00:00", "late", "1h1s late", at="2026-11-24T08:00:01", run=run)
    found = why("hourly", "--at", "07:00")
    assert (found["outcome"], found["reason"], found["run"]) == ("skipped", "late", run)


def test_a_slot_of_an_earlier_schedule_is_found_by_its_record(ledger: Ledger, backup: int, why: Why) -> None:
    run = ledger.finished(backup, "2026-11-20T05:00:00")
    assert why("backup", "--at", "2026-11-20T06:00")["run"] == run


# --- not due, not on record ---


def test_a_time_that_is_not_a_slot_is_explained_with_the_nearest_slot(
    ledger: Ledger, backup: int, why: Why
) -> None:
    run = ledger.finished(backup, SLOT)
    found = why("backup", "--at", "04:15")
    assert (found["outcome"], found["nearest"]["run"]) == ("not_due", run)
    assert [field["name"] for field in found["fields"] if not field["matches"]] == ["minute", "hour"]
    assert (found["previous_slot"], found["next_slot"]) == (
        "2026-11-24T02:30:00+01:00", "2026-11-25T02:30:00+01:00",
    )  # fmt: skip


def test_an_unaccounted_slot_is_explained_by_the_stop_of_the_scheduler(
    ledger: Ledger, backup: int, why: Why
) -> None:
    ledger.event("2026-11-20T00:00:00", "scheduler_started")
    ledger.event("2026-11-23T22:00:00", "scheduler_stopped")
    ledger.accounted("2026-11-23T01:30:00")
    found = why("backup")
    assert (found["slot"], found["outcome"], found["reason"]) == (
        "2026-11-24T02:30:00+01:00", "unknown", "not_accounted",
    )  # fmt: skip
    assert found["evidence"]["scheduler_stopped"] == "2026-11-23T23:00:00+01:00"


def test_removed_rows_are_distinguished_from_rows_that_never_existed(
    ledger: Ledger, backup: int, why: Why
) -> None:
    ledger.finished(backup, "2026-11-20T01:30:00")
    ledger.accounted("2026-11-24T08:00:00")
    assert why("backup", "--at", "2026-11-19T02:30")["reason"] == "not_kept"
    assert why("backup", "--at", "2026-11-21T02:30")["reason"] == "no_record"
    assert why("backup", "--at", "2026-10-31T02:30")["reason"] == "before_known"


def test_a_job_known_only_by_its_runs_has_no_schedule(ledger: Ledger, why: Why) -> None:
    gone = ledger.job("gone", since=SINCE, removed=SINCE)
    run = ledger.finished(gone, SLOT)
    assert why("gone")["run"] == run
    assert why("gone")["schedule"] is None
    assert "Its schedule is no longer on record." in why("gone", "--at", "08:00")["text"]


def test_a_ledger_without_runs_still_names_the_next_slot(ledger: Ledger, why: Why) -> None:
    ledger.job(
        "report", since="2026-11-24T08:00:00", at_ns=ns("2026-12-24T14:00:00"), timezone="Europe/Stockholm"
    )
    found = why("report")
    assert (found["outcome"], found["slot"]) == ("to_come", "2026-12-24T15:00:00+01:00")


@pytest.mark.parametrize("at", ["9999-12-28T00:00", "2300-01-01T00:00", "0002-01-01T00:00"])
def test_a_time_far_off_is_answered_too(at: str, ledger: Ledger, why: Why) -> None:
    ledger.job("leap", since=SINCE, cron="0 0 29 2 *", timezone="UTC")
    ledger.job("rare", since=SINCE, anchor=SINCE, every_ns=10**6 * 86_400 * 10**9)
    ledger.job("far", since=SINCE, at_ns=ns("9999-12-28T00:00:00"), timezone="UTC")
    expected = "unknown" if at.startswith("0") else "not_due"
    assert why("leap", "--at", at)["outcome"] == expected
    assert why("rare", "--at", at)["outcome"] == expected
    assert why("far", "--at", at)["outcome"] == ("to_come" if at.startswith("9") else expected)


# --- as a person sees it ---


def test_the_text_is_a_paragraph_of_80_columns(
    ledger: Ledger, backup: int, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.finished(backup, SLOT)
    assert main(["why", "backup", "--at", "02:30", "--state-dir", str(ledger.directory)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert len(lines) > 1
    assert max(map(len, lines[: lines.index("")])) <= 80
    assert lines[0].startswith("backup ran for its slot Tue 2026-11-24 02:30:00+01:00, as run ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(["bakcup"], 4, ['"bakcup" (did you mean "backup"?)'], id="a job that there is not"),
        pytest.param(["zzz"], 4, ['no job "zzz"'], id="nothing like it"),
        pytest.param([], 2, ["JOB"], id="no job"),
        pytest.param(
            ["backup", "--at", "14:75"], 2, ["--at: no such minute: 75\n  14:75\n     ^\n"], id="a wrong time"
        ),
        pytest.param(["backup", "--at", "2026-11-24"], 2, ['"2026-11-24T14:30"'], id="a date alone"),
        pytest.param(["backup", "--at", "\x1b[2J"], 2, ["does not belong in a time"], id="controls"),
        pytest.param(["backup", "--at", "noon lastday"], 2, ["  noon lastday\n       ^\n"], id="a word"),
    ],
)  # fmt: skip
def test_a_question_without_an_answer_is_an_error_that_says_what_to_do(
    arguments: list[str], code: int, words: list[str], ledger: Ledger, backup: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(["why", "--state-dir", str(ledger.directory), *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("taskman: ")
    assert [word for word in words if word not in err] == []
    assert "\x1b" not in err


def test_a_missing_ledger_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", "backup", "--state-dir", str(tmp_path / "nowhere")]) == 1
    assert "there is no ledger" in capsys.readouterr().err


# --- however much there is ---


@pytest.fixture
def many(ledger: Ledger) -> int:
    """Fill the ledger with a job that had a slot each second for 14 hours, every other one skipped."""
    tick = ledger.job("tick", since="2026-01-01T00:00:00", cron="* * * * * *", timezone="UTC")
    start_ns = ns("2026-11-23T18:00:00")
    slots = [start_ns + number * 10**9 for number in range(50_000)]
    many = ledger.connection.executemany
    ledger.connection.execute("BEGIN")
    many(
        "INSERT INTO runs (id, job, slot_ns, trigger, due_ns, state, queued_ns, begun_ns, ended_ns)"
        " VALUES (?, ?, ?, 'slot', ?, 'succeeded', ?, ?, ?)",
        ((slot_ns >> 13, tick, slot_ns, slot_ns, slot_ns, slot_ns, slot_ns + 5) for slot_ns in slots[1::2]),
    )
    many(
        "INSERT INTO skips (job, slot_ns, slot_to_ns, count, reason, detail, at_ns, at_to_ns)"
        " VALUES (?, ?, ?, 1, 'overlap', '', ?, ?)",
        ((tick, slot_ns, slot_ns, slot_ns, slot_ns) for slot_ns in slots[::2]),
    )
    many("INSERT INTO events (at_ns, kind, job) VALUES (?, 'queued', 'tick')", ((slot,) for slot in slots))
    ledger.connection.execute("COMMIT")
    return tick


@pytest.mark.parametrize(
    ("at", "outcome"),
    [("2026-11-23T18:00:00", "skipped"), ("02:00:01", "ran"), ("02:00:02", "skipped"), ("07:53:19", "ran")],
    ids=["the first", "a run", "a skip", "the last"],
)
@pytest.mark.usefixtures("many")
def test_a_slot_is_found_among_many(at: str, outcome: str, why: Why) -> None:
    found = why("tick", "--at", at)
    assert found["outcome"] == outcome
    assert found["slot"].endswith(f"{at[-8:]}+00:00")


def test_what_is_read_of_many_rows_is_bounded(ledger: Ledger, many: int) -> None:
    """Count the steps of SQLite's machine, as no clock measures the same twice."""
    facts = facts_of(ledger.connection, "tick")
    assert facts is not None
    assert facts.id == many
    thousands = 0

    def count() -> int:
        nonlocal thousands
        thousands += 1
        return 0

    ledger.connection.set_progress_handler(count, 1000)
    for slot_ns in (ns("2026-11-23T18:00:01"), ns("2026-11-23T18:00:02"), ns("2026-11-23T18:00:02") + 1):
        recorded_slots(ledger.connection, facts, ((slot_ns, slot_ns + 1),), at_ns=slot_ns)
        record_of(ledger.connection, facts, slot_ns)
        scheduler_facts(ledger.connection, facts)
    # A slot without a row costs two looks at 10,000 rows, of some 20 steps each.
    assert thousands < 2_000


@pytest.mark.parametrize("options", [["--json"], []], ids=["in JSON", "in words"])
def test_a_value_of_a_type_that_no_column_has_is_reported_in_one_line(
    ledger: Ledger, backup: int, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    ledger.finished(backup, SLOT)
    ledger.connection.executescript(
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')');"
        "PRAGMA writable_schema = RESET; UPDATE runs SET trigger = x'ff'"
    )
    assert main(["why", "--state-dir", str(ledger.directory), "backup", *options]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "has a row that no version of taskman wrote" in err
