"""The machine that other tests boot: it is a real one, and nothing of it is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from booted import TASKMAN, UNITS, booted, text_of, why_not
from process_table import is_alive, is_gone
from wait import wait_until

import taskman_cli

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(why_not()), reason=why_not())]

UNIT = """
    [Service]
    Type=oneshot
    WorkingDirectory=/
    ExecStart=/bin/sh -c 'echo begun; echo "<3>important"; echo yes | tee etc/written tmp/written opt/written'
"""


def cgroups() -> set[str]:
    """Return the cgroups of booted machines that there are now."""
    return {str(path) for path in Path("/sys/fs/cgroup").glob("**/booted-*")}


def mounts() -> set[str]:
    """Return what is mounted, but for what other tests mount for themselves meanwhile."""
    places = {line: line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()}
    own, all_ = f"booted-{os.getpid()}-", f"{tempfile.gettempdir()}/"
    return {line for line, place in places.items() if own in place or not place.startswith(all_)}


def test_a_booted_machine_runs_units_and_nothing_of_it_is_left() -> None:
    before = mounts()
    with booted() as machine:
        machine.write(f"{UNITS}/hello.service", UNIT)
        machine.run("systemctl", "start", "hello")
        machine.wait_for("hello", Result="success", ActiveState="inactive")
        entries = [entry for entry in machine.journal("hello") if entry["_TRANSPORT"] == "stdout"]
        assert [(text_of(entry), entry["PRIORITY"]) for entry in entries] == [
            ("begun", "6"),
            ("important", "3"),
            ("yes", "6"),
        ]
        assert machine.run(TASKMAN, "--version") == f"taskman {taskman_cli.__version__}\n"
        assert machine.read("/etc/written") == "yes\n"
        pids = machine.pids()
        assert machine.pid in pids
        assert machine.inside(machine.pid) == 1
    assert [path for path in ("/etc/written", "/tmp/written", "/opt/written") if Path(path).exists()] == []
    assert all(map(is_gone, pids))
    assert [path for path in cgroups() if path.endswith(f"-{os.getpid()}")] == []
    assert mounts() == before


def test_a_machine_ends_with_the_process_that_booted_it() -> None:
    script = (
        "from booted import booted\nwith booted() as machine: print(*machine.pids(), flush=True); input()"
    )
    test = subprocess.Popen(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with test:
        assert test.stdout is not None
        pids = [int(word) for word in test.stdout.readline().split()]
        test.kill()
    assert len(pids) > 1
    wait_until(lambda: not any(map(is_alive, pids)), what="the end of the machine")
    with booted():  # removes what such a one leaves
        assert [path for path in cgroups() if path.endswith(f"-{test.pid}")] == []
        assert list(Path(tempfile.gettempdir()).glob(f"booted-{test.pid}-*")) == []
