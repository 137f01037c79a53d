"""Checks of the clock and the time zone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from taskman_cli.cli.doctor.result import CheckResult, fail, ok, warn, worst

#: adjtimex(2): the result and the status bit of a clock that is not synchronised.
_TIME_ERROR, _STA_UNSYNC = 5, 0x40
#: More than `struct timex`; its `status` comes after modes (padded), offset, freq, maxerror, esterror.
_TIMEX_BYTES = 512


def look_at_clock() -> bool | None:
    """Ask the kernel if the clock is synchronised; None: unknown."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes 0: only read
    state = libc.adjtimex(buffer)
    if state < 0:
        return None
    word = ctypes.sizeof(ctypes.c_long)
    status = ctypes.c_int.from_buffer(buffer, 5 * word).value
    return state != _TIME_ERROR and not status & _STA_UNSYNC


def judge_clock(is_synchronised: bool | None) -> CheckResult:
    """Judge whether the clock is synchronised."""
    fix = "run a time service: apt install chrony, or systemctl enable --now systemd-timesyncd"
    if is_synchronised is None:
        return warn("the kernel does not say if the clock is synchronised", fix)
    if not is_synchronised:
        return warn("the clock is not synchronised, so it drifts, and jobs start early or late", fix)
    return ok("synchronised")


@dataclass(frozen=True, slots=True)
class Zones:
    """Where the time zone is set; "" if it is not."""

    #: The variable `TZ`.
    variable: str
    #: The zone of the link /etc/localtime, and the one in /etc/timezone.
    localtime: str
    timezone: str
    #: The zone that taskman uses, or why it finds none.
    taken: str
    fault: str
    #: Where time zone data comes from: a directory, or the package tzdata.
    data: str


def look_at_zones(root: Path = Path("/")) -> Zones:
    """Look at everything that sets the time zone."""
    from taskman_cli.errors import ScheduleError
    from taskman_cli.jobfile.settings import local_zone

    taken, fault = "", ""
    try:
        taken = local_zone().key
    except ScheduleError as error:
        fault = str(error)
    target = os.path.realpath(root / "etc/localtime")
    try:
        named = (root / "etc/timezone").read_text("utf-8", "replace").strip()
    except OSError:
        named = ""
    _, found, name = target.partition("/zoneinfo/")
    return Zones(os.environ.get("TZ", ""), name if found else "", named, taken, fault, _zone_data())


def _zone_data() -> str:
    import zoneinfo

    folder = next((path for path in zoneinfo.TZPATH if (Path(path) / "Europe" / "Berlin").exists()), "")
    if folder:
        return folder
    try:
        zoneinfo.ZoneInfo.no_cache("Europe/Berlin")
    except (KeyError, OSError, ValueError):
        return ""
    return "the package tzdata"


def judge_zones(seen: Zones) -> CheckResult:
    """Judge whether the zone of a job that names none is clear."""
    found = []
    if not seen.data:
        found.append(fail("there is no time zone data: only UTC is known", "apt install tzdata"))
    if seen.fault:
        found.append(fail(seen.fault, "set TZ, or [taskman] timezone, to a name such as Europe/Stockholm"))
    if seen.localtime and seen.timezone and seen.localtime != seen.timezone:
        words = f"/etc/localtime is {seen.localtime}, but /etc/timezone says {seen.timezone}"
        found.append(warn(words, f"timedatectl set-timezone {seen.localtime}"))
    if seen.variable and seen.localtime and seen.taken and seen.taken != seen.localtime:
        words = f"TZ is {seen.taken} here, but the machine's time zone is {seen.localtime}"
        found.append(warn(words, "set [taskman] timezone, so that it does not depend on who starts taskman"))
    return worst(found, else_=ok(f"{seen.taken}, zones from {seen.data}"))
