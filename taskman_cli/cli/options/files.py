"""Arguments that name files, and the option `--trust`. Whether a file can be read, `jobfile` finds out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class FileName(click.ParamType[str]):
    """The name of a file or directory, unchanged."""

    name = "file"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse the empty name: as a path it would be the current directory, which "$UNSET" never means."""
        if not value:
            hint = "FILE" if isinstance(param, click.Argument) else None
            raise click.BadParameter("the file name is empty", ctx, param, param_hint=hint)
        return value


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
