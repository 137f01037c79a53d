"""The keys of each table of the job file, except those of tasks.

Names are those that users write; values go into the model.
"""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum

from taskman_cli.core.model import Durability, Mode, OnCrash, OnMissed, Overlap, Policy, Settings
from taskman_cli.core.tuning import Admission
from taskman_cli.jobfile.executors import JOB_KEYS as EXECUTOR_JOB_KEYS
from taskman_cli.jobfile.monitoring import METRICS_KEYS
from taskman_cli.jobfile.other_schedulers import unknown_key
from taskman_cli.jobfile.resources import read_resources
from taskman_cli.jobfile.sinks import read_names
from taskman_cli.jobfile.tables import Key, keys, refused
from taskman_cli.jobfile.tasks import COMMAND, EXECUTION_KEYS, read_tasks
from taskman_cli.jobfile.tuning import read_tuning
from taskman_cli.jobfile.units import (
    duration,
    read_instant,
    read_instant_or_none,
    read_pattern,
    read_trusted,
    read_zone,
)
from taskman_cli.jobfile.values import (
    array,
    choice,
    integer,
    read_boolean,
    read_command,
    read_line,
    read_text,
    read_word,
    unless_none,
)


class EveryFrom(StrEnum):
    """What an interval counts from."""

    SLOT = "slot"
    FINISH = "finish"


_BILLION = 1_000_000_000

#: A job has exactly one of these.
SCHEDULE_KEYS = keys(
    Key(
        "cron",
        read_word,
        about="The schedule: five cron fields, perhaps a second before and a year after them, or an @word.",
    ),
    Key("every", duration("10ms"), about="The schedule, as an interval."),
    Key("at", read_instant, about="The schedule, as one instant."),
)

#: The policy of a job: how its slots become runs.
POLICY_KEYS = keys(
    Key("overlap", choice(Overlap), about="What a slot does when an earlier run of the job is not over."),
    Key(
        "max_running",
        unless_none(integer(1, _BILLION)),
        about='With overlap = "allow": how many runs may run at the same time.',
    ),
    Key(
        "on_missed",
        choice(OnMissed),
        about="What happens to slots that passed while the scheduler could not start them.",
    ),
    Key(
        "start_deadline",
        duration("1ms", or_none=True),
        field="start_deadline_ns",
        about="Skip a slot that could not start within this time.",
    ),
    Key(
        "jitter",
        duration("0s"),
        field="jitter_ns",
        about="Delay each start by up to this much; the same job and slot always get the same delay.",
    ),
    Key("run_on_start", read_boolean, about="Also run when taskman starts."),
    Key(
        "max_runs",
        unless_none(integer(1, _BILLION)),
        about="The job has no more slots after this number of runs.",
    ),
    Key(
        "starts_at",
        read_instant_or_none,
        field="starts_at_ns",
        about="The job has no slots before this time.",
    ),
    Key(
        "expires_at",
        read_instant_or_none,
        field="expires_at_ns",
        about="The job has no slots from this time on.",
    ),
    Key(
        "priority",
        integer(-100, 100),
        about="When commands wait for a worker, those with a higher number start first.",
    ),
    Key("mode", choice(Mode), about="Whether tasks start together or one after the other."),
    Key(
        "on_crash",
        choice(OnCrash),
        about="What to do when the end of a command was not seen, as after a crash.",
    ),
    Key(
        "max_failures",
        unless_none(integer(1, _BILLION)),
        about="Park the job after this many failed runs in a row: no new runs until it is resumed.",
    ),
    Key(
        "park_for",
        duration("1s", or_none=True),
        field="park_for_ns",
        about="Try the next slot of a parked job after this time; its success resumes the job.",
    ),
    Key(
        "keep_runs",
        integer(1, 1_000_000),
        about="How many runs to keep on record; by default 1000, and the output of 100.",
    ),
    Key(
        "keep_for",
        duration("1m", or_none=True),
        field="keep_for_ns",
        about="How long to keep records and output.",
    ),
    Key("sinks", read_names, about="Who is told of the job: names of [sinks]."),
    Key(
        "delayed_after",
        duration("1ms", or_none=True),
        field="delayed_after_ns",
        about="Tell the sinks of a run that begins later than this.",
    ),
    Key(
        "slow_after",
        duration("1ms", or_none=True),
        field="slow_after_ns",
        about="Tell the sinks of a run that takes longer than this, while it runs.",
    ),
    Key(
        "expect_every",
        duration("1s", or_none=True),
        field="expect_every_ns",
        about="Tell the sinks once if the job has not succeeded for this long.",
    ),
)
assert {key.field or key.name for key in POLICY_KEYS.values()} == {field.name for field in fields(Policy)}

#: Further keys of jobs and `[defaults]`.
_SHARED_KEYS = keys(
    Key(
        "only_if",
        unless_none(read_command),
        about="A command that runs first: unless it exits with 0, the slot is skipped.",
    ),
    Key("only_if_timeout", duration("1ms"), about="Stop the command of only_if after this time."),
    Key("enabled", read_boolean, about="false: all slots of the job are skipped."),
    Key(
        "every_from",
        choice(EveryFrom),
        about="What an interval counts from: the last slot, or the end of the last run.",
    ),
    Key("tags", array(read_line, example='["backup"]'), about="Labels to select jobs by."),
    Key("timezone", read_zone, about="The time zone of the schedule, by its name in the tz database."),
)

_RUN_KEYS = keys(
    COMMAND,
    Key("tasks", read_tasks, about="The commands of one run, by name."),
    Key("description", read_text, about="A description of the job."),
)

#: Keys that are individual to a job, so they are not shared.
OWN_KEYS = frozenset(SCHEDULE_KEYS | _RUN_KEYS)

