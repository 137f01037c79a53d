"""The environment that a command gets: inherited, from files, from the job, and the TASKMAN_ variables."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from taskman_cli.errors import TaskmanError
from taskman_cli.supervisor.envfile import EnvFile, EnvFileError
from taskman_cli.supervisor.trusted import TrustedPaths, Verdict
from taskman_cli.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.model import Account, Execution

#: Search path of a command that inherits none, as Debian's login(1) sets it.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: That of an ordinary user, likewise.
_USERS_PATH = "/usr/local/bin:/usr/bin:/bin"
#: What a login takes over from the machine, not from root.
_LOGIN_NAMES = ("LANG",)
#: What cron says and runs, whatever shell a user logs in with.
_SHELL = "/bin/sh"
#: An environment of more variables is put together anew at each start: thousands of them, as the jobs of a
#: crontab with as many assignments have, would fill the memory.
MANY = 500
#: Variables of taskman's own two processes, no affair of a command's.
_PRIVATE = ("TASKMAN_SUPERVISOR_FD", "TASKMAN_LOCK_FD")


class Environments:
    """Composes environments; what does not change from start to start is composed once."""

    def __init__(self, environ: Mapping[str, str], *, cwd: str, trust: Trust | None = None) -> None:
        """Take this process's environment, where commands start, and whose files count; None: anybody's."""
        self._trust = trust or Trust(is_checked=False)
        self._trusted = TrustedPaths(cwd)
        self._inherited = {name: value for name, value in environ.items() if name not in _PRIVATE}
        self._uid = os.getuid()
        self._minimal = minimal(self._uid)
        self._cwd = cwd
        #: By identity, with the execution itself: while it is here, no other has its identity.
        self._composed: dict[int, tuple[Execution, dict[str, str]]] = {}
        self._files: dict[str, tuple[tuple[int, ...], dict[str, str]]] = {}

    def compose(self, execution: Execution, *, has_files: bool = True) -> dict[str, str]:
        """Return a new environment for a command, without the TASKMAN_ variables.

        `has_files` False: the process that becomes the command reads its `env_file`s. Raises TaskmanError if
        one cannot be read.
        """
        known = self._composed.get(id(execution))
        if known is None:
            base = self._base(execution)
            if not execution.env_file:
                base.update(execution.env)
            known = execution, base
            if len(base) <= MANY:
                self._composed[id(execution)] = known
        environment = known[1].copy()
        if execution.env_file:
            for path in execution.env_file if has_files else ():
                environment.update(self._read(path))
            environment.update(execution.env)
        return environment

    def value(self, execution: Execution, name: str) -> str | None:
        """Return one variable of the environment of a command; raises TaskmanError as `compose` does."""
        if execution.env_file:
            return self.compose(execution).get(name)
        value = execution.env.get(name)
        return self._base(execution).get(name) if value is None else value

    def forget(self) -> None:
        """Compose anew: the executions so far may go."""
        self._composed.clear()

    def _base(self, execution: Execution) -> dict[str, str]:
        user, inherit = execution.user, execution.inherit_env
        if inherit is None and user is not None and user.uid != self._uid:
            # What root was started with, secrets perhaps, is not for him unless the job file says so.
            base = {"PATH": _PATH if user.uid == 0 else _USERS_PATH}
            base |= {name: self._inherited[name] for name in _LOGIN_NAMES if name in self._inherited}
        elif inherit is True or inherit is None:
            base = self._inherited.copy()
        else:
            names = inherit or ()
            base = self._minimal | {name: self._inherited[name] for name in names if name in self._inherited}
        if user is not None:
            base |= _own(user)
        # As every shell has it; an inherited one may name the directory of another time.
        base["PWD"] = execution.cwd or self._cwd
        return base

    def _read(self, path: str) -> dict[str, str]:
        try:
            with EnvFile(path) as file:
                stamp = file.stamp()
                known = self._files.get(path)
                if known is None or known[0] != stamp:
                    known = self._files[path] = stamp, file.values()
        except EnvFileError as error:
            raise TaskmanError(str(error)) from None
        return known[1]

    def files_for_the_command(self, execution: Execution) -> tuple[str, ...]:
        """Return the `env_file`s if the process that becomes the command is to read them itself; () if we do.

        We read what nobody but us can have changed or can make us wait for. Raises TaskmanError where
        somebody else would decide what root runs.
        """
        user, files = execution.user, execution.env_file
        if not files or (user is not None and user.uid != self._uid):
            return files
        verdicts = [self._trusted.judge(path) for path in files]
        for path, verdict in zip(files, verdicts, strict=True):
            if verdict is Verdict.OTHERS:
                self._trust.check(path)
        return () if all(verdict is Verdict.TRUSTED for verdict in verdicts) else files


def minimal(uid: int) -> dict[str, str]:
    """Return what cron gives a command: who and where it is, and a search path."""
    found = {"PATH": _PATH, "SHELL": _SHELL}
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:  # a container's arbitrary uid
        return found | {"HOME": "/"}
    return found | {"HOME": entry.pw_dir, "LOGNAME": entry.pw_name, "USER": entry.pw_name}


def _own(account: Account) -> dict[str, str]:
    """Return what says who a command runs as, whatever is inherited; the shell is not the one of a login."""
    return {"SHELL": _SHELL, "HOME": account.home, "LOGNAME": account.name, "USER": account.name}
