"""Which file the program of a command is, and how it is launched, whatever launches it."""

from __future__ import annotations

import errno
import os

from taskman_cli.supervisor.environments import Environment
from taskman_cli.supervisor.numbers import TRANSIENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, TypeAlias

    Actions: TypeAlias = tuple[tuple[Any, ...], ...]
    #: Path, words, environment, the variables that come to it, and what is done before.
    Launch: TypeAlias = Callable[[str, list[str], Environment, Mapping[str, str], Actions], int]


_NOTHING: Mapping[str, str] = {}


class StartError(Exception):
    """Say why a command was not started."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.errno = number

    @property
    def is_transient(self) -> bool:
        """Tell if the same start may well succeed a little later."""
        return self.errno in TRANSIENT


def first_possible(
    spec: Mapping[str, Any], environment: Environment, actions: Actions, launch: Launch
) -> int:
    """Run `argv`, or if that cannot be started, the shell, which then reports it as a shell does."""
    told = spec.get("told", _NOTHING)
    if spec["shell"] is None:
        return _run(spec["argv"], environment, told, actions, launch)
    try:
        return _run(spec["argv"], environment, told, actions, launch)
    except StartError as error:
        if error.is_transient:
            raise
        return _run(spec["shell"], environment, told, actions, launch)


def run_direct(spec: Mapping[str, Any], environment: Environment, actions: Actions, launch: Launch) -> int:
    """Run the program without its shell."""
    direct, told = spec["direct"], spec.get("told", _NOTHING)
    if direct["env"]:
        environment, told = Environment({**environment.with_told(told), **direct["env"]}), _NOTHING
    return _run(direct["argv"], environment, told, actions, launch)


def _run(
    argv: list[str], environment: Environment, told: Mapping[str, str], actions: Actions, launch: Launch
) -> int:
    if not argv or not argv[0]:
        raise StartError(errno.ENOENT, "not found: the command is empty")
    path = argv[0] if "/" in argv[0] else _find(argv[0], environment.search_path)
    try:
        return launch(path, argv, environment, told, actions)
    except OSError as error:
        number = error.errno or 0
        raise StartError(number, _why_not(path, number)) from error


def _find(name: str, search_path: str) -> str:
    """Return the path of a program as execvp(3) finds it, in the task's PATH instead of ours."""
    refused = None
    for path in _candidates(name, search_path):
        is_executable = os.access(path, os.X_OK)
        if (is_executable or refused is None) and os.path.isfile(path):  # noqa: PTH113 - pathlib is 3 MB
            if is_executable:
                return path
            refused = path
    if refused is not None:
        raise StartError(errno.EACCES, f"not executable: {refused}")
    raise StartError(errno.ENOENT, f"not found: {name}")


def _candidates(name: str, search_path: str) -> Iterator[str]:
    for directory in search_path.split(":"):
        yield f"{directory}/{name}" if directory else name


def _why_not(path: str, number: int) -> str:
    """Return in words why `path` could not be run; it may be wrong if the file changes meanwhile."""
    exists = os.path.exists(path)  # noqa: PTH110 - pathlib is 3 MB
    if number == errno.ENOENT:
        return f"not found: the interpreter of {path}" if exists else f"not found: {path}"
    if number == errno.EACCES and not exists:
        return f"permission denied: {path}"
    if number == errno.EACCES:
        return f"not executable: {path}{' is a directory' if os.path.isdir(path) else ''}"  # noqa: PTH112
    if number == errno.ENOEXEC:
        return f"not executable: {path} is in no format that the system knows, or has no #! line"
    return f"cannot be started: {path}: {os.strerror(number)}"
