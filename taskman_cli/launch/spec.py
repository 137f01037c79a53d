"""What a command is started with: its argv, its environment, and all else that its task says.

The one place where it is put together: for the scheduler, and for `taskman test`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.shellless import direct_argv, direct_environment
from taskman_cli.launch.accounts import Runners, to_become
from taskman_cli.launch.environment import MANY
from taskman_cli.launch.tokens import TOKEN_VARIABLE, token_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.engine import effects
    from taskman_cli.core.model import Execution, Task
    from taskman_cli.launch.environment import Environments

_NO_PARAMS: Mapping[str, str] = MappingProxyType({})
#: What runs string commands.
SHELL = "/bin/sh"


def shell_name() -> str:
    """Return the name of what /bin/sh really is."""
    return Path(SHELL).resolve().name


class Plans:
    """Puts specs together (their keys: supervisor/wire.py), and keeps what is the same in each start."""

    def __init__(self, environments: Environments, *, cwd: str, shell_name: str, secret: bytes = b"") -> None:
        """Take the secret that proves who started a command; without one, nothing does."""
        self._secret = secret
        self._environments = environments
        self._cwd = cwd
        self._shell_name = shell_name
        self._runners = Runners()
        #: By identity, with the task itself: while it is here, no other has its identity.
        self._plans: dict[int, tuple[Task, dict[str, Any]]] = {}
        #: Likewise, by execution: the environment that the shell would hand on.
        self._handed_on: dict[int, tuple[Execution, dict[str, str] | None]] = {}

    def spec(self, start: effects.Start, *, path: str | None) -> dict[str, Any]:
        """Return all that the supervisor needs to start an attempt; `path` is that of its output file.

        Raises TaskmanError where none can be put together.
        """
        if start.task.execution.user is not None and self._runners.look_again():
            self._plans.clear()
        if start.params:
            plan = self._plan(start.task, start.params)
        else:
            plan = self._known_plan(start.task) or self._plan(start.task)
        told = self._told(start)
        spec = plan | {"env": plan["env"] | told, "path": path}
        if "env_files" in plan:
            spec["env_over"] = dict(start.task.execution.env) | dict(start.params) | told
        return spec

    def _told(self, start: effects.Start) -> dict[str, str]:
        """Return the variables that say which attempt it is."""
        told = {
            "TASKMAN_JOB": start.job,
            "TASKMAN_TASK": start.task.id,
            "TASKMAN_RUN_ID": start.run,
            "TASKMAN_ATTEMPT": str(start.attempt),
            "TASKMAN_SLOT": format_slot(start.slot_ns),
            "TASKMAN_TRIGGER": start.trigger.value,
        }
        if self._secret:
            told[TOKEN_VARIABLE] = token_of(self._secret, start.key)
        return told

    def prepare(self, task: Task) -> None:
        """Put together what the next start of a task needs, if it is not known; raises TaskmanError."""
        self._known_plan(task) or self._plan(task)

    def forget(self) -> None:
        """Plan anew: other jobs are in force, and the tasks of those before may go."""
        self._plans.clear()
        self._handed_on.clear()
        self._environments.forget()

    def _known_plan(self, task: Task) -> dict[str, Any] | None:
        known = self._plans.get(id(task))
        return known[1] if known else None

    def _plan(self, task: Task, params: Mapping[str, str] = _NO_PARAMS) -> dict[str, Any]:
        """Return what is the same in each start of a task, and keep it if it is sure to be so.

        `params` are variables of one start alone. What a shell would make of them (PWD, IFS) is up to it.
        """
        execution = task.execution
        files = self._environments.files_for_the_command(execution)
        environment = self._environments.compose(execution, has_files=not files)
        environment.update(params)
        argv, fallback = self._argv(task.command, execution.shell)
        if fallback:
            # What is in files that nobody has read yet may be what the shell would look at.
            known = None
            if not files:
                known = self._without_shell(environment, argv[0], execution, is_usual=not params)
            if known:
                environment = known
            else:
                argv, fallback = fallback, None
        plan = {
            "argv": argv,
            "shell": fallback,
            "env": environment,
            "cwd": execution.cwd,
            "user": self._to_become(execution),
            "umask": execution.umask,
            "nice": execution.nice,
            "stdin": execution.stdin,
            "output": execution.output.value,
            "max_output": execution.max_output_bytes,
        }
        if files:
            plan["env_files"] = list(files)
        # Files may change, and so may the place that bash would find a program in.
        is_same = not params and not execution.env_file and (fallback is None or self._shell_name != "bash")
        if is_same and len(environment) <= MANY:
            self._plans[id(task)] = (task, plan)
        return plan

    def _to_become(self, execution: Execution) -> tuple[int, int, list[int]] | None:
        user = execution.user
        return to_become(None if user is None else self._runners.current(user), execution.group)

    def _argv(self, command: str | tuple[str, ...], shell: str | None) -> tuple[list[str], list[str] | None]:
        """Return what is run, and where that leaves the shell out the shell's own words."""
        if not isinstance(command, str):
            return list(command), None
        through_shell = [shell or SHELL, "-c", command]
        words = None if shell else direct_argv(command)
        return (list(words), through_shell) if words else (through_shell, None)

    def _without_shell(
        self, environment: dict[str, str], program: str, execution: Execution, *, is_usual: bool
    ) -> dict[str, str] | None:
        """Return the environment that the shell would hand on, or None where that can't be told."""
        shell, cwd = self._shell_name, execution.cwd or self._cwd
        if shell == "bash":  # it tells the program where it was found
            from shutil import which

            path = which(program, path=environment.get("PATH"))
            return direct_environment(environment, shell=shell, cwd=cwd, program=path)
        if execution.env_file or not is_usual or len(environment) > MANY:
            return direct_environment(environment, shell=shell, cwd=cwd)
        if id(execution) not in self._handed_on:
            known = direct_environment(environment, shell=shell, cwd=cwd)
            self._handed_on[id(execution)] = (execution, known)
        return self._handed_on[id(execution)][1]


@lru_cache(maxsize=16)
def format_slot(slot_ns: int | None) -> str:
    """Write a slot as ISO 8601 in UTC, with a fraction only where there is one; "" for none."""
    if slot_ns is None:
        return ""
    seconds, rest_ns = divmod(slot_ns, SECOND_NS)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1000)
    return moment.isoformat()
