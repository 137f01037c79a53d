"""Commands that outlived their supervisor, found among real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from process_table import arguments, is_alive
from wait import wait_until

from taskman_cli.scheduler import orphans
from taskman_cli.scheduler.orphans import Orphan, Proof, boot_id, find_orphans, is_gone
from taskman_cli.supervisor.procstat import MOST_ENVIRON_BYTES, ProcStat, read_environ, read_stat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from people import Person

RUN = f"6test{os.getpid():05x}"[:10]
KEY = f"{RUN}.main.1"
OURS = Proof(os.geteuid(), "token")


@contextmanager
def process(
    *argv: str,
    run: str = RUN,
    task: str = "main",
    attempt: str = "1",
    token: str | None = None,
    is_leader: bool = True,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command as the supervisor would: with the variables of its attempt, in a session of its own."""
    env = os.environ | {
        "TASKMAN_RUN_ID": run,
        "TASKMAN_TASK": task,
        "TASKMAN_ATTEMPT": attempt,
        "TASKMAN_TOKEN": "token" if token is None else token,
    }
    command = argv or ("/bin/sh", "-c", "read forever")
    with subprocess.Popen(
        command, env=env, start_new_session=is_leader, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as started:
        try:
            # Between fork and exec the environment is the test's own.
            wait_until(lambda: arguments(started.pid)[:1] == [b"/bin/sh"])
            yield started
        finally:
            started.kill()


def find(*keys: str) -> dict[str, int]:
    return {key: orphan.pid for key, orphan in find_orphans(dict.fromkeys(keys, OURS)).items()}


def test_a_command_is_found_by_its_environment() -> None:
    with process() as command, process(task="b", attempt="12") as other:
        assert find(KEY, f"{RUN}.b.12", f"{RUN}.c.1") == {KEY: command.pid, f"{RUN}.b.12": other.pid}
        assert find(KEY) == {KEY: command.pid}
        assert find() == {}
    assert find(KEY) == {}


def test_the_start_time_of_a_process_is_found() -> None:
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    with process():
        after_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        found = find_orphans({KEY: OURS})[KEY]
        assert before_ns - 10_000_000 <= found.started_elapsed_ns <= after_ns


def test_children_and_processes_that_lead_no_session_are_not_the_command() -> None:
    script = "/bin/sh -c 'echo ready; sleep 600' & wait"
    with process("/bin/sh", "-c", script) as command:
        assert command.stdout
        assert command.stdout.readline() == b"ready\n"
        assert find(KEY) == {KEY: command.pid}
        os.killpg(command.pid, signal.SIGKILL)
    with process(is_leader=False):
        assert find(KEY) == {}


def test_of_several_leaders_the_oldest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command may start a session of its own (setsid), with the environment that it was given."""
    with process() as first, process() as second:
        ages = {first.pid: 50, second.pid: 60}

        def with_age(pid: int) -> ProcStat:
            if pid in ages:
                return ProcStat(b"%d (sh) S 1 %d %d%s %d" % (pid, pid, pid, b" 0" * 15, ages[pid]))
            return read_stat(pid)

        monkeypatch.setattr(orphans, "read_stat", with_age)
        tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        assert find_orphans({KEY: OURS}) == {KEY: Orphan(first.pid, 50 * tick_ns)}
        ages.update({first.pid: 70})
        assert find_orphans({KEY: OURS}) == {KEY: Orphan(second.pid, 60 * tick_ns)}


def test_a_program_name_may_contain_blanks_and_brackets(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 1 (b"
    program.write_text("#!/bin/sh\nread forever\n")
    program.chmod(0o755)
    with process(str(program)) as command:
        assert find(KEY) == {KEY: command.pid}


def test_a_zombie_is_not_found() -> None:
    with process() as command:
        command.kill()
        os.waitid(os.P_PID, command.pid, os.WEXITED | os.WNOWAIT)
        assert find(KEY) == {}


def test_processes_that_end_during_the_search_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    with process() as command:
        monkeypatch.setattr(orphans, "_pids", lambda: iter([2**22 + 1, command.pid]))
        assert find(KEY) == {KEY: command.pid}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_processes_of_other_users_are_skipped(mallory: Person) -> None:
    with process() as command:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setgid(mallory.gid)
                os.setuid(mallory.uid)
                os.write(writing, repr(find(KEY)).encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(pid, 0)
        assert os.read(reading, 1000) == b"{}"
        os.close(reading)
        assert find(KEY) == {KEY: command.pid}


@pytest.mark.parametrize("token", ["", "another"])
def test_a_process_without_the_token_is_not_the_command(token: str) -> None:
    with process(token=token):
        assert find(KEY) == {}
        assert find_orphans({KEY: Proof(os.geteuid(), "")}) == {}


def test_a_process_of_another_user_is_not_the_command(mallory: Person) -> None:
    with process() as command:
        assert find_orphans({KEY: Proof(mallory.uid, "token")}) == {}
        assert find_orphans({KEY: OURS})[KEY].pid == command.pid


def test_a_boot_of_the_machine_has_one_id(monkeypatch: pytest.MonkeyPatch) -> None:
    name = boot_id()
    assert Path("/proc/sys/kernel/random/boot_id").read_text().strip() == name.split(":")[0]
    assert name == boot_id()

    def other(pid: int) -> ProcStat:
        assert pid == 1
        return ProcStat(b"1 (init)" + b" 0" * 19 + b" 12345")

    monkeypatch.setattr(orphans, "read_stat", other)
    assert name.split(":")[0] + ":12345" == boot_id()

    def hidden(_: int) -> ProcStat:
        raise PermissionError

    monkeypatch.setattr(orphans, "read_stat", hidden)
    assert name.split(":")[0] == boot_id()


def test_a_process_is_gone_if_no_process_has_its_pid() -> None:
    with process() as running:
        assert not is_gone(running.pid)
    assert is_gone(running.pid)


def test_a_process_of_another_user_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError(pid, number)

    monkeypatch.setattr(os, "kill", refuse)
    assert not is_gone(1)


#: Lets the kernel take 64 GB of empty memory for its environment.
VAST = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.sbrk.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
size = 64 << 30
start = libc.mmap(None, size, 1, 0x4022, -1, 0)  # PROT_READ; MAP_PRIVATE, ANONYMOUS, NORESERVE
field = [0, 0, 0, 0, *map(int, open("/proc/self/stat").read().rpartition(")")[2].split()[1:])].__getitem__
given = [*(field(n) for n in (26, 27, 45, 46, 47)), libc.sbrk(0), *(field(n) for n in (28, 48, 49))]
numbers = (ctypes.c_uint64 * 13)(*given, start, start + size, 0, 0xFFFFFFFF << 32)
print(libc.prctl(35, 14, ctypes.byref(numbers), ctypes.sizeof(numbers), 0), flush=True)
input()
"""


@pytest.fixture
def vast() -> Iterator[int]:
    """Return a process that says of its memory that 64 GB are its environment."""
    with subprocess.Popen(
        [sys.executable, "-c", VAST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "0\n":
                pytest.skip("the kernel refuses it, or has not that much address space")
            yield process.pid
        finally:
            process.kill()


def test_no_more_of_an_environment_is_read_than_a_process_can_be_started_with(vast: int) -> None:
    assert len(read_environ(vast)) == MOST_ENVIRON_BYTES


def test_a_process_with_an_endless_environment_does_not_keep_others_from_being_found(vast: int) -> None:
    with process() as command:
        assert find(KEY) == {KEY: command.pid}
    assert is_alive(vast)


def test_environments_of_users_who_run_none_of_the_commands_are_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = []
    monkeypatch.setattr(orphans, "read_environ", lambda pid: read.append(pid) or b"")
    assert find_orphans({KEY: Proof(2**31, "token")}) == {}
    assert read == []
