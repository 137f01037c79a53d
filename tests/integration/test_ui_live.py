"""The live view on a real pseudo-terminal: read, stuck, stopped and gone."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import termios
import threading
import time
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

import pytest

from taskman_cli.core.clock import Now
from taskman_cli.core.engine.view import Counters, QueueRow, Snapshot
from taskman_cli.ui import terminal
from taskman_cli.ui.live import _GATHER_S, LOG_LINES_MOST, LiveView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HIDE_CURSOR, SHOW_CURSOR, SAVE_CURSOR = b"\x1b[?25l", b"\x1b[?25h", b"\x1b7"
DEADLINE_S = 20

SNAPSHOT = Snapshot(
    now=Now(wall_ns=0, elapsed_ns=0),
    started_ns=0,
    jobs=1,
    max_workers=4,
    queue=(QueueRow("first-job", 0, 0),),
    workers=(),
    ready=0,
    waiting_retries=0,
    recent=(),
    counters=Counters(),
)


def with_job(name: str) -> Snapshot:
    return replace(SNAPSHOT, queue=(QueueRow(name, 0, 0),))


class Pty:
    """A pseudo-terminal: we sit at its master, the view writes to its slave."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self.output = b""

    def read_until(self, wanted: bytes) -> bytes:
        """Return all output up to now, once it has what is wanted."""
        end = time.monotonic() + DEADLINE_S
        while wanted not in self.output:
            left = end - time.monotonic()
            assert select.select([self.master], [], [], max(left, 0))[0], f"no {wanted!r} in {self.output!r}"
            self.output += os.read(self.master, 1 << 16)
        return self.output

    def read_rest(self) -> bytes:
        """Return all output, with what was written before this call."""
        while select.select([self.master], [], [], 0)[0]:
            self.output += os.read(self.master, 1 << 16)
        return self.output

    def text(self) -> str:
        """Return all output, without colours."""
        return re.sub(r"\x1b\[[\d;]*m", "", self.read_rest().decode())

    def hang_up(self) -> None:
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


@pytest.fixture
def pty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pty]:
    monkeypatch.setenv("TERM", "xterm-256color")
    pty = Pty()
    yield pty
    pty.hang_up()
    pty.stream.close()


@pytest.fixture
def view(pty: Pty) -> Iterator[LiveView]:
    view = LiveView(stream=pty.stream, timezone=UTC)
    view.start()
    yield view
    view.close()
    pty.hang_up()
    wait_until(lambda: not drawing())


def drawing() -> bool:
    return any(thread.name == "live view" for thread in threading.enumerate())


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        select.select([], [], [], 0.01)


def seconds_to_close(view: LiveView) -> float:
    start = time.monotonic()
    view.close()
    return time.monotonic() - start


def fill(view: LiveView) -> None:
    """Print more than any terminal holds that nobody reads."""
    for _ in range(LOG_LINES_MOST):
        view.print("x" * 4_000)


def test_snapshots_are_drawn_and_the_cursor_comes_back(pty: Pty, view: LiveView) -> None:
    view.update(with_job("first-job"))
    assert HIDE_CURSOR in pty.read_until(b"first-job")
    view.update(with_job("second-job"))
    assert SHOW_CURSOR not in pty.read_until(b"second-job")
    view.print("a line of the log")
    pty.read_until(b"a line of the log")
    view.close()
    assert pty.read_rest().endswith(SHOW_CURSOR)
    assert not drawing()


def test_many_log_lines_are_not_as_many_frames(pty: Pty, view: LiveView) -> None:
    view.update(SNAPSHOT)
    pty.read_until(b"first-job")
    begun, drawn = time.monotonic(), pty.output.count(SAVE_CURSOR)
    for number in range(200):
        view.print(f"line {number}")
        pty.read_rest()
    view.print("the last line")
    output = pty.read_until(b"the last line")
    frames, passed_s = output.count(SAVE_CURSOR) - drawn, time.monotonic() - begun
    # The first comes at once, and another may be under way.
    assert frames <= passed_s / _GATHER_S + 2
    assert [number for number in range(200) if f"line {number}".encode() not in output] == []


