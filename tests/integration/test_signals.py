"""What is read of the machine's load: from real files, from those of containers, and from none."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from wait import wait_until

from taskman_cli.scheduler.memory_sampler import MemorySampler, resident_of
from taskman_cli.scheduler.signals import LIMITS_NS, SignalReader, find_groups

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from taskman_cli.core.engine.admission import Signals

GIB = 1 << 30
MEMINFO = "MemTotal:       16777216 kB\nMemFree:  1 kB\nMemAvailable:    8388608 kB\n"
STALL = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "proc/loadavg", "0.50 0.40 0.30 5/812 4711\n")
    write(tmp_path, "proc/meminfo", MEMINFO)
    write(tmp_path, "proc/pressure/memory", STALL.format(1500))
    return tmp_path


def read(root: Path, at_ns: int = 0) -> Signals:
    reader = SignalReader(root)
    try:
        return reader.read(at_ns)
    finally:
        reader.close()


def in_group(root: Path, *mounts: str, groups: str) -> None:
    lines = [f"30 20 0:27 / {place} rw - {kind}" for place, kind in (mount.split(" ", 1) for mount in mounts)]
    write(root, "proc/self/mountinfo", "\n".join(lines) + "\n")
    write(root, "proc/self/cgroup", groups)


def test_this_machine_says_something_and_quickly() -> None:
    found = SignalReader().read(0)
    assert found.cpus > 0
    assert found.memory_bytes is None or found.memory_bytes > 0


def test_a_machine_is_read(root: Path) -> None:
    found = read(root)
    assert found.cpus == len(os.sched_getaffinity(0))
    is_whole = len(os.sched_getaffinity(0)) >= (os.cpu_count() or 1)
    assert found.runnable == (4 if is_whole else None)
    assert (found.memory_bytes, found.available_bytes, found.stalled_ns) == (16 * GIB, 8 * GIB, 1_500_000)


def test_files_are_read_anew_each_time_and_limits_now_and_then(root: Path) -> None:
    in_group(root, "/sys/fs/cgroup cgroup2 cgroup2 rw", groups="0::/\n")
    reader = SignalReader(root)
    reader.read(0)
    write(root, "proc/meminfo", MEMINFO.replace("8388608", "4194304"))
    write(root, "sys/fs/cgroup/cpu.max", "50000 100000\n")
    found = reader.read(1)
    assert (found.available_bytes, found.cpus) == (4 * GIB, len(os.sched_getaffinity(0)))
    found = reader.read(LIMITS_NS)
    assert (found.cpus, found.runnable) == (0.5, None)
    reader.close()


ODD = ["", "\n", "garbage", "\0\xff", "9" * 5000, "some total=x", "MemTotal: kB", "a b c d/e", "-1", "max"]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_odd_files_say_nothing(root: Path, text: str) -> None:
    for name in ("loadavg", "meminfo", "pressure/memory"):
        write(root, f"proc/{name}", text)
    in_group(root, "/sys/fs/cgroup cgroup2 cgroup2 rw", groups="0::/a/b\n")
    for name in ("cpu.max", "memory.max", "memory.current", "memory.stat", "pids.max", "memory.pressure"):
        write(root, f"sys/fs/cgroup/a/b/{name}", text)
    found = read(root)
    assert (found.runnable, found.memory_bytes, found.available_bytes, found.stalled_ns) == (None,) * 4
    write(root, "proc/self/mountinfo", text)
    write(root, "proc/self/cgroup", text)
    assert find_groups(root) == {}


def test_no_files_say_nothing(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.cpus == len(os.sched_getaffinity(0))
    assert (found.runnable, found.memory_bytes, found.available_bytes, found.stalled_ns) == (None,) * 4


def test_the_limits_of_a_control_group_count_and_of_those_above_it(root: Path) -> None:
    in_group(root, "/sys/fs/cgroup cgroup2 cgroup2 rw", groups="0::/system.slice/taskman.service\n")
    own, above = "sys/fs/cgroup/system.slice/taskman.service", "sys/fs/cgroup/system.slice"
    write(root, f"{own}/memory.max", "max\n")
    write(root, f"{own}/memory.current", "12345\n")
    write(root, f"{own}/memory.pressure", STALL.format(9))
    write(root, f"{above}/memory.max", f"{4 * GIB}\n")
    write(root, f"{above}/memory.current", f"{3 * GIB}\n")
    write(root, f"{above}/memory.stat", f"anon 1\ninactive_file {GIB}\n")
    write(root, f"{above}/cpu.max", "25000 100000\n")
    write(root, f"{above}/pids.max", "100\n")
    found = read(root)
    assert (found.memory_bytes, found.available_bytes, found.stalled_ns) == (4 * GIB, 2 * GIB, 9000)
    assert (found.cpus, found.runnable) == (0.25, None)
    assert found.most_workers is not None
    assert found.most_workers <= 50


def test_so_do_those_of_the_first_version(root: Path) -> None:
    in_group(
        root,
        "/sys/fs/cgroup/memory cgroup cgroup rw,memory",
        "/sys/fs/cgroup/cpu cgroup cgroup cpu,cpuacct",
        groups="4:memory:/job\n1:cpu,cpuacct:/\nodd\n",
    )
    write(root, "sys/fs/cgroup/memory/job/memory.limit_in_bytes", f"{2 * GIB}\n")
    write(root, "sys/fs/cgroup/memory/job/memory.usage_in_bytes", f"{GIB}\n")
    write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n")
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    found = read(root)
    assert (found.memory_bytes, found.available_bytes, found.cpus) == (2 * GIB, GIB, 0.5)


# --- memory of running commands ---

EATER = """
import os, subprocess, sys, time
held = b"x" * (30 << 20)
if len(sys.argv) > 1:
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], process_group=0)
print(os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def eater() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", EATER, EATER], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    pids = [int(process.stdout.readline()) for _ in range(2)]
    yield process
    for pid in pids:  # each is a process group of its own
        os.kill(pid, 9)
    process.wait()
    process.stdout.close()


def test_all_processes_of_a_session_are_counted(eater: subprocess.Popen[str]) -> None:
    used = resident_of({eater.pid, 2**22 + 1})
    assert 60 << 20 <= used[eater.pid] <= 200 << 20
    assert used[2**22 + 1] == 0


def test_a_directory_that_is_no_proc_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, "7/stat", "7 (odd) name) S x")
    (tmp_path / "8").mkdir()
    assert resident_of({7}, str(tmp_path)) == {7: 0}
    assert resident_of({7}, str(tmp_path / "gone")) == {7: 0}


def test_the_sampler_answers_through_its_descriptor(eater: subprocess.Popen[str]) -> None:
    sampler = MemorySampler()
    found: dict[str, int] = {}
    sampler.ask([("one", eater.pid)])
    sampler.ask([("two", os.getpid())])
    wait_until(lambda: found.update(sampler.take()) or found.keys() == {"one", "two"})
    assert found["one"] > 60 << 20
    sampler.close()


def test_a_sampler_that_was_never_asked_has_no_thread() -> None:
    sampler = MemorySampler()
    assert sampler.take() == {}
    sampler.close()
