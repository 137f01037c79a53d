"""Check whether systemd starts taskman at boot."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.cli.doctor.files import text_of
from taskman_cli.cli.doctor.result import CheckResult, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterable

_STARTS = re.compile(r"^Exec\w+=\S*.*\btaskman(?:\s+run\b|_cli\b)", re.M)
_SYSTEM = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
#: The most unit files of a directory that are read.
_MOST_UNITS = 2_000


@dataclass(frozen=True, slots=True)
class Services:
    """The units of systemd that start taskman."""

    is_systemd: bool
    #: The name of process 1.
    first: str = ""
    #: Units that start taskman, and those of them that are enabled.
    units: tuple[str, ...] = ()
    enabled: tuple[str, ...] = ()
    #: They are units of the user, which run only while the user is logged in, unless lingering is enabled.
    is_user: bool = False
    has_linger: bool = False


def look_at_services(user: str, *, home: Path, is_root: bool, root: Path = Path("/")) -> Services:
    """Look for unit files that start taskman."""
    first = text_of(root / "proc/1/comm").strip()
    if not (root / "run/systemd/system").is_dir():
        return Services(is_systemd=False, first=first)
    linger = (root / "var/lib/systemd/linger" / user).exists()
    own = home / ".config/systemd/user"
    for folders, is_user in (([root / folder for folder in _SYSTEM], False), ([own], True)):
        units = sorted(set(_units(folders)))
        if units and not (is_user and is_root):
            enabled = tuple(unit for unit in units if _is_enabled(unit, folders))
            return Services(True, first, tuple(units), enabled, is_user, linger)
    return Services(True, first, has_linger=linger)


def _units(folders: Iterable[Path]) -> Iterable[str]:
    for folder in folders:
        if folder.is_dir():
            for entry in list(folder.glob("*.service"))[:_MOST_UNITS]:
                if _STARTS.search(text_of(entry)):
                    yield entry.name


def _is_enabled(unit: str, folders: Iterable[Path]) -> bool:
    return any(
        os.path.lexists(wants / unit)
        for folder in folders
        if folder.is_dir()
        for wants in folder.glob("*.wants")
    )


def judge_services(seen: Services, *, user: str) -> CheckResult:
    """Judge whether taskman starts after a reboot."""
    if not seen.is_systemd:
        return ok(f"no systemd here (process 1 is {seen.first or 'unknown'}): what starts taskman is unknown")
    if not seen.units:
        return warn(
            "no unit starts taskman, so it does not start after a reboot",
            'see "Under systemd" in the README',
        )
    unit = seen.units[0]
    scope = " --user" if seen.is_user else ""
    if not seen.enabled:
        return warn(f"{unit} starts taskman, but is not enabled", f"systemctl{scope} enable {unit}")
    if seen.is_user and not seen.has_linger:
        words = f"{seen.enabled[0]} runs only while {user} is logged in"
        return warn(words, f"loginctl enable-linger {user}")
    return ok(f"{seen.enabled[0]} starts taskman")
