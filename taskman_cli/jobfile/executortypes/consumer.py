"""`[executors.NAME]` of type "consumer": a program of the user's own that is given tasks."""

from __future__ import annotations

from collections.abc import Mapping

from taskman_cli.jobfile.problems import Fault
from taskman_cli.jobfile.shapes import shape_of, shaped
from taskman_cli.jobfile.tables import Key, Values, keys, missing
from taskman_cli.jobfile.units import read_path
from taskman_cli.jobfile.users import read_user
from taskman_cli.jobfile.values import Context, integer, read_command, read_env


@shaped(**(shape_of(read_command) or {}))
def _read_command(value: object, context: Context) -> str | list[str]:
    command = read_command(value, context)
    return command if isinstance(command, str) else list(command)


@shaped(**(shape_of(read_env) or {}))
def _read_env(value: object, context: Context) -> dict[str, str]:
    return dict(read_env(value, context))


@shaped(**(shape_of(read_user) or {}))
def _read_user(value: object, context: Context) -> str:
    """Read the name of a user, who is looked up again at each start."""
    name: str = read_user(value, context).name
    return name


KEYS = keys(
    Key("command", _read_command, about="The program that is given tasks, one line of JSON each."),
    Key(
        "concurrency", integer(1, 100_000), about="How many tasks it is given at the same time; by default 1."
    ),
    Key("cwd", read_path, about="The directory that it starts in."),
    Key("env", _read_env, about="More environment variables for it."),
    Key("user", _read_user, about="The user that it runs as; any but taskman's own needs root."),
)

JOB_KEYS = keys()

_ITS_OWN = "it is one process for all jobs: "
refused: Mapping[str, str] = {
    "user": _ITS_OWN + "set user in the executor's table",
    "group": _ITS_OWN + "set user in the executor's table",
    "umask": _ITS_OWN + "let it set its own",
    "nice": _ITS_OWN + "let its command begin with nice",
    "shell": "the consumer decides what a command means",
    "limits": _ITS_OWN + "let it set its own",
    "inherit_env": _ITS_OWN + "it has the environment that it was started with",
}


def faults(given: Mapping[str, object], _values: Values) -> list[Fault]:
    """Return what is wrong with the keys taken together."""
    if "command" in given:
        return []
    return [missing('command is missing: an executor of type "consumer" needs a program')]
