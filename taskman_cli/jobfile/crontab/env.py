"""The environments of a crontab's jobs, in memory that is linear in the size of the crontab."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from taskman_cli.core.variables import Assignments

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from taskman_cli.core.variables import Assigned
    from taskman_cli.jobfile.crontab.parse import Assignment, Crontab, Entry

#: The PATH of cron's commands, unless the crontab sets it.
CRON_PATH = "/usr/bin:/bin"

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NO_UTF8 = re.compile("[\ud800-\udfff]")


class CrontabEnvironments:
    """Computes the environments of entries in order: valid variable names, and a PATH."""

    def __init__(self, crontab: Crontab) -> None:
        self._left = deque(crontab.assignments)
        self._is_global = crontab.dialect.is_global
        self._assignments = Assignments([] if crontab.dialect.is_bare else [("PATH", CRON_PATH)])
        self._is_begun = False
        #: Names whose values differ between jobs.
        self.differing: dict[str, None] = {}
        self._not_utf8 = {
            item.name: None
            for item in crontab.assignments
            if _is_taken(item.name) and _NO_UTF8.search(item.value)
        }
        self._by_name: defaultdict[str, list[Assignment]] = defaultdict(list)
        for item in crontab.assignments:
            self._by_name[item.name].append(item)

    def of(self, entry: Entry) -> Assigned:
        """Return the environment of an entry; entries must be passed in order."""
        before = self._assignments.so_far()
        while self._left and (self._is_global or self._left[0].line < entry.line):
            _, name, value, *_ = self._left.popleft()
            if _is_taken(name):
                if self._is_begun and before.get(name) != value:
                    self.differing[name] = None
                self._assignments.assign(name, value)
        self._is_begun = True
        return self._assignments.so_far()

    def last(self, name: str, entry: Entry) -> Assignment:
        """Return the assignment that gave a variable its value for an entry."""
        found = self._by_name[name]
        if self._is_global:
            return found[-1]
        return found[bisect_left(found, entry.line, key=lambda item: item.line) - 1]

    def not_utf8(self, entry: Entry) -> list[Assignment]:
        """Return the assignments whose values for an entry cannot be written in a job file."""
        values = ((name, entry.env.get(name, "")) for name in self._not_utf8)
        return [self.last(name, entry) for name, value in values if _NO_UTF8.search(value)]


def is_utf8(entry: Entry) -> bool:
    """Tell whether an entry's command and input can be written in a job file."""
    return not any(_NO_UTF8.search(text) for text in (entry.command, entry.stdin or ""))


def _is_taken(name: str) -> bool:
    """Tell whether commands get a variable; like cron, we set LOGNAME to the user."""
    return ENV_NAME.fullmatch(name) is not None and name != "LOGNAME"


class Picked(Mapping[str, str]):
    """A view of some variables of an environment."""

    def __init__(self, env: Mapping[str, str], names: Collection[str]) -> None:
        self._env = env
        self._names = names

    def __getitem__(self, name: str) -> str:
        return self._env[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if name in self._env)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def values_of(name: str, entries: Iterable[Entry]) -> set[str]:
    """Return all values that a variable has in these entries."""
    return {entry.env[name] for entry in entries if name in entry.env}
