"""Commands that a killed supervisor left behind, and the next supervisor, which takes them over."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.supervisor_driver import NUMBERS, Left, SchedulerEnd, Supervision, make_spec, sh
from process_table import children, descriptors, is_alive, kill_group, status_of
from wait import wait_until

from taskman_cli.supervisor.children import Children
from taskman_cli.supervisor.timers import elapsed_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from people import Person

    Leave = Callable[..., Left]
    Inherit = Callable[..., tuple[Supervision, SchedulerEnd]]


@pytest.fixture
def leave(scheduler: SchedulerEnd, request: pytest.FixtureRequest) -> Leave:
    """Start commands in the first supervisor that live on after it, and end with the test."""

    def leave(spec: dict[str, Any], *, key: str = "a") -> Left:
        scheduler.start(key, spec)
        pid, wall_ns, elapsed_ns = scheduler.wait_for("started", key)[2:]
        request.addfinalizer(lambda: kill_group(pid))
        path = spec["path"] if spec["output"] == "capture" else None
        return Left(pid, wall_ns, elapsed_ns, path, spec["max_output"])

    return leave


@pytest.fixture
def inherit(supervision: Supervision, tmp_path: Path) -> Iterator[Inherit]:
    """Kill the first supervisor and start another one; return that one and its scheduler."""
    made = []

    def inherit(**options: Any) -> tuple[Supervision, SchedulerEnd]:
        supervision.process.kill()
        supervision.wait()
        (tmp_path / "heir").mkdir()
        made.append(Supervision(tmp_path / "heir", **options))
        scheduler = made[-1].accept()
        scheduler.send(("configure", NUMBERS))
        return made[-1], scheduler

    yield inherit
    for heir in made:
        heir.close()


def wait_for_text(path: Path, text: str) -> None:
    wait_until(lambda: path.exists() and path.read_text().endswith(text), what=f"{text!r} in {path.name}")


# --- an attempt like any other ---


def test_a_command_left_behind_is_adopted_and_told_of_as_one_like_any_other(
    leave: Leave, inherit: Inherit, tmp_path: Path
) -> None:
    left = leave(make_spec(tmp_path, ["sleep", "60"]))
    second, heir = inherit()
    assert heir.adopt("a", left) == ("adopted", "a", left.pid)
    heir.kill()
    heir = second.accept()
    assert heir.hello["attempts"] == [("a", b"meta", left.pid, left.wall_ns, left.elapsed_ns, None, "")]
    heir.send(("forget", ["a"]))  # not as long as it runs
    heir.signal("a", signal.SIGTERM, "timed_out")
    end = heir.wait_for("ended", "a")[2]
    expected = {"status": None, "cpu_s": 0.0, "peak_rss_bytes": 0, "output_bytes": 0, "group_left": False}
    assert {name: end[name] for name in expected} == expected
    assert left.elapsed_ns < end["elapsed_ns"] <= elapsed_ns()
    assert not is_alive(left.pid)
    assert heir.adopt("a", left) == ("adopted", "a", left.pid)
    heir.kill()
    heir = second.accept()
    assert [(attempt[0], *attempt[5:]) for attempt in heir.hello["attempts"]] == [("a", end, "timed_out")]
    heir.send(("forget", ["a"]))
    assert heir.adopt("a", left) == ("gone", "a")


def test_its_end_is_told_however_it_comes(leave: Leave, inherit: Inherit, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    left = leave(make_spec(tmp_path, sh(f"echo ready; read x <{tmp_path}/fifo; exit 3")))
    wait_for_text(tmp_path / "out", "ready\n")
    _, heir = inherit()
    heir.adopt("a", left)
    (tmp_path / "fifo").write_text("go on\n")
    assert heir.wait_for("ended", "a")[2]["status"] is None
    assert heir.run("b", make_spec(tmp_path, sh("exit 4"), path=None, output="discard"))["status"] == 4 << 8


def test_an_adoption_costs_nothing_while_nothing_happens_and_leaves_nothing_open(
    leave: Leave, inherit: Inherit, tmp_path: Path
) -> None:
    lefts = [
        leave(make_spec(tmp_path, ["sleep", "60"], path=f"{tmp_path}/{key}"), key=key) for key in ("a", "b")
    ]
    second, heir = inherit()
    supervisor = second.pid
    before = len(descriptors(supervisor))
    for key, left in zip("ab", lefts, strict=True):
        heir.adopt(key, left)
    os.kill(lefts[1].pid, signal.SIGKILL)
    heir.wait_for("ended", "b")

    def switches() -> int:
        return int(status_of(supervisor)["voluntary_ctxt_switches"])

    wait_until(lambda: status_of(supervisor)["State"][0] == "S")
    asleep = switches()
    assert select.select([heir.sock], [], [], 0.5) == ([], [], [])
    assert switches() == asleep
    os.kill(lefts[0].pid, signal.SIGKILL)
    heir.wait_for("ended", "a")
    heir.send(("forget", ["a", "b"]))
    wait_until(lambda: len(descriptors(supervisor)) == before)


def test_what_is_left_of_its_group_is_told_and_can_be_killed(
    leave: Leave, inherit: Inherit, tmp_path: Path
) -> None:
    left = leave(make_spec(tmp_path, sh("trap '' TERM; sleep 60 & echo $!; trap - TERM; wait")))
    wait_for_text(tmp_path / "out", "\n")
    child = int((tmp_path / "out").read_text())
    _, heir = inherit()
    heir.adopt("a", left)
    heir.signal("a", signal.SIGTERM)
    assert heir.wait_for("ended", "a")[2]["group_left"] is True
    assert is_alive(child)
    heir.signal("a", signal.SIGKILL)
    wait_until(lambda: not is_alive(child))


def test_a_stop_without_a_scheduler_waits_for_adopted_commands_too(
    leave: Leave, inherit: Inherit, tmp_path: Path
) -> None:
    left = leave(make_spec(tmp_path, ["sleep", "60"]))
    second, heir = inherit()
    heir.adopt("a", left)
    second.signal(signal.SIGTERM)
    heir.wait_for("signal")
    heir.kill()
    second.accept().kill()
    assert second.wait() == 1
    assert not is_alive(left.pid)


# --- who is adopted, and who is not ---


def test_a_process_that_is_not_the_one_meant_is_gone(
    scheduler: SchedulerEnd, leave: Leave, inherit: Inherit, tmp_path: Path
) -> None:
    left = leave(make_spec(tmp_path, sh("sleep 60 & echo $!; wait")))
    wait_for_text(tmp_path / "out", "\n")
    ended = leave(make_spec(tmp_path, ["true"], path=f"{tmp_path}/ended"), key="ended")
    scheduler.wait_for("ended", "ended")
    second, heir = inherit()
    supervisor = second.pid
    before = len(descriptors(supervisor))
    one_s = 1_000_000_000
    child = int((tmp_path / "out").read_text())
    assert heir.adopt("child", left, pid=child) == ("gone", "child")
    assert heir.adopt("ended", ended) == ("gone", "ended")
    assert heir.adopt("later", left, elapsed_ns=left.elapsed_ns + one_s) == ("gone", "later")
    assert heir.adopt("earlier", left, elapsed_ns=left.elapsed_ns - 3 * one_s) == ("gone", "earlier")
    assert len(descriptors(supervisor)) == before
    assert heir.adopt("a", left) == ("adopted", "a", left.pid)
    assert heir.adopt("twice", left) == ("gone", "twice")
    heir.kill()
    attempts = second.accept().hello["attempts"]
    assert [attempt[0] for attempt in attempts] == ["a"]


def test_a_zombie_is_gone(inherit: Inherit) -> None:
    _, heir = inherit()
    now = elapsed_ns()
    process = subprocess.Popen(["true"], start_new_session=True)
    wait_until(lambda: status_of(process.pid)["State"][0] == "Z")
    assert heir.adopt("a", Left(process.pid, 0, now, None, 0)) == ("gone", "a")
    process.wait()


def test_one_whose_first_thread_has_ended_is_not_gone(leave: Leave, inherit: Inherit, tmp_path: Path) -> None:
    script = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(60,)).start()"
    leave_first_thread = "ctypes.CDLL(None).pthread_exit(None)"
    words = [sys.executable, "-IS", "-c", f"{script}; {leave_first_thread}"]
    left = leave(make_spec(tmp_path, words, output="discard"))
    wait_until(lambda: status_of(left.pid)["State"][0] == "Z")
    _, heir = inherit()
    assert heir.adopt("a", left) == ("adopted", "a", left.pid)
    heir.signal("a", signal.SIGKILL)
    assert heir.wait_for("ended", "a")[2]["status"] is None


def test_want_of_descriptors_makes_nobody_ours_and_is_said(
    leave: Leave, inherit: Inherit, tmp_path: Path
) -> None:
    left = leave(make_spec(tmp_path, ["sleep", "60"]))
    second, heir = inherit()
    supervisor = second.pid
    used = {*descriptors(supervisor)}
    old = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (max(used) + 1, old[1]))
    assert heir.adopt("a", left) == ("gone", "a")
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, old)
    words = f"cannot watch process {left.pid}, which was left behind: Too many open files"
    assert words in second.stderr()
    assert heir.adopt("a", left) == ("adopted", "a", left.pid)


# --- our own child all the same ---

#: Starts a command as a supervisor would, then becomes the supervisor, whose child it is from then on.
PARENT = """
import json, os, sys, time
path, program = sys.argv[1], sys.argv[2:]
elapsed_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "read x; exit 3"], os.environ, setsid=True)
with open(path, "w") as file:
    json.dump([pid, elapsed_ns], file)
