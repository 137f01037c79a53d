"""What the jobs of a crontab get of its assignments, in room that grows no faster than the crontab."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from taskman_cli.core.variables import Assignments

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from taskman_cli.core.variables import Assigned
    from taskman_cli.jobfile.crontab import Crontab, Entry

#: What a command of cron's finds its programs with, unless the crontab says otherwise.
CRON_PATH = "/usr/bin:/bin"

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NO_UTF8 = re.compile("[\ud800-\udfff]")


class CrontabEnvironments:
    """The environment of job after job: names that a shell can have, and a search path."""

    def __init__(self, crontab: Crontab) -> None:
        self._left = deque(crontab.assignments)
        self._assignments = Assignments([("PATH", CRON_PATH)])
        self._is_begun = False
        #: Names that not all jobs have with the same value.
        self.differing: dict[str, None] = {}
        self._not_utf8 = {item.name for item in crontab.assignments if _NO_UTF8.search(item.value)}

    def of(self, entry: Entry) -> Assigned:
        """Return what a job gets; entries come in their order."""
        before = self._assignments.so_far()
        while self._left and self._left[0].line < entry.line:
            _, name, value = self._left.popleft()
            # cron, too, sets LOGNAME to the user.
            if ENV_NAME.fullmatch(name) and name != "LOGNAME":
                if self._is_begun and before.get(name) != value:
                    self.differing[name] = None
                self._assignments.assign(name, value)
        self._is_begun = True
        return self._assignments.so_far()

    def is_utf8(self, entry: Entry) -> bool:
        """Tell whether a job file can say what an entry runs, with what."""
        values = (entry.env.get(name, "") for name in self._not_utf8)
        return not any(_NO_UTF8.search(text) for text in (entry.command, entry.stdin or "", *values))


class Picked(Mapping[str, str]):
    """Some of the variables of an environment, to be written down one after the other."""

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
    """Return all values that a variable has for some entry."""
    return {entry.env[name] for entry in entries if name in entry.env}
