"""Limits of commands, by the real supervisor: control groups where they can be made here, and rlimits."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.supervisor_driver import NUMBERS, Left, SchedulerEnd, make_spec, sh
from process_table import is_alive
from wait import wait_until

from taskman_cli.supervisor.closing import close_here
from taskman_cli.supervisor.groups import MAIN, Group, Place, _open_below, find_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.supervisor_driver import Supervision
    from people import Person

PLACE = find_place()
MIB = 1 << 20
SECOND_NS = 10**9
#: Leaves a process with a session of its own, which writes its number to a file.
DAEMON = "setsid sh -c 'echo $$ > {place}/daemon; trap \"\" TERM; while :; do sleep 1; done' & "

#: One that is adopted, one that has ended meanwhile, and one that may leave something.
KEYS = ("a", "gone", "kept")

needs_groups = pytest.mark.skipif(
    {"memory", "processes", "cpu"} - PLACE.works != set() or PLACE.kind == "systemd",
    reason="no control groups can be made here",
)


def hog(size: int) -> list[str]:
    """Return a command that uses so many bytes."""
    return [sys.executable, "-IS", "-c", f"x = b'x' * {size}; print('had it')"]


@pytest.fixture
def prefix() -> Iterator[str]:
    """Return what the names of this test's groups begin with; those that are left are removed."""
    prefix = f"taskman-test-{os.getpid()}-{time.monotonic_ns()}-"
    yield prefix
    for name in groups(prefix):
        close_here(PLACE.group(name))


@pytest.fixture
def scheduler(prefix: str, supervision: Supervision) -> SchedulerEnd:
    return accept(supervision, prefix)


def accept(supervision: Supervision, prefix: str) -> SchedulerEnd:
    scheduler = supervision.accept()
    scheduler.send(("configure", NUMBERS | {"group_prefix": prefix}))
    return scheduler


def limited(directory: Path, argv: list[str], **limits: Any) -> dict[str, Any]:
    return make_spec(directory, argv, limits=limits)


def groups(prefix: str) -> set[str]:
    return PLACE.leftovers(prefix)


def daemon_in(directory: Path) -> int:
    path = directory / "daemon"
    return int(wait_until(lambda: path.exists() and path.read_text().strip(), what="daemon") or 0)


