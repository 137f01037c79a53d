"""The environment that a command gets: inherited, from files, from the job, and the TASKMAN_ variables."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.errors import TaskmanError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.model import Execution

#: Search path of a command that inherits none, as Debian's login(1) sets it.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Variables of taskman's own two processes, no affair of a command's.
_PRIVATE = ("TASKMAN_SUPERVISOR_FD",)


class Environments:
    """Composes environments; what does not change from start to start is composed once."""

    def __init__(self, environ: Mapping[str, str], *, cwd: str) -> None:
        self._inherited = {name: value for name, value in environ.items() if name not in _PRIVATE}
        self._minimal = _minimal(os.getuid())
        self._cwd = cwd
        self._composed: dict[int, dict[str, str]] = {}
        self._files: dict[str, tuple[tuple[int, int], dict[str, str]]] = {}

    def compose(self, execution: Execution) -> dict[str, str]:
        """Return a new environment for a command, without the TASKMAN_ variables.

        Raises TaskmanError if an `env_file` cannot be read.
        """
        base = self._composed.get(id(execution))
        if base is None:
            base = self._base(execution)
            if not execution.env_file:
                base.update(execution.env)
            # Keyed by identity: the jobs hold their executions as long as this process lives.
            self._composed[id(execution)] = base
        environment = base.copy()
        for path in execution.env_file:
            environment.update(self._read(path))
        if execution.env_file:
            environment.update(execution.env)
        return environment

    def _base(self, execution: Execution) -> dict[str, str]:
        inherit = execution.inherit_env
        if inherit is True:
            base = self._inherited.copy()
        else:
            names = inherit or ()
            base = self._minimal | {name: self._inherited[name] for name in names if name in self._inherited}
        # As every shell has it; an inherited one may name the directory of another time.
        base["PWD"] = execution.cwd or self._cwd
        return base

    def _read(self, path: str) -> dict[str, str]:
        try:
            status = Path(path).stat()
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._files.get(path)
            if known is None or known[0] != stamp:
                known = self._files[path] = (
                    stamp,
                    parse_env_file(Path(path).read_text(encoding="utf-8-sig"), path),
                )
        except OSError as error:
            raise TaskmanError(f"cannot read env_file {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise TaskmanError(f"cannot read env_file {path}: not UTF-8 at byte {error.start}") from error
        return known[1]


def parse_env_file(text: str, path: str) -> dict[str, str]:
    """Read `NAME=value` lines as systemd's EnvironmentFile= has them, without its line continuations.

    Blank lines and those that start with # or ; are passed over, `export ` before a name too; a value may
    stand in single or double quotes. Nothing is expanded. Raises TaskmanError with the line that is none of
    these.
    """
    values = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        name = name.strip()
        if not equals or not (name.isascii() and name.isidentifier()) or "\0" in value:
            raise TaskmanError(f"env_file {path}, line {number}: not of the form NAME=value")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        values[name] = value
    return values


def _minimal(uid: int) -> dict[str, str]:
    """Return what cron gives a command: who and where it is, and a search path."""
    minimal = {"PATH": _PATH, "SHELL": "/bin/sh"}
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:  # a container's arbitrary uid
        return minimal | {"HOME": "/"}
    return minimal | {"HOME": entry.pw_dir, "LOGNAME": entry.pw_name, "USER": entry.pw_name}
