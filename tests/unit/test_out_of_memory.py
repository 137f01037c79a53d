"""Which kills were for want of memory, by the counters of the kernel; and how an end is worded."""

from __future__ import annotations

import pytest

from taskman_cli.core.engine.policy import describe
from taskman_cli.core.model import Exit
from taskman_cli.supervisor.outofmemory import FRESH_NS, OutOfMemory, count_in


class Kernel:
    """Files with counters."""

    def __init__(self, **counts: int | None) -> None:
        self.counts = counts

    def read(self, path: str) -> bytes:
        count = self.counts.get(path)
        if count is None:
            raise FileNotFoundError(path)
        return b"low 0\noom 3\noom_kill %d\noom_group_kill 9\n" % count

    def watch(self) -> OutOfMemory:
        files = [("cgroup", "own"), ("machine", "all")]
        return OutOfMemory(lambda: files, self.read)


def test_a_kill_that_the_counter_tells_of_is_for_memory() -> None:
    kernel = Kernel(own=4, all=9)
    watch = kernel.watch()
    assert watch.claim() == ""
    kernel.counts["own"] = 6
    assert [watch.claim() for _ in range(3)] == ["cgroup", "cgroup", ""]


def test_the_counter_of_the_machine_is_the_second_best() -> None:
    kernel = Kernel(own=None, all=9)
    watch = kernel.watch()
    kernel.counts["all"] = 10
    assert (watch.scope, watch.claim()) == ("machine", "machine")


def test_what_was_killed_before_a_command_began_is_not_its_own() -> None:
    kernel = Kernel(own=0)
    watch = kernel.watch()
    kernel.counts["own"] = 1
    watch.note_start(FRESH_NS)
    assert watch.claim() == ""
    kernel.counts["own"] = 2
    watch.note_start(FRESH_NS + 1)  # read just now
    assert watch.claim() == "cgroup"


def test_without_a_counter_nothing_is_guessed() -> None:
    kernel = Kernel(own=None, all=None)
    watch = kernel.watch()
    watch.note_start(FRESH_NS)
    assert (watch.scope, watch.claim()) == ("", "")
    vanishing = Kernel(own=0)
    gone = vanishing.watch()
    vanishing.counts["own"] = None
    assert gone.claim() == ""


def test_a_file_without_such_a_line_has_no_count() -> None:
    assert count_in(b"oom_kill_disable 0\nunder_oom 0\n") is None
    assert count_in(b"oom_kill x\n") is None


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (Exit(signal=9), "killed by SIGKILL"),
        (Exit(signal=9, memory="cgroup"), "killed by SIGKILL (out of memory)"),
        (
            Exit(signal=9, memory="machine"),
            "killed by SIGKILL (probably out of memory: the kernel killed a process for that)",
        ),
        (Exit(signal=9, memory="later version"), "killed by SIGKILL"),
        (Exit(signal=11, has_core=True), "killed by SIGSEGV (core dumped)"),
        (Exit(signal=200, has_core=True), "killed by signal 200 (core dumped)"),
    ],
)
def test_an_end_says_what_is_known_of_it(end: Exit, words: str) -> None:
    assert describe(end, is_shell=False) == words
