"""The watchdog of a real systemd: it bites when no scheduler gets on, and replacing it does not help."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from booted import TASKMAN, UNITS, Machine, booted, why_not
from e2e.running import children, is_alive, is_scheduler
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(why_not()), reason=why_not())]

SITE = Path(__file__).with_name("hanging")

JOBS = """
    [taskman]
    hang_after = "1s"
    restart_delay = "10ms"
    [jobs.tick]
    every = "500ms"
    command = "echo >> ticks"
"""

UNIT = """
    [Service]
    Type=notify
    WorkingDirectory=/srv/{name}
    StateDirectory={name}
    StateDirectoryMode=0700
    Environment=PYTHONPATH=/srv/site TASKMAN_HANG={how} TASKMAN_HANG_AGAIN=1
    ExecStart={taskman} run jobs.toml
    KillMode=mixed
    WatchdogSec={watchdog_s}s
    TimeoutAbortSec=2s
    LimitCORE=0
    Restart=on-failure
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """Boot a machine in which schedulers can be made to hang."""
    with booted() as machine:
        machine.write("/srv/site/sitecustomize.py", (SITE / "sitecustomize.py").read_text())
        yield machine


#: Where the watchdog is not to bite, on a busy machine either.
PATIENT_S = 10


def start(machine: Machine, name: str, how: str, *, watchdog_s: int = 5) -> Path:
    """Start a unit, and wait until its jobs run; return its directory."""
    machine.write(f"/srv/{name}/jobs.toml", JOBS)
    machine.write(
        f"{UNITS}/{name}.service", UNIT.format(name=name, how=how, taskman=TASKMAN, watchdog_s=watchdog_s)
    )
    machine.run("systemctl", "start", name)
    directory = machine.path(f"/srv/{name}")
    wait_until((directory / "ticks").exists, what="the first tick")
    return directory


def scheduler_of(machine: Machine, unit: str) -> int:
    """Return the scheduler of a unit."""
    supervisor = machine.main_pid(unit)
    return wait_until(lambda: next(filter(is_scheduler, children(supervisor)), 0), what="a scheduler")


@pytest.mark.parametrize("how", ["asleep", "lock", "timer"])
def test_it_bites_when_each_scheduler_hangs(machine: Machine, how: str) -> None:
    name = f"hang-{how}"
    directory = start(machine, name, how)
    before = machine.show(name, "MainPID")
    (directory / "hang").touch()
    machine.wait_for_log(f"{name}.service", "Watchdog timeout (limit 5s)!", timeout_s=60)
    log = machine.log(f"{name}.service")
    # The supervisor has tried first, at least once.
    assert [line for line in log if line.endswith(": killing it")]
    (directory / "hang").unlink()
    machine.wait_for(name, ActiveState="active", NRestarts="1")
    count = len((directory / "ticks").read_text())
    wait_until(lambda: len((directory / "ticks").read_text()) > count + 1, what="further ticks")
    assert machine.show(name, "MainPID") != before
    machine.run("systemctl", "stop", name)


def test_it_does_not_bite_when_another_scheduler_helps(machine: Machine) -> None:
    ticks = start(machine, "replaced", "none", watchdog_s=PATIENT_S) / "ticks"
    before = machine.show("replaced", "MainPID")
    # Longer than the watchdog waits.
    until_s = time.monotonic() + PATIENT_S + 2
    while time.monotonic() < until_s:
        first = scheduler_of(machine, "replaced")
        os.kill(first, signal.SIGSTOP)
        wait_until(lambda pid=first: not is_alive(pid), what="the end of the one that was stopped")
        count = len(ticks.read_text())
        wait_until(lambda least=count + 2: len(ticks.read_text()) > least, what="further ticks")
    assert machine.show("replaced", "MainPID", "NRestarts", "ActiveState") == {
        **before,
        "NRestarts": "0",
        "ActiveState": "active",
    }
    machine.run("systemctl", "stop", "replaced")


def test_it_bites_when_the_supervisor_is_stopped(machine: Machine) -> None:
    start(machine, "stopped", "none")
    os.kill(machine.main_pid("stopped"), signal.SIGSTOP)
    machine.wait_for("stopped", timeout_s=60, ActiveState="active", NRestarts="1")
    assert any("Watchdog timeout" in line for line in machine.log("stopped.service"))
    machine.run("systemctl", "stop", "stopped")


def test_it_does_not_bite_during_a_restart_or_a_long_idle_time(machine: Machine) -> None:
    start(machine, "idle", "none", watchdog_s=PATIENT_S)
    machine.write("/srv/idle/jobs.toml", JOBS.replace("500ms", "365d"))
    machine.run(TASKMAN, "reload", "--state-dir", "/var/lib/idle")
    machine.run(TASKMAN, "restart", "--state-dir", "/var/lib/idle")
    before = machine.show("idle", "MainPID")
    # Longer than the watchdog waits, by the clock of the machine.
    machine.run("sleep", f"{PATIENT_S + 2}")
    assert machine.show("idle", "MainPID", "NRestarts", "ActiveState") == {
        **before,
        "NRestarts": "0",
        "ActiveState": "active",
    }
    machine.run("systemctl", "stop", "idle")
