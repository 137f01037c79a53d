"""The JSON Schema of the job file, for editors, generated from the tables of keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from taskman_cli.core.executors import ExecutorDefinition
from taskman_cli.core.logsettings import USUAL
from taskman_cli.core.model import Execution, Job, Retry, Settings, Task
from taskman_cli.core.schedule import Interval, load_zone
from taskman_cli.core.sinks import SINK_TYPES, SinkDefinition
from taskman_cli.core.tuning import AdmissionTuning
from taskman_cli.jobfile.definition import definition, written
from taskman_cli.jobfile.executors import EXECUTOR_KEYS, TYPES
from taskman_cli.jobfile.keys import (
    DEFAULT_KEYS,
    JOB_KEYS,
    POOL_KEYS,
    SCHEDULE_KEYS,
    SETTINGS_KEYS,
    TASKMAN_KEYS,
    TOP,
)
from taskman_cli.jobfile.logs import LOGGING_KEYS
from taskman_cli.jobfile.monitoring import METRICS_KEYS
from taskman_cli.jobfile.problems import Rejected
from taskman_cli.jobfile.rules import COMMANDS
from taskman_cli.jobfile.shapes import Shape, named, part, shape_of
from taskman_cli.jobfile.sinks import SINK_KEYS
from taskman_cli.jobfile.sinktypes import REQUIRED, keys_of
from taskman_cli.jobfile.tables import Key, Keys, table_shape
from taskman_cli.jobfile.tasks import RETRY_KEYS, TASK_KEYS
from taskman_cli.jobfile.tuning import TUNING_KEYS
from taskman_cli.jobfile.values import NAME, Context, read_command
from taskman_cli.launch.accounts import Accounts

DIALECT = "https://json-schema.org/draft/2020-12/schema"


#: Any value will do: no default depends on it.
_ANYWHERE = Context(Path("/"), load_zone("UTC"), None, Accounts())


def schema() -> Shape:
    """Return the JSON Schema of a job file."""
    of_a_job, of_settings = _job_defaults(), _written(Settings(), SETTINGS_KEYS)
    of_a_retry = _written(Retry(), RETRY_KEYS)
    tables = {
        "taskman": _table(TASKMAN_KEYS, of_settings),
        "pool": _pool(of_settings),
        "logging": _table(LOGGING_KEYS, {"format": USUAL.format.value}),
        "metrics": _table(METRICS_KEYS, of_settings),
        "defaults": _table(DEFAULT_KEYS, of_a_job),
        "sinks": named(NAME.pattern, {"anyOf": [part("other_sink"), *map(_sink_part, SINK_TYPES)]}),
        "executors": named(
            NAME.pattern, {"anyOf": [part("other_executor"), *(part(f"{type_}_executor") for type_ in TYPES)]}
        ),
        "jobs": named(NAME.pattern, {"anyOf": [{"type": "string"}, part("job")]}),
    }
    return {
        "$schema": DIALECT,
        "title": "taskman job file",
        "type": "object",
        "additionalProperties": False,
        "properties": {name: tables[name] for name in TOP},
        "$defs": {
            "job": _table(JOB_KEYS, of_a_job) | _together(),
            "task": _table(TASK_KEYS, of_a_job, required=("command",)),
            "retry": _table(RETRY_KEYS, of_a_retry, required=("max",)),
            "command": shape_of(read_command),
            "other_sink": _other_sink(),
            **{f"{type_}_sink": _sink(type_) for type_ in SINK_TYPES},
            "other_executor": _other_executor(),
            **{f"{type_}_executor": _executor(type_) for type_ in TYPES},
        },
    }


def _sink_part(type_: str) -> Shape:
    return part(f"{type_}_sink")


def _sink(type_: str) -> Shape:
    """Return the shape of a sink of a type of ours."""
    known = SINK_KEYS | dict(keys_of(type_) or {})
    shape = _table(known, _of_a_sink(), required=("type", *REQUIRED[type_]))
    shape["properties"]["type"] = {"description": SINK_KEYS["type"].about, "const": type_}
    return shape


def _other_sink() -> Shape:
    """Return the shape of a sink of another type, which has keys of its own."""
    shape = _table(SINK_KEYS, _of_a_sink(), required=("type",)) | {"additionalProperties": True}
    shape["properties"]["type"]["not"] = {"enum": list(SINK_TYPES)}
    return shape


def _executor(type_: str) -> Shape:
    """Return the shape of an executor of a type of ours."""
    shape = _table(EXECUTOR_KEYS | dict(TYPES[type_].KEYS), _of_an_executor(), required=("type",))
    shape["properties"]["type"] = {"description": EXECUTOR_KEYS["type"].about, "const": type_}
    return shape


def _other_executor() -> Shape:
    """Return the shape of an executor of another type, which has keys of its own."""
    shape = _table(EXECUTOR_KEYS, _of_an_executor(), required=("type",)) | {"additionalProperties": True}
    shape["properties"]["type"]["not"] = {"enum": list(TYPES)}
    return shape


def _of_an_executor() -> dict[str, Any]:
    return _written(ExecutorDefinition("-", "-"), EXECUTOR_KEYS) | {"type": None, "max_workers": None}


def _of_a_sink() -> dict[str, Any]:
    values = _written(
        SinkDefinition("-", "-"), {name: key for name, key in SINK_KEYS.items() if name != "on"}
    )
    return values | {"type": None, "format": None, "digest": "none", "on": ["problems"]}


def _pool(of_settings: dict[str, Any]) -> Shape:
    shape = _table(POOL_KEYS, of_settings)
    tuning = _table(TUNING_KEYS, _written(AdmissionTuning(), TUNING_KEYS))
    shape["properties"]["admission_tuning"] |= tuning
    return shape


def _together() -> Shape:
    """Express which keys of a job require or exclude each other, as `rules.py` does."""
    return {
        "allOf": [
            {"oneOf": [{"required": [name]} for name in names]} for names in (tuple(SCHEDULE_KEYS), COMMANDS)
        ],
        "dependentRequired": {"every_from": ["every"], "mode": ["tasks"]},
    }


def _table(known: Keys, defaults: dict[str, Any], *, required: tuple[str, ...] = ()) -> Shape:
    """Return the shape of a table with the defaults of its keys, where a file could set them."""
    shape = table_shape(known, required=required)
    for name, of_key in shape["properties"].items():
        if name in required or name not in defaults:
            continue
        if defaults[name] is not None:
            of_key["default"] = defaults[name]
        elif _takes_none(known[name]):
            of_key["default"] = "none"
    return shape


def _takes_none(key: Key) -> bool:
    """Tell whether "none" means no limit for a key, rather than being ordinary text."""
    try:
        return key.read("none", _ANYWHERE) is None
    except Rejected:
        return False


def _job_defaults() -> dict[str, Any]:
    """Return a job with nothing but the required keys."""
    bare = Job("-", Interval(1), (Task("-", "true", Execution()),))
    own = {"every": None, "tasks": None, "retry": Execution().retry.max}
    return definition(bare) | own


def _written(owner: object, known: Keys) -> dict[str, Any]:
    return {name: written(owner, key) for name, key in known.items()}
