"""A crontab runs in Debian's cron under a fast clock, and in the engine on a virtual one: the same minutes.

It takes three minutes, and runs where TASKMAN_DEBIAN is set (tests/debian.py).
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

import debian
import pytest
from unit.engine_driver import Driver, of_type

from taskman_cli.core.clock import SECOND_NS, Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.model import Exit
from taskman_cli.jobfile import load

if TYPE_CHECKING:
    from collections.abc import Iterator

ZONE = "Europe/Stockholm"
#: A minute is a second then.
SPEED = 60
#: A command that is stamped so late, in minutes, may be another minute's.
LATE = 0.8

WHY_NOT = debian.why_not(debian.CRON) if debian.UNPACKED else "TASKMAN_DEBIAN is not set (tests/debian.py)"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or ""),
    pytest.mark.timeout(400),
]

#: Each line's command is its name; STAMP writes when it ran.
LINES = """\
SHELL=/bin/bash
MAILTO=""
# every minute tells how late all are
* * * * * root beat
*/5 * * * * root five-minutes
17 * * * * root hourly
@hourly root nickname
10 */2 * * * root even-hours
0 0-23 * * * root each-hour
55 1 * * * nobody before
0 2 * * * root two
30 2 * * * games half-past-two
15,45 2 * * * root twice
*/20 2 * * * root thirds-of-two
0-59/10 2,3 * * * root tens
5 2-4 * * * nobody five-past
0 3 * * * root three
1 3 * * * games after
25 2 29 mar * root date
25 2 * oct,mar sun root sunday
25 2 1 * SUN root or
25 2 */2 * SUN root and
35 2 * * mon-sat root weekdays
20 4 * * * root too-late
@reboot root start
"""

IN_NAMESPACE = """
set -e
mount -t tmpfs none /run
mount -t tmpfs none /dev/shm
mount -t tmpfs none /var/spool
mkdir -p -m 1730 /var/spool/cron/crontabs
mount --bind "$1" /etc/cron.d
[ ! -e /etc/crontab ] || mount --bind /dev/null /etc/crontab
exec env -i PATH=/usr/bin:/bin TZ="$2" LD_PRELOAD="$3" FAKETIME="$4" "$5" -f
"""


class Change(NamedTuple):
    """A clock change, and the time around it."""

    #: On the wall, before the change.
    begin: str
    minutes: int
    #: How many hours the clocks jump.
    hours: int

    def ends(self) -> tuple[datetime, datetime]:
        """Return the first instant and the one after the last."""
        begin = datetime.fromisoformat(self.begin).replace(tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
        return begin, begin + timedelta(minutes=self.minutes)


CHANGES = [Change("2026-03-29 01:30:00", 120, 1), Change("2026-10-25 01:50:00", 160, -1)]


@pytest.fixture(scope="module")
def by_cron() -> Iterator[dict[Change, dict[str, set[datetime]]]]:
    """Return the minutes of each line around each change; the crons run side by side."""
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor() as pool:
        base = Path(name)
        base.chmod(0o755)
        runs = {change: pool.submit(run_cron, base / f"{change.hours}", change) for change in CHANGES}
        yield {change: run.result() for change, run in runs.items()}


@pytest.mark.parametrize("change", CHANGES, ids=["gap", "overlap"])
def test_debians_cron_and_the_engine_run_the_same_lines_in_the_same_minutes(
    change: Change, by_cron: dict[Change, dict[str, set[datetime]]], tmp_path: Path
) -> None:
    begin, end = change.ends()
    jumped = end.astimezone(ZoneInfo(ZONE)).utcoffset() - begin.astimezone(ZoneInfo(ZONE)).utcoffset()  # type: ignore[operator]
    assert timedelta(hours=change.hours) == jumped
    by_engine = within(run_engine(made_cron_d(tmp_path, tmp_path), begin, end), begin, end)
    cron = within(by_cron[change], begin, end)
    count = sum(map(len, by_engine.values()))
    different = {
        name: sorted(cron[name] ^ by_engine[name])
        for name in cron.keys() | by_engine.keys()
        if cron[name] != by_engine[name]
    }
    print(
        f"\n{change.begin} {ZONE}: {len(by_engine)} lines, {count} minutes, {len(different)} lines different"
    )
    assert different == {}
    assert count > change.minutes


def made_cron_d(directory: Path, stamps: Path) -> Path:
    """Write the lines where cron looks for them, each with its stamp."""
    path = directory / "cron.d"
    path.mkdir()
    path.joinpath("tab").write_text(
        "".join(with_stamp(line, stamps) for line in LINES.splitlines(keepends=True))
    )
    return path


def with_stamp(line: str, directory: Path) -> str:
    """Make the command of a line write when it runs."""
    if "=" in line or line.startswith("#"):
        return line
    rest, _, name = line.rstrip("\n").rpartition(" ")
    return f"{rest} : {name}; date +\\%s.\\%N >> {directory}/{name}\n"


def run_cron(base: Path, change: Change) -> dict[str, set[datetime]]:
    """Let cron run that long; return the minutes of each line."""
    base.mkdir()
    stamps = base / "stamps"
    stamps.mkdir()
    stamps.chmod(0o777)
    words = [made_cron_d(base, stamps), ZONE, debian.faketime(), f"@{change.begin} x{SPEED}", debian.CRON]
    started = time.time()
    # A session of its own, since cron ends its whole group.
    cron = subprocess.Popen(["unshare", "-m", "sh", "-c", IN_NAMESPACE, "sh", *words], start_new_session=True)
    try:
        time.sleep(change.minutes * 60 / SPEED)
        assert cron.poll() is None
    finally:
        cron.send_signal(signal.SIGKILL)
        cron.wait()
    found: dict[str, set[datetime]] = defaultdict(set)
    for path in stamps.iterdir():
        for line in path.read_text().split():
            minutes, late = divmod((float(line) - started) * SPEED / 60, 1)
            if late > LATE:
                pytest.skip(f"the machine is too busy: {path.name} ran {late:.2f} minutes late")
            found[path.name].add(change.ends()[0] + timedelta(minutes=minutes))
    return found


def run_engine(cron_d: Path, begin: datetime, end: datetime) -> dict[str, set[datetime]]:
    """Let the engine go from minute to minute; return those of each line."""
    jobs = load([cron_d], timezone=ZONE).jobs
    names = {job.id: str(job.tasks[0].command).split(";")[0].removeprefix(": ") for job in jobs}
    found: dict[str, set[datetime]] = defaultdict(set)
    driver = Driver(jobs, now=at(begin))
    for moment in minutes_between(begin, end):
        driver.now = at(moment)
        for start in of_type([*driver.done, *driver.send(events.Tick())], effects.Start):
            found[names[start.job]].add(moment)
            driver.send(events.AttemptStarted(start.key, 100, driver.now))
            driver.send(events.AttemptEnded(start.key, Exit(exit_code=0), driver.now))
        driver.done.clear()
    return found


def at(moment: datetime) -> Now:
    wall_ns = int(moment.timestamp()) * SECOND_NS
    return Now(wall_ns, wall_ns)


def minutes_between(begin: datetime, end: datetime) -> Iterator[datetime]:
    while begin < end:
        yield begin
        begin += timedelta(minutes=1)


def within(found: dict[str, set[datetime]], begin: datetime, end: datetime) -> dict[str, set[datetime]]:
    """Leave out the ends, which depend on when exactly cron began; and @reboot, which is of the beginning."""
    first, last = begin + timedelta(minutes=2), end - timedelta(minutes=2)
    return defaultdict(
        set,
        {
            name: {one for one in all_ if first <= one < last}
            for name, all_ in found.items()
            if name != "start"
        },
    )
