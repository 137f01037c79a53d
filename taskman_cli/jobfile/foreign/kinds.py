"""What a file of another scheduler is, by its name and its content."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

#: Only this much of a file is looked at.
_LOOKED_AT = 64 << 10

#: How many files of a directory are looked at.
_MOST_FILES = 500
#: Directories whose files cron runs one after the other with run-parts(8).
PARTS = re.compile(r"(?:cron\.)?(?:hourly|daily|weekly|monthly|yearly|15min)")
#: The suffixes of such files.
SUFFIXES = frozenset({".timer", ".yaml", ".yml", ".ini"})

_SECTION = re.compile(r"^[ \t]*\[(Timer|Unit|Service|Install)\][ \t]*\r?$", re.MULTILINE)
_OFELIA = re.compile(r"^[ \t]*\[[ \t]*job-(?:exec|run|local|service-run|compose)[ \t]+\"", re.MULTILINE)
_KUBERNETES = re.compile(r"^[ \t]*+(?:-[ \t]*+)?[\"']?kind[\"']?[ \t]*:[ \t]*[\"']?CronJob\b", re.MULTILINE)
_JOBS = re.compile(r"^(?:jobs|defaults|include|cronJobs):[ \t]*(?:#.*)?\r?$", re.MULTILINE)
_YAML_SCHEDULE = re.compile(r"^[ \t]+(?:-[ \t]+)?schedule:[ \t]*", re.MULTILINE)
#: A line of an anacrontab: a period, a delay, a name, and a command.
_ANACRON = re.compile(
    r"^[ \t]*(?:\d+|@\w+)[ \t]+\d+[ \t]+(?![\d*])(?=[^\s=]*[A-Za-z_])[^\s=]++[ \t]+\S", re.MULTILINE
)
_FIVE = re.compile(r"^[ \t]*[\d*][^\s=]*(?:[ \t]+[\d*A-Za-z?][^\s=]*){4}[ \t]+\S", re.MULTILINE)


class Kind(StrEnum):
    """What a file is, in words."""

    ANACRONTAB = "an anacrontab"
    TIMER = "a systemd timer"
    SERVICE = "a systemd service"
    YACRON = "a YAML file of yacron or cronstable"
    KUBERNETES = "a Kubernetes manifest"
    OFELIA = "an INI file of ofelia"


def kind_of(path: Path, data: bytes) -> Kind | None:
    """Return what a file of another scheduler than cron is; None: a crontab, a job file, or anything."""
    if path.suffix == ".toml":
        return None
    text = data[:_LOOKED_AT].decode("utf-8", "replace").removeprefix("\ufeff")
    if path.suffix == ".timer":
        return Kind.TIMER
    if path.suffix == ".service":
        return Kind.SERVICE
    if path.name == "anacrontab":
        return Kind.ANACRONTAB
    if _OFELIA.search(text):
        return Kind.OFELIA
    sections = set(_SECTION.findall(text))
    if sections & {"Timer", "Service"}:
        return Kind.TIMER if "Timer" in sections else Kind.SERVICE
    if _KUBERNETES.search(text):
        return Kind.KUBERNETES
    if _JOBS.search(text) and _YAML_SCHEDULE.search(text):
        return Kind.YACRON
    if path.suffix in (".yaml", ".yml"):
        return Kind.YACRON if _JOBS.search(text) else Kind.KUBERNETES if "apiVersion" in text else Kind.YACRON
    if _ANACRON.search(text) and not _FIVE.search(text):
        return Kind.ANACRONTAB
    return None


def foreign_in(directory: Path) -> str:
    """Return what to do with a directory of another scheduler's files; "" if there are none."""
    if PARTS.fullmatch(directory.name) and "." in directory.name:
        return f"scripts that cron runs: convert them with `taskman import {directory} > jobs.toml`"
    for path in sorted(directory.iterdir())[:_MOST_FILES]:
        if path.suffix not in SUFFIXES and path.name != "anacrontab":
            continue
        try:
            if not path.is_file():
                continue
            with path.open("rb") as file:
                data = file.read(_LOOKED_AT)
        except OSError:  # it is only for a hint
            continue
        is_named = path.suffix == ".timer" or path.name == "anacrontab"
        if kind := kind_of(path if is_named else Path(path.stem), data):
            return f"{path.name} is {kind}: convert it with `taskman import {path} > jobs.toml`"
    return ""


def leads_to_import(path: Path, data: bytes) -> str:
    """Return what to do with a file that `run` cannot take; "" if it is none of another scheduler."""
    kind = kind_of(path, data)
    if kind is None:
        return ""
    return f"{kind}, not a job file: convert it with `taskman import {path} > jobs.toml`, and use that"