def test_the_view_knows_how_many_lines_its_terminal_has(pty: Pty, view: LiveView) -> None:
    view.update(SNAPSHOT)
    pty.read_until(b"first-job")
    assert view.lines == 24


def test_what_came_just_before_the_end_is_still_drawn(pty: Pty, view: LiveView) -> None:
    view.update(with_job("last-job"))
    view.print("last words")
    view.close()
    output = pty.read_rest()
    assert b"last-job" in output
    assert b"last words" in output


def test_a_view_can_end_before_it_began(pty: Pty) -> None:
    view = LiveView(stream=pty.stream, timezone=UTC)
    view.close()
    view.start()
    view.close()
    view.close()
    assert pty.read_rest() == b"\x1b[?7h" + SHOW_CURSOR


def test_the_size_is_asked_for_at_each_draw(pty: Pty, view: LiveView) -> None:
    view.update(with_job("narrow"))
    pty.read_until(b"narrow")
    termios.tcsetwinsize(pty.stream, (40, 132))
    view.update(with_job("wide"))
    pty.read_until(b"wide")
    view.close()
    assert "╭─ Queue " + "─" * 36 + " UTC ─╮ ╭─ Recent results " in pty.text()


def test_a_terminal_without_a_size_is_taken_for_80_by_24(pty: Pty, view: LiveView) -> None:
    termios.tcsetwinsize(pty.stream, (0, 0))
    view.update(SNAPSHOT)
    view.close()
    assert "╰" + "─" * 78 + "╯" in pty.text()


def test_a_terminal_that_is_gone_ends_the_drawing_quietly(
    pty: Pty, view: LiveView, capfd: pytest.CaptureFixture[str]
) -> None:
    view.update(SNAPSHOT)
    pty.read_until(b"first-job")
    pty.hang_up()
    view.update(SNAPSHOT)
    wait_until(lambda: not drawing())
    view.update(SNAPSHOT)
    fill(view)
    view.print("one too many")
    view.close()
    assert capfd.readouterr().err == ""


def test_a_terminal_that_nobody_reads_holds_nobody_up(pty: Pty, view: LiveView) -> None:
    view.update(SNAPSHOT)
    for _ in range(3):
        fill(view)
        view.update(SNAPSHOT)
    assert seconds_to_close(view) < DEADLINE_S
    wait_until(lambda: not drawing())


