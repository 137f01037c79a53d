"""`taskman schema`: the JSON Schema with which editors complete and check job files."""

from __future__ import annotations

import json

import click

from taskman_cli.cli.options.command import Command


@click.command(
    "schema",
    cls=Command,
    examples={
        "taskman schema > taskman.schema.json": "",
        "taskman schema | python3 -m json.tool --compact": "",
    },
)
def schema() -> None:
    """Print the JSON Schema of job files, for editors.

    Editors that support TOML can use it to complete keys and check values: save it as taskman.schema.json,
    and make `#:schema ./taskman.schema.json` the first line of the job file. It follows draft 2020-12.
    """
    from taskman_cli.jobfile.schema import schema as of_job_files

    click.echo(json.dumps(of_job_files(), indent=2, ensure_ascii=False))
