"""`taskman reload`: read the job files again, all of them or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.targets import listed
from taskman_cli.cli.render import say, show
from taskman_cli.cli.support.scheduler_client import ask
from taskman_cli.core.protocol import Reload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@click.command(
    "reload",
    cls=Command,
    examples={
        "taskman reload": "",
        "taskman check jobs.toml && taskman reload": "",
    },
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_running_directory
def reload(*, directory: Path, as_json: bool) -> None:
    """Read the job files again and report what changed.

    If a job file has an error, nothing changes and the exit code is 2. Unchanged jobs keep their timers and
    their running commands.
    """
    reply = ask(directory, Reload())
    if as_json:
        show(_document(reply), (), as_json=True)
        return
    warn(reply)
    for line in changes(reply):
        say(line)


def _document(reply: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON document."""
    lists = {key: reply.get(key, []) for key in ("added", "changed", "removed", "settings")}
    return lists | {"jobs": reply["jobs"], "warnings": warnings_of(reply)}


def warnings_of(reply: dict[str, Any], job: str | None = None) -> list[dict[str, str]]:
    """Return the warnings about all jobs, or about one, for JSON."""
    found = reply.get("warnings", [])
    return [{"job": name, "message": words} for name, words in found if job in (None, name)]


def warn(reply: dict[str, Any], job: str | None = None) -> None:
    """Print the warnings about all jobs, or about one, on standard error."""
    for name, words in reply.get("warnings", []):
        if job in (None, name):
            say(words, err=True)


def changes(reply: dict[str, Any]) -> Iterator[str]:
    """Yield lines about what changed."""
    kinds = ("added", "changed", "removed")
    for kind in kinds:
        if names := reply[kind]:
            yield f"{kind} {listed(names)}"
    settings = reply.get("settings", [])  # an older scheduler does not send it
    if settings:
        yield f"changed settings: {', '.join(settings)}"
    if not settings and not any(reply[kind] for kind in kinds):
        yield f"nothing changed: {reply['jobs']:,} {'job' if reply['jobs'] == 1 else 'jobs'}"
