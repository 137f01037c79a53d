"""What a file of another scheduler is, by its name and its content."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

#: Only this much of a file is looked at.
_LOOKED_AT = 64 << 10

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


def leads_to_import(path: Path, data: bytes) -> str:
    """Return what to do with a file that `run` cannot take; "" if it is none of another scheduler."""
    kind = kind_of(path, data)
    if kind is None:
        return ""
    return f"{kind}, not a job file: convert it with `taskman import {path} > jobs.toml`, and use that"
