"""`taskman run` on a terminal: the view, Ctrl-C, Ctrl-Z and a terminal that goes away."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import subprocess
import termios
import threading
from typing import TYPE_CHECKING

import pytest
from e2e.running import TASKMAN, is_scheduler
from process_table import children, descendants, is_alive, kill, kill_tree
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

JOBS = """
[jobs.heartbeat]
every = "200ms"
command = "echo >> beats"
[jobs.long]
every = "1h"
run_on_start = true
command = "echo $$ > pid; sleep 600"
"""


class Terminal:
    """A terminal with `taskman run` in its foreground."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        columns: int = 80,
        jobs: str = JOBS,
        program: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        (directory / "jobs.toml").write_text(jobs)
        self.fd, theirs = os.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        # setsid(1) makes the terminal the controlling one and becomes taskman.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *(program or (TASKMAN, "run", "jobs.toml", *options))],
            cwd=directory,
            env=os.environ | {"STATE_DIRECTORY": str(directory / "state"), "TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.pid = self.process.pid
        self.screen = b""
        self._is_hung_up = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while not self._is_hung_up and (data := os.read(self.fd, 65536)):
                self.screen += data
        except OSError:
            return

    @property
    def text(self) -> str:
        """Return all that was written so far, without the escape sequences."""
        return re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|[78])", "", self.screen.decode(errors="replace"))

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.fd, keys)

    def wait_for(self, text: str) -> None:
        """Wait until a text has appeared."""
        wait_until(lambda: text in self.text, what=f"{text!r} on the screen")

    def wait_for_file(self, name: str) -> str:
        """Wait until a command has written a file, and return its text."""
        path = self.directory / name
        return wait_until(lambda: path.exists() and path.read_text(), what=name) or ""

    @property
    def shows_keys(self) -> bool:
        """Tell if the terminal shows what is typed."""
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def end(self) -> int:
        """Wait for the program to leave and for all that it wrote, and return its exit code."""
        code = self.process.wait(30)
        self._reader.join(30)
        return code

    def close(self) -> None:
        """End whatever is left."""
        kill_tree(self.pid)
        self.process.wait()
        self._reader.join(5)
        if not self._is_hung_up:
            os.close(self.fd)

    def hang_up(self) -> None:
        """Close the terminal, as when its window is closed."""
        self._is_hung_up = True
        self._reader.join(5)
        os.close(self.fd)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path)
    yield opened
    opened.close()


def test_the_view_shows_queue_workers_results_and_counters(terminal: Terminal) -> None:
    terminal.wait_for("succeeded")
    for text in ("2 jobs", "Workers", "Queue", "Recent results", "heartbeat", "every 200ms", "sleep 600"):
        terminal.wait_for(text)
    terminal.type(b"\x03")
    assert terminal.end() == 0
    assert "stopped" in terminal.text
    assert terminal.screen.rstrip().endswith((b"\x1b[?25h", b"\x1b[0m", b"\x1b[?7h\x1b[?25h"))
    assert "Traceback" not in terminal.text


def test_ctrl_c_is_one_interrupt_and_not_two(terminal: Terminal) -> None:
    pid = int(terminal.wait_for_file("pid"))
    terminal.type(b"\x03")
    assert terminal.end() == 0
    assert not is_alive(pid)


def test_ctrl_z_without_a_shell_holds_nothing_up_for_long(terminal: Terminal) -> None:
    terminal.wait_for_file("beats")
    terminal.type(b"\x1a")
    beats = terminal.directory / "beats"
    before = len(beats.read_text())
    wait_until(lambda: len(beats.read_text()) > before + 8, timeout_s=30, what="more beats")
    terminal.type(b"\x03")
    assert terminal.end() == 0


def test_ctrl_z_gives_the_shell_its_prompt_and_fg_brings_the_view_back(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, program=["bash", "--norc", "--noprofile", "-i"])

    def wait_for_more(text: str, *, after: int, times: int = 1) -> None:
        wait_until(lambda: terminal.text[after:].count(text) >= times, timeout_s=30, what=f"more of {text!r}")

    try:
        terminal.type(f"PS1='prompt> '; {TASKMAN} run jobs.toml\n".encode())
        wait_for_more("Recent results", after=0)
        terminal.type(b"\x1a")
        wait_for_more("Stopped", after=0)
        begin = len(terminal.text)
        # Jobs go on, their lines come in the place of the view, and the shell hears what is typed.
        wait_for_more("heartbeat: succeeded", after=begin, times=3)
        terminal.type(b"echo pro''mpted; jobs\n")
        wait_for_more("prompted", after=begin)
        wait_for_more("Running", after=begin)
        assert "Recent results" not in terminal.text[begin:]
        begin = len(terminal.text)
        terminal.type(b"fg\n")
        wait_for_more("Recent results", after=begin)
        begin = len(terminal.text)
        terminal.type(b"\x03")
        wait_for_more("prompt> ", after=begin)
        assert "Traceback" not in terminal.text
        terminal.type(b"exit\n")
        assert terminal.end() == 0
    finally:
        terminal.close()


