"""`taskman trigger`, `pause`, `resume`, `cancel`, `wait`, `remove`, `restore`, `reload` and `stop`."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from integration.fake_scheduler import NOW_NS, SECOND_NS, FakeScheduler, end, refusal
from integration.following import TASKMAN, Following
from integration.ledger_builder import LedgerBuilder
from wait import wait_until

from taskman_cli.__main__ import main
from taskman_cli.core.protocol import (
    Cancel,
    PauseJobs,
    Reload,
    Remove,
    Restore,
    Resume,
    Stop,
    TriggerJob,
    Wait,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Captured = pytest.CaptureFixture[str]

RUN = "67aw64ddpp"
FINAL = {"final": True}


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("TZ", "Europe/Stockholm")
    time.tzset()
    monkeypatch.setattr(time, "time_ns", lambda: NOW_NS)
    monkeypatch.delenv("TASKMAN_INSTANCE", raising=False)
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[FakeScheduler]:
    scheduler = FakeScheduler(tmp_path / "state")
    yield scheduler
    scheduler.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Start `taskman` as a process of its own."""
    started: list[Following] = []

    def start(*arguments: str) -> Following:
        started.append(Following(tmp_path / f"out{len(started)}", *arguments))
        return started[-1]

    yield start
    for following in started:
        following.close()


# --- trigger ---

TRIGGERED = {"run": RUN, "job": "backup", "state": "running", "paused": False, "slot_ns": None}


