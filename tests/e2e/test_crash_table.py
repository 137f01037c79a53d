"""The table of crashes in docs/ledger-and-crashes.md: each row has a test, here or where this says."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e.running import Running
from e2e.test_parked import taskman
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "ledger-and-crashes.md"

#: The tests of each row, as "file::name".
ROWS = {
    "the command exits with another code": [
        "e2e/test_crash_table.py::test_how_a_command_crashes",
        "e2e/test_parked.py::test_a_park_survives_a_kill_a_reload_and_a_restart_and_ends_with_resume",
    ],
    "the command is killed by a signal, or dumps core": [
        "e2e/test_crash_table.py::test_how_a_command_crashes",
        "unit/test_out_of_memory.py::test_an_end_says_what_is_known_of_it",
    ],
    "the command is killed for want of memory": [
        "unit/test_out_of_memory.py::test_a_kill_that_the_counter_tells_of_is_for_memory",
        "e2e/test_crash_table.py::test_a_command_that_is_killed_for_want_of_memory_is_told_as_such",
    ],
    "the command needs more memory than its `limits` allow": [
        "e2e/test_limits.py::test_a_job_over_its_limit_of_memory_fails_alone_and_is_told_as_such_everywhere",
        "unit/test_policy.py::test_an_end_is_told_in_words",
    ],
    "the command cannot be started": [
        "e2e/test_crash_table.py::test_how_a_command_crashes",
        "unit/test_engine_runs.py::test_want_of_processes_pauses_all_starts_and_is_not_the_jobs_fault",
    ],
    "code of taskman raises while it carries out an attempt": [
        "e2e/test_poison.py::test_an_end_that_raises_each_time_is_lost_and_the_rest_goes_on",
        "e2e/test_executors.py::test_an_exception_fails_its_attempt_and_no_other",
        "unit/test_poison.py::test_a_job_that_crashed_two_schedulers_is_paused",
        "unit/test_poison_simulation.py::test_a_handler_that_raises_ends_no_more_than_what_it_was_at",
    ],
    'code of taskman raises in the gate of `admission = "auto"`': [
        "e2e/test_poison.py::test_a_gate_that_raises_each_time_is_done_without_until_a_reload",
    ],
    "the supervisor": [
        "e2e/test_crashes.py::test_a_supervisor_that_dies_takes_the_scheduler_with_it_and_leaves_the_commands",
        "e2e/test_ledger.py::"
        "test_a_command_that_outlived_both_processes_is_watched_again_and_not_started_twice",
    ],
    "the scheduler": [
        "e2e/test_crashes.py::test_a_scheduler_that_dies_is_started_again_and_hears_what_ended_meanwhile"
    ],
    "the scheduler, at once, five times": [
        "e2e/test_crash_table.py::test_schedulers_that_die_at_once_come_again_with_growing_pauses_or_never",
    ],
    "the scheduler hangs": ["e2e/test_hanging.py::test_a_stopped_scheduler_is_replaced"],
    "the machine": [
        "unit/test_handover.py::test_no_process_outlives_the_machine",
        "unit/test_recovery.py::test_on_crash_says_whether_what_was_lost_is_run_again",
        "unit/test_parks.py::test_on_crash_park_parks_a_job_at_its_first_lost_run_and_judges_no_other",
    ],
    "the ledger": [
        "e2e/test_ledger.py::test_a_broken_ledger_is_set_aside_and_said_so",
        "e2e/test_ledger.py::test_a_ledger_that_breaks_while_it_runs_is_replaced_and_the_runs_go_on",
        "e2e/test_ledger.py::test_what_cannot_be_recorded_is_refused_at_once_and_what_ends_something_is_done",
    ],
}


def rows() -> Iterator[list[str]]:
    """Yield the rows of the table."""
    section = PAGE.read_text("utf-8").split("\n## Crashes\n")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| ")]
    yield from ([cell.strip() for cell in line.split("|")[1:-1]] for line in table[1:])


def test_a_row_names_what_there_is() -> None:
    assert [row[0] for row in rows()] == list(ROWS)
    for names in ROWS.values():
        for name in names:
            file, _, test = name.partition("::")
            assert re.search(rf"^def {test}\(", (TESTS / file).read_text("utf-8"), re.M), name


def test_the_tests_of_a_row_look_at_what_it_says_is_on_record() -> None:
    for row in rows():
        texts = [(TESTS / name.partition("::")[0]).read_text("utf-8") for name in ROWS[row[0]]]
        for code in re.findall(r"`([^`]+)`", row[-1]):
            words = re.split("…|TIME", code)[0]
            is_there = any(words in text for text in texts)
            assert is_there or (words == "spawn_delayed" and any("SpawnDelayed" in text for text in texts)), (
                code
            )


COMMANDS = {
    "exit 3": "exit 3",
    "kill -SEGV $$": r"killed by SIGSEGV( \(core dumped\))?",
    # Nobody can tell whether the kernel killed something else for memory at that time.
    "kill -KILL $$": r"killed by SIGKILL( \(.*out of memory.*\))?",
    ("/no/such/program",): "not found: /no/such/program",
    "/no/such/program || exit": "exit 127: command not found",
}


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_how_a_command_crashes(tmp_path: Path, command: str | tuple[str, ...]) -> None:
    jobs = f"""
        [jobs.bad]
        at = 2020-01-01T00:00:00Z
        run_on_start = true
        retry = {{ max = 1, delay = "10ms" }}
        command = {json.dumps(command)}
        [jobs.good]
        every = "300ms"
        command = "echo >> good"
    """
    with Running(tmp_path, jobs) as running:
        running.wait_for_log("attempt 2")
        count = len(running.lines("good"))
        running.wait_for("good", lines=count + 2)
        wait_until(
            lambda: len(json.loads(taskman(tmp_path, "history", "bad", "--json"))) == 2, what="both attempts"
        )
        for row in json.loads(taskman(tmp_path, "history", "bad", "--json")):
            assert row["state"] == "failed"
            assert re.fullmatch(COMMANDS[command], row["detail"]), row["detail"]


def memory_group() -> Path | None:
    """Make a control group with little memory, below our own; None: that is not possible here."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, kinds, path = line.split(":", 2)
        is_old = "memory" in kinds.split(",")
        if not is_old and number != "0":
            continue
        group = Path("/sys/fs/cgroup" + ("/memory" if is_old else "") + path) / f"taskman-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / ("memory.limit_in_bytes" if is_old else "memory.max")).write_text("150000000")
        except OSError:
            if group.exists():
                group.rmdir()
            continue
        return group
    return None


