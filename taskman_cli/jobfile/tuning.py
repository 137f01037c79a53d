"""The keys of `[pool.admission_tuning]`."""

from __future__ import annotations

from dataclasses import fields

from taskman_cli.core.tuning import AdmissionTuning
from taskman_cli.jobfile.problems import Fault, Rejected
from taskman_cli.jobfile.shapes import shaped
from taskman_cli.jobfile.tables import Key, as_fields, keys, read_table, table_shape
from taskman_cli.jobfile.units import duration, read_memory
from taskman_cli.jobfile.values import Context, integer, mistyped, number

_read_share = number(0, 1)

TUNING_KEYS = keys(
    Key("runnable_per_cpu", number(1, 1000), about="Start while fewer tasks than this are runnable per CPU."),
    Key("runnable_spare", number(0, 1000), about="And these more, however many CPUs there are."),
    Key(
        "settle",
        duration("1ms"),
        field="settle_ns",
        about="How long a command that has just started counts as runnable.",
    ),
    Key(
        "settle_held",
        duration("1ms"),
        field="settle_held_ns",
        about="How long a look at the machine is good while a command waits for a CPU.",
    ),
    Key("memory_share", number(0.01, 1), about="The needs of all commands may come to this share of memory."),
    Key("memory_reserve", _read_share, about="This share of memory stays free."),
    Key(
        "young",
        duration("0s"),
        field="young_ns",
        about="How long a command is taken not to have used its memory yet.",
    ),
    Key("young_share", number(0.01, 1), about="Young commands may take this share, if nothing is known yet."),
    Key("unknown_share", number(0.0001, 1), about="What a job of unknown need is taken to need of memory."),
    Key("unknown_per_cpu", number(0.0001, 1000), about="Or this share divided by the CPUs, if that is less."),
    Key(
        "unknown_least",
        read_memory,
        field="unknown_least_bytes",
        about="But not less than this, unless that is more than the first share.",
    ),
    Key("unknown_growth", number(1, 100), about="And up to so many times what it uses now."),
    Key("known_needs", integer(1, 1_000_000), about="With so many known needs, a quantile of them instead."),
    Key("known_quantile", _read_share, about="Which quantile of the known needs that is."),
    Key("need_decay", _read_share, about="By which share a known need falls with each run that used less."),
    Key("look", duration("10ms"), field="look_ns", about="When the memory of a command is first looked at."),
    Key("look_last", duration("10ms"), field="look_last_ns", about="The age of the last look."),
    Key("look_every", integer(1, 1_000_000), about="Look at one in so many, where looks tell nothing new."),
    Key(
        "look_settled",
        duration("10ms"),
        field="look_settled_ns",
        about="From this age on, a command that grows no more needs what it uses.",
    ),
    Key("look_growth", number(0, 100), about="By which share it grows, as long as it does."),
    Key("look_margin", number(1, 100), about="It is taken to need so many times that until it ends."),
    Key("pressure", _read_share, about="No start while memory is waited for more than this share of time."),
    Key(
        "pressure_window",
        duration("10ms"),
        field="pressure_window_ns",
        about="The window in which that is measured.",
    ),
    Key("retry_share", _read_share, about="The load is looked at again after this share of the wait so far."),
    Key("retry", duration("1ms"), field="retry_ns", about="But not sooner than this."),
    Key("retry_max", duration("1ms"), field="retry_max_ns", about="Nor later than this."),
    Key(
        "target_window",
        duration("10ms"),
        field="target_window_ns",
        about="The target is the most that ran at once in this window.",
    ),
    Key("target_drop", _read_share, about="The target falls only by at least this share."),
    Key(
        "target_every",
        duration("10ms"),
        field="target_every_ns",
        about="At most one line of the journal about the target in this time.",
    ),
)
assert {key.field or key.name for key in TUNING_KEYS.values()} == {
    field.name for field in fields(AdmissionTuning)
}

#: Pairs of which the first must not be longer than the second.
_ORDERED = (("retry", "retry_max"), ("look", "look_last"))


@shaped(**table_shape(TUNING_KEYS))
def read_tuning(value: object, context: Context) -> AdmissionTuning:
    """Read the numbers of the gate; those that are left out keep their defaults."""
    if type(value) is not dict:
        raise mistyped(value, "a table", ": write it as in { runnable_per_cpu = 2 }")
    values, faults = read_table(value, TUNING_KEYS, context)
    tuning = AdmissionTuning(**as_fields(values.items(), TUNING_KEYS))
    for first, longest in _ORDERED:
        one, other = (getattr(tuning, TUNING_KEYS[name].field) for name in (first, longest))
        if one > other and not faults:
            name = longest if longest in values else first
            than = f"shorter than {first}" if longest in values else f"longer than {longest}"
            faults.append(Fault((name,), f"must not be {than}"))
    if faults:
        raise Rejected(*faults)
    return tuning
