"""`taskman schema`: what editors need to complete and check a job file."""

from __future__ import annotations

import json

import click


@click.command("schema")
def schema() -> None:
    """Print the JSON Schema of the job file, for editors.

    With `taskman schema > taskman.schema.json` and `#:schema ./taskman.schema.json` as the first line of a
    job file, editors that know TOML complete its keys and check its values. It is the draft 2020-12.
    """
    from taskman_cli.jobfile.schema import schema as of_job_files

    click.echo(json.dumps(of_job_files(), indent=2, ensure_ascii=False))
