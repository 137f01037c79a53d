"""The tables `[executors.NAME]`: what carries attempts out other than as commands here.

What a type needs to know is in `executortypes`; here are the keys that all types share.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol

from taskman_cli.core.escapes import quoted
from taskman_cli.core.executors import EXECUTOR_TYPES, LOCAL, ExecutorDefinition, seats_of
from taskman_cli.core.model import Output, Resource
from taskman_cli.core.nearest import did_you_mean
from taskman_cli.jobfile.executortypes import consumer, container, dask, python, ssh
from taskman_cli.jobfile.problems import Fault, Rejected, reject
from taskman_cli.jobfile.shapes import shaped, whole
from taskman_cli.jobfile.tables import Key, Keys, Values, as_fields, keys, missing, read_partly, read_table
from taskman_cli.jobfile.units import duration
from taskman_cli.jobfile.values import NAME, Context, check_name, integer, mistyped, read_line

#: The group of entry points that add types.
GROUP = "taskman.executors"


class ExecutorType(Protocol):
    """What a module of `executortypes` has."""

    @property
    def KEYS(self) -> Keys:
        """The keys of `[executors.NAME]` that only this type has."""

    @property
    def JOB_KEYS(self) -> Keys:
        """The keys of jobs and tasks that only it has; values can be hashed, and written as JSON."""

    @property
    def refused(self) -> Mapping[str, str]:
        """The keys of jobs that `check` refuses with this type, and why."""

    def faults(self, given: Mapping[str, object], values: Values) -> list[Fault]:
        """Return what is wrong with the keys of a table taken together; `values` are valid alone."""


#: The types of ours, by name.
TYPES: dict[str, ExecutorType] = {
    "ssh": ssh,
    "container": container,
    "dask": dask,
    "python": python,
    "consumer": consumer,
}
#: The keys of jobs and tasks that only some type has.
JOB_KEYS: Keys = {name: key for type_ in TYPES.values() for name, key in type_.JOB_KEYS.items()}


@shaped(type="string", pattern=whole(NAME.pattern))
def _read_type(value: object, context: Context) -> str:
    name = read_line(value, context)
    if name != LOCAL and name not in TYPES and context.accounts.is_run_here:
        from importlib.metadata import entry_points  # half a megabyte that most never need

        others = sorted({entry.name for entry in entry_points(group=GROUP)} - {*EXECUTOR_TYPES})
        if name not in others:
            known = [LOCAL, *TYPES, *others]
            hint = did_you_mean(name, known)
            raise reject(f"{quoted(name)} is not a type of executor{hint}: not one of {', '.join(known)}")
    return name


#: The keys of `[executors.NAME]` that all types share.
EXECUTOR_KEYS = keys(
    Key("type", _read_type, about="How it carries attempts out."),
    Key("max_workers", integer(1, 100_000), about="The most attempts that run on it at the same time."),
    Key(
        "lost_after",
        duration("1s"),
        field="lost_after_ns",
        about="An attempt of which nothing is known for so long, as after a lost connection, is lost.",
    ),
)


def read_executor(name: str, value: object, context: Context) -> ExecutorDefinition:
    """Read one table `[executors.NAME]`, or raise `Rejected` with every fault."""
    check_name(name, "executor")
    if name == LOCAL:
        message = '"local" is what jobs without an executor have: choose another name'
        raise Rejected(Fault((), message, at_key=True))
    if type(value) is not dict:
        raise mistyped(value, "a table", f": write [executors.{name}] above its keys")
    if "type" not in value:
        raise Rejected(missing(f"type is missing: one of {', '.join((LOCAL, *TYPES))}"))
    try:
        kind = _read_type(value["type"], context)
    except Rejected as error:
        raise Rejected(*error.under("type")) from None
    ours = TYPES.get(kind)
    own: Keys = {} if ours is None else ours.KEYS
    if ours is None and kind != LOCAL:  # a type of others reads its settings itself
        values, settings, faults = read_partly(value, EXECUTOR_KEYS, context)
    else:
        values, faults = read_table(value, EXECUTOR_KEYS | dict(own), context)
        settings = as_fields(((key, item) for key, item in values.items() if key in own), own)
        if ours is not None:
            faults += ours.faults(value, values)
    if kind == LOCAL and "lost_after" in value:
        faults.append(Fault(("lost_after",), 'not with type = "local": its ends are seen', at_key=True))
    if faults:
        raise Rejected(*faults)
    fields = as_fields(((key, item) for key, item in values.items() if key in EXECUTOR_KEYS), EXECUTOR_KEYS)
    if (
        "concurrency" in own
    ):  # what it has no room for waits in the pool, where that is seen and takes no time
        room = settings.get("concurrency", 1)
        fields["max_workers"] = min(room, fields.get("max_workers") or room)
    return ExecutorDefinition(name, settings=settings, **fields)


def seats(executors: Mapping[str, ExecutorDefinition]) -> dict[str, Resource]:
    """Return the resources that count the attempts on each executor."""
    return {seats_of(name): Resource(one.max_workers) for name, one in executors.items()}


def settled(values: Values, executors: Mapping[str, ExecutorDefinition | None]) -> Values:
    """Return the values of an execution with what follows from its executor."""
    own = {name: values[name] for name in JOB_KEYS if name in values}
    executor = executors.get(values.get("executor", LOCAL))
    if executor is None and not own:
        return values
    values = {name: value for name, value in values.items() if name not in own}
    if own:
        values["executor_keys"] = tuple((name, json.dumps(value)) for name, value in own.items())
    if executor is not None:
        needs = dict(values.get("resources", ())) | {seats_of(executor.name): 1}
        values["resources"] = tuple(sorted(needs.items()))
        if executor.type == LOCAL:
            values["executor"] = LOCAL
    return values


def execution_faults(
    own: Values, values: Values, executors: Mapping[str, ExecutorDefinition | None] | None
) -> list[Fault]:
    """Return which keys of a job or task its executor refuses.

    `own` are those of the table itself, `values` all that are in force; None: the executors are not known.
    """
    if executors is None or ("executor" not in values and not JOB_KEYS.keys() & own.keys()):
        return []
    name = values.get("executor", LOCAL)
    executor = executors.get(name)
    if executor is None and name in executors:
        return []  # its own fault is reported
    kind = LOCAL if executor is None else executor.type
    ours = TYPES.get(kind)
    faults = []
    for key in own:
        if key in JOB_KEYS and (ours is None or key not in ours.JOB_KEYS):
            types = ", ".join(one for one, type_ in TYPES.items() if key in type_.JOB_KEYS)
            faults.append(Fault((key,), f"only valid with an executor of type {types}", at_key=True))
    if kind == LOCAL:
        return faults
    reasons = dict(ours.refused) if ours is not None else {}
    if values.get("output") is Output.INHERIT:
        reasons["output"] = '"inherit" needs a command of this machine: leave it out for "capture"'
    if values.get("user") is not None and values.get("env_file"):
        reasons.setdefault("env_file", "not together with user on an executor: use env")
    for key, why in reasons.items():
        if key in own:
            faults.append(Fault((key,), f'not with executor "{name}" (type {kind}): {why}', at_key=True))
        elif key in values and "executor" in own:
            words = f'{key}, which is set for all, does not go with "{name}" (type {kind}): {why}'
            faults.append(Fault(("executor",), words))
    return faults