os.execv(program[0], program)
"""


def test_an_adopted_command_that_is_our_own_child_has_its_true_status(
    supervise: Callable[..., Supervision], tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    try:
        prefix = [sys.executable, "-IS", "-c", PARENT, str(tmp_path / "told")]
        supervision = supervise(prefix=prefix, stdin=reading)
        scheduler = supervision.accept()
        pid, started_ns = json.loads((tmp_path / "told").read_text())
        left = Left(pid, 0, started_ns, None, 0)
        assert scheduler.adopt("a", left) == ("adopted", "a", pid)
        assert pid in children(supervision.pid)
        os.write(writing, b"go on\n")
        end = scheduler.wait_for("ended", "a")[2]
        assert os.waitstatus_to_exitcode(end["status"]) == 3
        assert end["peak_rss_bytes"] > 0
        assert children(supervision.pid) == [scheduler.pid]
        assert scheduler.run("b", make_spec(tmp_path, ["true"]))["status"] == 0
        assert [message[1] for message in scheduler.poll() if message[0] == "ended"] == []
    finally:
        os.close(reading)
        os.close(writing)


def test_whoever_tells_an_end_first_is_believed(tmp_path: Path) -> None:
    epoll = select.epoll()
    attempts = Children(epoll, lambda *_: None)
    ends = {}
    for teller in ("parent", "pidfd"):
        now = elapsed_ns()
        pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {}, setsid=True)
        assert attempts.adopt(teller, None, pid, 0, now, None, 0) == ("adopted", teller, pid)
        assert epoll.poll(0) == []
        os.kill(pid, signal.SIGKILL)
        ((pidfd, _),) = wait_until(lambda: epoll.poll(0))
        steps = [lambda pid=pid: attempts.reaped(*os.wait4(pid, 0)), lambda pidfd=pidfd: attempts.lost(pidfd)]
        for step in steps if teller == "parent" else reversed(steps):
            step()
        ((_, _, ends[teller]),) = attempts.take_ends()
        assert epoll.poll(0) == []
        attempts.forget([teller])
    assert (ends["parent"]["status"], ends["pidfd"]["status"]) == (signal.SIGKILL, None)
    epoll.close()


def test_an_event_of_a_process_that_still_runs_is_none(tmp_path: Path) -> None:
    attempts = Children(select.epoll(), lambda *_: None)
    now = elapsed_ns()
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {}, setsid=True)
    before = {*descriptors(os.getpid())}
    attempts.adopt("a", None, pid, 0, now, None, 0)
    for fd in {*descriptors(os.getpid())} - before:
        attempts.lost(int(fd))
    assert attempts.running_count() == 1
    attempts.signal("a", signal.SIGKILL, "")
    attempts.reaped(*os.wait4(pid, 0))
    assert attempts.running_count() == 0


# --- its output ---


def test_its_output_goes_on_where_it_stopped(leave: Leave, inherit: Inherit, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    script = f"echo before; read x <{tmp_path}/fifo; seq 100000; echo done >&2"
    left = leave(make_spec(tmp_path, sh(script)))
    wait_for_text(tmp_path / "out", "before\n")
    _, heir = inherit()
    heir.adopt("a", left)
    (tmp_path / "fifo").write_text("go on\n")
    end = heir.wait_for("ended", "a")[2]
    printed = "before\n" + "".join(f"{number}\n" for number in range(1, 100_001)) + "done\n"
    assert (tmp_path / "out").read_text() == printed
    assert (end["output_bytes"], end["cut_bytes"], end["output_error"]) == (len(printed), 0, None)


def test_what_it_printed_while_nobody_read_is_kept_and_it_goes_on(
    supervision: Supervision, leave: Leave, inherit: Inherit, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    left = leave(make_spec(tmp_path, sh(f"read x <{tmp_path}/fifo; seq 100000; exec sleep 60")))
    supervision.signal(signal.SIGSTOP)
    (tmp_path / "fifo").write_text("go on\n")
    # All that a pipe holds, and more to come: it is stuck until somebody reads.
    wait_until(lambda: bytes_in_pipe(left.pid) == 1 << 16)
    assert not (tmp_path / "out").exists()
    _, heir = inherit()
    heir.adopt("a", left)
    wait_for_text(tmp_path / "out", "\n100000\n")
    heir.signal("a", signal.SIGKILL)
    assert heir.wait_for("ended", "a")[2]["output_bytes"] == 588_895


def bytes_in_pipe(pid: int) -> int:
    """Return how much waits to be read in the pipe that a process prints to."""
    fd = os.open(f"/proc/{pid}/fd/1", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
    finally:
        os.close(fd)


def test_a_ring_goes_on_as_a_ring(leave: Leave, inherit: Inherit, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    script = f"seq 10000; read x <{tmp_path}/fifo; seq 10001 30000"
    left = leave(make_spec(tmp_path, sh(script), max_output=1001))
    everything = b"".join(b"%d\n" % number for number in range(1, 30_001))
    so_far = everything.index(b"\n10001\n") + 1
    path = tmp_path / "out"
    wait_until(lambda: path.exists() and b"%020d bytes so far" % so_far in path.read_bytes())
    _, heir = inherit()
    heir.adopt("a", left)
    (tmp_path / "fifo").write_text("go on\n")
    end = heir.wait_for("ended", "a")[2]
    cut = len(everything) - 1001
    assert (end["output_bytes"], end["cut_bytes"]) == (len(everything), cut)
    line = b"\n[taskman: %s bytes cut]\n" % f"{cut:,}".encode()
    settled = (
        everything[:501] + line.removeprefix(b"\n" * everything[:501].endswith(b"\n")) + everything[-500:]
    )
    wait_until(lambda: path.read_bytes() == settled)


def test_of_output_that_was_not_captured_nothing_is_read(
    leave: Leave, inherit: Inherit, tmp_path: Path
) -> None:
    left = leave(make_spec(tmp_path, ["sleep", "60"], output="discard"))
    second, heir = inherit()
    supervisor = second.pid
    before = len(descriptors(supervisor))
    heir.adopt("a", left)
    assert len(descriptors(supervisor)) == before + 1
    heir.signal("a", signal.SIGKILL)
    assert heir.wait_for("ended", "a")[2]["output_error"] is None


REDIRECTED = {
    "to a file": "exec >{log} 2>&1; {wait}; seq 100000",
    "but for the errors": "exec >{log}; {wait}; seq 100000 >&2",
    "and saved": "exec 3>&1 >{log} 2>&1; {wait}; exec 1>&3; seq 100000",
    "to a child that prints": "exec > >(tee {log}) 2>&1; {wait}; seq 100000",
    "to a child that does not": "exec > >(cat >{log}) 2>&1; {wait}; seq 100000",
}


@pytest.mark.parametrize("how", REDIRECTED)
def test_a_command_that_has_redirected_its_output_is_neither_robbed_nor_stuck(
    leave: Leave, inherit: Inherit, tmp_path: Path, how: str
) -> None:
    os.mkfifo(tmp_path / "fifo")
    log, out = tmp_path / "log", tmp_path / "out"
    wait = f"echo ready; echo ready >{tmp_path}/ready; read x <{tmp_path}/fifo"
    script = REDIRECTED[how].format(log=log, wait=wait)
    left = leave(make_spec(tmp_path, ["bash", "-c", script]))
    wait_for_text(tmp_path / "ready", "ready\n")
    wait_for_text(log, "ready\n")
    _, heir = inherit()
    heir.adopt("a", left)
    (tmp_path / "fifo").write_text("go on\n")
    assert heir.wait_for("ended", "a")[2]["output_error"] is None
    numbers = "".join(f"{number}\n" for number in range(1, 100_001))
    in_log = how in ("to a file", "to a child that prints", "to a child that does not")
    wait_until(lambda: log.read_text() == "ready\n" + (numbers if in_log else ""))
    if how in ("but for the errors", "and saved"):
        wait_until(lambda: out.read_text() == numbers)
    elif how == "to a child that prints":
        wait_until(lambda: out.read_text().startswith("ready\n"))
    else:
        assert not out.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start what is another user's")
def test_a_command_whose_output_is_out_of_reach_is_adopted_without_it(
    leave: Leave, inherit: Inherit, tmp_path: Path, mallory: Person
) -> None:
    words = ["setpriv", f"--reuid={mallory.uid}", "--clear-groups", "sleep", "60"]
    left = leave(make_spec(tmp_path, words))
    wait_until(lambda: status_of(left.pid)["Uid"].split()[1] == str(mallory.uid))
    without = "-sys_ptrace,-dac_override,-dac_read_search"
    _, heir = inherit(prefix=["setpriv", f"--bounding-set={without}"])
    assert heir.adopt("a", left) == ("adopted", "a", left.pid)
    kill_group(left.pid)
    error = heir.wait_for("ended", "a")[2]["output_error"]
    assert error == f"Permission denied: the output of process {left.pid}"


def test_a_ring_whose_command_prints_elsewhere_by_now_is_put_right_at_once(
    supervision: Supervision, leave: Leave, inherit: Inherit, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    os.mkfifo(tmp_path / "fifo")
    script = f"seq 10000; read x <{tmp_path}/fifo; exec >/dev/null 2>&1; exec sleep 60"
    left = leave(make_spec(tmp_path, sh(script), max_output=1000))
    total = sum(len(f"{number}\n") for number in range(1, 10_001))
    wait_until(lambda: path.exists() and b"%020d bytes so far" % total in path.read_bytes())
    supervision.process.kill()
    (tmp_path / "fifo").write_text("go on\n")
    # A shell closes a descriptor before it opens it anew: there may be none for a moment.
    wait_until(lambda: Path(f"/proc/{left.pid}/fd/2").resolve() == Path("/dev/null"))
    _, heir = inherit()
    heir.adopt("a", left)
    wait_until(lambda: f"[taskman: {total - 1000:,} bytes cut]\n".encode() in path.read_bytes())
    heir.signal("a", signal.SIGKILL)
    end = heir.wait_for("ended", "a")[2]
    assert (end["output_bytes"], end["cut_bytes"]) == (total, total - 1000)


def test_the_output_of_a_command_that_is_gone_is_put_right(
    leave: Leave, inherit: Inherit, tmp_path: Path
) -> None:
    left = leave(make_spec(tmp_path, ["yes"], max_output=1000))
    path = tmp_path / "out"
    wait_until(lambda: path.exists() and path.stat().st_size > 1000)
    _, heir = inherit()
    kill_group(left.pid)
    wait_until(lambda: not is_alive(left.pid))
    assert heir.adopt("a", left) == ("gone", "a")
    heir.send(("settle", left.path, left.max_output))
    wait_until(lambda: b" bytes cut]\n" in path.read_bytes())
    head, _, tail = path.read_bytes().partition(b"[taskman: ")
    assert (head, tail.partition(b"\n")[2]) == (b"y\n" * 250, b"y\n" * 250)
    heir.send(("settle", left.path, left.max_output), ("settle", f"{path}/nothing", 5))
    settled = path.read_bytes()
    heir.run("b", make_spec(tmp_path, ["true"], output="discard"))
    assert path.read_bytes() == settled
