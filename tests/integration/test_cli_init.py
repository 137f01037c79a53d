"""`taskman init`, as a user types it; what it writes is checked and run by the real program."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command_line import call

from taskman_cli.cli.commands.init import starter
from taskman_cli.core.model import Trigger
from taskman_cli.core.schedule import CronSchedule, Interval, Once
from taskman_cli.jobfile import loads

NOW = datetime(2026, 12, 31, 17, 30, tzinfo=UTC)


def taskman(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return call(arguments, text=True, cwd=cwd)


def test_the_starter_shows_what_there_is_on_one_page() -> None:
    text = starter(NOW)
    assert len(text.splitlines()) <= 60
    assert max(map(len, text.splitlines())) <= 120
    jobs = {job.id: job for job in loads(text, timezone="UTC").jobs}
    kinds = {type(job.schedule) for job in jobs.values()}
    assert kinds == {CronSchedule, Interval, Once}
    assert jobs["reminder"].schedule.text == "at 2027-01-01T09:00:00+00:00"
    assert len(jobs["checks"].tasks) == 2
    assert jobs["backup"].tasks[0].execution.retry.max == 3
    for key in ("overlap", "env", "output"):
        assert f"{key} = " in text


def test_it_writes_jobs_toml_which_checks_clean_and_names_what_comes_next(tmp_path: Path) -> None:
    result = taskman("init", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "")
    assert "wrote jobs.toml" in result.stderr
    assert "taskman run jobs.toml" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.toml"]
    checked = taskman("check", "jobs.toml", cwd=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "never" not in checked.stdout


def test_the_job_file_runs_unchanged_and_shows_something_at_once(tmp_path: Path) -> None:
    taskman("init", cwd=tmp_path)
    result = taskman("run", "jobs.toml", "-v", "--for", "2s", "--state-dir", "state", cwd=tmp_path)
    assert result.returncode == 0
    for name in ("heartbeat", "checks.disk", "checks.load"):
        assert f"{name}: succeeded" in result.stderr
    assert " error " not in result.stderr
    shown = taskman("log", "heartbeat", "--state-dir", "state", cwd=tmp_path)
    assert shown.stdout.startswith("hello, it is ")
    assert Trigger.START in taskman("history", "--json", "--state-dir", "state", cwd=tmp_path).stdout


@pytest.mark.parametrize("kind", ["file", "directory", "dangling link"])
def test_it_touches_nothing_that_is_there(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "my jobs.toml"
    match kind:
        case "file":
            place.write_text("# mine\n")
        case "directory":
            place.mkdir()
        case _:
            place.symlink_to(tmp_path / "nowhere")
    result = taskman("init", place.name, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "my jobs.toml already exists: name another file" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["my jobs.toml"]
    assert kind != "file" or place.read_text() == "# mine\n"


def test_a_dash_prints_it(tmp_path: Path) -> None:
    result = taskman("init", "-", cwd=tmp_path)
    assert (result.returncode, result.stderr, list(tmp_path.iterdir())) == (0, "", [])
    assert loads(result.stdout).jobs


def test_an_error_names_the_place_that_cannot_be_written(tmp_path: Path) -> None:
    result = taskman("init", "/proc/jobs.toml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("taskman: cannot write /proc/jobs.toml: ")


def test_its_commands_name_the_file_it_wrote(tmp_path: Path) -> None:
    result = taskman("init", "my jobs.toml", cwd=tmp_path)
    assert "taskman check 'my jobs.toml'" in result.stderr
