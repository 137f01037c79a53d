"""A command in the test's process says what it says in one of its own, and changes nothing of the test's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import call

TASKMAN = str(Path(sys.executable).with_name("taskman"))


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["explain", "@daily", "--count", "0"],
        ["frobnicate"],
        ["explain", "caf\udce9"],
        ["history"],
    ],
    ids=" ".join,
)
def test_it_says_and_returns_the_same(tmp_path: Path, words: list[str]) -> None:
    options: dict[str, Any] = {"env": os.environ | {"STATE_DIRECTORY": str(tmp_path)}, "cwd": tmp_path}
    real = subprocess.run([TASKMAN, *words], capture_output=True, check=False, **options)
    done = call(words, **options)
    assert (done.returncode, done.stdout, done.stderr) == (real.returncode, real.stdout, real.stderr)


def test_what_is_given_is_read_and_the_file_is_that_of_its_directory(tmp_path: Path) -> None:
    assert '"@daily"' in call(["import", "--user", "-"], given="@daily true\n", text=True).stdout
    (tmp_path / "jobs.toml").write_text("[jobs]\na = '@daily true'\n")
    assert call(["check", "jobs.toml"], cwd=tmp_path).returncode == 0


def test_nothing_of_the_test_is_changed(tmp_path: Path) -> None:
    def all_there_is() -> tuple[Any, ...]:
        return os.getcwd(), dict(os.environ), sys.stdout, sys.stdin, signal.getsignal(signal.SIGUSR1)  # noqa: PTH109

    before = all_there_is()
    call(["list"], env={"STATE_DIRECTORY": str(tmp_path)}, cwd=tmp_path)
    assert all_there_is() == before


def test_what_would_become_another_program_is_a_process(tmp_path: Path) -> None:
    environ = os.environ | {"STATE_DIRECTORY": str(tmp_path)}
    assert call(["run", "no.toml"], env=environ, cwd=tmp_path).returncode == 2
