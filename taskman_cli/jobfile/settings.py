"""The scheduler's settings and default zone, shared by all files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from taskman_cli.core.escapes import printable
from taskman_cli.core.executors import ExecutorDefinition
from taskman_cli.core.model import Resource, Settings
from taskman_cli.core.schedule import load_zone
from taskman_cli.core.sinks import SinkDefinition
from taskman_cli.core.templates import MOST_BYTES, what_is_wrong_with_template
from taskman_cli.errors import ScheduleError
from taskman_cli.jobfile.executors import read_executor, seats
from taskman_cli.jobfile.files import FileLoader, Member
from taskman_cli.jobfile.keys import PAUSES, POOL_KEYS, SETTINGS_KEYS
from taskman_cli.jobfile.monitoring import METRICS_KEYS
from taskman_cli.jobfile.problems import Fault, Rejected
from taskman_cli.jobfile.sinks import read_sink
from taskman_cli.jobfile.tables import as_fields

#: What libc takes the machine's zone from, and where Debian names it.
LOCALTIME = "/etc/localtime"
_NAMED = "/etc/timezone"

#: An example for messages about a missing zone.
EXAMPLE_ZONE = "Europe/Stockholm"

#: A value and the file that set it first.
_Said = dict[str, tuple[Any, Member]]


def merge(members: Sequence[Member], timezone: str | None) -> tuple[Settings, ZoneInfo, bool]:
    """Merge the settings of all files; a file that contradicts an earlier one gets a fault.

    `timezone` is the zone if no file names one; None: the machine's. The last value tells if it is that.
    """
    said: _Said = {}
    resources: _Said = {}
    for member in members:
        for name, value in member.scheduler.items():
            if name == "resources":
                _merge_resources(member, dict(value), resources)
                continue
            first, owner = said.setdefault(name, (value, member))
            if value != first:
                where = owner.source.place_of(_path(name))
                message = f"differs from {where}: all files share one scheduler, so set it once"
                member.faults.append(Fault(_path(name), message))
    is_machines = "timezone" not in said and not timezone
    if "timezone" in said:
        zone = said.pop("timezone")[0]
    else:
        zone = load_zone(timezone) if timezone else _local_zone(members)
    found = tuple(sorted((name, resource) for name, (resource, _) in resources.items()))
    return replace(_settings(said), resources=found), zone, is_machines


def _merge_resources(member: Member, declared: dict[str, Resource], said: _Said) -> None:
    """Add the resources of a file; each may be declared in one file, or in several with the same value."""
    for name, resource in declared.items():
        first, owner = said.setdefault(name, (resource, member))
        if resource != first:
            path = ("pool", "resources", name)
            where = owner.source.place_of(path)
            message = f"differs from {where}: all files share one scheduler, so set it once"
            member.faults.append(Fault(path, message))


def declared(members: Sequence[Member], settings: Settings) -> dict[str, Resource] | None:
    """Return the resources by name; None: a declaration has a fault, so needs cannot be checked."""
    is_faulty = any(
        "resources" in member.table("pool") and "resources" not in member.scheduler for member in members
    )
    return None if is_faulty else dict(settings.resources)


def merge_sinks(
    members: Sequence[Member], zone: ZoneInfo, files: FileLoader
) -> tuple[tuple[SinkDefinition, ...], frozenset[str]]:
    """Read the sinks of all files; a file that contradicts an earlier one gets a fault.

    Return them, and the names that jobs may use, those of sinks with a fault included.
    """
    found: dict[str, tuple[SinkDefinition, Member]] = {}
    names: set[str] = set()
    for member in members:
        context = member.context(zone)
        for name, value in member.table("sinks").items():
            names.add(name)
            try:
                sink = read_sink(name, value, context)
            except Rejected as error:
                member.faults += error.under("sinks", name)
                continue
            _check_template(sink, member, files)
            first, owner = found.setdefault(name, (sink, member))
            if sink != first:
                where = owner.source.place_of(("sinks", name))
                message = f"differs from {where}: all files share one scheduler, so define it once"
                member.faults.append(Fault(("sinks", name), message, at_key=True))
    sinks = tuple(sink for _, (sink, _) in sorted(found.items()))
    return sinks, frozenset(names)


def _check_template(sink: SinkDefinition, member: Member, files: FileLoader) -> None:
    """Give the file a fault if a template of the user's own is not there, or is none."""
    path = sink.settings.get("template")
    if sink.type != "webhook" or path is None or not member.accounts.is_run_here:
        return
    key = ("sinks", sink.name, "template")
    source = files.read_toml(Path(str(path)), member, key)
    if source is None:
        return
    if len(source.text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        member.faults.append(Fault(key, f"{path} is larger than {MOST_BYTES >> 10} KiB"))
    elif wrong := what_is_wrong_with_template(source.tables):
        member.faults.append(Fault(key, f"{path}: {wrong}"))


def merge_executors(members: Sequence[Member], zone: ZoneInfo) -> dict[str, ExecutorDefinition | None]:
    """Read the executors of all files; a file that contradicts an earlier one gets a fault.

    Return them by name, in the order of the names; None: it has a fault.
    """
    found: dict[str, tuple[ExecutorDefinition | None, Member]] = {}
    for member in members:
        context = member.context(zone)
        for name, value in member.table("executors").items():
            try:
                executor = read_executor(name, value, context)
            except Rejected as error:
                member.faults += error.under("executors", name)
                found.setdefault(name, (None, member))
                continue
            first, owner = found.setdefault(name, (executor, member))
            if first is not None and executor != first:
                where = owner.source.place_of(("executors", name))
                message = f"differs from {where}: all files share one scheduler, so define it once"
                member.faults.append(Fault(("executors", name), message, at_key=True))
    return {name: executor for name, (executor, _) in sorted(found.items())}


def with_executors(settings: Settings, executors: dict[str, ExecutorDefinition | None]) -> Settings:
    """Return the settings with the valid executors, and resources that count the attempts on each."""
    valid = {name: executor for name, executor in executors.items() if executor is not None}
    counted = (*settings.resources, *seats(valid).items())
    return replace(settings, executors=tuple(valid.values()), resources=tuple(sorted(counted)))


def _local_zone(members: Sequence[Member]) -> ZoneInfo:
    """Return the machine's zone; if it has none, the first file gets a fault for not naming one."""
    try:
        return local_zone()
    except ScheduleError as error:
        # A file with an invalid zone already has a fault for it.
        if not any("timezone" in member.table("taskman") for member in members):
            fix = f"set [taskman] timezone, or TZ to one such as {EXAMPLE_ZONE}"
            fault = Fault(_path("timezone"), f"{error}: {fix}", at_key=True)
            for member in members[:1]:
                member.faults.append(fault)
        return load_zone("UTC")


def _settings(said: _Said) -> Settings:
    values = {name: value for name, (value, _) in said.items()}
    settings = Settings(**as_fields(values.items(), SETTINGS_KEYS))
    for first, longest in PAUSES:
        first_ns = getattr(settings, SETTINGS_KEYS[first].field)
        longest_ns = getattr(settings, SETTINGS_KEYS[longest].field)
        if first_ns <= longest_ns:
            continue
        if first in said and longest in said:
            said[longest][1].faults.append(Fault(_path(longest), f"must not be shorter than {first}"))
        # Only one of the two was set: adjust the other.
        changed = {longest: first_ns} if first in said else {first: longest_ns}
        settings = replace(settings, **as_fields(changed.items(), SETTINGS_KEYS))
    return settings


def _path(name: str) -> tuple[str, str]:
    if name in METRICS_KEYS:
        return ("metrics", name)
    return ("pool" if name in POOL_KEYS else "taskman", name)


def local_zone(*, is_strict: bool = False) -> ZoneInfo:
    """Return the machine's zone, as it is now; UTC if it has no name.

    `TZ` takes precedence, as everywhere. Raises ScheduleError if it is not the name of a zone: POSIX rules
    ("UTC+3") cannot be passed on by name, and replacing them with another zone would be silently wrong.
    `is_strict`: it is raised, too, if nothing valid says which zone the machine is in.
    """
    given = os.environ.get("TZ", "")
    name = given.removeprefix(":")
    if name in ("", LOCALTIME):
        try:
            return _zone_of_the_system()
        except (ScheduleError, LookupError, ValueError, OSError, TypeError) as error:
            if is_strict:
                raise ScheduleError(f"{LOCALTIME} names no time zone ({type(error).__name__})") from error
            return load_zone("UTC")
    # A path may be a link; the zone is the name of its target.
    parts = Path(os.path.realpath(name)).parts[1:] if name.startswith("/") else [name]
    for start in range(len(parts)):
        try:
            return load_zone("/".join(parts[start:]))
        except ScheduleError:
            continue
    raise ScheduleError(f"TZ={printable(given)} is not a time zone name")


def look_at_local_zone() -> object:
    """Return a value that changes when the machine's zone does, without finding out which one it is."""
    given = os.environ.get("TZ", "").removeprefix(":")
    if given and not given.startswith("/"):
        return None
    return [_look(path) for path in ((given,) if given else (LOCALTIME, _NAMED))]


def _look(path: str) -> tuple[object, ...]:
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        status = None
    seen = status and (status.st_dev, status.st_ino, status.st_mtime_ns)
    return _target_of(path), os.path.realpath(path), seen


def _zone_of_the_system() -> ZoneInfo:
    """Return the zone that /etc/localtime links to, which is what libc goes by; else what is configured."""
    link = _target_of(LOCALTIME)
    _, found, name = link.partition("/zoneinfo/")
    if found:
        return load_zone(name)
    # Imported late, since few need it.
    import tzlocal

    with warnings.catch_warnings():
        # It warns only if TZ and /etc/localtime differ; TZ wins, as everywhere.
        warnings.simplefilter("ignore")
        with suppress(Exception):  # it remembers what it has found; with a TZ such as ":" it raises
            tzlocal.reload_localzone()
        return load_zone(tzlocal.get_localzone_name())


def _target_of(path: str) -> str:
    """Return where a link leads, as it is written: zones have several names; "" if it is none."""
    try:
        target = str(Path(path).readlink())
    except OSError:
        return ""
    return target if "/zoneinfo/" in target else os.path.realpath(path)