def test_limits_of_files_and_of_core_dumps_are_those_of_the_process(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    spec = limited(tmp_path, sh("ulimit -n; ulimit -Hn; ulimit -c; ulimit -Hc"), open_files=64, core_size=0)
    assert scheduler.run("a", spec)["status"] == 0
    assert (tmp_path / "out").read_text().split() == ["64", "64", "0", "0"]


def test_a_limit_above_our_own_fails_the_start_in_words(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    _, words, is_transient = scheduler.fail("a", limited(tmp_path, ["true"], open_files=1 << 30))
    assert words.startswith("cannot be limited: limits.open_files = 1073741824 is above the hard limit of")
    assert not is_transient


def test_a_command_without_limits_is_in_no_group_of_its_own(
    scheduler: SchedulerEnd, tmp_path: Path, prefix: str
) -> None:
    spec = make_spec(tmp_path, ["cat", "/proc/self/cgroup"])
    assert scheduler.run("a", spec)["status"] == 0
    assert (tmp_path / "out").read_text() == Path("/proc/self/cgroup").read_text()
    assert prefix not in (tmp_path / "out").read_text()


@needs_groups
def test_a_command_over_its_memory_limit_fails_alone_and_is_told_so(
    scheduler: SchedulerEnd, tmp_path: Path, prefix: str
) -> None:
    scheduler.start("other", make_spec(tmp_path, ["sleep", "60"], path=str(tmp_path / "other")))
    other = scheduler.wait_for("started", "other")[2]
    end = scheduler.run("a", limited(tmp_path, hog(300 * MIB), memory=100 * MIB))
    assert os.WTERMSIG(end["status"]) == signal.SIGKILL
    assert end["over_memory"] == 100 * MIB
    assert is_alive(other)
    wait_until(lambda: not groups(prefix), what="its group is removed")


@needs_groups
def test_a_command_within_its_limits_runs_as_any_other(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    end = scheduler.run("a", limited(tmp_path, hog(20 * MIB), memory=200 * MIB, cpu=2.0, processes=10))
    assert (end["status"], end.get("over_memory")) == (0, None)
    assert (tmp_path / "out").read_text() == "had it\n"


@needs_groups
def test_a_child_that_is_killed_for_memory_is_told_of_its_command(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    script = f"{' '.join(hog(1)[:3])} \"x = b'x' * {300 * MIB}\"; exit 3"
    end = scheduler.run("a", limited(tmp_path, sh(script), memory=100 * MIB))
    # Version 2 kills the whole group, version 1 the process.
    assert end["status"] in (3 << 8, int(signal.SIGKILL))
    assert end["over_memory"] == 100 * MIB


@needs_groups
def test_there_are_no_more_processes_than_allowed(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    script = (
        "import os, time\nfor n in range(9):\n try:\n  pid = os.fork()\n except OSError as e:\n"
        "  print(n, e.errno); break\n if not pid: time.sleep(60)"
    )
    end = scheduler.run("a", limited(tmp_path, [sys.executable, "-IS", "-c", script], processes=4))
    assert end["status"] == 0
    assert (tmp_path / "out").read_text() == "3 11\n"


@needs_groups
def test_a_limit_of_cpus_slows_it_down(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    script = (
        "import time; t = time.process_time(); b = time.monotonic()\n"
        "while time.process_time() - t < .2: pass\nprint(time.monotonic() - b)"
    )
    end = scheduler.run("a", limited(tmp_path, [sys.executable, "-IS", "-c", script], cpu=0.2))
    assert end["status"] == 0
    assert float((tmp_path / "out").read_text()) > 0.5


@needs_groups
@pytest.mark.parametrize("ending", ["", "timed_out"])
def test_what_it_leaves_ends_with_it_and_its_group_too(
    scheduler: SchedulerEnd, tmp_path: Path, prefix: str, ending: str
) -> None:
    script = DAEMON.format(place=tmp_path) + (
        f"while [ ! -s {tmp_path}/daemon ]; do :; done" if not ending else "exec sleep 600"
    )
    scheduler.start("a", limited(tmp_path, sh(script), processes=20) | {"output": "discard"})
    scheduler.wait_for("started", "a")
    daemon = daemon_in(tmp_path)
    if ending:
        scheduler.send(("survivors", "a", "token", os.geteuid(), int(signal.SIGTERM), SECOND_NS // 10))
        scheduler.signal("a", signal.SIGTERM, ending)
    _, _, meta, what, number, count, named = scheduler.wait_for("survivors", "a")
    assert (meta, what, number) == (b"meta", "signalled", signal.SIGTERM if ending else signal.SIGKILL)
    assert count in (1, 2)
    assert daemon in [pid for pid, _ in named]
    scheduler.wait_for("ended", "a")
    wait_until(lambda: not is_alive(daemon), what="the daemon ends")
    wait_until(lambda: not groups(prefix), what="its group is removed")


@needs_groups
def test_a_second_interrupt_kills_at_once_what_it_leaves(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path, prefix: str
) -> None:
    script = DAEMON.format(place=tmp_path) + "exec sleep 600"
    scheduler.start("a", limited(tmp_path, sh(script), processes=20) | {"output": "discard"})
    daemon = daemon_in(tmp_path)
    scheduler.send(("survivors", "a", "token", os.geteuid(), int(signal.SIGTERM), 600 * SECOND_NS))
    scheduler.signal("a", signal.SIGTERM, "cancelled")
    scheduler.wait_for("ended", "a")
    assert is_alive(daemon)
    for _ in range(2):
        supervision.signal(signal.SIGINT)
        scheduler.wait_for("signal")
    wait_until(lambda: not is_alive(daemon), what="the daemon ends")
    wait_until(lambda: not groups(prefix), what="its group is removed")


@needs_groups
def test_what_it_leaves_lives_on_if_that_is_wanted(
    scheduler: SchedulerEnd, tmp_path: Path, prefix: str
) -> None:
    script = DAEMON.format(place=tmp_path) + f"while [ ! -s {tmp_path}/daemon ]; do :; done"
    spec = limited(tmp_path, sh(script), processes=20, keeps_orphans=True) | {"output": "discard"}
    assert scheduler.run("a", spec)["status"] == 0
    daemon = daemon_in(tmp_path)
    assert is_alive(daemon)
    assert len(groups(prefix)) == 1


@needs_groups
def test_a_group_that_something_lived_on_in_is_removed_with_the_next_one(
    scheduler: SchedulerEnd, tmp_path: Path, prefix: str
) -> None:
    """A job that leaves a process for a while, all year round, must not use up what the kernel has."""
    script = DAEMON.format(place=tmp_path) + f"while [ ! -s {tmp_path}/daemon ]; do :; done"
    limits = {"processes": 20, "keeps_orphans": True}
    scheduler.run("a", limited(tmp_path, sh(script), **limits) | {"output": "discard"})
    daemon = daemon_in(tmp_path)
    scheduler.run("b", limited(tmp_path, ["true"], **limits))
    assert is_alive(daemon)
    wait_until(lambda: groups(prefix) == {f"{prefix}keep-a"}, what="one is in use")
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: PLACE.group(f"{prefix}keep-a").members() == [], what="nothing lives on")
    scheduler.run("c", limited(tmp_path, ["true"], **limits))
    wait_until(lambda: not groups(prefix), what="all are removed")


@needs_groups
def test_without_room_for_the_fork_that_ends_a_group_that_is_done_later(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path, prefix: str
) -> None:
    script = DAEMON.format(place=tmp_path) + f"while [ ! -e {tmp_path}/go ]; do :; done"
    scheduler.start("a", limited(tmp_path, sh(script), processes=20) | {"output": "discard"})
    scheduler.wait_for("started", "a")
    daemon, pid = daemon_in(tmp_path), supervision.process.pid
    usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, usual[1]))
    (tmp_path / "go").touch()
    assert scheduler.wait_for("ended", "a")[2]["status"] == 0
    assert is_alive(daemon)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
    wait_until(lambda: not is_alive(daemon), what="the daemon ends")
    wait_until(lambda: not groups(prefix), what="its group is removed")


@needs_groups
def test_a_start_that_fails_leaves_no_group(scheduler: SchedulerEnd, tmp_path: Path, prefix: str) -> None:
    _, words, _ = scheduler.fail("a", limited(tmp_path, ["no-such-program"], memory=100 * MIB))
    assert words == "not found: no-such-program"
    wait_until(lambda: not groups(prefix), what="its group is removed")


@needs_groups
def test_an_adopted_attempt_keeps_its_group_which_ends_with_it(
    prefix: str, supervise: Callable[..., Supervision], tmp_path: Path
) -> None:
    first = supervise()
    scheduler = accept(first, prefix)
    script = DAEMON.format(place=tmp_path) + f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    for key in KEYS:
        path = tmp_path / key
        path.mkdir()
        spec = limited(path, sh(script.replace(str(tmp_path), str(path))), processes=20)
        spec["limits"]["keeps_orphans"] = key == "kept"
        scheduler.start(key, spec | {"output": "discard"})
    left = {key: scheduler.wait_for("started", key) for key in KEYS}
    daemons = {key: daemon_in(tmp_path / key) for key in KEYS}
    for path in PLACE.group(f"{prefix}empty").dirs.values():
        Path(path).mkdir()
    first.process.kill()
    first.process.wait()
    (tmp_path / "gone" / "go").touch()
    wait_until(lambda: not is_alive(left["gone"][2]), what="one command ends")
    (tmp_path / "control").unlink()
    scheduler = accept(supervise(), prefix)
    answers = {
        key: scheduler.adopt(key, Left(pid, wall_ns, elapsed_ns, None, 0))[0]
        for key, (_, _, pid, wall_ns, elapsed_ns) in left.items()
    }
    assert answers == {"a": "adopted", "gone": "gone", "kept": "adopted"}
    wait_until(lambda: not is_alive(daemons["gone"]), what="the daemon of the lost one ends")
    running = {f"{prefix}a", f"{prefix}keep-kept"}
    wait_until(lambda: groups(prefix) == running, what="only the groups of the adopted ones are left")
    assert is_alive(daemons["a"])
    (tmp_path / "a" / "go").touch()
    scheduler.wait_for("ended", "a")
    wait_until(lambda: not is_alive(daemons["a"]), what="the daemon of the adopted one ends")
    wait_until(lambda: groups(prefix) == {f"{prefix}keep-kept"}, what="its group is removed")
    (tmp_path / "kept" / "go").touch()
    scheduler.wait_for("ended", "kept")
    assert is_alive(daemons["kept"])


def test_without_control_groups_memory_is_limited_for_each_process(tmp_path: Path) -> None:
    from taskman_cli.supervisor.asuser import hear_from_child
    from taskman_cli.supervisor.limiting import Limiter
    from taskman_cli.supervisor.spawn import Spawner

    limiter = Limiter()
    limiter._place = Place("", {}, frozenset())
    limits = {"memory": 100 * MIB, "cpu": 0.5, "processes": 1}
    assert not limiter.has_group(limits)
    script = f"try: b'x' * {300 * MIB}\nexcept MemoryError: print('no memory')"
    spec = make_spec(tmp_path, [sys.executable, "-IS", "-c", script])
    limit = limiter.limit("a", limits, is_others=False)
    pid, capture, told = Spawner().start(spec, now_ns=time.monotonic_ns(), limit=limit)
    assert capture is not None
    assert told is not None
    _, status = os.waitpid(pid, 0)
    assert hear_from_child(told)
    assert status == 0
    assert os.read(capture.fd, 100) == b"no memory\n"
    os.close(told)
    os.close(capture.fd)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start commands as another user")
def test_without_control_groups_who_has_too_many_processes_already_is_told_so(
    public_path: Path, mallory: Person
) -> None:
    """It would be for want of processes, for which all starts of a user pause, that one is not."""
    from taskman_cli.supervisor.asuser import NotBecome, hear_from_child
    from taskman_cli.supervisor.limiting import Limiter
    from taskman_cli.supervisor.spawn import Spawner

    limiter = Limiter()
    limiter._place = Place("", {}, frozenset())
    sleepers = [subprocess.Popen(["sleep", "600"], user=mallory.uid, extra_groups=[]) for _ in range(3)]
    spec = make_spec(public_path, ["true"], user=mallory.spec, output="discard", cwd="/")
    try:
        for processes, words in ((2, "limits.processes = 2, and its user has more"), (5, "")):
            limit = limiter.limit("a", {"processes": processes}, is_others=True)
            pid, _, told = Spawner().start(spec, now_ns=time.monotonic_ns(), limit=limit)
            assert told is not None
            os.waitpid(pid, 0)
            if words:
                with pytest.raises(NotBecome, match=words) as refused:
                    hear_from_child(told)
                assert refused.value.errno == 0
            else:
                assert hear_from_child(told)
            os.close(told)
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()


@pytest.fixture
def domain() -> Iterator[Path]:
    """Return a group of version 2 in which something can be limited, with a process in it."""
    top = Path(find_place().dirs.get("", "/nonexistent"))
    controller = "hugetlb"
    if PLACE.kind != "v1" or controller not in (top / "cgroup.controllers").read_text().split():
        pytest.skip("no controller of version 2 to try")
    was_on = controller in (top / "cgroup.subtree_control").read_text().split()
    (top / "cgroup.subtree_control").write_text(f"+{controller}")
    base = top / f"taskman-domain-{os.getpid()}"
    base.mkdir()
    process = subprocess.Popen(["sleep", "600"])
    (base / "cgroup.procs").write_text(str(process.pid))
    yield base
    process.kill()
    process.wait()
    close_here(Group([("", str(base))], is_ours=True))
    if not was_on:
        (top / "cgroup.subtree_control").write_text(f"-{controller}")


def test_in_version_2_our_own_processes_make_room_for_groups_with_limits(domain: Path) -> None:
    (process,) = (domain / "cgroup.procs").read_text().split()
    _open_below(str(domain), ["hugetlb"])
    assert (domain / "cgroup.subtree_control").read_text() == "hugetlb\n"
    assert (domain / "cgroup.procs").read_text() == ""
    assert (domain / MAIN / "cgroup.procs").read_text() == f"{process}\n"
    _open_below(str(domain), ["hugetlb"])
