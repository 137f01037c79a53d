"""Find directories, files and programs that jobs need but the machine does not have."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

from taskman_cli.core.executors import LOCAL
from taskman_cli.errors import TaskmanError
from taskman_cli.insight.lint import LINTS, lint_array, lint_missing, lint_program, program_of
from taskman_cli.jobfile.timeout import ReadTimeout, run_with_timeout
from taskman_cli.launch.accounts import to_become
from taskman_cli.launch.environment import Environments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskman_cli.core.model import Execution, Job, Task
    from taskman_cli.insight.lint import Finding

#: The names of these findings.
NAMES = frozenset({"array-without-shell", *(name for name in LINTS if name.startswith("no-such-"))})
#: The time limit for one path.
PATIENCE_S = 3.0
#: The most missing paths for which all commands are searched: one of them may create the path.
_MOST_MADE = 100

#: The user, group and supplementary groups of a command; None: those of this process.
Who = tuple[int, int, tuple[int, ...]] | None


@dataclass
class Missing:
    """The findings."""

    findings: list[Finding] = field(default_factory=list)
    #: A path on a hung file system, after which the search was stopped; "": the search is complete.
    hangs: str = ""


def look_for_missing(jobs: Sequence[Job]) -> Missing:
    """Check the directories, files and programs of enabled jobs."""
    missing = Missing()
    looker = _Looker(jobs)

    def look() -> None:
        for job in jobs:
            if job.enabled:
                for task in job.commands:
                    if task.execution.executor != LOCAL:
                        continue  # what its programs are is known elsewhere
                    missing.findings += looker.look(job, task)

    try:
        run_with_timeout(look, lambda: looker.looked_at, timeout_s=PATIENCE_S)
    except ReadTimeout:
        return Missing(list(missing.findings), str(looker.looked_at))
    return missing


class _Looker:
    """Checks each thing once."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.looked_at: Path | None = None
        self._jobs = jobs
        try:
            self._cwd = str(Path.cwd())
        except FileNotFoundError:
            self._cwd = "/"
        self._environments = Environments(os.environ, cwd=self._cwd)
        #: By id: PATH and the error of env_file; with the execution itself, so that the id is not reused.
        self._composed: dict[int, tuple[Execution, str | None, str]] = {}
        self._found: dict[tuple[str, str, str, Who], bool] = {}
        self._directories: dict[tuple[str, Who], str] = {}
        self._made: dict[str, bool] = {}

    def look(self, job: Job, task: Task) -> Iterator[Finding]:
        """Yield the findings about one task; what an executor finds there is not known here."""
        if task.execution.executor != LOCAL:
            return
        execution, cwd = task.execution, task.execution.cwd or self._cwd
        user = execution.user.name if execution.user else ""
        who = _who(execution)
        wrong = self._wrong_with_directory(cwd, who, user) if execution.cwd else ""
        if wrong and not self._is_made(cwd, job, task):
            yield lint_missing(job, task, "cwd", wrong)
        path, trouble = self._compose(execution)
        if trouble and not any(self._is_made(name, job, task) for name in execution.env_file):
            yield lint_missing(job, task, "env_file", trouble)
        if isinstance(task.command, str) and execution.shell and not self._has(execution.shell, "", "", who):
            yield lint_missing(job, task, "shell", f'"{execution.shell}" is not a program that can be run')
        found = lint_array(job, task)
        if found:
            yield found
        program = program_of(task)
        # If the directory is missing, do not report the program in it too.
        if program is None or path is None or (wrong and "/" in program and program[0] != "/"):
            return
        if not self._has(program, path, cwd, who) and not self._is_made(str(Path(cwd, program)), job, task):
            is_others = who is not None and self._has(program, path, cwd, None)
            yield lint_program(job, task, program, user=user if is_others else "")

    def _compose(self, execution: Execution) -> tuple[str | None, str]:
        """Return the PATH of a command, or None if unknown, and the error of its env_file."""
        known = self._composed.get(id(execution))
        if known is None:
            self.looked_at = Path(execution.env_file[0]) if execution.env_file else None
            try:
                known = execution, self._environments.value(execution, "PATH"), ""
            except TaskmanError as error:
                known = execution, None, str(error)
            self.looked_at = None
            self._composed[id(execution)] = known
        return known[1:]

    def _has(self, program: str, path: str, cwd: str, who: Who) -> bool:
        key = program, path, cwd, who
        if key not in self._found:
            self._found[key] = self._look_for(program, path, cwd, who)
        return self._found[key]

    def _look_for(self, program: str, path: str, cwd: str, who: Who) -> bool:
        if "/" in program:
            places = [str(Path(cwd, program))]  # as exec(2) does
        else:
            places = [str(Path(cwd, part, program)) for part in path.split(":")]
        for place in places:
            self.looked_at = Path(place)
            is_there = which(place) is not None and _may_enter(place, who)
            self.looked_at = None
            if is_there:
                return True
        return False

    def _wrong_with_directory(self, path: str, who: Who, user: str) -> str:
        """Return why a command cannot start in a directory; "" if it can."""
        if (path, who) not in self._directories:
            self.looked_at = Path(path)
            self._directories[path, who] = _wrong_with_directory(path, who, user)
            self.looked_at = None
        return self._directories[path, who]

    def _is_made(self, path: str, job: Job, task: Task) -> bool:
        """Tell whether the command of another task contains a path: it may create it."""
        if path not in self._made:
            self._made[path] = len(self._made) < _MOST_MADE and self._is_named(path, job, task)
        return self._made[path]

    def _is_named(self, path: str, job: Job, task: Task) -> bool:
        names = {path, os.path.relpath(path, os.path.dirname(job.source) or self._cwd)}  # noqa: PTH120
        pattern = re.compile(
            r"(?:^|(?<=[\s\"'=:/;(]))(?:" + "|".join(map(re.escape, names)) + r")(?:$|(?=[\s\"'/;)&|]))"
        )
        return any(
            pattern.search(self._words_beside(path, other))
            for one in self._jobs
            for other in one.tasks
            if other is not task
        )

    def _words_beside(self, path: str, task: Task) -> str:
        """Return the text of a command, without its program if that is `path`: it does not create itself."""
        words = task.command if isinstance(task.command, str) else " ".join(task.command)
        program = program_of(task)
        if program and str(Path(task.execution.cwd or self._cwd, program)) == path:
            return words.replace(program, "", 1)
        return words


