"""Limits of commands: their groups by attempt; and the limits of setrlimit(2).

A command with limits of memory, processes or CPUs gets a control group where one can be made, and all that is
in the group ends with it. Where none can be made, what setrlimit(2) can do is done instead.
"""

from __future__ import annotations

import errno
import resource

from taskman_cli.supervisor.groups import CONTROLLERS, Group, Place, find_place, group_of, join
from taskman_cli.supervisor.program import StartError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

#: What groups are called, if nobody says how.
PREFIX = "taskman-"
_KEEPS = "keep-"


class Limiter:
    """Knows where groups can be made here, and what they are called."""

    def __init__(self, prefix: str = PREFIX) -> None:
        #: The beginning of the names of all groups of this instance.
        self.prefix = prefix
        self._place: Place | None = None

    @property
    def place(self) -> Place:
        """Return where groups can be made; looked for once."""
        if self._place is None:
            self._place = find_place()
        return self._place

    def name(self, key: str, *, keeps: bool) -> str:
        """Return the name of the group of an attempt; it tells the next supervisor what may go on in it."""
        return f"{self.prefix}{_KEEPS if keeps else ''}{key}"

    def group(self, key: str, *, keeps: bool = False) -> Group:
        """Return the group of an attempt; `keeps`: what is left in it may go on."""
        return self.place.group(self.name(key, keeps=keeps))

    def has_group(self, limits: Mapping[str, Any]) -> bool:
        """Tell if an attempt with these limits gets a group."""
        return any(limits.get(what) is not None and what in self.place.works for what in CONTROLLERS)

    def group_of(self, key: str, pid: int) -> tuple[Group | None, bool]:
        """Return the group of an attempt if this process is in it, and if what is left in it may go on."""
        for keeps in (False, True):
            if (group := group_of(pid, self.name(key, keeps=keeps))) is not None:
                return group, keeps
        return None, False

    def leftovers(self) -> list[Group]:
        """Return the groups of this instance that are there: a crash may have left them."""
        return [self.place.group(name) for name in self.place.leftovers(self.prefix)]

    def limit(self, key: str, limits: Mapping[str, Any], *, is_others: bool) -> Callable[[], str]:
        """Return what a process calls to limit itself before it becomes a command; it raises StartError.

        `is_others`: it will become another user, who is not root. That returns what is wrong if this user
        then has too many processes; "": the limit of these is not ours.
        """
        place, name = self.place, self.name(key, keeps=bool(limits.get("keeps_orphans")))

        def limit() -> str:
            try:
                if self.has_group(limits):
                    join(place, name, limits)
                return _set_limits(limits, place.works, is_others=is_others)
            except OSError as error:
                raise StartError(error.errno or 0, f"cannot be limited: {error.strerror}") from error

        return limit


def _set_limits(limits: Mapping[str, Any], works: frozenset[str], *, is_others: bool) -> str:
    """Set the limits of this process that stand for those which no group has; return as `Limiter.limit`."""
    words, memory, processes = "", limits.get("memory"), limits.get("processes")
    if memory is not None and "memory" not in works:
        # Not RLIMIT_AS: programs reserve far more address space than memory.
        _set("memory", resource.RLIMIT_DATA, memory)
    if processes is not None and "processes" not in works and is_others:
        _set("processes", resource.RLIMIT_NPROC, processes)
        words = f"cannot be limited: limits.processes = {processes}, and its user has more processes already"
    if limits.get("open_files") is not None:
        _set("open_files", resource.RLIMIT_NOFILE, limits["open_files"])
    if limits.get("core_size") is not None:
        _set("core_size", resource.RLIMIT_CORE, limits["core_size"])
    return words


def _set(name: str, kind: int, most: int) -> None:
    """Set a limit, which may be above the one that we have only if we have the right to raise that."""
    try:
        resource.setrlimit(kind, (most, most))
    except (OSError, ValueError):
        hard = resource.getrlimit(kind)[1]
        words = f"limits.{name} = {most} is above the hard limit of taskman itself, {hard}"
        raise OSError(errno.EPERM, words) from None
