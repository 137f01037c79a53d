"""No command shows what would steer a terminal, whatever it is given: generated from the tree of commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from taskman_cli.__main__ import main
from taskman_cli.cli.app import COMMANDS, app

if TYPE_CHECKING:
    from collections.abc import Iterator

EVIL = "evil\x1b]0;title\x07\x1b[31m\x9b\u202e\rx"

#: They become another process, or run what they are given.
_LEFT_OUT = {
    ("run", "files"), ("run", "user_crontabs"), ("run", "state_dir"),
    ("once", "words"), ("once", "state_dir"),
}  # fmt: skip


def command(name: str) -> click.Command:
    found = app.get_command(click.Context(app), name)
    assert found is not None
    return found


def parameters() -> Iterator[tuple[str, str]]:
    for name in COMMANDS:
        for parameter in command(name).params:
            is_flag = isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count)
            if not is_flag and (name, parameter.name) not in _LEFT_OUT:
                yield name, str(parameter.name)


def arguments(name: str, wanted: str, jobs: Path) -> list[str]:
    """Give the evil text to one parameter of a command, and what is needed to the others."""
    words, positional = [name], []
    for parameter in command(name).params:
        if parameter.name == wanted:
            if isinstance(parameter, click.Option):
                words += [parameter.opts[-1], EVIL]
            else:
                positional.append(EVIL)
        elif isinstance(parameter, click.Argument) and (parameter.required or parameter.name == "files"):
            positional.append(str(jobs) if parameter.name in ("file", "files") else "job")
    return [*words, *positional]


@pytest.mark.parametrize(("name", "parameter"), [*parameters()])
def test_what_is_given_to_a_command_is_shown_with_its_escapes_written_out(
    name: str,
    parameter: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    jobs = tmp_path / "jobs.toml"
    jobs.write_text('[jobs.job]\nevery = "1h"\ncommand = "true"\n')
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        main(arguments(name, parameter, jobs))
    out, err = capsys.readouterr()
    assert [line for line in (out + err).split("\n") if not line.replace("\t", "").isprintable()] == []


@pytest.mark.parametrize("name", ["check", "next", "explain", "export", "import", "test"])
def test_what_stands_in_a_job_file_or_in_its_path_is_shown_so_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    directory = tmp_path / EVIL
    directory.mkdir()
    path = directory / "jobs.toml"
    text = r"""[jobs.job]
every = "1h"
command = "true \u001b[31m"
description = "\u001b[31m"
env = { A = "\u001b[31m" }
tags = ["\u009b"]
"""
    path.write_text(text)
    words = [name, *(["job"] if name in ("explain", "test") else []), str(path)]
    main([*words, "--crontab"] if name == "export" else words)
    path.write_text(f"{text}cwd = 1\n'\\u001b' = 2\n\x1b")
    main([*words, "--crontab"] if name == "export" else words)
    out, err = capsys.readouterr()
    # A crontab is data: it has the command as it is.
    shown = err if name == "export" else out + err
    assert [line for line in shown.split("\n") if not line.replace("\t", "").isprintable()] == []


@pytest.mark.parametrize("option", [[], ["--user-crontab"], ["--state-dir", "state", "--trust"]], ids=str)
def test_run_shows_it_so_too(option: list[str], tmp_path: Path) -> None:
    run = [sys.executable, "-m", "taskman_cli", "run", "--for", "1ms", *option, EVIL]
    environ = os.environ | {"STATE_DIRECTORY": str(tmp_path / "state")}
    done = subprocess.run(
        run, check=False, capture_output=True, timeout=60, cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 2
    assert [line for line in (done.stdout + done.stderr).decode().split("\n") if not line.isprintable()] == []
