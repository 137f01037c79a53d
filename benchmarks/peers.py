"""Other schedulers, to be measured beside ours: from PyPI, in an environment of their own.

taskman needs none of them. Where they cannot be installed, a benchmark says so and goes on without them.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness import BUILD, BenchmarkError, child_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PACKAGES = ("apscheduler==3.11.3", "cronstable==1.2.72")
INSTALL_TIMEOUT_S = 600
STOP_TIMEOUT_S = 10
#: How long before the slot each has to be started, to have read a thousand jobs by then.
LEAD_S = {"APScheduler": 3, "cronstable": 8}

_WITH_APSCHEDULER = """
import json, subprocess, sys
from datetime import datetime, timezone
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.blocking import BlockingScheduler

command, count, width, slot_s = json.loads(sys.argv[1])
scheduler = BlockingScheduler(
    executors={"default": ThreadPoolExecutor(width)}, job_defaults={"misfire_grace_time": None}
)
slot, how = datetime.fromtimestamp(slot_s, timezone.utc), {"shell": isinstance(command, str)}
for _ in range(count):
    scheduler.add_job(subprocess.run, "date", run_date=slot, args=[command], kwargs=how)
scheduler.start()
"""


def install() -> Path:
    """Return the directory of the programs of the peers' environment; it is made once."""
    environment = BUILD / "peers"
    marker, wanted = environment / "installed", "\n".join(PACKAGES)
    if not marker.exists() or marker.read_text() != wanted:
        _run([sys.executable, "-m", "venv", "--clear", str(environment)])
        _run([str(environment / "bin" / "pip"), "install", "--quiet", *PACKAGES])
        marker.write_text(wanted)
    return environment / "bin"


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchmarkError(f"{' and '.join(PACKAGES)} cannot be installed: {error}") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
        raise BenchmarkError(f"{' and '.join(PACKAGES)} cannot be installed: {last}")


@contextlib.contextmanager
def running(
    name: str, directory: Path, command: str | Sequence[str], *, count: int, width: int, slot_ns: int
) -> Iterator[None]:
    """Let a peer run a command so often at a slot, a whole second; cronstable knows no width.

    A string is run by a shell, a list without one.
    """
    programs = install()
    if name == "APScheduler":
        arguments = json.dumps([command, count, width, slot_ns // 1_000_000_000])
        argv = [str(programs / "python"), "-c", _WITH_APSCHEDULER, arguments]
    else:
        path = directory / "jobs.yaml"
        path.write_text(_for_cronstable(command, count, slot_ns))
        argv = [str(programs / "cronstable"), "-c", str(path)]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            argv, cwd=directory, env=child_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield
        if process.poll() is not None:
            said = (directory / "log").read_text(errors="replace").strip().rpartition("\n")[2]
            raise BenchmarkError(f"{name} has ended by itself: {said}")
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _for_cronstable(command: str | Sequence[str], count: int, slot_ns: int) -> str:
    slot = datetime.fromtimestamp(slot_ns // 1_000_000_000, UTC)
    if isinstance(command, str):
        lines = [f"    command: {command}"]
    else:
        lines = ["    command:", *(f"      - {word}" for word in command)]
    job = "\n".join([*lines, f'    schedule: "{slot.second} {slot.minute} * * * * *"', "    utc: true"])
    return "jobs:\n" + "".join(f"  - name: job-{number}\n{job}\n" for number in range(count))
