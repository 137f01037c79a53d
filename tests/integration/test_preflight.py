"""What jobs need and is not there, as `taskman check` tells it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from taskman_cli.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Check = Callable[..., list[str]] if TYPE_CHECKING else object


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Check a text; return line, name and message of each finding."""

    def run(text: str) -> list[str]:
        path = tmp_path / "jobs.toml"
        path.write_text(text)
        assert main(["check", "--json", "--state-dir", str(tmp_path / "state"), str(path)]) == 0
        found = json.loads(capsys.readouterr().out)["warnings"]
        return [f"{one['line']} {one['name']}: {one['message']}" for one in found]

    return run


def job(more: str, command: str = "'true'", name: str = "a") -> str:
    return f"[jobs.{name}]\nevery = '1h'\ncommand = {command}\n{more}\n"


def test_a_directory_that_is_not_there(check: Check, tmp_path: Path) -> None:
    message = f'4 no-such-cwd: there is no directory "{tmp_path}/work"'
    assert check(job("cwd = 'work'")) == [message]
    assert check(job("cwd = 'work'", "['./run']")) == [message]  # and not that what is in it is not there
    (tmp_path / "work").mkdir()
    assert check(job("cwd = 'work'")) == []


def test_a_file_in_the_place_of_a_directory(check: Check, tmp_path: Path) -> None:
    (tmp_path / "work").touch()
    assert check(job("cwd = 'work'")) == [f'4 no-such-cwd: "{tmp_path}/work" is not a directory']


def test_a_finding_in_the_defaults_is_reported_once_and_there(check: Check) -> None:
    found = check("[defaults]\nshell = '/no/zsh'\n" + job("") + job("", name="b"))
    assert found == ['2 no-such-shell: "/no/zsh" is not a program that can be run']


def test_a_key_of_a_task_is_shown_there(check: Check) -> None:
    tasks = "[jobs.a.tasks.x]\ncommand = 'true'\ncwd = '/no'\n[jobs.a.tasks.y]\ncommand = 'true'\n"
    text = f"[jobs.a]\nevery = '1h'\n{tasks}"
    assert check(text) == ['5 no-such-cwd: there is no directory "/no"']


def test_an_env_file_that_cannot_be_used(check: Check, tmp_path: Path) -> None:
    words = f"cannot read env_file {tmp_path}/x.env: No such file or directory"
    assert check(job("env_file = ['x.env']")) == [f"4 no-such-env-file: {words}"]
    (tmp_path / "x.env").write_text("A=1\nsecret")
    words = f"env_file {tmp_path}/x.env, line 2: not of the form NAME=value"
    assert check(job("env_file = ['x.env']")) == [f"4 no-such-env-file: {words}"]


def test_a_comment_allows_it(check: Check) -> None:
    assert check(job("cwd = '/no'  # taskman: allow no-such-cwd")) == []


@pytest.mark.parametrize("maker", ["'mkdir -p /no/work && x'", "['install', '-d', '/no/work']"])
def test_what_the_command_of_another_task_names_may_be_made_there(check: Check, maker: str) -> None:
    found = check(job("cwd = '/no/work'") + job("", maker, name="b"))
    assert [one for one in found if "no-such-cwd" in one] == []
    found = check(job("cwd = '/no/wor'") + job("", maker, name="b"))
    assert len([one for one in found if "no-such-cwd" in one]) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has jobs of other users")
@pytest.mark.parametrize("program", ["/no/backup", "./backup"])
def test_two_commands_of_one_program_make_it_for_neither(check: Check, program: str) -> None:
    found = check(job("", f"'{program} daily'") + job("", f"['{program}', 'weekly']", name="b"))
    words = f'no-such-program: "{program}" is not a program that can be run'
    assert found == [f"3 {words}", f"7 {words}"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run commands as another user")
def test_what_another_user_may_not_use(check: Check, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    program = closed / "run"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = job(f"user = 'nobody'\ncwd = '{closed}'")
    assert check(text) == [f'5 no-such-cwd: nobody has no access to "{closed}"']
    found = check(job("user = 'nobody'\ncwd = '/'", f"['{program}']"))
    assert found == [f'3 no-such-program: "{program}" is not a program that nobody can run']
    assert check(job(f"cwd = '{closed}'", "['./run']")) == []
