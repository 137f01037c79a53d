"""Readers of `limits`: what a command may use at most."""

from __future__ import annotations

from taskman_cli.core.limits import Limits
from taskman_cli.jobfile.problems import Fault, Rejected
from taskman_cli.jobfile.shapes import shaped
from taskman_cli.jobfile.tables import Key, as_fields, keys, read_table, table_shape
from taskman_cli.jobfile.units import read_memory
from taskman_cli.jobfile.values import Context, integer, mistyped, number

#: With less, no program starts.
LEAST_MEMORY_BYTES = 1 << 20


@shaped(anyOf=[{"type": "integer", "minimum": 0}, {"type": "string"}])
def read_core_size(value: object, context: Context) -> int:
    """Read a size that may be 0."""
    return 0 if type(value) is int and value == 0 else read_memory(value, context)


LIMIT_KEYS = keys(
    Key(
        "memory",
        read_memory,
        field="memory_bytes",
        about='Memory of all processes of the command together, as in "200MiB".',
    ),
    Key("cpu", number(0.01, 1024), about="How many CPUs it may use, on average: 0.5 is half of one."),
    Key("processes", integer(1, 4_000_000), about="How many processes and threads it may have."),
    Key("open_files", integer(8, 1 << 30), about="How many files each of its processes may have open."),
    Key(
        "core_size",
        read_core_size,
        field="core_size_bytes",
        about="How much of a process that crashes is dumped; 0: nothing.",
    ),
)


@shaped(**table_shape(LIMIT_KEYS))
def read_limits(value: object, context: Context) -> Limits:
    """Read what a command may use at most."""
    if type(value) is not dict:
        raise mistyped(value, "a table", ': write it as in { memory = "200MiB" }')
    values, faults = read_table(value, LIMIT_KEYS, context)
    if values.get("memory", LEAST_MEMORY_BYTES) < LEAST_MEMORY_BYTES:
        faults.append(Fault(("memory",), 'too little for any program: write at least "1MiB"'))
    if faults:
        raise Rejected(*faults)
    return Limits(**as_fields(values.items(), LIMIT_KEYS))
