"""Variables in job files that do not do what they seem to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskman_cli.core.schedule import CronSchedule
from taskman_cli.core.variables import Assigned, Variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from taskman_cli.core.model import Execution, Job

#: What a shell would expand.
_EXPANDED = re.compile(r"\$\{?[A-Za-z_]\w*\}?|\$\(|`|(?:^|(?<=:))~(?=/|$|:)")


def odd_variables(
    job: Job, execution: Execution, looked_at: set[int]
) -> Iterator[tuple[str, tuple[str, ...], str, str]]:
    """Yield name, path, message and fix. Shared tables are checked once; crontabs have their own check."""
    for table in _tables(execution.env):
        if id(table) in looked_at:
            continue
        looked_at.add(id(table))
        for name, value in table.items():
            match = _EXPANDED.search(value)
            if match and (match[0] != "~" or name == "PATH"):
                message = f'variables are not expanded here: "{match[0]}" in {name} is kept as it is'
                yield "unexpanded", ("env", name), message, "write out the value, or set it in the command"
        zone = table.get("TZ")
        if (
            zone
            and isinstance(job.schedule, CronSchedule)
            and zone.removeprefix(":") != job.schedule.timezone
        ):
            message = f"TZ only affects the command: the schedule uses {job.schedule.timezone}"
            yield (
                "idle-tz",
                ("env", "TZ"),
                message,
                (f'write timezone = "{zone}" too if the schedule should use it'),
            )


def _tables(env: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Yield the tables that an environment is layered from."""
    while isinstance(env, Variables):
        if not isinstance(env.own, Assigned):
            yield env.own
        env = env.below
