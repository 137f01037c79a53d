"""Arguments that name files, the job file that is used without one, and the option `--trust`.

Whether a file can be read, `jobfile` finds out.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from click.shell_completion import CompletionItem


#: The job file that a command uses if it is given none.
OWN_FILE = "jobs.toml"
#: The same for root, who must not run what somebody put into the current directory.
ROOT_FILE = "/etc/taskman/jobs.toml"


def job_files(files: tuple[str, ...], user_crontabs: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the job files that were given; without any, the one that there is by default, and say so.

    Raises a usage error if there is none.
    """
    if files or user_crontabs:
        return files
    file = default_file()
    if file is None:
        raise click.UsageError(_why_none(), click.get_current_context())
    return (file,)


def default_file() -> str | None:
    """Return the job file that is used if none is given, and say so; None if it does not exist."""
    is_root = os.geteuid() == 0
    file = ROOT_FILE if is_root else OWN_FILE
    if not os.path.lexists(file):
        return None
    from taskman_cli.cli.render import note

    if not is_root and (owner := _other_owner(file)) is not None:
        fix = f"name it if you trust it: {click.get_current_context().command_path} ./{file}"
        raise click.UsageError(
            f"no FILE given, and ./{file} belongs to {owner}: {fix}", click.get_current_context()
        )
    note(f"no FILE given: using {file if is_root else f'./{file}'}")
    return file


def _other_owner(file: str) -> str | None:
    """Return whose file it is, if it is neither ours nor root's: in a directory of many users, a trap."""
    try:
        owner = os.stat(file).st_uid  # noqa: PTH116
    except OSError:
        return None  # whoever reads it finds out what is wrong with it
    if owner in (0, os.geteuid()):
        return None
    from taskman_cli.trust import user_name

    return user_name(owner)


def _why_none() -> str:
    if os.geteuid() != 0:
        return f"no FILE given, and there is no ./{OWN_FILE}: name one, or let `taskman init` write one"
    words = f"no FILE given, and there is no {ROOT_FILE}, the only one that root uses unless one is named"
    return f"{words}: name the one that is here, {OWN_FILE}" if os.path.lexists(OWN_FILE) else words


class FileName(click.ParamType[str]):
    """The name of a file or directory, unchanged."""

    name = "file"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse the empty name: as a path it would be the current directory, which "$UNSET" never means."""
        if not value:
            hint = "FILE" if isinstance(param, click.Argument) else None
            raise click.BadParameter("the file name is empty", ctx, param, param_hint=hint)
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Let the shell offer files, which it can do better."""
        return _left_to_shell(incomplete, "file")


class DirectoryName(FileName):
    """The name of a directory, unchanged."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Let the shell offer directories."""
        return _left_to_shell(incomplete, "dir")


def complete_files(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Let the shell offer files, for an argument that is not one alone."""
    return _left_to_shell(incomplete, "file")


def _left_to_shell(incomplete: str, kind: str) -> list[CompletionItem[str]]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type=kind)]


class Trusted(click.ParamType[str]):
    """A user id, or a path, which is made absolute."""

    name = "uid or path"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse a path that does not exist: it may be the name of a user."""
        if value.isascii() and value.isdigit():
            return value
        if not value or not os.path.lexists(value):
            self.fail(f'"{value}" is neither an existing path nor a user id', param, ctx)
        return os.path.abspath(value)  # noqa: PTH100 - it may be bytes that no Path would show

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Let the shell offer files."""
        return _left_to_shell(incomplete, "file")


def trust_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option --trust."""
    return click.option(
        "--trust",
        "trusted",
        multiple=True,
        metavar="UID|PATH",
        type=Trusted(),
        help="As root, also trust files of this user, or files below this path. May be repeated.",
    )(command)
