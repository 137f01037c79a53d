"""Limits of jobs under a real systemd, which makes a scope for each command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from booted import TASKMAN, UNITS, Machine, booted, why_not
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(why_not()), reason=why_not())]

FILE = "/etc/taskman/jobs.toml"
HOG = "python3 -IS -c \"x = b'x' * 300_000_000\""
JOBS = f"""
[defaults]
limits = {{ memory = "100MiB", processes = 20, cpu = 1.5 }}
[jobs.hog]
every = "1h"
run_on_start = true
command = '''{HOG}'''
[jobs.leaves]
every = "1h"
run_on_start = true
command = "setsid sleep 4711 & cat /proc/self/cgroup; sleep 0.3"
[jobs.other]
every = "1h"
run_on_start = true
command = "cat /proc/self/cgroup; exec sleep 600"
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with booted() as machine:
        machine.add_user("alice")
        yield machine


def has_sleeper(machine: Machine) -> bool:
    return machine.call("pgrep", "-fx", "sleep 4711").returncode == 0


def test_jobs_of_a_unit_are_in_scopes_with_their_limits(machine: Machine) -> None:
    machine.write(FILE, JOBS)
    machine.write(f"{UNITS}/taskman.service", machine.run(TASKMAN, "unit", FILE))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "taskman")
    machine.wait_for_log(
        "taskman.service", "hog: failed (killed by SIGKILL (over its memory limit of 100 MiB))"
    )
    wait_until(lambda: "taskman-" in machine.call(TASKMAN, "log", "other").stdout, what="its output")
    scope = next(
        line for line in machine.run(TASKMAN, "log", "other").splitlines() if ":memory:" in line
    ).rpartition("/")[2]
    assert scope.endswith(".other.main.1.scope") or scope.endswith(".main.1.scope")
    found = machine.show(scope, "MemoryMax", "TasksMax", "CPUQuotaPerSecUSec")
    assert found == {"MemoryMax": str(100 << 20), "TasksMax": "20", "CPUQuotaPerSecUSec": "1.500000s"}
    wait_until(lambda: json.loads(machine.run(TASKMAN, "history", "leaves", "--json")), what="its end")
    wait_until(lambda: not has_sleeper(machine), what="the end of what it left")
    assert "systemd makes a scope for each command" in machine.call(TASKMAN, "doctor").stdout
    machine.run("systemctl", "stop", "taskman")
    units = machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "taskman-*.scope")
    assert units.strip() == ""
