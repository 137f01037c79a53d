"""The keys that say what is run: commands, tasks, retries, and how commands are executed."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import NamedTuple

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.executors import CALL
from taskman_cli.core.lookalikes import find_look_alike
from taskman_cli.core.model import GATE, Execution, Output, Retry
from taskman_cli.core.timespec import is_duration
from taskman_cli.jobfile.executors import JOB_KEYS as EXECUTOR_JOB_KEYS
from taskman_cli.jobfile.limits import read_limits
from taskman_cli.jobfile.other_schedulers import keys_meant
from taskman_cli.jobfile.problems import Fault, Rejected, reject
from taskman_cli.jobfile.resources import read_needs
from taskman_cli.jobfile.shapes import named, part, shape_of, shaped
from taskman_cli.jobfile.tables import Key, Values, as_fields, keys, missing, read_table
from taskman_cli.jobfile.units import (
    duration,
    read_path,
    read_paths,
    read_shell,
    read_signal,
    read_size,
    read_umask,
)
from taskman_cli.jobfile.users import read_group, read_user
from taskman_cli.jobfile.values import (
    NAME,
    Context,
    check_name,
    choice,
    fitting,
    integer,
    mistyped,
    number,
    read_boolean,
    read_command,
    read_env,
    read_executor_name,
    read_exit_codes,
    read_inherit_env,
    read_text,
    unless_none,
)

MAX_RETRIES = 1_000_000
_LONGEST_DELAY_NS = Retry().max_delay_ns
_read_max = integer(0, MAX_RETRIES)

RETRY_KEYS = keys(
    Key("max", _read_max, about="How many times to retry."),
    Key("delay", duration("0s"), field="delay_ns", about="The delay before the first retry."),
    Key("backoff", number(1, 1000), about="The factor by which the delay grows with each retry."),
    Key("max_delay", duration("0s"), field="max_delay_ns", about="The longest delay."),
    Key("jitter", duration("0s"), field="jitter_ns", about="Lengthen each delay by up to this much."),
    Key(
        "exit_codes",
        read_exit_codes,
        about="Retry only after these exit codes, and not after a signal or a timeout.",
    ),
)


@shaped(anyOf=[shape_of(_read_max), part("retry")])
def read_retry(value: object, context: Context) -> Retry:
    """Read a number of retries, or a table with details."""
    if type(value) is not dict:
        if type(value) is not int:
            raise mistyped(value, "a whole number or a table", ': write 3, or { max = 3, delay = "1m" }')
        return Retry(max=_read_max(value, context))
    values, faults = read_table(value, RETRY_KEYS, context)
    # An unknown key may be the missing one misspelt: reporting it once is enough.
    if "max" not in value and value.keys() <= RETRY_KEYS.keys():
        faults.append(missing("max is missing: set how many times to retry"))
    delay_ns = values.get("delay", SECOND_NS)
    if delay_ns > values.setdefault("max_delay", max(delay_ns, _LONGEST_DELAY_NS)):
        faults.append(Fault(("max_delay",), "must not be shorter than delay"))
    if faults:
        raise Rejected(*faults)
    return Retry(**as_fields(values.items(), RETRY_KEYS))


#: How commands are executed: in a job for all its tasks, in a task for itself.
EXECUTION_KEYS = keys(
    Key(
        "shell",
        read_shell,
        about=(
            "The shell for commands that are strings; by default /bin/sh, or none where that "
            "makes no difference."
        ),
    ),
    Key("cwd", read_path, about="The directory that commands start in; by default taskman's own."),
    Key("env", read_env, about="Environment variables; those of defaults, job and task are merged."),
    Key("env_file", read_paths, about="Files of NAME=value lines, read at each start; env overrides them."),
    Key(
        "inherit_env",
        read_inherit_env,
        about="true: taskman's environment; false: a minimal one; an array: the minimal one and these names;"
        " by default true, or for another user the environment after login.",
    ),
    Key("stdin", read_text, about="Text for the command's standard input."),
    Key("user", read_user, about="The user to run commands as; any but taskman's own needs root."),
    Key("group", read_group, about="The group to run commands with; by default the user's own."),
    Key("umask", read_umask, about="The umask in octal digits; by default taskman's own."),
    Key("nice", integer(-20, 19), about="Niceness."),
    Key(
        "limits",
        read_limits,
        about="What a command may use at most: memory, cpu, processes, open_files, core_size.",
    ),
    Key("output", choice(Output), about="Where output goes: a file, taskman's own output, or nowhere."),
    Key(
        "max_output",
        read_size,
        field="max_output_bytes",
        about="How much of a command's output to keep at most.",
    ),
    Key(
        "timeout",
        duration("1ms", or_none=True),
        field="timeout_ns",
        about="Stop a command that runs longer than this.",
    ),
    Key(
        "kill_timeout",
        duration("0s"),
        field="kill_timeout_ns",
        about="How long after kill_signal to send KILL.",
    ),
    Key("kill_signal", read_signal, about="The signal that asks a command to stop."),
    Key(
        "kill_orphans",
        read_boolean,
        about="After a timeout or cancel, also end processes that have left the command's process group.",
    ),
    Key("retry", read_retry, about="Retries after a failure."),
    Key(
        "resources",
        read_needs,
        about="How much a command needs of the resources of [pool.resources], and of ram, while it runs.",
    ),
    Key("executor", read_executor_name, about="What carries it out: local, or a name of [executors]."),
    Key("success_exit_codes", read_exit_codes, about="The exit codes that count as success."),
    Key(
        "skip_exit_codes",
        unless_none(read_exit_codes),
        about="The exit codes that mean `not now`: the run ends as skipped, not as failed, without a retry.",
    ),
)
assert {key.field or key.name for key in EXECUTION_KEYS.values()} == {
    field.name for field in fields(Execution) if field.name != "executor_keys"
}


class TaskValues(NamedTuple):
    """A task as its table defines it, before inherited values are added."""

    id: str
    command: str | tuple[str, ...]
    execution: Values


COMMAND = Key("command", read_command, about="The command: a string runs in the shell, an array without one.")
TASK_KEYS = keys(COMMAND) | EXECUTION_KEYS | dict(EXECUTOR_JOB_KEYS)


@shaped(**named(NAME.pattern, {"anyOf": [part("command"), part("task")]}), minProperties=1)
def read_tasks(value: object, context: Context) -> tuple[TaskValues, ...]:
    """Read a table of tasks by id."""
    if type(value) is not dict:
        raise mistyped(value, "a table", ': write it as in { main = "true" }')
    if not value:
        raise reject("empty: a job needs at least one task")
    tasks: list[TaskValues] = []
    faults: list[Fault] = []
    for id_, task in value.items():
        try:
            check_name(id_, "task")
            if id_ == GATE:
                raise reject("only_if is what the check of a job is called: choose another name")
        except Rejected as error:
            faults += error.under(id_)
        try:
            tasks.append(_task(id_, task, context))
        except Rejected as error:
            faults += error.under(id_)
    if faults:
        raise Rejected(*faults)
    return tuple(tasks)


def _task(id_: str, value: object, context: Context) -> TaskValues:
    if type(value) is not dict:
        return TaskValues(id_, read_command(value, context), {})
    values, faults = read_table(value, TASK_KEYS, context)
    if CALL in values and "command" in value:
        faults.append(Fault((CALL,), "a second command besides command: keep only one of them", at_key=True))
    if not {"command", CALL} & (value.keys() | keys_meant(value, TASK_KEYS)):
        faults.append(missing("the command is missing"))
    faults += shell_faults(values)
    if faults:
        raise Rejected(*faults)
    return TaskValues(id_, values[CALL] if CALL in values else values.pop("command"), values)


def shell_faults(values: Values) -> list[Fault]:
    """Report a table that sets a shell for an array."""
    if "shell" in values and type(values.get("command")) is tuple:
        return [
            Fault(
                ("shell",), "no effect: an array runs without a shell; write command as a string", at_key=True
            )
        ]
    return []


class CrontabLine(NamedTuple):
    """The parts of a job on one line."""

    expression: str
    command: str
    #: Offset and length of the expression in the line.
    offset: int
    length: int


_CRON_FIELD = re.compile(r"(\*|\d+(-\d+)?)(/\d+)?(,(\*|\d+(-\d+)?)(/\d+)?)*")
_EVERY = re.compile(r"[ \t]*@every\s", re.IGNORECASE)
#: Some programs are called root, too, but are followed by options.
_USER = re.compile(r"root(?=\s+[^\s-])")
_LINE_NEEDS = 'write five fields or an @word, and a command, as in "30 2 * * * backup" or "@daily backup"'


def split_crontab_line(line: str) -> CrontabLine:
    """Split a line, as in crontab(5), into schedule and command.

    The command is the rest of the line, for the shell. `%` has no special meaning (in a crontab it ends the
    command), there is no user column, and there are no seconds: a sixth field would be ambiguous.
    """
    offset = len(line) - len(line.lstrip())
    is_every = _EVERY.match(line) is not None
    count = 2 if is_every else 1 if line.startswith("@", offset) else 5
    words = line.split(None, count)
    if len(words) <= count:
        raise reject(f"not a crontab line: {_LINE_NEEDS}")
    command = words.pop().rstrip()
    command_at = len(line.rstrip()) - len(command)
    fitting(command)
    if strange := find_look_alike(line[:command_at]):
        message = f"{strange.name} in the schedule: {strange.fix}"
        raise Rejected(Fault((), message, offset=strange.offset))
    first = command.split(None, 1)[0]
    if is_every and is_duration(first):
        message = f'an interval is one word here: write "{words[1]}{first}"'
        raise Rejected(Fault((), message, offset=command_at, length=len(first)))
    if _USER.match(command):
        message = "this looks like a line of /etc/crontab with a user name: remove root"
        raise Rejected(Fault((), message, offset=command_at, length=len(first)))
    if count == 5 and _CRON_FIELD.fullmatch(first):
        message = (
            "six fields: a crontab line has five; for seconds or years, write a table with cron and command"
        )
        raise Rejected(Fault((), message, offset=command_at, length=len(first)))
    return CrontabLine(" ".join(words), command, offset, len(line[:command_at].rstrip()) - offset)