def test_trigger_asks_for_a_run_and_names_it(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["trigger"] = [TRIGGERED]
    assert main(["trigger", "backup"]) == 0
    assert TriggerJob(job="backup") == scheduler.request
    assert capsys.readouterr() == (f"backup: run {RUN} is running\n", "")


def test_trigger_passes_on_task_environment_and_flags(scheduler: FakeScheduler, capsys: Captured) -> None:
    slot_ns = NOW_NS + 60 * SECOND_NS
    scheduler.answers["trigger"] = [TRIGGERED | {"state": "queued", "paused": True, "slot_ns": slot_ns}]
    words = ["trigger", "backup.db", "--env", "A=1", "--env", "B=x=y", "--instead", "--force"]
    assert main(words) == 0
    assert (
        TriggerJob(job="backup", task="db", env={"A": "1", "B": "x=y"}, instead=True, force=True)
        == scheduler.request
    )
    out, err = capsys.readouterr()
    assert out.endswith("its turn, for the slot Tue 2026-11-24 05:01:00+01:00\n")
    assert err == "taskman: backup is paused, but runs now\n"


@pytest.mark.parametrize(
    ("ending", "code", "words"),
    [
        pytest.param(end(), 0, "succeeded", id="success"),
        pytest.param(end(exit_code=3), 0, "succeeded", id="success with another code"),
        pytest.param(end(state="failed"), 3, "failed (exit 3)", id="failure"),
        pytest.param(
            end(state="failed", exit_code=None, signal=9, detail="killed by SIGKILL"),
            137,
            "failed (killed by SIGKILL)",
            id="signal",
        ),
        pytest.param(end(state="failed", exit_code=None), 1, "failed (exit 3)", id="never started"),
        pytest.param(end(state="failed", exit_code=0), 1, "failed (exit 3)", id="exit 0 is no success"),
        pytest.param(end(state="timed_out", signal=15), 1, "timed out", id="timeout"),
        pytest.param(end(state="cancelled", signal=15), 1, "was cancelled", id="cancelled"),
        pytest.param(end(state="lost"), 1, "was lost", id="lost"),
        pytest.param(end(state="skipped", detail="late"), 1, "was skipped (late)", id="skipped"),
    ],
)
def test_waiting_for_a_run_exits_with_its_code(
    ending: dict[str, Any], code: int, words: str, scheduler: FakeScheduler, capsys: Captured
) -> None:
    scheduler.answers["trigger"] = [TRIGGERED, ending | FINAL]
    assert code == main(["trigger", "backup", "--wait"])
    assert [f"backup: run {RUN} is running", f"backup: run {RUN} {words}"] == (
        capsys.readouterr().out.splitlines()
    )


def test_a_scheduler_that_is_restarted_meanwhile_is_waited_for_on(
    scheduler: FakeScheduler, capsys: Captured
) -> None:
    scheduler.answers["trigger"] = [TRIGGERED]
    scheduler.leaves_after = {"trigger"}
    scheduler.answers["wait"] = [{"runs": [RUN]}, {"runs": [end(state="failed")], "timed_out": False} | FINAL]
    assert main(["trigger", "backup", "--wait"]) == 3
    assert Wait(target=RUN) == scheduler.request
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == f"backup: run {RUN} failed (exit 3)"
    assert err == "taskman: the scheduler exited meanwhile; asking the new one\n"


def test_trigger_follow_prints_the_output_alone(
    scheduler: FakeScheduler, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    builder = LedgerBuilder(tmp_path / "state")
    run = builder.run("backup")
    builder.attempt(run, output_bytes=6)
    builder.output_path("backup", run).write_text("hello\n")
    builder.close()
    scheduler.answers["trigger"] = [TRIGGERED | {"run": run}, end(run, "failed") | FINAL]
    assert main(["trigger", "backup", "--follow"]) == 3
    assert scheduler.request.wait
    assert (
        "hello\n",
        f"taskman: backup: run {run} is running\ntaskman: backup: run {run} failed (exit 3)\n",
    ) == (capfd.readouterr())


def test_ctrl_c_while_waiting_leaves_the_run_alone_and_says_so(scheduler: FakeScheduler, start: Any) -> None:
    scheduler.answers["trigger"] = [TRIGGERED]
    waiting = start("trigger", "backup", "--wait")
    waiting.wait_for(b"is running")
    waiting.process.send_signal(signal.SIGINT)
    code, err = waiting.end()
    assert code == 130
    assert err.decode() == f"taskman: the run continues; to cancel it: taskman cancel {RUN}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["trigger", "backup."], "neither JOB nor JOB.TASK", id="no task"),
        pytest.param(["trigger", ".db"], "neither JOB nor JOB.TASK", id="no job"),
        pytest.param(["trigger", "x", "--env", "A"], "write NAME=value", id="no value"),
        pytest.param(["trigger", "x", "--env", "1A=2"], "is not a valid variable name", id="no name"),
        pytest.param(["pause"], "give job names, --tag or --all", id="nothing to pause"),
        pytest.param(["pause", "x", "--all"], "only one of these", id="names and all"),
        pytest.param(["resume", "--tag", "x", "--all"], "only one of these", id="tag and all"),
        pytest.param(["pause", "x", "--for", "5"], 'add a unit to the number: "5s"', id="no unit"),
        pytest.param(["pause", "x", "--for", "0s"], "the pause would be over already", id="no time"),
        pytest.param(
            ["cancel", "x", "--signal", "TREM"], 'not a valid signal (did you mean "TERM"?)', id="signal"
        ),
        pytest.param(["cancel", "x", "--signal", "999"], "999 is not a valid signal", id="signal number"),
        pytest.param(["cancel", "x", "--signal", "INT", "--now"], "leave out --signal", id="both"),
        pytest.param(["wait", "x", "--timeout", "soon"], "a duration is one or more numbers", id="timeout"),
        pytest.param(["stop", "--now", "--drain"], "give --drain or --now, not both", id="drain and now"),
        pytest.param(["stop", "--drain", "1parsec"], "parsec", id="drain"),
    ],
)
def test_wrong_usage_is_an_error_and_sends_no_request(
    words: list[str], said: str, scheduler: FakeScheduler, capsys: Captured
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert scheduler.requests == []


# --- pause, resume ---


def test_pause_says_what_is_paused_and_until_when(scheduler: FakeScheduler, capsys: Captured) -> None:
    until_ns = NOW_NS + 1_800 * SECOND_NS
    scheduler.answers["pause"] = [{"jobs": ["a", "b"], "unchanged": ["c"], "until_ns": until_ns}]
    assert main(["pause", "a", "b", "c", "--for", "30m", "--reason", "disk swap", "--stop"]) == 0
    assert (
        PauseJobs(jobs=["a", "b", "c"], for_ns=1_800 * SECOND_NS, reason="disk swap", stop=True)
        == scheduler.request
    )
    assert capsys.readouterr().out.splitlines() == [
        "paused a, b until 24 Nov 05:30:00 (in 30m 00s)",
        "already paused: c",
    ]


def test_pause_may_be_until_a_time(scheduler: FakeScheduler) -> None:
    scheduler.answers["pause"] = [{"jobs": ["a"], "unchanged": [], "until_ns": None}]
    assert main(["pause", "a", "--for", "9am tomorrow"]) == 0
    nine = datetime(2026, 11, 25, 9, tzinfo=ZoneInfo("Europe/Stockholm"))
    assert PauseJobs(jobs=["a"], until_ns=int(nine.timestamp()) * SECOND_NS) == scheduler.request


@pytest.mark.parametrize(
    ("time", "said"),
    [
        pytest.param("0s", "the pause would be over already", id="no time"),
        pytest.param("now", "the pause would be over already", id="now"),
        pytest.param("noon yesterday", "in the past", id="the past"),
        pytest.param("9am tomorow", '--for: "tomorow" is not a known word for a time', id="a wrong word"),
        pytest.param("9am tomorow", "\n  9am tomorow\n      ^\n", id="where it is wrong"),
        pytest.param("5M", "is not one of the units", id="a wrong unit"),
    ],
)
def test_an_invalid_pause_is_refused(
    time: str, said: str, scheduler: FakeScheduler, capsys: Captured
) -> None:
    assert main(["pause", "a", "--for", time]) == 2
    assert said in capsys.readouterr().err
    assert scheduler.requests == []


def test_many_jobs_are_counted_not_named(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["pause"] = [
        {"jobs": [f"j{n}" for n in range(1_000)], "unchanged": [], "until_ns": None}
    ]
    assert main(["pause", "--all"]) == 0
    assert PauseJobs(all=True) == scheduler.request
    assert capsys.readouterr().out == "paused 1,000 jobs\n"


def test_resume_prints_the_resumed_jobs(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["resume"] = [{"jobs": ["a"], "unchanged": ["b"], "until_ns": None}]
    assert main(["resume", "--tag", "net"]) == 0
    assert Resume(tags=["net"]) == scheduler.request
    assert capsys.readouterr().out.splitlines() == ["resumed a", "neither paused nor parked: b"]


def test_resume_all_does_not_tell_what_was_not_paused(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["resume"] = [{"jobs": ["a"], "unchanged": ["b"], "until_ns": None}]
    assert main(["resume", "--all"]) == 0
    assert capsys.readouterr().out == "resumed a\n"


# --- cancel, wait ---


def test_cancel_says_what_becomes_of_each_run(scheduler: FakeScheduler, capsys: Captured) -> None:
    runs = [{"run": "a", "job": "x", "state": "running"}, {"run": "b", "job": "x", "state": "queued"}]
    scheduler.answers["cancel"] = [{"runs": runs}]
    assert main(["cancel", "x.db", "--signal", "sigint"]) == 0
    assert Cancel(target="x.db", signal=2) == scheduler.request
    assert capsys.readouterr().out.splitlines() == ["x: cancelling run a", "x: cancelled queued run b"]


def test_cancel_wait_ends_well_when_all_of_it_is_over(scheduler: FakeScheduler, capsys: Captured) -> None:
    final = {"runs": [end(state="cancelled", signal=15)], "timed_out": False} | FINAL
    scheduler.answers["cancel"] = [{"runs": [{"run": RUN, "job": "backup", "state": "running"}]}, final]
    assert main(["cancel", RUN, "--now", "--wait"]) == 0
    assert Cancel(target=RUN, now=True, wait=True) == scheduler.request
    assert capsys.readouterr().out.splitlines()[-1] == f"backup: run {RUN} was cancelled"


def test_cancel_of_nothing_says_so(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["cancel"] = [{"runs": []}]
    assert main(["cancel", "x"]) == 0
    assert capsys.readouterr() == ("", "taskman: x has no running or queued run\n")


def test_wait_exits_with_the_code_of_the_first_that_did_not_succeed(
    scheduler: FakeScheduler, capsys: Captured
) -> None:
    runs = [end("a"), end("b", "failed", exit_code=7), end("c", "lost")]
    scheduler.answers["wait"] = [
        {"runs": ["a", "b", "c"]},
        {"runs": runs, "timed_out": False} | FINAL,
    ]
    assert main(["wait", "backup"]) == 7
    assert Wait(target="backup") == scheduler.request
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_wait_for_a_run_that_was_over_already_exits_with_its_code(
    scheduler: FakeScheduler, capsys: Captured, tmp_path: Path
) -> None:
    builder = LedgerBuilder(tmp_path / "state")
    run = builder.run("backup", "failed")
    builder.attempt(run, "failed", number=1)
    going_on = builder.run("backup", "running", at=60)
    builder.close()
    scheduler.answers["wait"] = refusal("it has no unfinished run", 4)
    assert main(["wait", run]) == 3
    assert capsys.readouterr() == (f"backup: run {run} failed (exit 3)\n", "")
    for other in (going_on, "0000000000", "backup"):
        assert main(["wait", other]) == 4
        assert capsys.readouterr() == ("", "taskman: it has no unfinished run\n")


def test_what_ended_between_two_schedulers_is_on_record(
    scheduler: FakeScheduler, capsys: Captured, tmp_path: Path
) -> None:
    builder = LedgerBuilder(tmp_path / "state")
    run = builder.run("backup", "failed")
    builder.attempt(run, "failed")
    builder.close()
    scheduler.answers["trigger"] = [TRIGGERED | {"run": run}]
    scheduler.answers["wait"] = refusal("it has no unfinished run", 4)
    scheduler.leaves_after = {"trigger"}
    assert main(["trigger", "backup", "--wait"]) == 3
    assert capsys.readouterr().out.splitlines()[-1] == f"backup: run {run} failed (exit 3)"


def test_of_several_runs_some_may_end_between_two_schedulers(
    scheduler: FakeScheduler, capsys: Captured, tmp_path: Path
) -> None:
    builder = LedgerBuilder(tmp_path / "state")
    first = builder.run("backup", "succeeded")
    builder.close()
    replies = iter(
        [
            [{"runs": [first, "b"]}],
            [{"runs": ["b"]}, {"runs": [end("b", "failed", exit_code=9)], "timed_out": False} | FINAL],
        ]
    )
    scheduler.answers["wait"] = lambda _request: next(replies)
    scheduler.leaves_after = {"wait"}
    assert main(["wait", "backup"]) == 9
    assert [f"backup: run {first} succeeded", "backup: run b failed (exit 3)"] == (
        capsys.readouterr().out.splitlines()
    )


def test_wait_that_takes_too_long_exits_with_124(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["wait"] = [{"runs": [RUN]}, {"runs": [], "timed_out": True} | FINAL]
    assert main(["wait", RUN, "--timeout", "1.5s"]) == 124
    assert Wait(target=RUN, timeout_ns=1_500_000_000) == scheduler.request
    assert capsys.readouterr() == ("", f"taskman: {RUN} has not ended yet\n")


def test_wait_for_a_job_that_does_nothing_succeeds_at_once(
    scheduler: FakeScheduler, capsys: Captured
) -> None:
    scheduler.answers["wait"] = [{"runs": []}, {"runs": [], "timed_out": False} | FINAL]
    assert main(["wait", "backup"]) == 0
    assert capsys.readouterr() == ("", "taskman: backup has no running or queued run\n")


@pytest.mark.parametrize("command", ["wait", "cancel"])
def test_the_beginning_of_a_runs_id_is_enough(
    command: str, scheduler: FakeScheduler, capsys: Captured, tmp_path: Path
) -> None:
    builder = LedgerBuilder(tmp_path / "state")
    run = builder.run("backup", "running")
    builder.run("backup", "running", at=86_400)
    builder.close()
    known = [{"runs": [run] if command == "wait" else [{"run": run, "job": "backup", "state": "running"}]}]
    final = {"runs": [end(run)], "timed_out": False} | FINAL

    def answer(request: Any) -> list[dict[str, Any]]:
        return [*known, final] if request.target == run else refusal("there is no such run", 4)

    scheduler.answers[command] = answer
    assert main([command, run[:6]]) == 0
    assert scheduler.request.target == run
    assert run in capsys.readouterr().out
    assert main([command, run[:3]]) == 4
    assert capsys.readouterr().err == "taskman: there is no such run\n"
    assert main([command, f"{run[:6]}zzzz"]) == 4


@pytest.mark.parametrize("command", ["wait", "cancel"])
def test_an_ambiguous_beginning_lists_the_runs(
    command: str, scheduler: FakeScheduler, capsys: Captured, tmp_path: Path
) -> None:
    builder = LedgerBuilder(tmp_path / "state")
    runs = [builder.run(job, "running", at=at) for at, job in enumerate(["backup", "probe"])]
    builder.close()
    scheduler.answers[command] = refusal("there is no such run", 4)
    assert main([command, runs[0][:4]]) == 2
    listed = f"{runs[1]} (probe), {runs[0]} (backup)"
    assert capsys.readouterr().err.splitlines()[0] == (
        f'taskman: several runs begin with "{runs[0][:4]}": {listed}'
    )


def test_cancel_of_a_run_that_has_ended_says_how_it_ended(
    scheduler: FakeScheduler, capsys: Captured, tmp_path: Path
) -> None:
    builder = LedgerBuilder(tmp_path / "state")
    run = builder.run("backup", "failed")
    builder.attempt(run, "failed")
    builder.close()
    scheduler.answers["cancel"] = refusal("there is no such run", 4)
    assert main(["cancel", run, "--wait"]) == 0
    said = f"taskman: backup: run {run} failed (exit 3); there is nothing to cancel\n"
    assert capsys.readouterr() == ("", said)
    assert main(["cancel", run, "--json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["runs"][0]["state"], err) == ("failed", said)


def test_of_a_one_off_that_has_run_wait_and_cancel_say_how_it_ended(
    scheduler: FakeScheduler, capsys: Captured, tmp_path: Path
) -> None:
    builder = LedgerBuilder(tmp_path / "state")
    builder.job("backup", at_ns=NOW_NS, timezone="UTC", max_runs=1)
    builder.job("probe", every_ns=NOW_NS, timezone="UTC")
    builder.job("damaged")
    builder.connection.execute("UPDATE job_state SET definition = '{' WHERE name = 'damaged'")
    names = ("backup", "probe", "damaged")
    runs = {name: builder.run(name, "failed", at=at) for at, name in enumerate(names)}
    for run in runs.values():
        builder.attempt(run, "failed")
    builder.close()
    scheduler.answers["wait"] = scheduler.answers["cancel"] = refusal("there is no such job", 4)
    assert main(["wait", "backup"]) == 3
    assert capsys.readouterr() == (f"backup: run {runs['backup']} failed (exit 3)\n", "")
    assert main(["cancel", "backup"]) == 0
    said = f"taskman: backup: run {runs['backup']} failed (exit 3); there is nothing to cancel\n"
    assert capsys.readouterr() == ("", said)
    # Other jobs that are no longer defined are none.
    for name in ("probe", "damaged", "nosuch"):
        for command in ("wait", "cancel"):
            assert main([command, name]) == 4
            assert capsys.readouterr() == ("", "taskman: there is no such job\n")


def test_wait_and_cancel_agree_where_nothing_is_there(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["wait"] = [{"runs": []}, {"runs": [], "timed_out": False} | FINAL]
    scheduler.answers["cancel"] = [{"runs": []}]
    told = [(main([command, "backup"]), capsys.readouterr()) for command in ("wait", "cancel")]
    assert told[0] == told[1] == (0, ("", "taskman: backup has no running or queued run\n"))
    told = [(main([command, "backup", "--json"]), capsys.readouterr().out) for command in ("wait", "cancel")]
    assert [(code, json.loads(out)["runs"]) for code, out in told] == [(0, []), (0, [])]


# --- remove, restore, reload ---


@pytest.mark.parametrize(
    ("words", "request_", "reply", "said"),
    [
        pytest.param(
            ["backup"],
            Remove(job="backup"),
            {"job": "backup", "task": None, "runs": []},
            "removed backup",
            id="job",
        ),
        pytest.param(
            ["backup.db"],
            Remove(job="backup", task="db"),
            {"job": "backup", "task": "db", "runs": ["a"]},
            "removed backup.db; run a continues",
            id="task that runs",
        ),
        pytest.param(
            ["backup", "--cancel"],
            Remove(job="backup", cancel=True),
            {"job": "backup", "task": None, "runs": ["a", "b"]},
            "removed backup; runs a, b are being cancelled",
            id="runs ended too",
        ),
    ],
)
def test_remove_prints_what_was_removed_and_which_runs_continue(
    words: list[str],
    request_: Remove,
    reply: dict[str, Any],
    said: str,
    scheduler: FakeScheduler,
    capsys: Captured,
) -> None:
    scheduler.answers["remove"] = [reply]
    assert main(["remove", *words]) == 0
    assert request_ == scheduler.request
    assert capsys.readouterr().out == f"{said}\n"


def test_restore_says_what_is_back(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["restore"] = [{"jobs": ["a"], "tasks": ["b.db"]}]
    assert main(["restore"]) == 0
    assert Restore() == scheduler.request
    assert capsys.readouterr().out == "restored a, b.db\n"


def test_restore_of_nothing_says_so(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["restore"] = [{"jobs": [], "tasks": []}]
    assert main(["restore", "a"]) == 0
    assert Restore(job="a") == scheduler.request
    assert capsys.readouterr() == ("", "taskman: nothing of a was removed\n")


def test_reload_says_what_changed(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["reload"] = [{"added": ["a"], "changed": [], "removed": ["b", "c"], "jobs": 7}]
    assert main(["reload"]) == 0
    assert Reload() == scheduler.request
    assert capsys.readouterr().out.splitlines() == ["added a", "removed b, c"]


def test_reload_says_that_nothing_changed(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["reload"] = [{"added": [], "changed": [], "removed": [], "jobs": 1}]
    assert main(["reload"]) == 0
    assert capsys.readouterr().out == "nothing changed: 1 job\n"


def test_reload_of_a_broken_file_prints_the_report_and_exits_2(
    scheduler: FakeScheduler, capsys: Captured
) -> None:
    report = "jobs.toml:3:1: jobs.x.evry: unknown key\n    3 | evry = 1\n      | ^^^^"
    scheduler.answers["reload"] = refusal("the job files stay as they were", 2, errors=report)
    assert main(["reload"]) == 2
    assert capsys.readouterr() == ("", f"{report}\ntaskman: the job files stay as they were\n")


# --- stop ---


def test_stop_waits_until_taskman_has_left(scheduler: FakeScheduler, start: Any) -> None:
    scheduler.answers["stop"] = [{"stopping": True, "running": 2}]
    stopping = start("stop")
    stopping.wait_for(b"stopping: 2 commands are being ended\n")
    assert Stop() == scheduler.request
    with pytest.raises(subprocess.TimeoutExpired):
        stopping.process.wait(0.3)
    scheduler.free()
    assert stopping.end() == (0, b"")


@pytest.mark.parametrize(
    ("words", "request_", "said"),
    [
        pytest.param(["--drain"], Stop(drain_ns=-1), "stopping: 1 command may finish", id="drain"),
        pytest.param(
            ["--drain", "90s"],
            Stop(drain_ns=90 * SECOND_NS),
            "stopping: 1 command may finish",
            id="drain for a while",
        ),
        pytest.param(["--now"], Stop(now=True), "stopping: 1 command is being ended", id="now"),
    ],
)
def test_stop_without_waiting(
    words: list[str], request_: Stop, said: str, scheduler: FakeScheduler, capsys: Captured
) -> None:
    scheduler.answers["stop"] = [{"stopping": True, "running": 1}]
    assert main(["stop", "--no-wait", *words]) == 0
    assert request_ == scheduler.request
    assert capsys.readouterr().out == f"{said}\n"


def test_a_drain_without_a_duration_leaves_the_next_option_alone(
    scheduler: FakeScheduler, tmp_path: Path, capsys: Captured
) -> None:
    scheduler.answers["stop"] = [{"stopping": True, "running": 0}]
    assert main(["stop", "--drain", "--state-dir", str(tmp_path / "state"), "--no-wait"]) == 0
    assert Stop(drain_ns=-1) == scheduler.request


def test_an_error_of_the_scheduler_is_printed_unchanged(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["stop"] = refusal("it is stopping already", 1)
    assert main(["stop"]) == 1
    assert capsys.readouterr() == ("", "taskman: it is stopping already\n")


def test_every_command_reports_that_no_scheduler_runs(capsys: Captured) -> None:
    for words in (
        *(["trigger", "x"], ["pause", "x"], ["resume", "x"], ["cancel", "x"], ["wait", "x"]),
        *(["remove", "x"], ["restore"], ["reload"], ["stop"], ["add", "x", "--every", "1h", "true"]),
    ):
        assert main(words) == 3, words
        assert capsys.readouterr().err.startswith("taskman: no taskman is running"), words


def test_the_only_instance_that_runs_is_meant(tmp_path: Path, capsys: Captured) -> None:
    instance = FakeScheduler(tmp_path / "state" / "instances" / "web")
    try:
        instance.answers["reload"] = [{"added": ["a"], "changed": [], "removed": [], "jobs": 1}]
        assert main(["reload"]) == 0
        assert capsys.readouterr().out == "added a\n"
    finally:
        instance.close()


def test_the_command_that_is_installed_does_the_same(scheduler: FakeScheduler) -> None:
    scheduler.answers["restore"] = [{"jobs": ["a"], "tasks": []}]
    result = subprocess.run([TASKMAN, "restore"], capture_output=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"restored a\n", b"")
    assert wait_until(lambda: scheduler.requests)
