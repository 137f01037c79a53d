"""The environment that a command gets: inherited, from files, from the job, and the TASKMAN_ variables."""

from __future__ import annotations

import os
import pwd
import stat
from typing import TYPE_CHECKING

from taskman_cli.errors import TaskmanError

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
#: No `env_file` is larger: it is read while the clock waits.
MAX_ENV_FILE_BYTES = 1 << 20
#: An environment of more variables is put together anew at each start: thousands of them, as the jobs of a
#: crontab with as many assignments have, would fill the memory.
MANY = 500
#: A pipe opened so is not waited for.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
#: What may stand around a name and a value; the last where lines end as on Windows.
_BLANKS = " \t\r"
#: Variables of taskman's own two processes, no affair of a command's.
_PRIVATE = ("TASKMAN_SUPERVISOR_FD", "TASKMAN_LOCK_FD")


class Environments:
    """Composes environments; what does not change from start to start is composed once."""

    def __init__(self, environ: Mapping[str, str], *, cwd: str) -> None:
        self._inherited = {name: value for name, value in environ.items() if name not in _PRIVATE}
        self._uid = os.getuid()
        self._minimal = minimal(self._uid)
        self._cwd = cwd
        #: By identity, with the execution itself: while it is here, no other has its identity.
        self._composed: dict[int, tuple[Execution, dict[str, str]]] = {}
        self._files: dict[str, tuple[tuple[int, ...], dict[str, str]]] = {}

    def compose(self, execution: Execution) -> dict[str, str]:
        """Return a new environment for a command, without the TASKMAN_ variables.

        Raises TaskmanError if an `env_file` cannot be read.
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
        for path in execution.env_file:
            environment.update(self._read(path))
        if execution.env_file:
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
            fd = os.open(path, _READ)
            try:
                stamp = _stamp(fd, path)
                known = self._files.get(path)
                if known is None or known[0] != stamp:
                    known = self._files[path] = stamp, parse_env_file(_text(fd, path), path)
            finally:
                os.close(fd)
        except OSError as error:
            raise TaskmanError(f"cannot read env_file {path}: {error.strerror}") from error
        return known[1]


def _stamp(fd: int, path: str) -> tuple[int, ...]:
    """Return what is different once the file is another: one moved here may have any time and size."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise TaskmanError(f"cannot read env_file {path}: not a regular file")
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _text(fd: int, path: str) -> str:
    with os.fdopen(fd, "rb", closefd=False) as file:
        data = file.read(MAX_ENV_FILE_BYTES + 1)
    if len(data) > MAX_ENV_FILE_BYTES:
        raise TaskmanError(f"cannot read env_file {path}: larger than {MAX_ENV_FILE_BYTES} bytes")
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def parse_env_file(text: str, path: str) -> dict[str, str]:
    """Read lines `NAME=value`, much as systemd's EnvironmentFile= has them.

    Blank lines and those that start with # or ; are passed over, `export ` before a name too. A value may
    stand in single or double quotes, and then has none of these inside. Unlike there, $ and backslashes are
    themselves everywhere, and no value goes on in the next line: one that would (a backslash at its end, a
    quote left open) is refused, not guessed at. Raises TaskmanError with the number of the line, never with
    what is in it, which may be secret.
    """
    values = {}
    # Not splitlines(): that knows a dozen line ends, and a value may hold any of them.
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(_BLANKS)
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        name = name.strip(_BLANKS)
        if not equals or not (name.isascii() and name.isidentifier()) or "\0" in value:
            raise TaskmanError(f"env_file {path}, line {number}: not of the form NAME=value")
        try:
            values[name] = _unquoted(value.strip(_BLANKS))
        except ValueError as error:
            raise TaskmanError(f"env_file {path}, line {number}: {error}") from None
    return values


def _unquoted(value: str) -> str:
    quote = value[:1]
    if quote and quote in "'\"":
        if len(value) < 2 or value.find(quote, 1) != len(value) - 1:
            raise ValueError(
                f"a value that begins with {quote} must end with it on the same line and have none in between"
            )
        return value[1:-1]
    if quote and value[-1] == "\\":
        raise ValueError(
            "a backslash at the end: no value goes on in the next line (one that ends so needs quotes)"
        )
    return value


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
