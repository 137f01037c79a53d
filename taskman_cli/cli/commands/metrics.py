"""`taskman metrics`: the metrics of a running scheduler, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.render import print_data, show
from taskman_cli.control.client import connect
from taskman_cli.control.reach import ANSWER_S
from taskman_cli.metrics.collect import collect
from taskman_cli.metrics.document import document
from taskman_cli.metrics.text import Format, render

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "metrics",
    cls=Command,
    examples={
        "taskman metrics": "",
        "taskman metrics --openmetrics": "",
        "taskman metrics --json": "",
    },
)
@click.option("--openmetrics", is_flag=True, help="Print OpenMetrics 1.0 instead of Prometheus' text format.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_running_directory
def metrics(*, directory: Path, openmetrics: bool, as_json: bool) -> None:
    """Print the metrics of the scheduler, for monitoring.

    They are collected now, also if the job file has no `[metrics]` table. With it, they are served over HTTP
    or written to a file, and `jobs = false` leaves out those of single jobs here, too.
    """
    if openmetrics and as_json:
        raise click.UsageError("give --openmetrics or --json, not both", click.get_current_context())
    with connect(directory) as connection:
        collected = collect(connection, timeout_s=ANSWER_S)
    if as_json:
        shown: list[dict[str, Any]] = document(collected)
        show(shown, (), as_json=True)
    else:
        print_data(render(collected, Format.OPENMETRICS if openmetrics else Format.PROMETHEUS))
