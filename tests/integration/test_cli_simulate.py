"""`taskman simulate`: what it prints, what it takes from the ledger, and what it refuses."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.ledger_builder import LedgerBuilder

from taskman_cli.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable

    Simulate = Callable[..., dict[str, Any]]

JOBS = """
[taskman]
timezone = "Europe/Stockholm"
[pool]
admission = "fixed"
max_workers = 4
[jobs.backup]
cron = "0 2 * * *"
command = "exit 9"
[jobs.report]
cron = "0 * * * *"
command = ["false"]
[jobs.probe]
every = "15m"
start_deadline = "10m"
tasks = { api = "false", db = "false" }
"""
FROM = "2026-11-24T00:00:00+01:00"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with job files, and a state directory without a ledger."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / "jobs.toml").write_text(JOBS)
    return tmp_path


@pytest.fixture
def simulate(capsys: pytest.CaptureFixture[str]) -> Simulate:
    """Run `taskman simulate --json` from a fixed time on, and return its document."""

    def run(*arguments: str) -> dict[str, Any]:
        assert main(["simulate", "jobs.toml", "--from", FROM, "--cores", "4", "--json", *arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        document: dict[str, Any] = json.loads(out)
        return document

    return run


def test_a_day_of_a_job_file(simulate: Simulate) -> None:
    document = simulate()
    [found] = document["simulations"]
    assert (document["from"], document["until"]) == (FROM, "2026-11-25T00:00:00+01:00")
    assert document["machine"]["cores"] == 4
    assert {one["basis"] for one in document["run_times"]} == {"assumed"}
    assert found["runs"] == {"succeeded": 1 + 23 + 95}  # and two are due as the day ends
    assert found["unfinished"] == 2
    assert (found["skips"], found["workers"], found["seats"]) == ({}, 4, 4)
    assert found["running"]["peak"] == 4
    assert len(found["pool_by_part_of_day"]) == 96


def test_workers_are_shown_side_by_side(simulate: Simulate) -> None:
    found = simulate("--workers", "1", "--workers", "2", "--runs", "backup=50m")["simulations"]
    assert [one["workers"] for one in found] == [1, 2]
    one, two = found
    assert (round(one["wait_s"]["worst"]), one["wait_s"]["job"]) == (3000, "report")
    assert one["wait_s"]["due"] == "2026-11-24T02:00:00+01:00"
    assert one["skips"] == {"late": 3}  # the slots of `probe` from 02:00 to 02:30, each after ten minutes
    assert one["first_deadline_missed"]["job"] == "probe"
    assert one["waited_for_s"].keys() == {"worker"}
    assert (two["wait_s"]["worst"] < 5, two["first_deadline_missed"]) == (True, None)


def test_another_file_is_shown_beside_the_first(simulate: Simulate, here: Path) -> None:
    (here / "new.toml").write_text(JOBS.replace("max_workers = 4", "max_workers = 1"))
    found = simulate("--against", "new.toml", "--runs", "probe.db=1m")["simulations"]
    assert [(one["files"], one["seats"]) for one in found] == [(["jobs.toml"], 4), (["new.toml"], 1)]
    assert found[0]["wait_s"]["worst"] < found[1]["wait_s"]["worst"]


def test_run_times_and_ends_come_from_the_ledger(simulate: Simulate, here: Path) -> None:
    ledger = LedgerBuilder(here / "state")
    ledger.job("report")
    for number in range(4):
        run = ledger.run("report", "failed", at=number)
        ledger.attempt(run, "failed", took=600, cpu_s=60.0, peak_rss_bytes=5 << 20)
    document = simulate("--runs", "history")
    basis = {(one["job"], one["task"]): (one["basis"], one["attempts"]) for one in document["run_times"]}
    assert basis["report", "main"] == ("history", 4)
    assert basis["backup", "main"] == ("assumed", None)
    [found] = document["simulations"]
    assert found["runs"] == {"failed": 23, "succeeded": 96}
    assert found["done_s"]["worst"] == pytest.approx(600, rel=0.01)
    [found] = simulate("--runs", "none")["simulations"]
    assert found["runs"] == {"succeeded": 119}
    ledger.close()


def test_what_is_not_the_commands_own_end_is_no_sample(simulate: Simulate, here: Path) -> None:
    ledger = LedgerBuilder(here / "state")
    ledger.job("report")
    for number, state in enumerate(("cancelled", "lost", "running", "timed_out")):
        run = ledger.run("report", state, at=number)
        ledger.attempt(run, state, took=60)
    basis = {one["job"]: (one["attempts"], one["median_s"]) for one in simulate()["run_times"]}
    assert basis["report"] == (1, 120)  # it was ended, so it would have taken longer
    ledger.close()


def test_clock_changes_in_the_time_are_told(simulate: Simulate, capsys: pytest.CaptureFixture[str]) -> None:
    [change] = simulate("--from", "2027-03-28T00:00")["clock_changes"]
    assert (change["timezone"], change["shift_s"], change["jobs"]) == (
        "Europe/Stockholm", 3600, ["backup", "report"],
    )  # fmt: skip
    assert main(["simulate", "jobs.toml", "--from", "2027-03-28T00:00"]) == 0
    out = capsys.readouterr().out
    assert "the clocks go from Sun 28 Mar 02:00 to 03:00" in out
    assert "02:00 does not exist; the job runs once at 03:00 instead" in out
    assert simulate("--from", "2027-03-29T00:00")["clock_changes"] == []


def test_the_text_says_that_it_is_a_model_and_what_waits(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--workers", "1", "--workers", "4", "--runs", "backup=90m", "--from", FROM]
    assert main(["simulate", "jobs.toml", *words]) == 0
    out = capsys.readouterr().out
    assert "This is a model: nothing was executed" in out
    assert "skipped: late" in out
    assert "1 worker: first deadline missed: probe, due" in out
    assert "What waits (1 worker)" in out
    assert "Busiest minutes (4 workers)" in out
    assert "What runs at once over the day" in out


@pytest.mark.parametrize("columns", ["20", "40", "80", "200"])
def test_no_line_is_longer_than_the_screen(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    words = ["--workers", "1", "--workers", "2", "--workers", "3", "--runs", "backup=90m", "--from", FROM]
    assert main(["simulate", "jobs.toml", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= max(int(columns), 30)  # nothing is made shorter than that


def test_files_with_long_paths_are_told_apart_by_what_differs(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    paths = [here / ("d" * 60) / name / "jobs.toml" for name in ("old", "new")]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_text(JOBS)
    main(["simulate", str(paths[0]), "--against", str(paths[1]), "--from", FROM])
    assert "  old/jobs.toml  new/jobs.toml\n" in capsys.readouterr().out
    main(["simulate", "jobs.toml", "--against", str(paths[1]), "--from", FROM])
    heads = [line for line in capsys.readouterr().out.splitlines() if "new/jobs.toml" in line]
    assert heads[0].split() == ["jobs.toml", "…" + "d" * 8 + "/new/jobs.toml"]
    cut = "…" + "d" * 25 + "/new/jobs.toml"
    assert heads[1:] == [f"Nothing waits ({cut}).", f"Busiest minutes ({cut})", cut]


def test_a_clock_change_names_both_days_and_each_version_of_a_job(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = '[taskman]\ntimezone = "Pacific/Apia"\n[jobs.a]\ncron = "0 12 * * *"\ncommand = "true"\n'
    for name, hour in (("one.toml", "12"), ("other.toml", "13")):
        (here / name).write_text(text.replace("12", hour))
    main(["simulate", "one.toml", "--against", "other.toml", "--from", "2011-12-29", "--for", "3d"])
    out = capsys.readouterr().out
    assert "the clocks go from Fri 30 Dec 00:00 to Sat 31 Dec 00:00\n" in out
    assert re.findall(r"^a.*: (\d\d:\d\d) does not exist", out, re.MULTILINE) == ["12:00", "13:00"]
    assert re.findall(r"^a \((.*?)\):", out, re.MULTILINE) == ["0 12 * * *", "0 13 * * *"]


def test_times_have_a_year_where_days_come_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "daily.toml").write_text('[jobs.a]\ncron = "0 12 * * *"\ntimezone = "UTC"\ncommand = "true"\n')
    main(["simulate", "daily.toml", "--from", "2026-11-29", "--for", "365d"])
    assert "Sun 29 Nov 2026 1" in capsys.readouterr().out
    main(["simulate", "daily.toml", "--from", "2026-11-29", "--for", "364d"])
    assert "Sun 29 Nov 1" in capsys.readouterr().out


def test_commands_that_all_run_elsewhere_are_not_said_to_use_a_cpu_here(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    far = (
        '[executors.far]\ntype = "ssh"\nhost = "h"\n[jobs.a]\nevery = "1m"\nexecutor = "far"\ncommand = "b"\n'
    )
    (here / "far.toml").write_text(far)
    main(["simulate", "far.toml", "--from", FROM])
    assert "Run times: 1 command assumed (1s).\n" in capsys.readouterr().out
    (here / "far.toml").write_text(far + '[jobs.c]\nevery = "1m"\ncommand = "d"\n')
    main(["simulate", "far.toml", "--from", FROM])
    assert "Run times: 2 commands assumed (1s, 10% of it CPU time).\n" in capsys.readouterr().out


def test_a_terminal_without_utf_8_gets_ascii(here: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "taskman_cli", "simulate", "jobs.toml", "--from", FROM],
        check=True, capture_output=True, env=os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert result.stdout.decode("ascii")
    assert b"Traceback" not in result.stderr


def test_a_terminal_shows_how_far_it_is_and_a_pipe_does_not(here: Path) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "taskman_cli", "simulate", "jobs.toml", "--from", FROM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower) as process:
        os.close(follower)
        assert process.stdout is not None
        out = process.stdout.read()
    assert (process.returncode, b"\x1b" in out) == (0, False)
    assert b"simulating" in os.read(leader, 4096)
    os.close(leader)


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["--runs", "bakup=5m"], 4, '--runs: there is no job "bakup" (did you mean "backup"?)'),
        (["--runs", "probe.apo=5m"], 4, '--runs: probe has no task "apo" (did you mean "api"?)'),
        (["--runs", "backup=-5m"], 2, "backup:"),
        (["--runs", "backup=quickly"], 2, "backup:"),
        (["--runs", "backup"], 2, "neither history, none, nor JOB=DURATION"),
        (["--runs", "backup=5m", "--runs", "backup=6m"], 2, "given twice"),
        (["--runs", "history", "--runs", "none"], 2, "not both"),
        (["--runs", "history"], 1, "there is no ledger in"),
        (["--for", "-1h"], 2, "--for"),
        (["--for", "0s"], 2, "nothing happens in no time"),
        (["--from", "gibberish"], 2, "--from"),
        (["--from", "1969-01-01"], 2, "begins in 1970"),
        (["--from", "9999-12-31"], 2, "too far in the future"),
        (["--workers", "0"], 2, "--workers"),
        (["--cores", "0"], 2, "--cores"),
        (["--seed", "-1"], 2, "--seed"),
        (["--against", "absent.toml"], 2, "absent.toml"),
        ([f"--workers={number}" for number in range(1, 10)], 2, "at most 8"),
    ],
)
def test_wrong_input_is_refused_in_words(
    words: list[str], code: int, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "jobs.toml", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert error in err


def test_a_file_without_jobs_or_with_errors_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "empty.toml").write_text("")
    (here / "bad.toml").write_text('[jobs.a]\nevery = "1m"\ncommand = "true"\noverlap = "skp"\n')
    assert main(["simulate", "empty.toml"]) == 2
    assert "empty.toml: there are no jobs to simulate" in capsys.readouterr().err
    assert main(["simulate", "jobs.toml", "--against", "bad.toml"]) == 2
    assert "bad.toml:4:11: jobs.a.overlap:" in capsys.readouterr().err


def test_a_crontab_is_a_job_file_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "crontab").write_text("*/5 * * * * nobody false\n")
    assert main(["simulate", "crontab", "--json", "--from", FROM, "--for", "1h"]) == 0
    [found] = json.loads(capsys.readouterr().out)["simulations"]
    assert found["runs"] == {"succeeded": 11}


def test_a_broken_ledger_is_an_error_that_says_how_to_go_on(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "state").mkdir()
    (here / "state" / "ledger.db").write_bytes(b"no database " * 100)
    assert main(["simulate", "jobs.toml"]) == 1
    assert "(--runs none leaves the history out)" in capsys.readouterr().err
    assert main(["simulate", "jobs.toml", "--runs", "none", "--for", "1h"]) == 0


def test_a_damaged_row_of_the_ledger_is_an_error_and_no_traceback(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = LedgerBuilder(here / "state")
    ledger.job("report")
    ledger.attempt(ledger.run("report"), took=-5)
    assert main(["simulate", "jobs.toml"]) == 1
    err = capsys.readouterr().err
    assert "attempts.duration_ns is -5000000000" in err
    assert "--runs none" in err
    ledger.close()


def test_nothing_is_executed_and_nothing_is_written(here: Path) -> None:
    mark = here / "mark"
    (here / "jobs.toml").write_text(f'[jobs.a]\nevery = "1s"\ncommand = "touch {mark}"\n')
    before = sorted(here.iterdir())
    assert main(["simulate", "jobs.toml", "--for", "1m"]) == 0
    assert sorted(here.iterdir()) == before
