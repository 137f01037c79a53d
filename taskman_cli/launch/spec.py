"""What a command is started with: argv, environment, and the other settings of its task.

The scheduler and `taskman test` both compose it here.
"""

from __future__ import annotations

import json
import marshal
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.executors import CALL, LOCAL, executor_of, split_handle
from taskman_cli.core.shellless import direct_changes, direct_environment, settled
from taskman_cli.core.simplecommand import read_simple_command
from taskman_cli.errors import TaskmanError
from taskman_cli.launch.accounts import Runners, to_become
from taskman_cli.launch.environment import MANY, EnvironmentNumbers
from taskman_cli.launch.identity import identity_of
from taskman_cli.launch.tokens import TOKEN_VARIABLE, token_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from taskman_cli.core.engine import effects
    from taskman_cli.core.model import Execution, Task
    from taskman_cli.core.simplecommand import SimpleCommand
    from taskman_cli.launch.environment import Environments

_NO_PARAMS: Mapping[str, str] = MappingProxyType({})
#: The shell of string commands.
SHELL = "/bin/sh"


def shell_name() -> str:
    """Return the name of the program that /bin/sh links to."""
    return Path(SHELL).resolve().name


class Plans:
    """Composes specs (the keys are in supervisor/wire.py), and caches what is the same in each start."""

    def __init__(self, environments: Environments, *, cwd: str, shell_name: str, secret: bytes = b"") -> None:
        """Take the secret for the tokens that prove who started a command; b"" for none."""
        self._secret = secret
        self._environments = environments
        self._cwd = cwd
        self._shell_name = shell_name
        self._runners = Runners()
        #: The supervisor knows limits.
        self.can_limit = True
        #: And orders that are packed: two texts by marshal, of what is the same in many and of the rest.
        self.can_pack = False
        #: And environments that are told once.
        self.can_share = False
        self._numbers = EnvironmentNumbers()
        #: By id(), together with the task itself, so that the id is not reused.
        self._plans: dict[int, tuple[Task, dict[str, Any]]] = {}
        #: The same by execution: the environment that the shell would pass on; and the one as it is.
        self._handed_on: dict[int, tuple[Execution, dict[str, str] | None]] = {}
        self._unchanged: dict[int, tuple[Execution, dict[str, str]]] = {}
        #: The same: what is the same in each order for an executor.
        self._orders: dict[int, tuple[Execution, dict[str, Any], bytes]] = {}

    def spec(self, start: effects.Start, *, path: str | None) -> dict[str, Any]:
        """Return what the supervisor needs to start an attempt; `path` is its output file.

        Raises TaskmanError if it cannot be composed.
        """
        self._look_at_accounts(start.task.execution)
        if start.params:
            plan = self._plan(start.task, start.params)
        else:
            plan = self._known_plan(start.task) or self._plan(start.task)
        told = self._told(start)
        if self._secret:
            told[TOKEN_VARIABLE] = token_of(self._secret, start.key)
        if self.can_share and not start.params and id(start.task) in self._plans:
            number = self._numbers.number(plan["env"], told)
            if number is not None:
                return plan | {"env": number, "told": told, "path": path}
        spec = plan | {"env": plan["env"] | told, "path": path}
        if "env_files" in plan:
            spec["env_over"] = dict(start.task.execution.env) | dict(start.params) | told
        return spec

    def take_new(self) -> list[tuple[int, dict[str, str]]]:
        """Return the environments that the supervisor has to know before the specs since the last call."""
        return self._numbers.take_new()

    def remote(self, start: effects.Start | effects.Adopt, *, path: str | None) -> dict[str, Any]:
        """Return what the supervisor needs to have an executor carry out an attempt, or find it again.

        Raises TaskmanError if it cannot be composed.
        """
        execution = start.task.execution
        self._look_at_accounts(execution)
        _, same, packed = self._orders.get(id(execution)) or self._new_order(execution)
        command = None if CALL in same["keys"] else _far_command(start.task.command, execution.shell)
        stdin = None if execution.stdin is None else execution.stdin.encode("utf-8", "surrogateescape")
        if self.can_pack:
            executor, handle = split_handle(start.handle)
            own = (
                handle, start.job, start.task.id, start.run, start.attempt, format_slot(start.slot_ns),
                str(start.trigger), dict(start.params), command, stdin,
            )  # fmt: skip
            return {
                "executor": executor,
                "order": {"packed": packed, "own": marshal.dumps(own)},
                "path": path,
                "max_output": execution.max_output_bytes,
            }
        told = dict(start.params) | self._told(start)
        order = known_order(start) | {"command": command, "stdin": stdin} | same
        order |= {name: same[name] | told for name in ("env", "local_env")}
        return remote_spec(start, order, path=path)

    def _new_order(self, execution: Execution) -> tuple[Execution, dict[str, Any], bytes]:
        """Return the part of an order that is the same in each start, packed too. Raises TaskmanError."""
        self._environments.files_for_the_command(execution)  # raises if others could decide
        user = self._to_become(execution)
        environment = self._environments.compose(execution, has_files=False)
        same = {
            "keys": {name: json.loads(text) for name, text in execution.executor_keys},
            "env": dict(execution.env),
            "local_env": environment,
            "env_files": list(execution.env_file),
            "cwd": execution.cwd,
            "user": None if user is None else (user[0], user[1], tuple(user[2])),
            "umask": execution.umask,
            "nice": execution.nice,
            "resources": {name: amount for name, amount in execution.resources if not executor_of(name)},
            "timeout_ns": execution.timeout_ns,
        }
        found = execution, same, marshal.dumps(same)
        if not execution.env_file and len(environment) <= MANY:
            self._orders[id(execution)] = found
        return found

    def _look_at_accounts(self, execution: Execution) -> None:
        """Prepare all anew that knows of users, if the account files have changed."""
        if execution.user is not None and self._runners.look_again():
            self._plans.clear()
            self._orders.clear()

    def _told(self, start: effects.Start | effects.Adopt) -> dict[str, str]:
        """Return the variables that identify the attempt."""
        slot = format_slot(start.slot_ns)
        return identity_of(start.job, start.task.id, start.run, start.attempt, slot, str(start.trigger))

    def prepare(self, task: Task) -> None:
        """Compose the constant part for the next start of a task, unless cached. Raises TaskmanError."""
        self._known_plan(task) or self._plan(task)

    def is_settled(self, task: Task) -> bool:
        """Tell whether that would be cached, and needs neither files nor accounts."""
        execution = task.execution
        is_constant = not execution.env_file and self._shell_name != "bash"
        return is_constant and execution.user is None and execution.executor == LOCAL

    def forget(self, hidden: Collection[str] | None = None) -> None:
        """Clear the cache, since other jobs are in effect, or other variables are kept from all commands."""
        if hidden is not None:
            self._environments.hide(hidden)
        self._plans.clear()
        self._orders.clear()
        self._handed_on.clear()
        self._unchanged.clear()
        self._environments.forget()

    def _known_plan(self, task: Task) -> dict[str, Any] | None:
        known = self._plans.get(id(task))
        return known[1] if known else None

    def _plan(self, task: Task, params: Mapping[str, str] = _NO_PARAMS) -> dict[str, Any]:
        """Return the part that is the same in each start of a task, and cache it if it cannot change.

        `params` are variables of one start only. If a shell gives them a meaning (PWD, IFS), it is started.
        """
        execution = task.execution
        files = self._environments.files_for_the_command(execution)
        environment = self._environments.compose(execution, has_files=not files)
        environment.update(params)
        argv, simple = self._argv(task.command, execution.shell, environment)
        known = fallback = direct = None
        # The files that are not read yet may set variables that the shell uses.
        if simple is not None and not files:
            known = self._without_shell(environment, simple.words[0], execution, is_usual=not params)
            changes = known and self._changes(simple, environment, execution)
            if changes is None:
                known = None
            if known is not None and changes is not None:
                environment = known
                if simple.is_plain:
                    argv, fallback = list(simple.words), argv
                else:
                    direct = _direct_form(simple, changes)
        # Files may change, and so may the place where bash finds a program.
        is_same = not params and not execution.env_file and (simple is None or self._shell_name != "bash")
        is_kept = is_same and len(environment) <= MANY
        if is_kept and known is None:
            environment = self._unchanged.setdefault(id(execution), (execution, environment))[1]
        plan = {
            "argv": argv,
            "shell": fallback,
            "env": environment,
            "cwd": execution.cwd,
            "user": self._to_become(execution),
            "umask": execution.umask,
            "nice": execution.nice,
            "stdin": execution.stdin,
            "output": str(execution.output),
            "max_output": execution.max_output_bytes,
        }
        if limits := self._limits(execution):
            plan["limits"] = limits
        if files:
            plan["env_files"] = list(files)
        if direct is not None:
            plan["direct"] = direct
        if is_kept:
            self._plans[id(task)] = (task, plan)
        return plan

    def _to_become(self, execution: Execution) -> tuple[int, int, list[int]] | None:
        user = execution.user
        return to_become(None if user is None else self._runners.current(user), execution.group)

    def _limits(self, execution: Execution) -> dict[str, Any]:
        """Return what a command may use at most, and if what it leaves may go on. Raises TaskmanError."""
        limits = execution.limits.as_plain()
        if limits and not self.can_limit:
            raise TaskmanError(
                "cannot be limited: the supervisor is of an earlier version of taskman: stop it, and "
                "run it again"
            )
        return limits | {"keeps_orphans": True} if limits and not execution.kill_orphans else limits

    def _argv(
        self, command: str | tuple[str, ...], shell: str | None, environment: Mapping[str, str]
    ) -> tuple[list[str], SimpleCommand | None]:
        """Return the argv, and what it does if it is a shell that may be left out."""
        if not isinstance(command, str):
            return list(command), None
        if shell:
            return [shell, "-c", command], None
        variables = settled(environment) if "$" in command or "~" in command else {}
        return [SHELL, "-c", command], read_simple_command(command, variables)

    def _changes(
        self, simple: SimpleCommand, environment: dict[str, str], execution: Execution
    ) -> dict[str, str] | None:
        cwd = execution.cwd or self._cwd
        return direct_changes(simple, environment, shell=self._shell_name, cwd=cwd)

    def _without_shell(
        self, environment: dict[str, str], program: str, execution: Execution, *, is_usual: bool
    ) -> dict[str, str] | None:
        """Return the environment that the shell would pass on, or None if that is not known."""
        shell, cwd = self._shell_name, execution.cwd or self._cwd
        if shell == "bash":  # bash sets `_` to the path of the program
            from shutil import which

            if "/" not in program and self._to_become(execution) is not None:
                return None  # another user may find another one, or none where we look first
            path = which(program, path=environment.get("PATH"))
            return direct_environment(environment, shell=shell, cwd=cwd, program=path)
        if execution.env_file or not is_usual or len(environment) > MANY:
            return direct_environment(environment, shell=shell, cwd=cwd)
        if id(execution) not in self._handed_on:
            known = direct_environment(environment, shell=shell, cwd=cwd)
            self._handed_on[id(execution)] = (execution, known)
        return self._handed_on[id(execution)][1]


