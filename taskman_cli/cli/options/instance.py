"""The options `-i NAME` and `--state-dir DIR`, which select an instance by its state directory."""

from __future__ import annotations

import os
import shlex
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from taskman_cli.cli.options.completions import complete_instances
from taskman_cli.cli.options.files import DirectoryName
from taskman_cli.cli.render import note, note_on_terminal
from taskman_cli.errors import InstanceError
from taskman_cli.instance.directory import INSTANCES, instance_names, state_directory
from taskman_cli.instance.ephemeral import PREFIX, running_ephemeral

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: The ledger in a state directory.
LEDGER = "ledger.db"

VARIABLE = "TASKMAN_INSTANCE"

R = TypeVar("R")


def with_directory(command: Callable[..., R]) -> Callable[..., R]:
    """Add the two options; the command gets `directory`, the path of a state directory.

    If neither is given, that is the default one, except while only a throw-away instance runs.
    """
    return _with_options(command, _to_read)


def with_directory_if_any(command: Callable[..., R]) -> Callable[..., R]:
    """Do the same, but pass None if no state directory is possible here and none was asked for."""
    return _with_options(command, lambda base: base, is_needed=False)


def with_running_directory(command: Callable[..., R]) -> Callable[..., R]:
    """Do the same; if neither option is given, choose the directory of the only running scheduler."""
    return _with_options(command, _running)


def _with_options(
    command: Callable[..., R], choose: Callable[[Path], Path], *, is_needed: bool = True
) -> Callable[..., R]:
    """Add the options; without them, `choose` maps the default directory to the one to use."""

    @click.option(
        "-i",
        "--instance",
        metavar="NAME",
        envvar=VARIABLE,
        shell_complete=complete_instances,
        help=f"Use the instance with this name (default: ${VARIABLE}).",
    )
    @click.option(
        "--state-dir", metavar="DIR", type=DirectoryName(), help="Use the instance with this state directory."
    )
    @wraps(command)
    def with_options(*args: Any, instance: str | None, state_dir: str | None, **options: Any) -> R:
        context = click.get_current_context()
        if state_dir is not None and _is_from_environment(context):
            instance = None  # an option takes precedence over the environment
        try:
            directory = state_directory(
                os.environ, is_root=os.geteuid() == 0, instance=instance, given=state_dir
            )
        except InstanceError as error:
            if instance is None and state_dir is None:
                if not is_needed:
                    return command(*args, directory=None, **options)
                if choose in (_running, _to_read) and (ephemeral := running_ephemeral(os.environ)):
                    return command(*args, directory=_only(ephemeral), **options)
            where = f"{VARIABLE}: " if _is_from_environment(context) else ""
            raise click.UsageError(f"{where}{error}", context) from error
        if instance is None and state_dir is None:
            directory = choose(directory)
        return command(*args, directory=directory, **options)

    return with_options


def _running(base: Path) -> Path:
    """Return the directory of the running scheduler: `base` if one runs there, else the only one."""
    from taskman_cli.control import reach
    from taskman_cli.control.client import running_directories

    reach.on_wait = note_on_terminal
    running = running_directories(base)
    if base in running or not running:
        return base
    return _only(running)


def _to_read(base: Path) -> Path:
    """Return the directory whose ledger is meant: the throw-away one, if nothing else runs."""
    from taskman_cli.control.client import kept_directories

    has_ledger = (base / LEDGER).exists()
    is_chosen = has_ledger and os.environ.get("STATE_DIRECTORY")
    if is_chosen or kept_directories(base) or not (ephemeral := running_ephemeral(os.environ)):
        return base
    directory = _only(ephemeral)
    if has_ledger:
        note(f"this is the throw-away instance that runs; for the kept ledger: --state-dir {base}")
    return directory


def _only(running: list[Path]) -> Path:
    if len(running) > 1:
        if running[0].name.startswith(PREFIX):
            names = ", ".join(str(directory) for directory in running)
            raise InstanceError(
                f"several throw-away instances are running: {names} (choose one with --state-dir)"
            )
        names = ", ".join(directory.name for directory in running)
        raise InstanceError(f"several instances are running: {names} (choose one with -i NAME)")
    return running[0]


@contextmanager
def ledger_of(directory: Path) -> Iterator[sqlite3.Connection]:
    """Open the ledger of a state directory for reading; if there is none, name the known instances."""
    from taskman_cli.ledger.queries.reader import NoLedger, reading

    try:
        with reading(directory) as ledger:
            yield ledger
    except NoLedger as error:
        raise NoLedger(f"{error}{_others(directory)}") from None


def with_instance(command: str) -> str:
    """Return what to type next, with the options that select the instance if they were given on this line."""
    context = click.get_current_context()
    given = [
        f"{option} {shlex.quote(context.params[name])}"
        for name, option in (("instance", "-i"), ("state_dir", "--state-dir"))
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    program, verb, *rest = command.split(" ", 2) if command.startswith("taskman ") else (command, "")
    return " ".join(word for word in (program, verb, *(given if verb else ()), *rest) if word)


def _is_from_environment(context: click.Context) -> bool:
    return context.get_parameter_source("instance") is ParameterSource.ENVIRONMENT


def _others(directory: Path) -> str:
    """Name the known instances, or the one that was probably meant."""
    is_named = directory.parent.name == INSTANCES
    names = instance_names(directory.parents[1] if is_named else directory)
    if is_named:
        from taskman_cli.core.nearest import did_you_mean

        if near := did_you_mean(directory.name, [name for name in names if name != directory.name]):
            return near
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    return f" (instances are: {shown})" if names else ""
