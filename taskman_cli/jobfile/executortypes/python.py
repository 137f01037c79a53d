"""`[executors.NAME]` of type "python", and the keys of jobs whose functions it calls."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from taskman_cli.core.escapes import quoted
from taskman_cli.jobfile.problems import Fault, Rejected, reject
from taskman_cli.jobfile.shapes import shape_of, shaped, whole
from taskman_cli.jobfile.tables import Key, Values, keys
from taskman_cli.jobfile.units import duration, read_memory, read_path, read_paths
from taskman_cli.jobfile.values import Context, integer, mistyped, read_line

_NAME = r"[^\W\d]\w*"
_CALL = re.compile(rf"(?:{_NAME}(?:\.{_NAME})*|.*\.py):{_NAME}(?:\.{_NAME})*")
_EXAMPLE = '"package.module:function", or "jobs.py:function" for a file'


@shaped(type="string", pattern=whole(r"\S.*:.*\S"))
def read_call(value: object, context: Context) -> str:
    """Read which function to call; a file is made absolute, relative to the job file's directory."""
    call = read_line(value, context)
    if not _CALL.fullmatch(call):
        raise reject(f"{quoted(call)} names no function: write it as in {_EXAMPLE}")
    where, _, name = call.rpartition(":")
    return f"{read_path(where, context)}:{name}" if where.endswith(".py") else call


class _Table(dict[str, Any]):
    """A table that is never changed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(json.dumps(self))


@shaped(type="array")
def _read_args(value: object, _context: Context) -> tuple[Any, ...]:
    if type(value) is not list:
        raise mistyped(value, "an array", ': write it as in ["left", 2]')
    faults = [fault for index, item in enumerate(value) for fault in _odd(item, index)]
    if faults:
        raise Rejected(*faults)
    return tuple(map(_fixed, value))


@shaped(type="object")
def _read_kwargs(value: object, _context: Context) -> _Table:
    if type(value) is not dict:
        raise mistyped(value, "a table", ": write it as in { days = 3 }")
    faults = [fault for name, item in value.items() for fault in _odd(item, name)]
    if faults:
        raise Rejected(*faults)
    return _Table({name: _fixed(item) for name, item in value.items()})


def _odd(value: object, *path: str | int) -> list[Fault]:
    """Return a fault for each part that JSON cannot hold."""
    if isinstance(value, dict):
        return [fault for name, item in value.items() for fault in _odd(item, *path, name)]
    if isinstance(value, list):
        return [fault for index, item in enumerate(value) for fault in _odd(item, *path, index)]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return [Fault(path, "not a number that JSON has")]
    if isinstance(value, str | int | float):
        return []
    return [Fault(path, "a date or time is not allowed here: put it in quotes")]


def _fixed(value: Any) -> Any:
    if isinstance(value, dict):
        return _Table({name: _fixed(item) for name, item in value.items()})
    return tuple(map(_fixed, value)) if isinstance(value, list) else value


@shaped(**(shape_of(read_paths) or {}))
def _read_directories(value: object, context: Context) -> list[str]:
    return [*read_paths(value, context)]


KEYS = keys(
    Key("python", read_path, about="The interpreter, as of a virtual environment; by default taskman's own."),
    Key("path", _read_directories, about="Directories in which modules are looked for first."),
    Key("max_calls", integer(1, 1_000_000_000), about="A worker is replaced after so many calls."),
    Key(
        "max_memory",
        read_memory,
        field="max_memory_bytes",
        about="A worker that has more memory than this after a call is replaced.",
    ),
    Key("idle_timeout", duration("1s"), field="idle_timeout_ns", about="How long an idle worker is kept."),
)

JOB_KEYS = keys(
    Key("call", read_call, about="The function that an executor of type python calls."),
    Key("args", _read_args, about="Its arguments."),
    Key("kwargs", _read_kwargs, about="Its arguments by name."),
)

refused: Mapping[str, str] = {
    "command": "it calls functions: set call",
    "shell": "a function needs none",
    "limits": "its workers carry out other calls too",
}


def faults(_given: Mapping[str, object], _values: Values) -> list[Fault]:
    """Return what is wrong with the keys taken together."""
    return []