def _direct_form(simple: SimpleCommand, changes: dict[str, str]) -> dict[str, Any]:
    """Return what is run in place of a shell, as the supervisor takes it (wire.py)."""
    return {
        "argv": list(simple.words),
        "env": changes,
        # As it is written: the shell's own directory may have another name by now than in PWD.
        "cd": simple.directory,
        "files": [(each.number, each.operator, each.target) for each in simple.redirections],
    }


def known_order(start: effects.Start | effects.Adopt) -> dict[str, Any]:
    """Return of an order what names the attempt."""
    return {
        "handle": split_handle(start.handle)[1],
        "job": start.job,
        "task": start.task.id,
        "run": start.run,
        "attempt": start.attempt,
    }


def remote_spec(
    start: effects.Start | effects.Adopt, order: dict[str, Any], *, path: str | None
) -> dict[str, Any]:
    """Return the spec of an attempt for its executor; a supervisor that knows none fails it in words."""
    executor = split_handle(start.handle)[0]
    return {
        "executor": executor,
        "order": order,
        "path": path,
        "max_output": start.task.execution.max_output_bytes,
        "error": f"executor {executor} needs a newer supervisor than the one that runs: stop taskman, and "
        "run it again",
    }


def _far_command(command: str | tuple[str, ...], shell: str | None) -> str | tuple[str, ...]:
    """Return a command with the shell that its job names; without one, the executor chooses it."""
    return (shell, "-c", command) if shell and isinstance(command, str) else command


@lru_cache(maxsize=16)
def format_slot(slot_ns: int | None) -> str:
    """Write a slot as ISO 8601 in UTC, with a fraction only where there is one; "" for none."""
    if slot_ns is None:
        return ""
    seconds, rest_ns = divmod(slot_ns, SECOND_NS)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1000)
    return moment.isoformat()
