"""What a key is, and how a table of keys is read.

Every table of the job file is a mapping from names to `Key`s. The same mapping reads good values fast and
explains bad ones, so that the two agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from taskman_cli.jobfile.other_schedulers import unknown_key
from taskman_cli.jobfile.problems import Fault, Rejected
from taskman_cli.jobfile.shapes import Shape, shape_of
from taskman_cli.jobfile.values import Context, Reader


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table."""

    name: str
    read: Reader
    #: The field of the model that it fills, if its name differs.
    field: str = ""
    #: What it is for, in one line for editors to show.
    about: str = ""


Keys = Mapping[str, Key]

#: Valid values of a table by key; keys that are not set are missing.
Values = dict[str, Any]


def keys(*given: Key) -> dict[str, Key]:
    """Return a table of keys by name."""
    return {key.name: key for key in given}


def read_table(table: Mapping[str, Any], known: Keys, context: Context) -> tuple[Values, list[Fault]]:
    """Read all values of a table; return the valid ones, and the faults of the others."""
    values: Values = {}
    faults: list[Fault] = []
    for name, value in table.items():
        key = known.get(name)
        if key is None:
            faults.append(Fault((name,), unknown_key(name, known), at_key=True))
            continue
        try:
            values[name] = key.read(value, context)
        except Rejected as error:
            faults += error.under(name)
    return values, faults


def read_partly(
    table: dict[str, Any], known: Keys, context: Context
) -> tuple[Values, dict[str, Any], list[Fault]]:
    """Return the values of the known keys, the others as they stand, and all faults.

    The others are for a type that is not ours, which reads them itself: as plain values.
    """
    others = {name: value for name, value in table.items() if name not in known}
    values, faults = read_table({name: table[name] for name in table if name in known}, known, context)
    message = "a date or time is not allowed here: put it in quotes"
    faults += [Fault((name,), message) for name, value in others.items() if not _is_plain(value)]
    return values, others, faults


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return isinstance(value, str | int | float | bool)


def table_shape(known: Keys, *, required: Iterable[str] = ()) -> Shape:
    """Return the shape of a table, without keys that are always rejected."""
    shapes = {name: shape_of(key.read) for name, key in known.items()}
    shape: Shape = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {"description": known[name].about} | shape
            for name, shape in shapes.items()
            if shape is not None
        },
    }
    return shape | ({"required": list(required)} if required else {})


def as_fields(values: Iterable[tuple[str, Any]], known: Keys) -> dict[str, Any]:
    """Return values by the names of the model's fields."""
    return {known[name].field or name: value for name, value in values}


def refused(reason: str) -> Reader:
    """Return a reader for a key that is not allowed in a table, which says why."""

    def read(_value: object, _context: Context) -> Any:
        raise Rejected(Fault((), reason, at_key=True))

    return read


def missing(reason: str) -> Fault:
    """Return the fault of a table that lacks a key, shown at the table's own key."""
    return Fault((), reason, at_key=True)