#: All keys of `[jobs.NAME]`.
JOB_KEYS = SCHEDULE_KEYS | _RUN_KEYS | _SHARED_KEYS | POLICY_KEYS | EXECUTION_KEYS | dict(EXECUTOR_JOB_KEYS)

#: All keys of `[defaults]`.
DEFAULT_KEYS = (
    _SHARED_KEYS
    | POLICY_KEYS
    | EXECUTION_KEYS
    | keys(
        *(
            Key(name, refused("not allowed in [defaults]: each job needs its own schedule"))
            for name in SCHEDULE_KEYS
        ),
        *(Key(name, refused("not allowed in [defaults]: set it in each job")) for name in _RUN_KEYS),
    )
)

#: All keys of `[pool]`.
POOL_KEYS = keys(
    Key(
        "max_workers",
        integer(1, 100_000),
        about='The most commands that run at the same time; by default 512, or 64 with admission = "fixed".',
    ),
    Key(
        "admission",
        choice(Admission),
        about="When a command may start: while the machine can bear one more, or while a worker is free.",
    ),
    Key(
        "priority_seats",
        integer(0, 100_000),
        about="How many commands with a priority over 0 may start although the CPUs are busy.",
    ),
    Key(
        "admission_patience",
        duration("0s"),
        field="admission_patience_ns",
        about="How long the load of the machine may hold a command back.",
    ),
    Key("admission_tuning", read_tuning, about='The numbers of admission = "auto".'),
    Key(
        "ageing",
        duration("1ms", or_none=True),
        field="ageing_ns",
        about="A command that waits for a worker gains one step of priority each time this passes.",
    ),
    Key("resources", read_resources, about="What commands share: how much there is of each, by name."),
)

#: All keys of `[taskman]`. The minimum values keep the scheduler from spinning, and from taking its own
#: work for a missed slot or a clock step.
TASKMAN_KEYS = keys(
    Key("timezone", read_zone, about="The time zone of jobs that name none; by default the machine's."),
    Key(
        "include",
        array(read_pattern, example='["jobs.d/*.toml"]'),
        about="More job files, with wildcards; they inherit the defaults of this file.",
    ),
    Key(
        "trust",
        array(read_trusted, example='[1000, "/srv/jobs"]'),
        about="User ids and paths: as root, whose files may be included besides root's own.",
    ),
    Key(
        "missed_after",
        duration("100ms"),
        field="missed_after_ns",
        about="A slot reached later than this counts as missed.",
    ),
    Key(
        "clock_step",
        duration("100ms"),
        field="clock_step_ns",
        about="A jump of the clock by this much counts as a clock step.",
    ),
    Key(
        "spawn_retry",
        duration("10ms"),
        field="spawn_retry_ns",
        about="The first delay before starts are retried when processes, files or memory ran out.",
    ),
    Key("spawn_retry_max", duration("10ms"), field="spawn_retry_max_ns", about="The longest such delay."),
    Key(
        "output_grace",
        duration("0s"),
        field="output_grace_ns",
        about="How long after a command's end its output is still captured.",
    ),
    Key(
        "restart_delay",
        duration("10ms"),
        field="restart_delay_ns",
        about="The first delay before a scheduler that died is restarted.",
    ),
    Key("restart_delay_max", duration("10ms"), field="restart_delay_max_ns", about="The longest such delay."),
    Key(
        "hang_after",
        duration("1s", or_none=True),
        field="hang_after_ns",
        about="A scheduler that is behind by this much is killed, and another one started.",
    ),
    Key(
        "read_timeout",
        duration("100ms"),
        field="read_timeout_ns",
        about="A reload that takes longer than this is abandoned, and the jobs stay as they are.",
    ),
    Key("watch", read_boolean, about="Reload the job files when one of them changes."),
    Key(
        "durability",
        choice(Durability),
        about="What records in the ledger survive: the end of any process, or a power cut too.",
    ),
    Key("crontab_mail", read_boolean, about="Mail what the commands of crontabs print, as cron does."),
    Key("keep_events", integer(1_000, _BILLION), about="How many journal events to keep."),
    Key("refresh", duration("50ms"), field="refresh_ns", about="How often the live view is redrawn."),
)

#: Keys that fill `Settings`, from whichever table.
SETTINGS_KEYS = {
    name: key
    for name, key in (TASKMAN_KEYS | POOL_KEYS | METRICS_KEYS).items()
    if name not in ("timezone", "include", "trust")
}
assert {key.field or key.name for key in SETTINGS_KEYS.values()} | {"executors"} == {
    field.name for field in fields(Settings)
}

#: The tables whose keys may stand at the top by mistake, each key in the one that has it.
_HOMES = {
    "[taskman]": {*TASKMAN_KEYS}, "[pool]": {*POOL_KEYS}, "[metrics]": {*METRICS_KEYS},
    "[jobs.NAME] or [defaults]": {*JOB_KEYS},
}  # fmt: skip

TASKMAN_KEYS |= keys(*(Key(name, refused("belongs in [pool]")) for name in POOL_KEYS))

#: Pairs of a first delay and the longest it grows to.
PAUSES = (("spawn_retry", "spawn_retry_max"), ("restart_delay", "restart_delay_max"))

#: The tables at the top of a file.
TOP = ("taskman", "pool", "logging", "metrics", "sinks", "executors", "defaults", "jobs")


def misplaced(name: str) -> str:
    """Explain what is wrong with a key at the top of the file."""
    for home, known in _HOMES.items():
        if name in known:
            return f"misplaced: it belongs in {home}, not at the top of the file"
    return unknown_key(name, TOP)