def test_stray_keys_are_neither_shown_nor_left_to_the_shell(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, program=["bash", "--norc", "--noprofile", "-i"])
    try:
        terminal.type(f"PS1='prompt> '; {TASKMAN} run jobs.toml\n".encode())
        terminal.wait_for("Recent results")
        for stray in (b"echo odd''ity\n", b"echo more\n" * 1000):
            wait_until(lambda: not terminal.shows_keys)
            frames = terminal.text.count("Recent results")
            terminal.type(stray)
            wait_until(lambda: terminal.text.count("Recent results") > frames + 2)  # noqa: B023 - used at once
        begin = len(terminal.text)
        terminal.type(b"\x1a")
        wait_until(lambda: "prompt> " in terminal.text[begin:])
        terminal.type(b"echo bet''ween; fg\n")
        wait_until(lambda: "between" in terminal.text[begin:] and "Recent results" in terminal.text[begin:])
        begin = len(terminal.text)
        wait_until(lambda: not terminal.shows_keys)
        terminal.type(b"hidden\n\x03")
        wait_until(lambda: "prompt> " in terminal.text[begin:])
        terminal.type(b"echo e''nd; exit\n")
        assert terminal.end() == 0
        assert [word for word in ("odd''ity", "oddity", "echo more", "hidden") if word in terminal.text] == []
    finally:
        terminal.close()


def test_a_scheduler_that_is_killed_leaves_a_terminal_that_shows_keys(terminal: Terminal) -> None:
    terminal.wait_for("Workers")
    wait_until(lambda: not terminal.shows_keys)
    # A command that is just being started looks like it, and is younger.
    scheduler = min(pid for pid in children(terminal.pid) if is_scheduler(pid))
    # The one after it takes the terminal again.
    kill(scheduler, signal.SIGKILL)
    terminal.wait_for("the scheduler died")
    frames = terminal.text.count("Workers")
    wait_until(lambda: terminal.text.count("Workers") > frames and not terminal.shows_keys)
    # A command that is just being started looks like it, and is younger.
    scheduler = min(pid for pid in children(terminal.pid) if is_scheduler(pid))
    kill(scheduler, signal.SIGSTOP)
    terminal.type(b"\x1c")
    terminal.end()
    assert terminal.shows_keys


def test_a_terminal_that_showed_no_keys_before_shows_none_afterwards(tmp_path: Path) -> None:
    script = f"stty -echo; {TASKMAN} run jobs.toml --for 1s; echo over; read line"
    terminal = Terminal(tmp_path, program=["sh", "-c", script])
    try:
        terminal.wait_for("over")
        assert not terminal.shows_keys
    finally:
        terminal.close()


def test_a_terminal_that_goes_away_stops_it(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    try:
        pid = int(terminal.wait_for_file("pid"))
        terminal.hang_up()
        assert terminal.end() == 0
        assert not is_alive(pid)
    finally:
        terminal.close()


def test_a_hang_up_by_hand_changes_nothing(terminal: Terminal) -> None:
    terminal.wait_for_file("beats")
    os.kill(terminal.pid, signal.SIGHUP)
    before = len((terminal.directory / "beats").read_text())
    wait_until(lambda: len((terminal.directory / "beats").read_text()) > before + 2, what="more beats")
    terminal.type(b"\x03")
    assert terminal.end() == 0


def test_output_that_is_inherited_is_not_drawn_over(tmp_path: Path) -> None:
    terminal = Terminal(
        tmp_path, "--for", "1s", jobs='[jobs.a]\nevery = "200ms"\noutput = "inherit"\ncommand = "echo seen"'
    )
    try:
        assert terminal.end() == 0
        assert terminal.text.count("seen") > 1
        assert "no live view, only log lines" in terminal.text
        assert "╭" not in terminal.text
    finally:
        terminal.close()


def test_no_live_logs_lines_on_a_terminal_too(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "--no-live", "-v", "--for", "1s")
    try:
        assert terminal.end() == 0
        assert "info    heartbeat: succeeded" in terminal.text
        assert "╭" not in terminal.text
    finally:
        terminal.close()


def test_json_lines_on_a_terminal_take_the_place_of_the_view(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "--log-format", "json", "-v", "--for", "1s")
    try:
        assert terminal.end() == 0
        assert '"message": "heartbeat: succeeded' in terminal.text
        assert "╭" not in terminal.text
    finally:
        terminal.close()


def test_the_line_about_a_dead_scheduler_stands_below_the_view(terminal: Terminal) -> None:
    terminal.wait_for("Workers")
    for pid in descendants(terminal.pid):
        if is_scheduler(pid):
            kill(pid, signal.SIGKILL)
    terminal.wait_for("the scheduler died")
    screen = terminal.screen.replace(b"\r\r", b"\r")
    assert re.search(rb"\x1b\[999;1H\r\n\x1b\[31m[0-9T:+-]+ error   the scheduler died", screen)
