"""Every command's `--help` ends with examples, and each of them works as it stands.

One scheduler runs for all that need one. Examples that need no shell run in this process: that is quicker.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from e2e.running import Running
from wait import wait_until

from taskman_cli.__main__ import main
from taskman_cli.cli.app import COMMANDS, app
from taskman_cli.cli.options.command import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: `backup` can be made to take long.
JOBS = """\
[jobs.backup]
cron = "30 2 * * *"
command = "sleep ${SLEEP:-0}"
"""
MORE_JOBS = """
[jobs.web]
every = "1h"
command = "true"
tags = ["web"]
sinks = ["ops"]

[jobs.checks]
every = "1h"
tasks = { disk = "sleep ${SLEEP:-0}", load = "true" }

[sinks.ops]
type = "file"
path = "ops.jsonl"
on = ["all"]

[taskman]
include = ["jobs.d/*.toml"]
"""
#: They need job files at most, and no scheduler.
WITHOUT_SCHEDULER = {
    "run",
    "next",
    "init",
    "check",
    "explain",
    "simulate",
    "import",
    "export",
    "schema",
    "unit",
    "completion",
    "help",
}
#: They end only on Ctrl-C.
ENDLESS = ("taskman run ", "taskman events -f")
#: What has to be so before an example can work.
BEFORE = {
    "cancel": ["taskman trigger --force --env SLEEP=60 {job}"],
    "restore": ["taskman remove backup"],
    "remove": ["taskman show extra || taskman add extra --every 1h true"],
    "salvage": ["rm -f ledger.db.broken-1764300000; taskman backup ledger.db.broken-1764300000"],
    "init": ["rm jobs.toml"],
    "simulate": ["cp jobs.toml new.toml"],
    "sinks": ["taskman trigger --wait web"],
}
#: What takes back what an example did.
AFTER = {
    "pause": ["taskman resume --all"],
    "remove": ["taskman restore"],
    "trigger": ["taskman wait backup"],
}


def command_of(name: str) -> Command:
    command = app.get_command(click.Context(app), name)
    assert isinstance(command, Command)
    return command


EXAMPLES = [(name, example) for name in COMMANDS for example in command_of(name).examples]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all that examples name: job files, crontabs, a home, and programs."""
    place = tmp_path_factory.mktemp("examples")
    for name in ("bin", "jobs.d", "home/.config/fish/completions"):
        (place / name).mkdir(parents=True)
    (place / "bin" / "taskman").symlink_to(Path(sys.executable).with_name("taskman"))
    (place / "bin" / "crontab").write_text("#!/bin/sh\necho '30 2 * * * echo done'\n")
    (place / "bin" / "crontab").chmod(0o755)
    user = pwd.getpwuid(os.geteuid()).pw_name
    (place / "etc-crontab").write_text(f"17 * * * * {user} run-parts /etc/cron.hourly\n")
    (place / "backup.timer").write_text("[Timer]\nOnCalendar=daily\n")
    (place / "backup.service").write_text("[Service]\nExecStart=/bin/true\n")
    (place / "night.toml").write_text(JOBS)
    return place


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same directory, as the current one, with its home and programs."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(place / "home"))
    monkeypatch.setenv("PATH", f"{place / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("STATE_DIRECTORY", str(place / "state"))
    return place


@pytest.fixture(scope="module")
def start(place: Path) -> Iterator[Callable[[], None]]:
    """Have the scheduler of all examples run, with a run of `backup` on record."""
    started: list[Running] = []

    def start() -> None:
        if not started or started[-1].process.poll() is not None:
            started.append(Running(place, JOBS + MORE_JOBS))
            wait_until(lambda: main(["status"]) == 0)
            enter("taskman trigger backup --wait")

    yield start
    for running in started:
        running.__exit__(None, None, None)


def enter(line: str) -> None:
    """Run a command line as a shell would, which has to succeed."""
    words = shlex.split(line)
    if words[0] == "taskman" and words[1] != "test" and not set("|&<>$;~") & set(line):
        assert main(words[1:]) == 0
        return
    result = subprocess.run(["bash", "-c", line], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


def enter_until_ctrl_c(line: str) -> None:
    """Run a command line until it has printed something, then press Ctrl-C."""
    with subprocess.Popen(
        ["bash", "-c", f"exec {line}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert "Usage" not in first
    assert "Traceback" not in rest
    assert process.returncode in (0, 130), first + rest


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_ends_with_two_or_three_examples_that_fit_the_screen(name: str) -> None:
    command = command_of(name)
    help_text = command.get_help(click.Context(command, info_name=f"taskman {name}"))
    lines = help_text.partition("\nExamples:\n")[2].splitlines()
    assert [line.split("  #")[0].strip() for line in lines] == list(command.examples)
    assert len(command.examples) in (2, 3)
    assert max(map(len, lines)) <= 79
    assert [example for example in command.examples if f"taskman {name}" not in example] == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[example for _, example in EXAMPLES])
def test_an_example_works_as_it_stands(
    name: str, example: str, here: Path, start: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in WITHOUT_SCHEDULER:
        (here / "jobs.toml").write_text(JOBS)
    else:
        start()
        (here / "jobs.toml").write_text(JOBS + MORE_JOBS)
    for line in BEFORE.get(name, ()):
        enter(line.format(job=example.split()[-1].partition(".")[0]))
    line = example.replace("/etc/crontab", "etc-crontab").replace("/etc/taskman/jobs.toml", "jobs.toml")
    if name == "unit" and os.geteuid() != 0:  # root would not run what belongs to us
        line = line.replace("unit", "unit --user", 1)
    if name == "run":
        monkeypatch.setenv("STATE_DIRECTORY", str(here / "state of run"))
    if line.startswith(ENDLESS):
        enter_until_ctrl_c(line)
    elif name == "doctor":
        assert main(shlex.split(line)[1:]) in (0, 1)  # this machine may fail a check
    else:
        enter(line)
    for line in AFTER.get(name, ()):
        enter(line)
