"""The tab key in real shells, on a terminal: what it inserts, what it lists, and that it never hangs.

A shell that is not installed is skipped.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from e2e.running import TASKMAN, Running
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

JOBS = """
[jobs.backup]
cron = "30 2 * * *"
command = "true"
description = "nightly copy"
tags = ["two words", "a:b", "it's"]
[jobs.probe]
every = "1h"
tasks = { api = "true", database = "true" }
[jobs.vacuum]
cron = "0 4 * * SUN"
command = "true"
"""
#: How each shell is started without the files of the user, with a prompt that the test can wait for.
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
PROMPT = {
    "bash": "PS1='%%'; bind 'set enable-bracketed-paste off'; bind 'set page-completions off'\n",
    "zsh": "PROMPT='%%%%'; unsetopt zle_bracketed_paste 2>/dev/null; LISTMAX=1000\n",
    "fish": "function fish_prompt; printf '%%%%'; end; set -g fish_autosuggestion_enabled 0\n",
}
LOAD = {
    "bash": 'eval "$(taskman completion bash)"\n',
    "zsh": 'eval "$(taskman completion zsh)"\n',
    "fish": "taskman completion fish | source\n",
}
#: A completion that takes more than two seconds, on a busy machine, is given up: so often it is asked for.
TRIES = 4


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, name: str, directory: Path, state: Path) -> None:
        self.name = name
        self.fd, theirs = os.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
        env = {
            "PATH": f"{os.path.dirname(TASKMAN)}:/usr/bin:/bin",  # noqa: PTH120
            "HOME": str(directory),
            "STATE_DIRECTORY": str(state),
            "TERM": "vt100" if name == "fish" else "dumb",
            "LANG": "C.UTF-8",
            "HISTFILE": "",
        }
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *SHELLS[name]],
            cwd=directory, env=env, stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        os.set_blocking(self.fd, False)
        self._raw = b""
        # What is typed before there is a prompt may be thrown away.
        self._expect(r"[#$%>] ", f"the prompt of {name}")
        for number, line in enumerate((PROMPT[name], LOAD[name])):
            self.type(f"{line}echo load''ed{number}\n")
            self._expect(rf"loaded{number}\s.*%", f"{name} to be ready")

    def _expect(self, pattern: str, what: str, *, timeout_s: float = 60) -> None:
        """Wait until the screen has something."""
        wait_until(
            lambda: re.search(pattern, self.text, re.DOTALL),
            timeout_s=timeout_s,
            what=lambda: f"{what}: {self.text!r}",
        )

    @property
    def text(self) -> str:
        """Return what was written by now, without escape sequences.

        It is read here, not in a thread: that could outlive this shell, and read what the next one writes.
        """
        with suppress(OSError):
            while data := os.read(self.fd, 65536):
                self._raw += data
        return re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>78])", "", self._raw.decode(errors="replace"))

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.fd, keys.encode())

    def run(self, line: str) -> str:
        """Complete a line, enter it, and return what the screen shows once that has ended."""
        self._raw = b""
        mark = f"end{len(line)}"
        self.type(f"{line}\t")
        self.type(f"\nprintf '<%s>' {mark[:3]}'{mark[3:]}'\n")
        wait_until(lambda: f"<{mark}>" in self.text, what=lambda: f"the end of {line!r}: {self.text!r}")
        return self.text

    def list(self, line: str, until: str) -> str:
        """Press tab twice after a line, and return the screen once it has a text.

        The tabs are pressed again if nothing comes of them.
        """
        self._raw = b""
        self.type(line)
        for tries_left in reversed(range(TRIES)):
            self.type("\t\t")
            try:
                self._expect(re.escape(until), f"{until!r} after {line!r}", timeout_s=10)
                break
            except AssertionError:
                if not tries_left:
                    raise
        text = self.text
        self.type("\x15")  # forget the line
        return text

    def close(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.fd)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("completion"), JOBS) as running:
        running.wait_for_log("3 jobs from")
        for words in (["pause", "vacuum", "--reason", "disk swap"], ["remove", "probe.api"]):
            subprocess.run([TASKMAN, *words], check=True, env=running.env, stdout=subprocess.DEVNULL)
        yield running


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, running: Running, tmp_path: Path) -> Iterator[Shell]:
    """A shell in an empty directory."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    shell = Shell(request.param, tmp_path, running.directory / "state")
    yield shell
    shell.close()


