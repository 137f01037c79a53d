"""Output through the real supervisor: what is kept, what is cut, and who waits for whom (nobody)."""

from __future__ import annotations

import os
import select
import stat
from typing import TYPE_CHECKING

import pytest
from integration.supervisor_driver import SchedulerEnd, Supervision, make_spec, sh
from process_table import is_alive
from wait import wait_until

from taskman_cli.supervisor import output
from taskman_cli.supervisor.children import Children
from taskman_cli.supervisor.output import settle

if TYPE_CHECKING:
    from pathlib import Path


def configure(scheduler: SchedulerEnd, *, output_grace_ns: int) -> None:
    numbers = {"output_grace_ns": output_grace_ns, "restart_delay_ns": 10**7, "restart_delay_max_ns": 10**9}
    scheduler.send(("configure", numbers))


def test_both_streams_are_kept_in_order(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    end = scheduler.run("a", make_spec(tmp_path, sh("echo one; echo two >&2; echo three")))
    assert (tmp_path / "out").read_text() == "one\ntwo\nthree\n"
    assert (end["output_bytes"], end["cut_bytes"], end["output_error"]) == (14, 0, None)


def test_the_file_and_its_directory_are_the_owners_alone(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    path = tmp_path / "output" / "job" / "run"
    scheduler.run("a", make_spec(tmp_path, ["echo"], path=str(path), umask=0))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_silent_command_makes_no_file(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    assert scheduler.run("a", make_spec(tmp_path, ["true"]))["output_bytes"] == 0
    assert not (tmp_path / "out").exists()


def test_output_can_be_read_while_the_command_runs(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    scheduler.start("a", make_spec(tmp_path, sh("echo begun; exec sleep 60")))
    path = tmp_path / "out"
    wait_until(lambda: path.exists() and path.read_text() == "begun\n")
    assert scheduler.find("ended") is None


def test_of_a_flood_exactly_head_and_tail_are_kept(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    count = 3_000_000
    end = scheduler.run("a", make_spec(tmp_path, ["seq", str(count)], max_output=100_001))
    everything = b"".join(b"%d\n" % number for number in range(1, count + 1))
    cut = len(everything) - 100_001
    head, tail = everything[:50_001], everything[-50_000:]
    line = b"\n" * (not head.endswith(b"\n")) + b"[taskman: %s bytes cut]\n" % f"{cut:,}".encode()
    assert (tmp_path / "out").read_bytes() == head + line + tail
    assert (end["output_bytes"], end["cut_bytes"]) == (len(everything), cut)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["control", "out", "stderr"]


def test_large_files_are_put_right_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "STEP_BYTES", 1000)
    epoll = select.epoll()
    attempts = Children(epoll, lambda *_: None)
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        wish = make_spec(tmp_path, ["head", "-c", "20000", "/dev/zero"], path=str(path), max_output=10_000)
        pid = attempts.start(str(path), None, wish)[2]
        attempts.reaped(*os.wait4(pid, 0))
    sizes = []
    while attempts.captures.is_settling:
        attempts.captures.settle()
        parts = [tmp_path / f"{name}.part" for name in "ab"]
        sizes.append(sum(part.stat().st_size for part in parts if part.exists()))
    # Head and tail of 5,000 bytes each in steps of 1,000, and each file had its turn after the other.
    assert sizes[:8] == [1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000]
    for path in paths:
        assert path.read_bytes().count(b"bytes cut") == 1
    epoll.close()


@pytest.mark.parametrize(("max_output", "kept"), [(0, b""), (1, b"0"), (10, b"0123456789")])
def test_small_bounds_hold(scheduler: SchedulerEnd, tmp_path: Path, max_output: int, kept: bytes) -> None:
    end = scheduler.run("a", make_spec(tmp_path, ["printf", "0123456789"], max_output=max_output))
    assert end["cut_bytes"] == 10 - len(kept)
    line = b"" if max_output == 10 else b"\n" * len(kept) + b"[taskman: %d bytes cut]\n" % (10 - len(kept))
    assert (tmp_path / "out").read_bytes() == kept + line


def test_a_flood_starves_nobody(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    for number in range(2):
        path = str(tmp_path / f"flood{number}")
        scheduler.start(f"flood{number}", make_spec(tmp_path, ["yes"], path=path, max_output=1000))
    for number in range(5):
        assert scheduler.run(f"quick{number}", make_spec(tmp_path, ["echo", "hi"]))["output_bytes"] == 3
    for number in range(2):
        scheduler.signal(f"flood{number}", 9)
        assert scheduler.wait_for("ended", f"flood{number}")[2]["output_bytes"] > 0


def test_a_holder_of_the_pipe_does_not_hold_the_run_and_is_heard_within_the_grace(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    configure(scheduler, output_grace_ns=60 * 10**9)
    os.mkfifo(tmp_path / "fifo")
    script = f"echo before; (read x; echo after) <{tmp_path}/fifo & exit 4"
    end = scheduler.run("a", make_spec(tmp_path, sh(script)))
    assert os.waitstatus_to_exitcode(end["status"]) == 4
    assert end["output_bytes"] == 7
    assert end["group_left"] is True
    (tmp_path / "fifo").write_text("go on\n")
    wait_until(lambda: (tmp_path / "out").read_text() == "before\nafter\n")


def test_what_comes_after_the_grace_is_thrown_away_and_blocks_nobody(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    configure(scheduler, output_grace_ns=0)
    os.mkfifo(tmp_path / "fifo")
    # Far more than a pipe holds: it is done only if somebody reads.
    script = f"echo before; (read x; seq 200000; echo done >{tmp_path}/done) <{tmp_path}/fifo & exit 0"
    scheduler.run("a", make_spec(tmp_path, sh(script)))
    (tmp_path / "fifo").write_text("go on\n")
    wait_until((tmp_path / "done").exists)
    assert (tmp_path / "out").read_text() == "before\n"


def test_a_holder_that_prints_for_ever_does_not_hold_the_run(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    configure(scheduler, output_grace_ns=0)
    end = scheduler.run("a", make_spec(tmp_path, sh("yes & exit 0"), max_output=1000))
    assert end["group_left"] is True
    assert scheduler.run("b", make_spec(tmp_path, ["true"], path=str(tmp_path / "b")))["status"] == 0
    scheduler.signal("a", 9)


def test_a_run_without_background_processes_leaves_no_group(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    assert scheduler.run("a", make_spec(tmp_path, sh("sleep 0; true")))["group_left"] is False
    # Nor do children that ended before it and that nobody has waited for.
    assert scheduler.run("b", make_spec(tmp_path, sh("true & true & exec sleep 0.1")))["group_left"] is False


def test_a_full_disk_costs_output_and_nothing_else(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    end = scheduler.run("a", make_spec(tmp_path, ["seq", "100000"], path="/dev/full"))
    assert end["status"] == 0
    assert end["output_bytes"] == end["cut_bytes"] == 588_895
    assert end["output_error"] == "No space left on device: /dev/full"


@pytest.mark.parametrize("is_late", [False, True], ids=["before", "while it is cut"])
def test_output_follows_no_link_in_the_place_of_a_job_s_directory(
    scheduler: SchedulerEnd, tmp_path: Path, is_late: bool
) -> None:
    theirs, job = tmp_path / "theirs", tmp_path / "job"
    theirs.mkdir()
    script = "seq 10000"
    if is_late:
        begun = f"until test -s {job}/out; do sleep 0.01; done"
        script = f"{script}; {begun}; mv {job} {tmp_path}/mine; ln -s theirs {job}; seq 10000"
    else:
        job.symlink_to(theirs)
    end = scheduler.run("a", make_spec(tmp_path, sh(script), path=str(job / "out"), max_output=1000))
    assert end["status"] == 0
    assert end["output_error"] == (None if is_late else f"Not a directory: {job}/out")
    assert list(theirs.iterdir()) == []


@pytest.mark.parametrize("path", ["file/out", "link", "dir", "/proc/nothing/out", "null\0byte"])
def test_a_file_that_cannot_be_made_costs_output_and_nothing_else(
    scheduler: SchedulerEnd, tmp_path: Path, path: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    end = scheduler.run(
        "a", make_spec(tmp_path, ["echo", "hi"], path=f"{tmp_path}/{path}" if path[0] != "/" else path)
    )
    assert (end["status"], end["output_bytes"], end["cut_bytes"]) == (0, 3, 3)
    assert end["output_error"]
    assert not (tmp_path / "target").exists()


def test_the_death_of_the_supervisor_leaves_the_command_running_and_able_to_write(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    os.mkfifo(tmp_path / "fifo")
    script = f"echo before; read x <{tmp_path}/fifo; echo after && echo $? >{tmp_path}/written; exec sleep 60"
    scheduler.start("a", make_spec(tmp_path, sh(script)))
    pid = scheduler.wait_for("started", "a")[2]
    request.addfinalizer(lambda: os.kill(pid, 9))
    wait_until((tmp_path / "out").exists)
    supervision.process.kill()
    supervision.wait()
    wait_until(lambda: scheduler.poll() is not None and scheduler.is_at_end)
    (tmp_path / "fifo").write_text("go on\n")
    wait_until(lambda: (tmp_path / "written").exists() and (tmp_path / "written").read_text() == "0\n")
    assert is_alive(pid)


def test_the_death_of_the_supervisor_in_a_flood_leaves_a_file_that_can_be_settled(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    scheduler.start("a", make_spec(tmp_path, ["yes"], max_output=1000))
    pid = scheduler.wait_for("started", "a")[2]
    request.addfinalizer(lambda: os.kill(pid, 9))
    path = tmp_path / "out"
    wait_until(lambda: path.exists() and path.stat().st_size > 1000)
    supervision.process.kill()
    supervision.wait()
    for _ in settle(str(path), 1000):
        pass
    head, cut, tail = path.read_bytes().partition(b"[taskman: ")
    assert head == b"y\n" * 250
    assert cut
    assert tail.partition(b"\n")[2] == b"y\n" * 250
