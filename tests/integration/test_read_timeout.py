"""What is waited for while job files are read, and for how long."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from wait import wait_until

from taskman_cli.jobfile import JobFileError, load
from taskman_cli.jobfile.source import MAX_BYTES
from taskman_cli.jobfile.timeout import run_with_timeout


def problem_of(*paths: Path, **more: float) -> str:
    with pytest.raises(JobFileError) as caught:
        load(paths, timezone="UTC", **more)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_named_pipe_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.toml"
    os.mkfifo(path)
    assert problem_of(path).startswith(f"{path}: cannot be read: a named pipe")


def test_a_named_pipe_that_is_included_is_shown_where_it_is_included(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "more.toml")
    path = tmp_path / "jobs.toml"
    path.write_text('[taskman]\ninclude = ["more.toml"]\n')
    assert problem_of(path).startswith(f"{path}:2:12: taskman.include[0]: ")


def test_a_link_to_a_named_pipe_is_refused_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "jobs.toml").symlink_to("pipe")
    assert "a named pipe" in problem_of(tmp_path / "jobs.toml")


def test_a_file_of_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "jobs.toml"
    with path.open("wb") as file:
        file.truncate(8 << 30)
    assert problem_of(path) == f"{path}: cannot be read: larger than {MAX_BYTES >> 20} MiB"


def test_a_file_that_does_not_answer_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text("[taskman]\n")
    answer = threading.Event()
    monkeypatch.setattr("taskman_cli.jobfile.files.read_any", lambda *_, **__: answer.wait())
    words = problem_of(path, timeout_s=0.2)
    assert words == f"{path}: cannot be read: no answer within 0.2 s (does its file system hang?)"
    answer.set()
    wait_until(lambda: "job files" not in [thread.name for thread in threading.enumerate()])


def test_slow_work_without_blocking_has_no_timeout() -> None:
    over = threading.Event()
    threading.Timer(0.5, over.set).start()
    assert run_with_timeout(over.wait, lambda: None, timeout_s=0.1)


def test_progress_resets_the_timeout() -> None:
    over = threading.Event()
    threading.Timer(0.5, over.set).start()
    assert run_with_timeout(over.wait, lambda: Path("another each time"), timeout_s=0.1)
