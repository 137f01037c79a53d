"""The type of an argument that names a job file. Whether it can be read is for `jobfile` to find out."""

from __future__ import annotations

import click


class FileName(click.ParamType[str]):
    """A name of a file or directory, as it was given."""

    name = "file"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse the empty name: as a path it is the current directory, which "$UNSET" never means."""
        if not value:
            self.fail("an empty file name", param, ctx)
        return value
