"""A systemd timer with its service as jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.jobfile.crontab.names import names_by_time, unique
from taskman_cli.jobfile.foreign.calendar import CronTimes, NotACalendar, to_cron
from taskman_cli.jobfile.foreign.imported import Imported, Table, job_name
from taskman_cli.jobfile.foreign.services import read_service
from taskman_cli.jobfile.foreign.spans import duration, seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.jobfile.foreign.inilines import Setting
    from taskman_cli.jobfile.foreign.units import Unit

_WAYS = (
    "As under systemd: a run is skipped while the one before it is running, and commands have no environment",
    "of a login. At changes of the clock, taskman's rule applies to the schedules.",
)
#: Settings of a timer that have no effect here.
_WITHOUT_EFFECT = {
    "WakeSystem": "taskman does not wake the machine",
    "OnClockChange": "no run when the clock is changed",
    "OnTimezoneChange": "no run when the time zone is changed",
}


def from_timer(
    timer: Unit, service: Unit | None, *, path: str, text: str, wanted: str, taken: dict[str, int]
) -> Imported:
    """Convert a timer; `wanted` is the name of its service, for the message if that is missing."""
    imported = Imported(path, text.replace("\r\n", "\n"), ways=_WAYS)
    for bad in timer.bad:
        imported.note(bad.line, f'not understood: "{bad.text}"')
    if service is None:
        imported.problem(0, f"its service {wanted} is not beside it: give both files, in one directory")
        return imported
    base = read_service(service, imported)
    if base is None:
        return imported
    stem = job_name(timer.name.removesuffix(".timer"))
    description = service.one("Unit", "Description") or timer.one("Unit", "Description")
    schedules = list(_schedules(timer, imported))
    times = [str(next(iter(schedule.values()))) for _, schedule in schedules]
    names = names_by_time(stem, times, taken) if len(times) > 1 else [unique(stem, taken) for _ in times]
    for name, (line, schedule) in zip(names, schedules, strict=True):
        imported.add(name, line, {"description": description, **schedule, **base, **_policy(timer, schedule)})
        for message in _remarks(timer, schedule):
            imported.note(line, message, job=name)
    if not imported.jobs and not imported.problems:
        imported.problem(0, "the timer has no OnCalendar=, OnBootSec= or OnUnitActiveSec=")
    for key, words in _WITHOUT_EFFECT.items():
        if timer.flag("Timer", key):
            imported.note(timer.line("Timer", key), f"{key}=: {words}")
    for unit in (timer, service):
        if unit.unknown:
            imported.note(
                0, f"{unit.name}: {', '.join(sorted(unit.unknown))} is not known here and stands as it is"
            )
    return imported


def _schedules(timer: Unit, imported: Imported) -> Iterator[tuple[int, Table]]:
    """Yield the keys of each schedule of a timer, with its line."""
    for one in timer.all("Timer", "OnCalendar"):
        try:
            times: CronTimes = to_cron(timer.expanded(one.value))
        except NotACalendar as error:
            imported.problem(one.line, f'OnCalendar="{one.value}": {error}')
        else:
            yield one.line, {"cron": times.cron, "timezone": times.timezone}
    starts = [one for key in ("OnBootSec", "OnStartupSec", "OnActiveSec") for one in timer.all("Timer", key)]
    repeated = [*timer.all("Timer", "OnUnitActiveSec"), *timer.all("Timer", "OnUnitInactiveSec")]
    for one in repeated:
        seconds = _seconds(one, imported)
        if seconds is None:
            continue
        if seconds < 0.01:
            imported.problem(one.line, f"{one.key}={one.value}: an interval is at least 10ms")
            continue
        every: Table = {"every": duration(seconds)}
        if one.key == "OnUnitInactiveSec":
            every["every_from"] = "finish"
        if starts:
            every["run_on_start"] = True
        yield one.line, every
    if not repeated:
        for one in starts:
            if (seconds := _seconds(one, imported)) is not None:
                yield one.line, {"cron": "@reboot", "wait": seconds}


def _seconds(one: Setting, imported: Imported) -> float | None:
    seconds = seconds_of(one.value)
    if seconds is None:
        imported.problem(one.line, f"{one.key}={one.value}: not a span of time")
    return seconds


def _policy(timer: Unit, schedule: Table) -> Table:
    """Return what a timer says about its slots."""
    table: Table = {"overlap": "skip"}
    if "cron" in schedule and schedule["cron"] != "@reboot":
        is_persistent = timer.flag("Timer", "Persistent")
        table["on_missed"] = "once" if is_persistent else "skip"
        if is_persistent:
            table["start_deadline"] = "none"
        delay = seconds_of(timer.one("Timer", "RandomizedDelaySec")) or 0
        if delay > 0:
            table["jitter"] = duration(delay)
    return table


def _remarks(timer: Unit, schedule: Table) -> Iterator[str]:
    """Yield how a job differs from its timer."""
    first = next(
        (
            f"{key}={timer.one('Timer', key)}"
            for key in ("OnBootSec", "OnStartupSec", "OnActiveSec")
            if timer.one("Timer", key)
        ),
        "",
    )
    if "every" in schedule:
        if schedule.get("run_on_start"):
            yield f"{first}: the first run is when taskman starts, without this delay"
        if timer.one("Timer", "RandomizedDelaySec"):
            yield "RandomizedDelaySec= is left out: an interval has no jitter of this kind"
    elif schedule["cron"] == "@reboot":
        yield f"{first}: the command begins with this delay, when taskman starts after the machine has"
    elif timer.one("Timer", "RandomizedDelaySec"):
        yield "RandomizedDelaySec=: the delay is always the same for the same slot, as with FixedRandomDelay="
