"""`taskman explain` as a person types it: expressions, jobs of files and of the ledger, wrong input."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from taskman_cli.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

JOBS = """
[taskman]
timezone = "Asia/Tokyo"
[jobs.backup]
cron = "30 2 * * 1-5"
command = "true"
jitter = "5m"
starts_at = 2020-01-01T00:00:00Z
expires_at = 2120-01-01T00:00:00Z
max_runs = 2
run_on_start = true
[jobs.off]
every = "1h"
enabled = false
command = "true"
[jobs.over]
at = 2001-01-01T00:00:00Z
command = "true"
[jobs.gone]
cron = "0 0 * * *"
expires_at = 2001-01-01T00:00:00Z
command = "true"
[jobs.late]
cron = "0 0 29 2 *"
starts_at = 2105-01-01T00:00:00Z
expires_at = 2106-01-01T00:00:00Z
command = "true"
[jobs.boot]
cron = "@reboot"
command = "true"
"""


def explained(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["explain", *words]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_an_expression_is_explained_with_slots_and_pitfalls(capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(capsys, "*/7 * * * *", "--timezone", "UTC").splitlines()
    assert lines[0] == "Every 7 minutes from minute 0 to 56 of every hour (UTC)."
    assert [line.startswith("  ") and "  in " in line for line in lines[1:6]] == [True] * 5
    assert lines[6].startswith("uneven-step: ")
    assert max(map(len, lines)) <= 80


def test_an_interval_is_shown_in_the_zone_that_its_file_gives_to_all_jobs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text(
        '[defaults]\ntimezone = "Asia/Tokyo"\n[jobs.a]\nevery = "6h"\ncommand = "true"\n', "utf-8"
    )
    assert explained(capsys, "a", str(path)).startswith("Every 6h (Asia/Tokyo).\n")


def test_json_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(explained(capsys, "0 0 13 * 5", "--timezone", "America/New_York", "--json"))
    assert list(document) == ["schedule", "timezone", "words", "slots", "notes"]
    assert document["schedule"] == "0 0 13 * 5"
    assert document["timezone"] == "America/New_York"
    assert document["words"] == "At 00:00, on the 13th of the month or on Friday"
    assert len(document["slots"]) == 5
    assert [note["name"] for note in document["notes"]] == ["either-day"]


@pytest.mark.parametrize(
    ("job", "names"),
    [
        ("backup", ["jitter", "run-on-start", "starts-at", "expires-at", "max-runs"]),
        ("off", ["disabled"]),
        ("over", ["never"]),
        ("gone", ["never", "expires-at"]),
        ("late", ["months-left-out", "never", "starts-at", "expires-at"]),
        ("boot", ["reboot"]),
    ],
)
def test_a_job_of_a_file_is_explained_with_its_limits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], job: str, names: list[str]
) -> None:
    (tmp_path / "jobs.toml").write_text(JOBS)
    document = json.loads(explained(capsys, job, str(tmp_path / "jobs.toml"), "--json"))
    assert document["timezone"] == "Asia/Tokyo"
    assert names == [note["name"] for note in document["notes"]]


def test_a_job_on_record_needs_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "jobs.toml").write_text(JOBS)
    run = [
        "run",
        str(tmp_path / "jobs.toml"),
        "--for",
        "0.2s",
        "--no-live",
        "--state-dir",
        str(tmp_path / "s"),
    ]
    subprocess.run([sys.executable, "-m", "taskman_cli", *run], check=True, capture_output=True, timeout=60)
    words = ("backup", "--state-dir", str(tmp_path / "s"))
    assert explained(capsys, *words).startswith("At 02:30, Monday to Friday (Asia/Tokyo).\n")
    assert main(["explain", "bakup", *words[1:]]) == 4
    assert capsys.readouterr().err == 'taskman: the ledger has no job "bakup" (did you mean "backup"?)\n'
    file = str(tmp_path / "jobs.toml")
    assert main(["explain", file, *words[1:]]) == 4
    assert f"; for a job of that file: taskman explain JOB {file}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["61 * * * *"], 2, 'taskman: minute "61": not in 0-59\n  61 * * * *\n  ^^\n'),
        (
            ["0 0 31 2 *"],
            2,
            'taskman: day of month "31": can never fire: FEB never has more than 29 days\n'
            "  0 0 31 2 *\n      ^^\n",
        ),
        ([""], 2, "taskman: the cron expression is empty\n"),
        (["@dayly"], 2, '(did you mean "@daily"?)\n  @dayly\n  ^^^^^^\n'),
        (["* * * * *", "jobs.toml"], 2, "put EXPR in quotes"),
        (["5", "4", "1", "1", "1"], 2, "put EXPR in quotes"),
        (["* * * * *", "--timezone", "Mars/Base"], 2, "is not a time zone"),
        (["job", "/nowhere/jobs.toml"], 2, "no such file"),
        (["job", "--state-dir", "/nowhere"], 1, "taskman explain JOB FILE"),
    ],
)
def test_errors_are_reported(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, expected: str
) -> None:
    found = main(["explain", *words])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert expected in captured.err
    assert code == found


def test_a_job_that_is_not_in_the_file_is_not_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "jobs.toml").write_text(JOBS)
    assert main(["explain", "bakup", str(tmp_path / "jobs.toml")]) == 4
    assert capsys.readouterr().err == 'taskman: there is no job "bakup" (did you mean "backup"?)\n'


def test_an_interval_of_days_from_a_start_counts_elapsed_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text(
        '[jobs.pay]\nevery = "2w"\nstarts_at = 2026-01-05T09:00:00\ntimezone = "Europe/Stockholm"\n'
        'command = "true"\n'
    )
    told = explained(capsys, "pay", str(path)).replace("\n  ", " ")
    assert "drift: It counts elapsed time: on" in told
    assert "Use a cron expression to follow the wall clock." in told