def _who(execution: Execution) -> Who:
    become = to_become(execution.user, execution.group)
    return None if become is None else (become[0], become[1], tuple(become[2]))


def _wrong_with_directory(path: str, who: Who, user: str) -> str:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - the path as it is given
    except (FileNotFoundError, NotADirectoryError):
        return f'there is no directory "{path}"'
    except (OSError, ValueError) as error:
        return f'"{path}": {getattr(error, "strerror", None) or error}'
    if not stat.S_ISDIR(mode):
        return f'"{path}" is not a directory'
    if who is None:
        return "" if os.access(path, os.X_OK, effective_ids=True) else f'"{path}" is not accessible'
    return "" if _may_enter(path, who) else f'{user or "the group"} has no access to "{path}"'


def _may_enter(path: str, who: Who) -> bool:
    """Tell whether a user has execute permission on a path and all its parents.

    Unknown permissions, such as access control lists, count as allowed.
    """
    if who is None or who[0] == 0:
        return True
    try:
        real = Path(path).resolve()
        return all(_has_right(place, who) for place in (real, *real.parents))
    except (OSError, RuntimeError):
        return True


def _has_right(place: Path, who: tuple[int, int, tuple[int, ...]]) -> bool:
    status = place.stat()
    uid, gid, groups = who
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    try:
        if "system.posix_acl_access" in os.listxattr(place):
            return True
    except OSError:  # a file system without extended attributes
        pass
    if status.st_gid in (gid, *groups):
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
