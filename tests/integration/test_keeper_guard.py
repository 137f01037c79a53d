"""What a keeper that is killed has left ends; what has ended or was never noted is left alone."""

from __future__ import annotations

import os
import subprocess
import sys

from process_table import is_alive, kill_group, with_arguments
from wait import wait_until

from taskman_cli.executors.keeperguard import Guard

#: A keeper of three commands: one that runs, with a child; one that was noted and has ended; one of others.
_KEEPER = """
import subprocess, sys, time
from taskman_cli.executors.keeperguard import Guard
guard = Guard()
guard.begin()
def sleep(seconds):
    words = ["sh", "-c", f"sleep {seconds} & echo $!; wait"]
    started = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    return started, int(started.stdout.readline())
running, child = sleep(1000)
ended, _ = sleep(0)
other, others_child = sleep(1000)
guard.add(ended.pid)
guard.add(running.pid)
guard.remove(ended.pid)
ended.wait()
print(running.pid, child, other.pid, others_child, flush=True)
sys.stdin.read()
"""


def guards() -> set[int]:
    return {*with_arguments(b"taskman_cli.executors.keeperguard")}


def test_what_a_killed_keeper_has_left_ends_with_its_children() -> None:
    before = guards()
    keeper = subprocess.Popen(
        [sys.executable, "-c", _KEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    pids = [int(pid) for pid in keeper.stdout.readline().split()]
    wait_until(lambda: guards() - before, what="the guard")
    try:
        keeper.kill()
        keeper.wait()
        wait_until(lambda: [is_alive(pid) for pid in pids] == [False, False, True, True])
        wait_until(lambda: not guards() - before, what="the end of the guard")
    finally:
        for pid in pids[::2]:
            kill_group(pid)
        keeper.stdin.close()
        keeper.stdout.close()


def test_without_the_process_nothing_is_noted() -> None:
    guard = Guard()
    guard.add(os.getpid())
    guard.remove(os.getpid())
    assert guard._slots == {}