@pytest.fixture
def arguments(shell: Shell, tmp_path: Path) -> Callable[[str], list[str]]:
    """Complete a command line with one tab, and return the arguments that taskman would get."""
    program = tmp_path / "bin" / "taskman"
    program.parent.mkdir()
    # It completes as the real one does; otherwise it records its arguments.
    program.write_text(
        f'#!/bin/sh\n[ -n "$_TASKMAN_COMPLETE" ] && exec {TASKMAN} "$@"\n'
        f'exec {sys.executable} -c \'import json, sys; open("{tmp_path}/called", "a")'
        '.write(json.dumps(sys.argv[1:]) + "\\n")\' "$@"\n'
    )
    program.chmod(0o755)
    shell.type(
        f"set -gx PATH {program.parent} $PATH\n" if shell.name == "fish" else f"PATH={program.parent}:$PATH\n"
    )

    def complete(line: str) -> list[str]:
        typed = words = line.split()[1:]
        for _ in range(TRIES):
            if words == typed:
                shell.run(line)
                words = list(map(str, json.loads((tmp_path / "called").read_text().splitlines()[-1])))
        return words

    return complete


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("taskman show bac", ["show", "backup"], id="a job"),
        pytest.param("taskman sho", ["show"], id="a command"),
        pytest.param("taskman trigger probe.d", ["trigger", "probe.database"], id="a task"),
        pytest.param("taskman resume ", ["resume", "vacuum"], id="the paused job"),
        pytest.param("taskman restore ", ["restore", "probe"], id="what was removed"),
        pytest.param("taskman list --state dis", ["list", "--state", "disabled"], id="a state"),
        pytest.param("taskman list --state=dis", ["list", "--state=disabled"], id="a state after ="),
        pytest.param(
            "taskman next --timezone Europe/Stock", ["next", "--timezone", "Europe/Stockholm"], id="a zone"
        ),
        pytest.param("taskman list --tag two", ["list", "--tag", "two words"], id="a tag with a blank"),
        pytest.param("taskman list --tag a", ["list", "--tag", "a:b"], id="a tag with a colon"),
        pytest.param("taskman list --tag a:", ["list", "--tag", "a:b"], id="after the colon"),
        pytest.param("taskman list --tag it", ["list", "--tag", "it's"], id="a tag with a quote"),
        pytest.param("taskman rm bac", ["rm", "backup"], id="after a short name"),
        pytest.param("taskman check job", ["check", "jobs of mine.toml"], id="a file with blanks"),
        pytest.param("taskman run --state-dir dir", ["run", "--state-dir", "directory"], id="a directory"),
        pytest.param("taskman once --cwd=dir", ["once", "--cwd=directory"], id="a directory after ="),
        pytest.param("taskman check odd", ["check", "odd:name"], id="a file with a colon"),
    ],
)
def test_one_tab_completes(
    line: str, words: list[str], arguments: Callable[[str], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "jobs of mine.toml").touch()
    (tmp_path / "odd:name").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "dirt").touch()
    # zsh takes the slash after a directory away again when the line is entered.
    assert [word.rstrip("/") for word in arguments(line)] == words


@pytest.mark.parametrize(
    ("line", "name", "about"),
    [
        pytest.param("taskman show ", "backup", "nightly copy (30 2 * * *)", id="jobs"),
        pytest.param("taskman pause ", "probe", "every 1h", id="jobs to pause"),
        pytest.param("taskman re", "restart", "Restart the scheduler without", id="commands"),
        pytest.param("taskman history --state ", "timed_out", "was ended by its timeout", id="states"),
        pytest.param("taskman cancel --signal T", "TERM", "Terminated", id="signals"),
        pytest.param("taskman next --timezone Asia/K", "Asia/Kolkata", "UTC+0530", id="zones"),
    ],
)
def test_two_tabs_list_names_with_their_descriptions(line: str, name: str, about: str, shell: Shell) -> None:
    screen = shell.list(line, about)
    assert re.search(rf"{re.escape(name)}\s.*{re.escape(about)}", screen), screen


def test_a_stopped_scheduler_does_not_hang_the_shell(
    arguments: Callable[[str], list[str]], running: Running
) -> None:
    pid = running.scheduler_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        # The names come from the ledger then.
        assert arguments("taskman show bac") == ["show", "backup"]
    finally:
        os.kill(pid, signal.SIGCONT)


def test_without_a_ledger_nothing_is_said(shell: Shell, tmp_path: Path) -> None:
    if shell.name == "fish":
        shell.type(f"set -gx STATE_DIRECTORY {tmp_path}/nowhere\n")
    else:
        shell.type(f"export STATE_DIRECTORY={tmp_path}/nowhere\n")
    screen = shell.run("taskman show bac")
    assert "Traceback" not in screen
    assert "taskman: " not in screen.partition("show bac")[0]
