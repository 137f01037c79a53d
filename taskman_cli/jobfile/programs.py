"""Which programs root's commands start: a program that another user can change is refused.

Checked is what taskman itself starts: the program of an array, a `shell`, and the interpreters of scripts,
looked up as at the start; and directories of the search path into which others could put a program of that
name before it is found. The words of a string are looked up by the shell and are not checked. So with the
programs of executors, and with the files and directories that their Python imports from.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.core.executors import LOCAL
from taskman_cli.errors import TaskmanError
from taskman_cli.jobfile import JobFile, JobFileError, load
from taskman_cli.jobfile.places import problem_of_job
from taskman_cli.jobfile.problems import Fault
from taskman_cli.jobfile.timeout import ReadTimeout, run_with_timeout
from taskman_cli.launch.environment import Environments
from taskman_cli.trust import Untrusted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskman_cli.core.executors import ExecutorDefinition
    from taskman_cli.core.model import Execution, Job, Task
    from taskman_cli.jobfile import Problem
    from taskman_cli.jobfile.source import Source
    from taskman_cli.trust import Trust

#: How long to wait for a single path.
READ_TIMEOUT_S = 3.0
#: How much of a script the kernel reads to find its interpreter, and how many may be chained.
_FIRST_LINE_BYTES, _MOST_SCRIPTS = 256, 5


def load_to_run(
    files: Sequence[Path], *, trust: Trust, sources: list[Source] | None = None, **arguments: Any
) -> JobFile:
    """Load job files to run here; raises JobFileError also for programs that other users can change."""
    sources = [] if sources is None else sources
    jobfile = load(files, trust=trust, sources=sources, **arguments)
    if trust.is_checked:
        judge = _Judge(trust)
        problems = run_with_timeout(
            lambda: judge.problems(jobfile, sources), lambda: judge.looked_at, timeout_s=READ_TIMEOUT_S
        )
        if problems:
            raise JobFileError(problems, jobs=len(jobfile.jobs))
    return jobfile


def look_at_search_paths(jobs: Sequence[Job], trust: Trust) -> list[tuple[Job, Task, str]]:
    """Return what is wrong with the search paths of root's shells, in words, each path once.

    It is unknown which words of a string are programs, so this is a warning and not an error.
    """
    if not trust.is_checked:
        return []
    judge = _Judge(trust)
    found: list[tuple[Job, Task, str]] = []
    with suppress(ReadTimeout):  # the check for missing programs reports it
        run_with_timeout(
            lambda: found.extend(judge.search_paths(jobs)), lambda: judge.looked_at, timeout_s=READ_TIMEOUT_S
        )
    return list(found)


class _Judge:
    """Checks programs, each one once."""

    def __init__(self, trust: Trust) -> None:
        self.looked_at: Path | None = None
        self._trust = trust
        try:
            self._cwd = os.getcwd()  # noqa: PTH109
        except FileNotFoundError:
            self._cwd = "/"
        self._environments = Environments(os.environ, cwd=self._cwd)
        #: By `id`, with the execution itself, so that the id is not reused.
        self._searched: dict[int, tuple[Execution, str]] = {}
        self._words: dict[tuple[str, str, str], str] = {}
        #: Problems of directories of search paths.
        self._directories: dict[str, Untrusted | None] = {}

    def problems(self, jobfile: JobFile, sources: Sequence[Source]) -> list[Problem]:
        """Return the problems of the jobs, and of the executors that work for root."""
        by_path = {str(source.path): source for source in sources}
        found = [
            problem_of_job(by_path[job.source], job.id, fault)
            for job in jobfile.jobs
            for task in job.commands
            for fault in self._look(job, task)
        ]
        roots = {
            task.execution.executor
            for job in jobfile.jobs
            for task in job.commands
            if task.execution.user is None or task.execution.user.uid == 0
        }
        for executor in jobfile.settings.executors:
            defining = [one for one in sources if executor.name in one.tables.get("executors", {})]
            for fault in self._look_at_executor(executor, has_roots_jobs=executor.name in roots):
                found += [source.problem(fault) for source in defining[:1]]
        return found

    def _look_at_executor(self, executor: ExecutorDefinition, *, has_roots_jobs: bool) -> Iterator[Fault]:
        """Yield what another user could change of the programs that an executor starts as root."""
        settings, programs = executor.settings, []
        match executor.type:
            case "python" if has_roots_jobs:
                programs = [("python", settings.get("python"))]
                for index, directory in enumerate(settings.get("path", ())):
                    if (error := self._trouble_with(directory)) is not None:
                        words = f"modules are looked for in {directory}: {error}"
                        yield Fault(("executors", executor.name, "path", index), words)
            case "consumer" if settings.get("user", "root") == "root":
                command = settings.get("command")
                programs = [("command", command[0] if isinstance(command, list | tuple) else None)]
            case "ssh" | "container":
                programs = [("program", settings.get("program"))]
            case "dask":
                for key, file in settings.get("tls", {}).items():
                    if (error := self._trouble_with_file(file)) is not None:
                        yield Fault(("executors", executor.name, "tls", key), str(error))
        for key, program in programs:
            if program:
                try:
                    self._check(
                        program, os.environ.get("PATH", os.defpath), settings.get("cwd") or self._cwd, depth=0
                    )
                except Untrusted as error:
                    yield Fault(("executors", executor.name, key), str(error))

    def _look_at_call(self, job: Job, task: Task) -> Iterator[Fault]:
        """Yield what another user could change of a function that root calls, and of what it imports."""
        where = dict(task.execution.executor_keys).get("call")
        if where is None:
            return
        for directory in self._value(task.execution, "PYTHONPATH").split(":"):
            place = os.path.join("/", directory)  # noqa: PTH118 - where workers start
            if directory and (found := self._trouble_with(place)) is not None:
                words = f"modules are looked for in {directory}, which is on the PYTHONPATH: {found}"
                yield Fault((*job.command_path(task.id)[:-1], "call"), words)
        file = json.loads(where).rpartition(":")[0]
        if not file.endswith(".py"):
            return
        self.looked_at = Path(file)
        error: Untrusted | None = None
        try:
            os.close(self._trust.open(file, refuse=_need_file))
            error = self._trouble_with(os.path.dirname(file))  # noqa: PTH120
        except Untrusted as found:
            error = found
        except (OSError, ValueError):
            return
        if error is not None:
            yield Fault((*job.command_path(task.id)[:-1], "call"), str(error))

    def _look(self, job: Job, task: Task) -> Iterator[Fault]:
        execution = task.execution
        if execution.user is not None and execution.user.uid != 0:
            return  # other users may run their own programs
        if execution.executor != LOCAL:
            yield from self._look_at_call(job, task)
            return  # else it is a program of somewhere else
        is_array = not isinstance(task.command, str)
        program = task.command[0] if is_array else execution.shell
        if program and (words := self._judge(program, execution)):
            path = job.command_path(task.id)
            key = path if is_array else (*path[:-1], "shell")
            yield Fault(key, words)

    def search_paths(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Task, str]]:
        """Yield words for each search path into which others can put a program, for its first command."""
        seen = set()
        for job in jobs:
            for task in job.commands:
                execution = task.execution
                is_root_s = execution.user is None or execution.user.uid == 0
                is_ours = is_root_s and execution.executor == LOCAL
                if not job.enabled or not isinstance(task.command, str) or not is_ours:
                    continue
                key = self._path(execution), execution.cwd or self._cwd
                if key in seen:
                    continue
                seen.add(key)
                for directory in key[0].split(":"):
                    place = os.path.join(key[1], directory)  # noqa: PTH118 - as execvp(3) has it
                    error = self._trouble_with(place)
                    if error is not None:
                        yield (
                            job,
                            task,
                            f"its shell looks for programs in {place}, which is on the PATH: {error}",
                        )
                        break

    def _judge(self, program: str, execution: Execution) -> str:
        cwd = execution.cwd or self._cwd
        key = program, self._path(execution), cwd
        if key not in self._words:
            try:
                self._check(*key, depth=0)
                self._words[key] = ""
            except Untrusted as error:
                self._words[key] = str(error)
            self.looked_at = None
        return self._words[key]

    def _path(self, execution: Execution) -> str:
        """Return the PATH of a command; the system's default if its env_file cannot be read."""
        known = self._searched.get(id(execution))
        if known is None:
            known = self._searched[id(execution)] = execution, self._value(execution, "PATH") or os.defpath
        return known[1]

    def _value(self, execution: Execution, name: str) -> str:
        """Return a variable of a command; "" if there is none, or its env_file cannot be read."""
        self.looked_at = Path(execution.env_file[0]) if execution.env_file else None
        try:
            return self._environments.value(execution, name) or ""
        except TaskmanError:
            return ""

    def _check(self, program: str, path: str, cwd: str, *, depth: int) -> None:
        """Raise Untrusted if another user can change a program or its interpreter."""
        for directory in [""] if "/" in program else path.split(":"):
            place = os.path.join(cwd, directory, program)  # noqa: PTH118 - as execvp(3) has it
            self.looked_at = Path(place)
            try:
                if "/" not in program and not os.path.lexists(place):
                    self._check_directory(os.path.join(cwd, directory), program)  # noqa: PTH118
                    continue
                fd = self._trust.open(place, refuse=_need_file)
            except (OSError, ValueError):
                continue
            with os.fdopen(fd, "rb") as file:
                first = file.read(_FIRST_LINE_BYTES).partition(b"\n")[0]
            words = os.fsdecode(first[2:]).split() if first.startswith(b"#!") else []
            if words and depth < _MOST_SCRIPTS:
                self._check(words[0], path, cwd, depth=depth + 1)
                if os.path.basename(words[0]) == "env" and words[1:] and words[1][0] != "-":  # noqa: PTH119
                    self._check(words[1], path, cwd, depth=depth + 1)
            return

    def _check_directory(self, directory: str, program: str) -> None:
        """Raise Untrusted if another user can put a program of this name into a searched directory."""
        found = self._trouble_with(directory)
        if found is not None:
            raise Untrusted(
                f'"{program}" is looked for in {directory} first, which comes earlier on the PATH: {found}; '
                "or write the full path of the program, or set PATH in env",
                found.path,
            )

    def _trouble_with_file(self, file: str) -> Untrusted | None:
        """Return why root must not believe a file; None if it may, or it cannot be read."""
        self.looked_at = Path(file)
        try:
            os.close(self._trust.open(file, refuse=_need_file))
        except Untrusted as error:
            return error
        except (OSError, ValueError):
            return None
        return None

    def _trouble_with(self, directory: str) -> Untrusted | None:
        """Return why root must not search a directory; None if it may."""
        if directory not in self._directories:
            self.looked_at = Path(directory)
            found: Untrusted | None = None
            try:
                _judge_searched(self._trust, directory)
            except Untrusted as error:
                found = error
            except (OSError, ValueError):
                pass  # not a directory, so it has no programs
            self._directories[directory] = found
        return self._directories[directory]


def _judge_searched(trust: Trust, directory: str) -> None:
    """Raise Untrusted if another user can put a file into a directory, or create the directory.

    A group without members is harmless: on Debian, that of /usr/local/bin may be `staff`.
    """
    trust = replace(trust, takes_empty_groups=True)
    here = directory.rstrip("/") or "/"
    if trust.has_path(os.path.realpath(here)):
        return
    while True:
        try:
            return os.close(trust.open_to_list(here))
        except FileNotFoundError:
            here = os.path.dirname(here) or "/"  # noqa: PTH120 - as execvp(3) has it


def _need_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError
