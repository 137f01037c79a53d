"""Check whether systemd starts taskman at boot."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.cli.doctor.files import text_of
from taskman_cli.cli.doctor.result import CheckResult, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterable

_STARTS = re.compile(r"^Exec\w+=\S*.*\btaskman(?:\s+run\b|_cli\b)", re.M)
#: A unit that tells when it is ready.
_NOTIFIES = re.compile(r"^Type=notify(?:-reload)?\s*$", re.M)
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
    #: Units that systemd hears nothing from: when it is ready, what it does, whether it hangs.
    silent: tuple[str, ...] = ()


def look_at_services(user: str, *, home: Path, is_root: bool, root: Path = Path("/")) -> Services:
    """Look for unit files that start taskman."""
    first = text_of(root / "proc/1/comm").strip()
    if not (root / "run/systemd/system").is_dir():
        return Services(is_systemd=False, first=first)
    linger = (root / "var/lib/systemd/linger" / user).exists()
    own = home / ".config/systemd/user"
    for folders, is_user in (([root / folder for folder in _SYSTEM], False), ([own], True)):
        units = dict(sorted(_units(folders)))
        if units and not (is_user and is_root):
            enabled = tuple(unit for unit in units if _is_enabled(unit, folders))
            silent = tuple(unit for unit, text in units.items() if not _NOTIFIES.search(text))
            return Services(True, first, tuple(units), enabled, is_user, linger, silent)
    return Services(True, first, has_linger=linger)


def _units(folders: Iterable[Path]) -> Iterable[tuple[str, str]]:
    """Yield the names of units that start taskman, with their texts."""
    for folder in folders:
        if folder.is_dir():
            for entry in list(folder.glob("*.service"))[:_MOST_UNITS]:
                if _STARTS.search(text := text_of(entry)):
                    yield entry.name, text


def _is_enabled(unit: str, folders: Iterable[Path]) -> bool:
    pattern = re.escape(unit).replace("@\\.", "@.+\\.")  # a template: any of its instances
    return any(
        re.fullmatch(pattern, entry.name)
        for folder in folders
        if folder.is_dir()
        for wants in folder.glob("*.wants")
        for entry in wants.iterdir()
    )


def judge_services(seen: Services, *, user: str) -> CheckResult:
    """Judge whether taskman starts after a reboot."""
    if not seen.is_systemd:
        return ok(f"no systemd here (process 1 is {seen.first or 'unknown'}): what starts taskman is unknown")
    if not seen.units:
        return warn(
            "no unit starts taskman, so it does not start after a reboot",
            "`taskman unit FILE` prints one",
        )
    unit = seen.units[0]
    scope = " --user" if seen.is_user else ""
    if not seen.enabled:
        return warn(f"{unit} starts taskman, but is not enabled", f"systemctl{scope} enable {unit}")
    if seen.is_user and not seen.has_linger:
        words = f"{seen.enabled[0]} runs only while {user} is logged in"
        return warn(words, f"loginctl enable-linger {user}")
    if seen.enabled[0] in seen.silent:
        return warn(
            f"{seen.enabled[0]} starts taskman, but without Type=notify systemd does not know "
            "whether it is ready, or hangs",
            "`taskman unit FILE` prints a unit that tells, with a watchdog",
        )
    return ok(f"{seen.enabled[0]} starts taskman")