def test_a_command_that_is_killed_for_want_of_memory_is_told_as_such(tmp_path: Path) -> None:
    group = memory_group()
    if group is None:
        pytest.skip("no control group can be made here")
    jobs = """
        [jobs.big]
        at = 2020-01-01T00:00:00Z
        run_on_start = true
        command = ["python3", "-c", "x = bytearray(400_000_000)"]
        [jobs.killed]
        at = 2020-01-01T00:00:00Z
        run_on_start = true
        command = "until test -e go; do sleep 0.1; done; kill -KILL $$"
    """
    enter = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$0" "$@"']
    try:
        with Running(tmp_path, jobs, prefix=enter) as running:
            running.wait_for_log("big: failed (killed by SIGKILL (out of memory))")
            running.path("go").touch()
            running.wait_for_log("killed: failed (killed by SIGKILL)")
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), what="the group to be empty")
        group.rmdir()


def test_schedulers_that_die_at_once_come_again_with_growing_pauses_or_never(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, sys\n"
        "is_it = 'taskman_cli.scheduler' in sys.orig_argv and 'taskman_cli.supervisor' not in sys.orig_argv\n"
        "if is_it and not os.path.exists('repaired'):\n"
        "    os._exit(7)\n"
    )
    jobs = """
        [taskman]
        restart_delay = "20ms"
        restart_delay_max = "50ms"
        [jobs.tick]
        every = "300ms"
        command = "echo >> ticks"
    """
    environ = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"}
    with Running(tmp_path, jobs, environ=environ) as running:
        assert running.end() == 1
        assert "no scheduler has ever come up: giving up" in running.log
        # What the job file says of pauses is known from a scheduler.
        assert re.findall(r"starting it again in ([\d.]+) s", running.log) == ["0.1", "0.2", "0.4", "0.8"]
    (tmp_path / "repaired").touch()
    with Running(tmp_path, jobs, environ=environ) as running:
        running.wait_for("ticks")
        (tmp_path / "repaired").unlink()
        running.kill_scheduler()
        wait_until(lambda: len(re.findall(r"died \(.*7\)", running.log)) >= 5, what="five that died at once")
        pauses = re.findall(r"starting it again in ([\d.]+) s", running.log)
        assert pauses == sorted(pauses)
        assert pauses[-1] == "0.05"
        (tmp_path / "repaired").touch()
        count = len(running.lines("ticks"))
        running.wait_for("ticks", lines=count + 2)