def test_a_terminal_that_cannot_be_opened_again_holds_only_the_thread_up(
    pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    view = LiveView(stream=pty.stream, timezone=UTC)
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        view.start()
    fill(view)
    view.update(SNAPSHOT)
    pty.read_until(b"x")
    assert seconds_to_close(view) < DEADLINE_S
    assert drawing()
    pty.hang_up()
    wait_until(lambda: not drawing())


def test_a_terminal_stopped_with_ctrl_s_goes_on_where_it_was(pty: Pty, view: LiveView) -> None:
    view.update(with_job("before"))
    pty.read_until(b"before")
    termios.tcflow(pty.stream.fileno(), termios.TCOOFF)
    for n in range(50):
        view.update(with_job(f"stopped-{n}"))
    termios.tcflow(pty.stream.fileno(), termios.TCOON)
    pty.read_until(b"stopped-49")
    view.close()
    assert pty.read_rest().endswith(SHOW_CURSOR)


def test_a_terminal_stopped_with_ctrl_s_holds_no_end_up(pty: Pty, view: LiveView) -> None:
    view.update(with_job("before"))
    pty.read_until(b"before")
    termios.tcflow(pty.stream.fileno(), termios.TCOOFF)
    view.update(with_job("unseen"))
    assert seconds_to_close(view) < DEADLINE_S
    wait_until(lambda: not drawing())


def test_log_lines_over_the_bound_are_counted(pty: Pty) -> None:
    view = LiveView(stream=pty.stream, timezone=UTC)
    for n in range(LOG_LINES_MOST + 1_234):
        view.print(f"line {n}.")
    view.start()
    output = pty.read_until("… 1,234 log lines left out".encode())
    view.close()
    assert f"line {LOG_LINES_MOST - 1}.".encode() in output
    assert f"line {LOG_LINES_MOST}.".encode() not in output


def test_the_settings_of_the_terminal_are_left_alone(pty: Pty, view: LiveView) -> None:
    before = termios.tcgetattr(pty.stream), os.get_blocking(pty.stream.fileno())
    view.update(SNAPSHOT)
    pty.read_until(b"first-job")
    assert before == (termios.tcgetattr(pty.stream), os.get_blocking(pty.stream.fileno()))
    view.close()
    assert before == (termios.tcgetattr(pty.stream), os.get_blocking(pty.stream.fileno()))


def test_a_stream_without_cursor_movement_gets_the_last_frame_only(
    pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    view = LiveView(stream=pty.stream, timezone=UTC)
    view.start()
    view.update(with_job("early"))
    view.print("log")
    pty.read_until(b"log")
    view.update(with_job("late"))
    view.close()
    output = pty.read_rest()
    assert b"\x1b" not in output
    assert b"early" not in output
    assert b"late" in output


def test_a_file_gets_log_lines_and_the_last_frame_after_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "output"
    with path.open("w", encoding="utf-8") as stream:
        stream.write("before\n")
        stream.flush()
        view = LiveView(stream=stream, timezone=UTC)
        view.start()
        view.print("log")
        view.update(SNAPSHOT)
        view.close()
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["before", "log"]
    assert lines[2].startswith(" taskman   ● running")


@pytest.mark.parametrize(
    ("term", "encoding", "moves", "glyphs"),
    [
        ("xterm-256color", "utf-8", True, True),
        ("xterm", "latin-1", True, False),
        ("linux", "utf-8", True, False),
        ("dumb", "utf-8", False, False),
        ("", "utf-8", False, True),
    ],
)
def test_what_a_terminal_can_do_is_read_off_its_type_and_encoding(
    pty: Pty, monkeypatch: pytest.MonkeyPatch, *, term: str, encoding: str, moves: bool, glyphs: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    pty.stream.reconfigure(encoding=encoding)
    assert (terminal.can_draw(pty.stream), terminal.has_glyphs(pty.stream)) == (moves, glyphs)


def test_a_pipe_and_a_closed_stream_cannot_be_drawn_on(pty: Pty) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w") as stream:
        assert not terminal.can_draw(stream)
    assert not terminal.can_draw(stream)


PROGRAM = """
import os, sys
from datetime import UTC
from taskman_cli.core.clock import Now
from taskman_cli.core.engine.view import Counters, Snapshot
from taskman_cli.ui.live import LiveView

view = LiveView(stream=sys.stdout, timezone=UTC)
view.start()
view.update(Snapshot(Now(0, 0), 0, 1, 4, (), (), 0, 0, (), Counters()))
"""


def test_a_program_that_falls_over_still_gives_the_cursor_back(pty: Pty) -> None:
    program = PROGRAM + "raise SystemExit(3)"
    assert subprocess.run([sys.executable, "-c", program], stdout=pty.stream, check=False).returncode == 3
    output = pty.read_rest()
    assert HIDE_CURSOR in output
    assert output.endswith(SHOW_CURSOR)


#: Makes the terminal its own, tells it to stop writers in the background, and runs the program as one.
IN_BACKGROUND = """
import fcntl, os, subprocess, sys, termios
fcntl.ioctl(1, termios.TIOCSCTTY, 0)
settings = termios.tcgetattr(1)
settings[3] |= termios.TOSTOP
termios.tcsetattr(1, termios.TCSANOW, settings)
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], process_group=0)
_, status = os.waitpid(child.pid, os.WUNTRACED)
if os.WIFSTOPPED(status):
    child.kill()
    child.wait()
    sys.exit("it was stopped")
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_process_in_the_background_of_the_terminal_is_not_stopped(pty: Pty) -> None:
    command = [sys.executable, "-c", IN_BACKGROUND, PROGRAM + "view.close()"]
    done = subprocess.run(
        command, stdout=pty.stream, stderr=subprocess.PIPE, start_new_session=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert pty.read_rest().endswith(SHOW_CURSOR)


@pytest.mark.usefixtures("no_threads")
def test_a_view_that_gets_no_thread_says_so_and_can_be_closed() -> None:
    pty = Pty()
    view = LiveView(stream=pty.stream, timezone=UTC)
    with pytest.raises(RuntimeError):
        view.start()
    view.close()
    pty.stream.close()
    os.close(pty.master)
