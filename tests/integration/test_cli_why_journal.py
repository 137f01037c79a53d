"""What `taskman why` reads in the journal beside the rows, and around slots that were skipped together."""

from __future__ import annotations

import fcntl
import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from integration.why_ledger import Ledger, ns

from taskman_cli.__main__ import main
from taskman_cli.core.engine.runs import decode_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Why = Callable[..., dict[str, Any]]

NOW = "2026-11-24T09:00:00.5"
SINCE = "2026-11-01T00:00:00"
EIGHT, TEN_PAST = "2026-11-24T08:00:00", "2026-11-24T08:00:10"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setattr("taskman_cli.cli.commands.why.time", SimpleNamespace(time_ns=lambda: ns(NOW)))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("TASKMAN_INSTANCE", raising=False)
    ledger = Ledger(tmp_path)
    yield ledger
    ledger.connection.close()


@pytest.fixture
def why(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> Why:
    def run(*arguments: str) -> dict[str, Any]:
        assert main(["why", "--state-dir", str(ledger.directory), "--json", *arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        document = json.loads(out)
        assert isinstance(document, dict)
        return document

    return run


@pytest.fixture
def hourly(ledger: Ledger) -> int:
    return ledger.job("hourly", since=SINCE, cron="0 * * * *", timezone="UTC")


def line(
    ledger: Ledger, at: str, kind: str, *, run: str | None = None, job: str | None = None, **data: Any
) -> None:
    """Add a line of the journal about a job or a run."""
    ledger.insert(
        "events", at_ns=ns(at), kind=kind, job=job, run=None if run is None else decode_run_id(run),
        data=json.dumps(data) if data else None,
    )  # fmt: skip


def cancelled(ledger: Ledger, job: int) -> str:
    run = ledger.run(job, EIGHT, queued=EIGHT, begun=EIGHT, ended=TEN_PAST, state="cancelled")
    ledger.attempt(run, state="cancelled", begun=EIGHT, started=EIGHT, ended=TEN_PAST, signal=15)
    return run


# --- who did what ---


def test_why_names_who_cancelled_a_run(ledger: Ledger, hourly: int, why: Why) -> None:
    run = cancelled(ledger, hourly)
    line(ledger, "2026-11-24T08:00:09", "cancelling", run=run, job="hourly")
    line(ledger, "2026-11-24T08:00:09", "cancelled", run=run, job="hourly", by="ann (uid 7)")
    found = why("hourly", "--at", "08:00")
    assert found["evidence"]["run"]["cancelled"] == "by ann (uid 7)"
    assert "It was cancelled (signal 15) by ann (uid 7), after 10s" in found["text"]


def test_a_run_that_was_replaced_names_the_one_that_took_its_place(
    ledger: Ledger, hourly: int, why: Why
) -> None:
    run = cancelled(ledger, hourly)
    line(ledger, "2026-11-24T08:00:09", "cancelling", run=run, job="hourly")
    next_one = ledger.run(hourly, None, queued="2026-11-24T08:00:09", trigger="manual", state="queued")
    assert (
        why("hourly", "--at", "08:00")["evidence"]["run"]["cancelled"] == f"to make room for run {next_one}"
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [("scheduler_stopped", "as taskman was stopped"), ("scheduler_started", None), ("queued", None)],
)
def test_a_run_that_a_stop_ended_says_so(
    kind: str, words: str | None, ledger: Ledger, hourly: int, why: Why
) -> None:
    cancelled(ledger, hourly)
    line(ledger, TEN_PAST, kind)
    assert words == why("hourly", "--at", "08:00")["evidence"]["run"]["cancelled"]


def test_tasks_that_were_never_begun_are_in_the_journal(ledger: Ledger, hourly: int, why: Why) -> None:
    run = ledger.run(hourly, EIGHT, queued=EIGHT, begun=EIGHT, ended=TEN_PAST, state="failed")
    ledger.attempt(run, task="a", state="failed", begun=EIGHT, started=EIGHT, ended=TEN_PAST, exit_code=2)
    line(ledger, TEN_PAST, "finished", run=run, job="hourly", undone=["b", "c"])
    found = why("hourly", "--at", "08:00")
    assert found["evidence"]["run"]["undone"] == ["b", "c"]
    assert "a failed (exit 2); b and c were never started." in found["text"]


def test_why_names_who_triggered_a_run(ledger: Ledger, hourly: int, why: Why) -> None:
    run = ledger.run(hourly, None, queued=EIGHT, begun=EIGHT, ended=TEN_PAST, trigger="manual")
    line(ledger, EIGHT, "triggered", run=run, job="hourly", by="ann (uid 7)")
    assert "triggered by ann (uid 7), at" in why("hourly", "--at", "08:00:00")["text"]


def test_a_slot_that_was_taken_before_its_time_is_found(ledger: Ledger, hourly: int, why: Why) -> None:
    run = ledger.run(
        hourly, "2026-11-24T10:00:00", queued=EIGHT, begun=EIGHT, ended=TEN_PAST, trigger="manual"
    )
    line(ledger, EIGHT, "triggered", run=run, job="hourly", by="ann (uid 7)")
    for arguments in ([], ["--at", "2026-11-24T10:00"]):
        found = why("hourly", *arguments)
        assert (run, "ran", "2026-11-24T10:00:00+00:00") == (found["run"], found["outcome"], found["slot"])
        assert "triggered by ann (uid 7) before its time." in found["text"]


def test_the_next_retry_is_named_with_its_time(ledger: Ledger, hourly: int, why: Why) -> None:
    run = ledger.run(hourly, EIGHT, queued=EIGHT, begun=EIGHT, state="running")
    ledger.attempt(
        run, state="failed", begun=EIGHT, started=EIGHT, ended=TEN_PAST, exit_code=3,
        next_ns=ns("2026-11-24T09:00:10"),
    )  # fmt: skip
    assert "Attempt 2 is to begin at 09:00:10, in 9.5s." in why("hourly", "--at", "08:00")["text"]


def test_a_pause_is_explained_with_its_beginning(ledger: Ledger, hourly: int, why: Why) -> None:
    line(ledger, "2026-11-24T06:30:00", "paused", job="hourly", by="ann")
    line(ledger, "2026-11-24T07:30:00", "paused", job="other", by="ann")
    ledger.skip(hourly, EIGHT, "paused", "paused by ann: disk swap", at=EIGHT)
    found = why("hourly", "--at", "08:00")
    assert found["evidence"]["paused_at"] == "2026-11-24T06:30:00+00:00"


def test_why_names_who_cancelled_a_one_off_job(ledger: Ledger, why: Why) -> None:
    ledger.job(
        "once-1", since="1970-01-01T00:00:00", at_ns=ns("2026-11-24T12:00:00"), timezone="UTC", max_runs=1,
        removed=EIGHT,
    )  # fmt: skip
    line(ledger, EIGHT, "cancelled", job="once-1", by="ann (uid 7)")
    assert "It was cancelled by ann (uid 7) at 08:00:00." in why("once-1")["text"]


def test_why_names_who_removed_a_job(ledger: Ledger, hourly: int, why: Why) -> None:
    ledger.connection.execute("UPDATE job_state SET removed_ns = ?, hidden = 'true'", (ns(EIGHT),))
    line(ledger, EIGHT, "removed", by="ann (uid 7)")
    assert "It was removed by ann (uid 7) at 08:00:00 (taskman remove)" in why("hourly")["text"]


@pytest.mark.parametrize(
    ("at", "since"),
    [("06:20", None), ("06:31", "06:30"), ("07:29", "06:30"), ("07:31", None), ("08:31", "08:10")],
)
def test_the_pause_of_a_moment_is_found(
    at: str, since: str | None, ledger: Ledger, hourly: int, why: Why
) -> None:
    for time, kind, job in (
        ("06:30", "paused", "hourly"), ("06:40", "paused", "other"), ("06:50", "resumed", "other"),
        ("07:30", "resumed", "hourly"), ("08:10", "paused", "hourly"),
    ):  # fmt: skip
        line(ledger, f"2026-11-24T{time}:00", kind, job=job, by="ann (uid 7)")
    found = why("hourly", "--at", at)["pause"]
    assert since == (None if found is None else found["since"][11:16])
    if since == "06:30":
        assert found["until"] == "2026-11-24T07:30:00+00:00"


def test_a_current_pause_is_that_of_the_job(ledger: Ledger, hourly: int, why: Why) -> None:
    pause = {"since_ns": ns("2026-11-24T08:30:00"), "reason": "lunch", "by": "ann"}
    ledger.connection.execute("UPDATE job_state SET pause = ?", (json.dumps(pause),))
    assert why("hourly")["pause"]["reason"] == "lunch"
    assert None is why("hourly", "--at", "08:00")["pause"]


# --- who was there ---


def test_a_slot_that_was_in_time_stands_for_the_missed_ones_before_it(
    ledger: Ledger, hourly: int, why: Why
) -> None:
    reached = "2026-11-24T08:00:02"
    ledger.event("2026-11-24T05:30:00", "ended")
    ledger.event("2026-11-24T08:00:01.9", "scheduler_started", detail="again")
    ledger.skip(
        hourly,
        "2026-11-24T06:00:00",
        "missed",
        "reached 2h late",
        at=reached,
        to="2026-11-24T07:00:00",
        count=2,
    )
    run = ledger.run(hourly, EIGHT, queued=reached, begun=reached, ended=TEN_PAST)
    found = why("hourly", "--at", "06:00")
    assert run == found["evidence"]["made_up_by"]["run"]
    assert found["evidence"]["absence"] == {
        "cause": "scheduler_died", "from": "2026-11-24T05:30:00+00:00",
        "to": "2026-11-24T08:00:01.900000+00:00", "length_s": None, "detail": None,
    }  # fmt: skip


def test_the_lock_shows_that_no_scheduler_runs(ledger: Ledger, hourly: int, why: Why) -> None:
    ledger.event("2026-11-24T08:30:00", "scheduler_started")
    assert why("hourly")["scheduler_runs"] is False
    # A slot of this very second: nobody is there to deal with it.
    assert why("hourly")["reason"] == "not_accounted"
    lock = os.open(ledger.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.write(lock, b"4711\n")
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = why("hourly")
    finally:
        os.close(lock)
    assert (found["scheduler_runs"], found["reason"]) == (True, "just_now")


def test_whether_somebody_runs_may_be_unknown(ledger: Ledger, hourly: int, why: Why) -> None:
    ledger.finished(hourly, EIGHT)
    (ledger.directory / "lock").symlink_to("elsewhere")
    assert why("hourly", "--at", "08:00")["scheduler_runs"] is None


def test_an_unwritable_ledger_is_reported(ledger: Ledger, hourly: int, why: Why) -> None:
    ledger.event("2026-11-24T08:30:00", "scheduler_started")
    ledger.event("2026-11-24T08:40:00", "ledger_unwritable", detail="disk full")
    lock = os.open(ledger.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.write(lock, b"4711\n")
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert why("hourly", "--at", "08:00")["evidence"]["unwritable"] == "disk full"
        ledger.event("2026-11-24T08:50:00", "ledger_writable")
        assert "unwritable" not in why("hourly", "--at", "08:00")["evidence"]
    finally:
        os.close(lock)


# --- slots that were skipped together ---


def test_a_time_among_skipped_slots_of_a_schedule_that_is_gone(ledger: Ledger, why: Why) -> None:
    job = ledger.job("job", since="2026-11-24T08:02:00", cron="*/20 * * * *", timezone="UTC")
    ledger.skip(
        job, "2026-11-24T07:01:00", "missed", "the job was changed while taskman was not running", count=60,
        to=EIGHT, at="2026-11-24T08:02:00",
    )  # fmt: skip
    for at in ("07:20", "07:31", "07:31:30"):
        found = why("job", "--at", at)
        assert (found["outcome"], found["reason"], found["slot"]) == ("skipped", "missed", None)
        assert found["evidence"]["stretch"]["count"] == 60
        assert (found["previous_slot"], found["next_slot"]) == (None, None)
    assert why("job", "--at", "07:01")["slot"] == "2026-11-24T07:01:00+00:00"
    assert why("job", "--at", "08:41")["outcome"] == "not_due"


def test_a_moment_is_judged_by_the_schedule_of_its_time(ledger: Ledger, why: Why) -> None:
    job = ledger.job("job", since="2026-11-24T05:00:00", cron="*/20 * * * *", timezone="UTC")
    redefine(ledger, job, since="2026-11-24T08:02:00", every_ns=60 * 10**9)
    redefine(ledger, job, since="2026-11-24T08:30:00", cron="0 4 * * *", timezone="UTC")
    ledger.skip(
        job, "2026-11-24T07:00:00", "missed", "the job was changed while taskman was not running", count=4,
        to=EIGHT, at="2026-11-24T08:02:00",
    )  # fmt: skip
    found = why("job", "--at", "07:20")
    assert (
        found["slot"], found["outcome"], found["reason"],
    ) == ("2026-11-24T07:20:00+00:00", "skipped", "missed")  # fmt: skip
    assert (
        found["previous_slot"], found["next_slot"],
    ) == ("2026-11-24T07:00:00+00:00", "2026-11-24T07:40:00+00:00")  # fmt: skip
    between = why("job", "--at", "07:25")
    assert (between["outcome"], between["schedule"]) == ("not_due", "*/20 * * * *")
    assert between["limits"] == {"changed": "2026-11-24T08:02:00+00:00"}
    assert why("job", "--at", "08:10:30")["schedule"] == "every 1m"
    assert why("job", "--at", "08:31")["schedule"] == "0 4 * * *"
    # The first that is known is the nearest to what was before.
    assert why("job", "--at", "2026-11-24T04:00")["schedule"] == "*/20 * * * *"
    assert why("job", "--at", "0002-01-01T00:00")["outcome"] == "unknown"


def redefine(ledger: Ledger, job: int, *, since: str, **definition: Any) -> None:
    """Arm a job anew, as the scheduler does."""
    ledger.connection.execute(
        "UPDATE job_state SET definition = ?, since_ns = ?, anchor_ns = ? WHERE id = ?",
        (json.dumps(definition), ns(since), ns(since), job),
    )
