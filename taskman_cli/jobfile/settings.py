"""The numbers of the scheduler itself, and its zone: one for all files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from taskman_cli.core.model import Settings
from taskman_cli.core.schedule import load_zone
from taskman_cli.errors import ScheduleError
from taskman_cli.jobfile.files import Member
from taskman_cli.jobfile.keys import PAUSES, POOL_KEYS, SETTINGS_KEYS
from taskman_cli.jobfile.problems import Fault
from taskman_cli.jobfile.tables import as_fields

#: A value and the file that said it first.
_Said = dict[str, tuple[Any, Member]]


def merge(members: Sequence[Member], timezone: str | None) -> tuple[Settings, ZoneInfo]:
    """Return what all files say together; a file that says otherwise than one before it gets a fault.

    `timezone` is the zone if no file names one; None: the machine's.
    """
    said: _Said = {}
    for member in members:
        for name, value in member.scheduler.items():
            first, owner = said.setdefault(name, (value, member))
            if value != first:
                where = owner.source.place_of(_path(name))
                message = f"not the same as in {where}: all files share one scheduler"
                member.faults.append(Fault(_path(name), message))
    if "timezone" in said:
        zone = said.pop("timezone")[0]
    else:
        zone = load_zone(timezone) if timezone else local_zone()
    return _settings(said), zone


def _settings(said: _Said) -> Settings:
    values = {name: value for name, (value, _) in said.items()}
    settings = Settings(**as_fields(values.items(), SETTINGS_KEYS))
    for first, longest in PAUSES:
        first_ns = getattr(settings, SETTINGS_KEYS[first].field)
        longest_ns = getattr(settings, SETTINGS_KEYS[longest].field)
        if first_ns <= longest_ns:
            continue
        if first in said and longest in said:
            said[longest][1].faults.append(Fault(_path(longest), f"shorter than {first}"))
        # One was said and the other not: the other follows.
        changed = {longest: first_ns} if first in said else {first: longest_ns}
        settings = replace(settings, **as_fields(changed.items(), SETTINGS_KEYS))
    return settings


def _path(name: str) -> tuple[str, str]:
    return ("pool" if name in POOL_KEYS else "taskman", name)


def local_zone() -> ZoneInfo:
    """Return the machine's own zone; UTC if it does not tell a name."""
    import tzlocal

    try:
        with warnings.catch_warnings():
            # It only warns where TZ and /etc/localtime differ; TZ wins, as everywhere.
            warnings.simplefilter("ignore")
            return load_zone(tzlocal.get_localzone_name())
    except (ScheduleError, LookupError, ValueError, OSError, TypeError):
        return ZoneInfo("UTC")
