"""The first lines of `taskman run`: where the state is kept, and what to type next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.core.model import Job
    from taskman_cli.scheduler.options import Options

#: A job with a longer name is not taken as the example.
_NAME_MOST = 24


def greeting(options: Options, jobs: Sequence[Job]) -> list[str]:
    """Return the lines. The commands are complete, so that they can be copied to another terminal."""
    kept = "in a temporary directory, removed at the end: " if options.is_ephemeral else "in "
    plain = [job for job in jobs if len(job.id) <= _NAME_MOST and shlex.quote(job.id) == job.id]
    # One that runs at once has something to show.
    name = next((job.id for job in sorted(plain, key=lambda job: not job.policy.run_on_start)), "JOB")
    program = shlex.quote(options.program)
    address = "".join(f" {shlex.quote(word)}" for word in options.address)
    commands = ", ".join(f"{program} {words}{address}" for words in ("status", f"why {name}", f"log {name}"))
    return [
        printable(f"the state is kept {kept}{options.state_directory}"),
        printable(f"next, in another terminal: {commands}"),
    ]
