"""Early starts that wait in the process of an executor: the real supervisor, and one that lines them up."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.supervisor_driver import NUMBERS, SchedulerEnd, Supervision, make_spec, sh, start_sleep
from process_table import children, command_line, status_of
from stand_in_executor import installed
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ARGV = [sys.executable, "-P", "-m", "taskman_cli.executors.process"]
SECOND_NS = 1_000_000_000
#: So that nothing goes back because the machine is busy.
PATIENT = {"EARLY_PATIENCE_NS": 3600 * SECOND_NS}


class Line:
    """A scheduler, and the line in which what it asks for waits."""

    def __init__(self, supervision: Supervision, directory: Path) -> None:
        self.supervision = supervision
        self.directory = directory
        self._asked = 0
        self.scheduler = self.greet()

    def greet(self, seats: int = 1) -> SchedulerEnd:
        self.scheduler = self.supervision.accept()
        self.scheduler.send(("seats", seats), ("configure", NUMBERS), self._executors())
        return self.scheduler

    def _executors(self) -> Any:
        definition = {
            "name": "line", "type": "line-up", "settings": {"directory": str(self.directory)},
            "max_workers": None, "lost_after_ns": 60 * SECOND_NS,
        }  # fmt: skip
        facts = {"instance": "", "ledger": "id", "state_directory": str(self.directory), "hidden": []}
        return "executors", {"line": {"argv": ARGV, "definition": definition, "facts": facts}}

    def start(self, key: str) -> None:
        """Start one with a seat, and wait until it runs."""
        self.scheduler.start(key, self.spec(key))
        self.scheduler.wait_for("started", key)

    def ask_early(self, *keys: str) -> None:
        self.scheduler.send(*(("start", key, b"meta", self.spec(key), True) for key in keys))

    def spec(self, key: str) -> dict[str, Any]:
        order = {"handle": key, "job": "job", "task": "main", "run": "run", "attempt": 1, "command": ""}
        return {"executor": "line", "order": order, "path": None, "max_output": 1000, "error": "too old"}

    def end(self, *keys: str) -> None:
        for key in keys:
            (self.directory / f"{key}.end").touch()

    def began(self) -> list[str]:
        return (self.directory / "began").read_text().split()

    def settle(self, runs: str = "a") -> None:
        """Wait until what was sent has reached the executor, while one runs."""
        self._asked += 1
        self.scheduler.signal(runs, 0)
        asked = self.directory / "asked"
        wait_until(lambda: asked.exists() and len(asked.read_text()) == self._asked, what="an answer")

    def wait_for_ends(self, *keys: str) -> None:
        for key in keys:
            assert self.scheduler.wait_for("ended", key)[2]["status"] == 0

    def helper(self) -> int:
        [pid] = (pid for pid in children(self.supervision.pid) if "executors.process" in command_line(pid))
        return pid


@pytest.fixture
def make_line(tmp_path: Path) -> Iterator[Callable[..., Line]]:
    made: list[Supervision] = []

    def make(**constants: int) -> Line:
        environ = installed(tmp_path / "plug", os.environ)
        made.append(Supervision(tmp_path, constants=constants or PATIENT, env=environ))
        return Line(made[0], tmp_path)

    yield make
    made[0].close()


@pytest.fixture
def line(make_line: Callable[..., Line]) -> Line:
    """A line with one attempt that runs, and the only seat."""
    line = make_line()
    line.start("a")
    return line


def test_each_begins_when_one_ends_though_nobody_here_has_heard_of_it(line: Line) -> None:
    line.ask_early("b", "c", "d")
    line.settle()
    os.kill(line.supervision.pid, signal.SIGSTOP)
    line.end("a", "b")
    wait_until(lambda: "c" in line.began(), what="the start of c")
    os.kill(line.supervision.pid, signal.SIGCONT)
    line.end("c", "d")
    line.wait_for_ends(*"abcd")
    assert line.began() == [*"abcd"]


def test_ends_are_told_together_while_there_is_more_to_do(make_line: Callable[..., Line]) -> None:
    line = make_line(**PATIENT, FEW_AHEAD=1, HOLD_NS=3600 * SECOND_NS)
    line.scheduler.start("a", line.spec("a"))
    wait_until(lambda: (line.directory / "began").exists(), what="the start of a")
    line.ask_early("b", "c", "d")
    line.settle()
    line.end("a")
    wait_until(lambda: "b" in line.began(), what="the start of b")
    line.settle("b")
    assert line.scheduler.find("ended", "a") is None
    line.end("b")
    line.wait_for_ends("a", "b")
    line.end("c", "d")
    line.wait_for_ends("c", "d")


def test_an_end_is_told_in_a_moment_though_there_is_more_to_do(make_line: Callable[..., Line]) -> None:
    line = make_line(**PATIENT, FEW_AHEAD=0)
    line.start("a")
    line.ask_early("b", "c", "d")
    line.settle()
    line.end("a")
    line.wait_for_ends("a")
    line.end(*"bcd")
    line.wait_for_ends(*"bcd")


def test_each_has_its_time_from_its_seat_on(line: Line) -> None:
    line.ask_early("b")
    line.settle()
    line.end("a", "b")
    ended = line.scheduler.wait_for("ended", "a")[2]
    started = line.scheduler.wait_for("started", "b")
    assert started[4] >= ended["elapsed_ns"]


def test_a_seat_that_becomes_free_elsewhere_is_for_the_first_of_them(
    make_line: Callable[..., Line], tmp_path: Path
) -> None:
    line = make_line()
    line.scheduler.send(("seats", 2))
    start_sleep(line.scheduler, "sleep", tmp_path)
    line.start("a")
    line.ask_early("b")
    script = f"echo local >> {tmp_path}/began"
    line.scheduler.send(("start", "local", b"meta", make_spec(tmp_path, sh(script)), True))
    line.settle()
    line.scheduler.signal("sleep", signal.SIGTERM)
    line.scheduler.wait_for("ended", "sleep")
    line.settle()
    assert line.began() == ["a"]
    (tmp_path / "part").touch()
    wait_until(lambda: "b" in line.began(), what="the start of b")
    line.end("a")
    line.scheduler.wait_for("ended", "local")
    line.end("b")
    line.wait_for_ends("a", "b")
    assert line.began() == ["a", "b", "local"]


def test_what_cannot_wait_behind_others_has_the_seat_of_the_next_that_ends(
    line: Line, tmp_path: Path
) -> None:
    (tmp_path / "alone").touch()
    line.ask_early("b", "c")
    line.settle()
    line.end(*"abc")
    line.wait_for_ends(*"abc")
    assert line.began() == [*"abc"]


def test_what_has_to_leave_the_line_without_a_seat_does_not_begin(line: Line, tmp_path: Path) -> None:
    line.ask_early("b")
    line.settle()
    (tmp_path / "part").touch()
    line.settle()
    assert "b" not in line.began()
    line.end("a", "b")
    line.wait_for_ends("a", "b")


@pytest.mark.parametrize("is_alone", [True, False], ids=["here", "in-the-line"])
def test_one_that_is_signalled_goes_back_and_never_begins(
    line: Line, tmp_path: Path, *, is_alone: bool
) -> None:
    if is_alone:
        (tmp_path / "alone").touch()
    line.ask_early("b", "c")
    line.scheduler.signal("b", signal.SIGTERM, "cancelled")
    line.scheduler.wait_for("returned", "b")
    line.end("a", "c")
    line.wait_for_ends("a", "c")
    assert "b" not in line.began()


def test_all_that_has_not_begun_goes_back_when_it_is_recalled(line: Line) -> None:
    line.ask_early("b", "c")
    line.settle()
    line.scheduler.send(("recall",))
    for key in "bc":
        line.scheduler.wait_for("returned", key)
    line.ask_early("c")  # it can be asked for again
    line.end("a", "c")
    line.wait_for_ends("a", "c")
    assert "b" not in line.began()


def test_they_go_back_after_a_moment(make_line: Callable[..., Line]) -> None:
    line = make_line(EARLY_PATIENCE_NS=20_000_000)
    line.start("a")
    line.ask_early("b", "c")
    for key in "bc":
        line.scheduler.wait_for("returned", key)
    line.settle()
    line.end("a")
    line.wait_for_ends("a")
    assert line.began() == ["a"]


def test_when_fewer_may_run_than_do_they_go_back(make_line: Callable[..., Line]) -> None:
    line = make_line()
    line.scheduler.send(("seats", 2))
    line.start("a")
    line.start("b")
    line.ask_early("c")
    line.settle()
    line.scheduler.send(("seats", 1))
    line.scheduler.wait_for("returned", "c")
    line.end("a", "b")
    line.wait_for_ends("a", "b")


def test_at_a_stop_they_go_back(line: Line) -> None:
    line.ask_early("b")
    line.settle()
    line.supervision.signal(signal.SIGTERM)
    line.scheduler.wait_for("returned", "b")
    line.ask_early("c")
    line.scheduler.wait_for("returned", "c")


@pytest.mark.parametrize("how", ["killed", "restarted"])
def test_the_next_scheduler_is_told_of_none_that_has_not_begun(line: Line, how: str) -> None:
    line.ask_early("b", "c")
    line.settle()
    if how == "killed":
        line.scheduler.kill()
    else:
        line.supervision.signal(signal.SIGUSR1)
        line.scheduler.wait_for("signal", signal.SIGUSR1)
        line.scheduler.leave()
    line.greet()
    assert [attempt[0] for attempt in line.scheduler.hello["attempts"]] == ["a"]
    line.ask_early("c", "b")  # it begins them anew
    line.end(*"abc")
    line.wait_for_ends(*"acb")


def test_the_next_scheduler_waits_not_long_for_a_process_that_hangs(line: Line) -> None:
    line.ask_early("b")
    line.settle()
    helper = line.helper()
    os.kill(helper, signal.SIGSTOP)
    line.scheduler.kill()
    line.greet()
    assert {attempt[0] for attempt in line.scheduler.hello["attempts"]} == {"a", "b"}
    os.kill(helper, signal.SIGCONT)
    # It was told to run, and so is not only back.
    _, _, _, words, is_transient, *_ = line.scheduler.wait_for("failed", "b")
    assert (words, is_transient) == ("executor line did not answer, and has not begun it", True)
    line.ask_early("b")
    line.end("a", "b")
    line.wait_for_ends("a", "b")


def test_those_of_a_process_that_dies_are_lost(line: Line) -> None:
    line.ask_early("b")
    line.settle()
    os.kill(line.helper(), signal.SIGKILL)
    for key in "ab":
        assert line.scheduler.wait_for("ended", key)[2]["lost"]
    line.start("c")  # the seats are there again
    line.ask_early("d")
    line.end("c", "d")
    line.wait_for_ends("c", "d")


def test_its_process_never_waits_for_room_for_descriptors(line: Line) -> None:
    assert int(status_of(line.helper())["FDSize"]) >= min(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def test_one_that_cannot_be_sent_fails_in_its_turn(line: Line) -> None:
    odd = line.spec("b")
    odd["max_output"] = "many"
    line.scheduler.send(("start", "b", b"meta", odd, True))
    line.ask_early("c")
    line.end("a", "c")
    assert line.scheduler.wait_for("failed", "b")[3].startswith("cannot be started: ")
    line.wait_for_ends("a", "c")


def test_one_that_is_known_already_fails(line: Line) -> None:
    line.ask_early("a", "b")
    line.end("a", "b")
    line.wait_for_ends("a", "b")
    failed = line.scheduler.wait_for("failed", "a")
    assert failed[3] == "cannot be started: there is an attempt a already"
