"""The environment of a command: inherited variables, files, the job's `env`, and the TASKMAN_ variables."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from taskman_cli.errors import TaskmanError
from taskman_cli.supervisor.envfile import EnvFile, EnvFileError
from taskman_cli.supervisor.trusted import TrustedPaths, Verdict
from taskman_cli.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from taskman_cli.core.model import Account, Execution

#: PATH of a command of root's that inherits none, as Debian's login(1) sets it.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: The same for ordinary users.
_USERS_PATH = "/usr/local/bin:/usr/bin:/bin"
#: Variables that a login takes from the system and not from root's environment.
_LOGIN_NAMES = ("LANG",)
#: The SHELL that cron sets, whatever the user's login shell is.
_SHELL = "/bin/sh"
#: A larger environment is composed again at each start: keeping one for each job of a crontab with thousands
#: of assignments would fill the memory.
MANY = 500
#: How many environments the supervisor keeps, so that most starts only name one; and of how many characters.
_MOST_NUMBERS = 32
_MOST_CHARACTERS = 1 << 18
#: Variables of taskman's own processes, which no command gets: it could speak to systemd in their name.
PRIVATE = ("TASKMAN_SUPERVISOR_FD", "TASKMAN_LOCK_FD", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Environments:
    """Composes environments. The parts that stay the same are composed once."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        cwd: str,
        trust: Trust | None = None,
        hidden: Collection[str] = (),
    ) -> None:
        """Take this process's environment, the start directory, and whose env files to accept (None: all).

        `hidden`: the variables that no command gets, since sinks take secrets from them.
        """
        self._trust = trust or Trust(is_checked=False)
        self._trusted = TrustedPaths(cwd)
        self._environ = environ
        self._inherited: dict[str, str] = {}
        self._hidden: dict[str, str] = {}
        self._uid = os.getuid()
        self._minimal = minimal(self._uid)
        self._cwd = cwd
        #: By id(), together with the execution itself, so that the id is not reused.
        self._composed: dict[int, tuple[Execution, dict[str, str]]] = {}
        self._files: dict[str, tuple[tuple[int, ...], dict[str, str]]] = {}
        self.hide(hidden)

    def hide(self, names: Collection[str]) -> None:
        """Keep variables from all commands, and those from none that were kept before."""
        self._hidden = {name: self._environ[name] for name in names if name in self._environ}
        self._inherited = {name: value for name, value in self._environ.items() if name not in PRIVATE}
        self.forget()

    def compose(self, execution: Execution, *, has_files: bool = True) -> dict[str, str]:
        """Return a new environment for a command, without the TASKMAN_ variables.

        `has_files` False: the process that becomes the command reads the env files itself. Raises
        TaskmanError if one cannot be read.
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
        for name, value in self._hidden.items():
            # `once` hands over the whole environment of a shell.
            if environment.get(name) == value:
                del environment[name]
        return environment

    def value(self, execution: Execution, name: str) -> str | None:
        """Return one variable of a command's environment. Raises TaskmanError as `compose` does."""
        if execution.env_file:
            return self.compose(execution).get(name)
        value = execution.env.get(name)
        value = self._base(execution).get(name) if value is None else value
        return None if name in self._hidden and value == self._hidden[name] else value

    def forget(self) -> None:
        """Drop all composed environments."""
        self._composed.clear()

    def _base(self, execution: Execution) -> dict[str, str]:
        user, inherit = execution.user, execution.inherit_env
        if inherit is None and user is not None and user.uid != self._uid:
            # Root's own environment may contain secrets; another user gets it only if the job file says so.
            base = {"PATH": _PATH if user.uid == 0 else _USERS_PATH}
            base |= {name: self._inherited[name] for name in _LOGIN_NAMES if name in self._inherited}
        elif inherit is True or inherit is None:
            base = self._inherited.copy()
        else:
            names = inherit or ()
            base = self._minimal | {name: self._inherited[name] for name in names if name in self._inherited}
        if user is not None:
            base |= _own(user)
        # As every shell sets it; an inherited PWD may name another directory.
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
        """Return the env files that the process that becomes the command reads itself; () if we read them.

        We read files that only we can change and that cannot block us. Raises TaskmanError if another user
        could decide what root runs.
        """
        user, files = execution.user, execution.env_file
        if not files or (user is not None and user.uid != self._uid):
            return files
        verdicts = [self._trusted.judge(path) for path in files]
        for path, verdict in zip(files, verdicts, strict=True):
            if verdict is Verdict.OTHERS:
                self._trust.check(path)
        return () if all(verdict is Verdict.TRUSTED for verdict in verdicts) else files


class EnvironmentNumbers:
    """Numbers by which starts name the environments that the supervisor was told; they are used in turn."""

    def __init__(self) -> None:
        #: By id(), together with the environment itself, so that the id is not reused; the oldest first.
        self._known: dict[int, tuple[int, dict[str, str]]] = {}
        self._new: list[tuple[int, dict[str, str]]] = []

    def number(self, environment: dict[str, str], told: Collection[str]) -> int | None:
        """Return the number of an environment that nobody changes, less the variables that are `told`.

        None: it is too large, and goes with each of its starts. If one cannot be sent, only that one fails.
        """
        known = self._known.get(id(environment))
        if known is None:
            if sum(map(len, environment)) + sum(map(len, environment.values())) > _MOST_CHARACTERS:
                return None
            number = len(self._known)
            if number == _MOST_NUMBERS:
                number, _ = self._known.pop(next(iter(self._known)))
            known = self._known[id(environment)] = number, environment
            shared = {name: value for name, value in environment.items() if name not in told}
            self._new.append((number, shared))
        return known[0]

    def take_new(self) -> list[tuple[int, dict[str, str]]]:
        """Return those that got their number since the last call."""
        new, self._new = self._new, []
        return new


def minimal(uid: int) -> dict[str, str]:
    """Return the variables that cron sets: user, home directory, shell and PATH."""
    found = {"PATH": _PATH, "SHELL": _SHELL}
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:  # an arbitrary uid in a container
        return found | {"HOME": "/"}
    return found | {"HOME": entry.pw_dir, "LOGNAME": entry.pw_name, "USER": entry.pw_name}


def _own(account: Account) -> dict[str, str]:
    """Return the variables that name the user, whatever is inherited; SHELL is not the login shell."""
    return {"SHELL": _SHELL, "HOME": account.home, "LOGNAME": account.name, "USER": account.name}
