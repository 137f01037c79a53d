"""Whose crontab it is: Debian's cron, cronie, busybox's crond or supercronic; and how to tell.

All have five columns for the time, but not all read them alike, nor what stands around them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from taskman_cli.jobfile.crontab.spool import SpoolFile, is_spool

_EVERY = re.compile(r"[ \t]*@every[ \t]", re.IGNORECASE)
_UNLOGGED = re.compile(r"[ \t]*-[0-9*@]\S*[ \t]")
_RANDOM_DELAY = re.compile(r"""[ \t]*["']?RANDOM_DELAY["']?[ \t]*=""")


class Dialect(StrEnum):
    """The programs whose crontabs are read as they read them."""

    DEBIAN = "debian"
    CRONIE = "cronie"
    BUSYBOX = "busybox"
    SUPERCRONIC = "supercronic"

    @property
    def program(self) -> str:
        """Return the name of the program, for messages."""
        return {"debian": "Debian's cron", "busybox": "busybox's crond"}.get(self.value, self.value)

    @property
    def has_users(self) -> bool:
        """Tell whether it has system crontabs, whose lines name a user."""
        return self in (Dialect.DEBIAN, Dialect.CRONIE)

    @property
    def has_percent(self) -> bool:
        """Tell whether a `%` ends the command and begins its input."""
        return self in (Dialect.DEBIAN, Dialect.CRONIE)

    @property
    def is_bare(self) -> bool:
        """Tell whether commands inherit its own environment, and runs of a job never overlap."""
        return self in (Dialect.BUSYBOX, Dialect.SUPERCRONIC)

    @property
    def is_global(self) -> bool:
        """Tell whether an assignment holds for the lines above it too."""
        return self is Dialect.SUPERCRONIC


@dataclass(frozen=True, slots=True)
class Told:
    """The dialect of a crontab, and by what it was guessed; "": it was given, or is known from its place."""

    dialect: Dialect
    why: str = ""

    @property
    def words(self) -> str:
        """Return the guess with its reason."""
        return f"read as a crontab of {self.dialect.program}: {self.why}"


def tell(path: Path | None, text: str, given: Dialect | None) -> Told:
    """Return the dialect of a crontab: the given one, or by its place, or by its contents."""
    if given is not None:
        return Told(given)
    if path is not None and (dialect := dialect_of(path)):
        return Told(dialect)
    for number, line in enumerate(text.split("\n"), 1):
        if _EVERY.match(line):
            return Told(Dialect.SUPERCRONIC, f"line {number} has @every")
        if _UNLOGGED.match(line):
            return Told(Dialect.CRONIE, f"line {number} has a - before the minute")
        if _RANDOM_DELAY.match(line):
            return Told(Dialect.CRONIE, f"line {number} sets RANDOM_DELAY")
    return Told(Dialect.DEBIAN)


def dialect_of(path: Path) -> Dialect | None:
    """Return the dialect of the directory that a crontab, or a directory of them, is in; None: any."""
    spooled = SpoolFile.at(path)
    if spooled is None and not is_spool(path):
        return None
    parts = (spooled.place.parent if spooled is not None else path.absolute()).parts[-2:]
    if parts == ("etc", "crontabs"):
        return Dialect.BUSYBOX
    return (
        Dialect.CRONIE
        if parts in (("spool", "cron"), ("cron", "tabs")) and "spool" in path_of(path)
        else None
    )


def path_of(path: Path) -> tuple[str, ...]:
    """Return the parts of the absolute path."""
    return path.absolute().parts
