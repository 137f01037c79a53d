"""The watchdog of a real systemd: it bites when no scheduler gets on, and replacing it does not help."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from booted import TASKMAN, UNITS, Machine, booted, why_not
from e2e.running import is_scheduler
from process_table import children, is_alive
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(why_not()), reason=why_not())]

SITE = Path(__file__).with_name("hanging")

JOBS = """
    [taskman]
    hang_after = "{hang_after_s}s"
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
    Environment=PYTHONPATH=/srv/site TASKMAN_HANG={how}
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


#: Where the watchdog is not to bite, and nobody is to be taken for one that hangs, on a busy machine either.
PATIENT_S, SLOW_S = 12, 2


def start(machine: Machine, name: str, how: str, *, watchdog_s: int = 5, hang_after_s: int = 1) -> Path:
    """Start a unit, and wait until its jobs run; return its directory."""
    machine.write(f"/srv/{name}/jobs.toml", JOBS.format(hang_after_s=hang_after_s))
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


class Bitten(NamedTuple):
    """A unit whose schedulers all hung, until the watchdog bit."""

    name: str
    directory: Path
    supervisor: dict[str, str]


WAYS = ("asleep", "lock", "timer")


@pytest.fixture(scope="module")
def bitten(machine: Machine) -> dict[str, Bitten]:
    """Let them hang at the same time, since each waits for the watchdog; those that follow do not hang."""
    units = {}
    for how in WAYS:
        name = f"hang-{how}"
        units[how] = Bitten(name, start(machine, name, how), machine.show(name, "MainPID"))
    for unit in units.values():
        (unit.directory / "hang").write_text(unit.supervisor["MainPID"])
    for unit in units.values():
        machine.wait_for_log(f"{unit.name}.service", "Watchdog timeout (limit 5s)!", timeout_s=60)
    return units


@pytest.mark.parametrize("how", WAYS)
def test_it_bites_when_each_scheduler_hangs(machine: Machine, bitten: dict[str, Bitten], how: str) -> None:
    name, directory, before = bitten[how]
    # The supervisor has tried first, at least once.
    assert [line for line in machine.log(f"{name}.service") if line.endswith(": killing it")]
    machine.wait_for(name, timeout_s=60, ActiveState="active", NRestarts="1")
    assert machine.show(name, "MainPID") != before
    count = len((directory / "ticks").read_text())
    wait_until(lambda: len((directory / "ticks").read_text()) > count + 1, what="further ticks")
    machine.run("systemctl", "stop", name)


def test_it_does_not_bite_when_another_scheduler_helps(machine: Machine) -> None:
    ticks = start(machine, "replaced", "none", watchdog_s=PATIENT_S, hang_after_s=SLOW_S) / "ticks"
    before = machine.show("replaced", "MainPID")

    def find_one_at_work() -> int:
        """Return a scheduler that got on, and was not just begun; 0: it is gone, for a busy machine."""
        pid, count = scheduler_of(machine, "replaced"), len(ticks.read_text())
        wait_until(lambda: len(ticks.read_text()) > count + 2, what="further ticks")
        return pid if is_alive(pid) else 0

    # Longer than the watchdog waits.
    until_s = time.monotonic() + PATIENT_S + 2
    while (pid := wait_until(find_one_at_work)) and time.monotonic() < until_s:
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda stopped=pid: not is_alive(stopped), what="the end of the one that was stopped")
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
    start(machine, "idle", "none", watchdog_s=PATIENT_S, hang_after_s=SLOW_S)
    machine.write("/srv/idle/jobs.toml", JOBS.format(hang_after_s=SLOW_S).replace("500ms", "365d"))
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
