"""Readers of resources: how much there is of each, and how much a command needs.

A need is checked where it is read, so that its error has a place: the resource is declared, and there is
enough of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from taskman_cli.core.escapes import quoted
from taskman_cli.core.model import RAM, Amounts, Resource
from taskman_cli.core.nearest import did_you_mean
from taskman_cli.jobfile.problems import Fault, Rejected, reject
from taskman_cli.jobfile.shapes import shape_of, shaped, whole
from taskman_cli.jobfile.tables import Key, as_fields, keys, missing, read_table, table_shape
from taskman_cli.jobfile.units import LONGEST_NS, duration, read_memory
from taskman_cli.jobfile.values import NAME, Context, check_name, integer, mistyped

_RATE = re.compile(r"(\d{1,10}) ?/ ?(\d{0,10}) ?([A-Za-z]+)", re.ASCII)
_read_amount = integer(1, 1_000_000_000)
_read_period = duration("1ms")


@shaped(type="string", pattern=whole(_RATE.pattern))
def read_rate(value: object, context: Context) -> tuple[int, int]:
    """Read starts per time, as in "60/m" or "5/10s": a number, and nanoseconds."""
    if type(value) is not str:
        raise mistyped(value, "a rate", ': write starts per time, as in "60/m"')
    match = _RATE.fullmatch(value)
    if match is None:
        raise reject(f'{quoted(value)} is not a valid rate: write starts per time, as in "60/m" or "5/10s"')
    try:
        return _read_amount(int(match[1]), context), _read_period(f"{match[2] or 1}{match[3]}", context)
    except Rejected as error:
        raise Rejected(*(Fault((), fault.message) for fault in error.faults)) from None


RESOURCE_KEYS = keys(
    Key("limit", _read_amount, about="How much of it running commands may hold together."),
    Key("rate", read_rate, about='How much may be started on per time, as in "60/m" or "5/10s".'),
    Key("burst", _read_amount, about="How much may be started on at once after a quiet time."),
)


def _resource(value: object, context: Context) -> Resource:
    if type(value) is not dict:
        if type(value) is not int:
            raise mistyped(
                value, "a whole number or a table", ': write 2, or { limit = 2, rate = "60/m", burst = 10 }'
            )
        return Resource(_read_amount(value, context))
    values, faults = read_table(value, RESOURCE_KEYS, context)
    if not value:
        faults.append(missing("empty: set limit, rate, or both"))
    if "burst" in value and "rate" not in value:
        faults.append(Fault(("burst",), "only valid with rate", at_key=True))
    if faults:
        raise Rejected(*faults)
    rate = values.pop("rate", None)
    fields = as_fields(values.items(), RESOURCE_KEYS)
    if rate is None:
        return Resource(**fields)
    count, per_ns = rate
    most = LONGEST_NS * count // per_ns
    if values.get("burst", 1) > most:
        fix = f"the most that fills in that time at this rate is {most:,}"
        raise Rejected(Fault(("burst",), f"takes more than a hundred years to fill: {fix}"))
    return Resource(rate=count, per_ns=per_ns, **fields)


def _memory(value: object, context: Context) -> Resource:
    return Resource(read_memory(value, context))


@shaped(
    type="object",
    properties={RAM: shape_of(read_memory)},
    patternProperties={whole(NAME.pattern): {"anyOf": [shape_of(_read_amount), table_shape(RESOURCE_KEYS)]}},
    additionalProperties=False,
)
def read_resources(value: object, context: Context) -> tuple[tuple[str, Resource], ...]:
    """Read how much there is of each resource."""
    if type(value) is not dict:
        raise mistyped(value, "a table", ": write it as in { db = 2 }")
    return _each(value, lambda name, item: (_memory if name == RAM else _resource)(item, context))


@shaped(
    type="object",
    properties={RAM: shape_of(read_memory)},
    patternProperties={whole(NAME.pattern): shape_of(_read_amount)},
    additionalProperties=False,
)
def read_needs(value: object, context: Context) -> Amounts:
    """Read how much a command needs of each resource."""
    if type(value) is not dict:
        raise mistyped(value, "a table", ": write it as in { db = 1 }")

    def need(name: str, item: object) -> int:
        amount: int = (read_memory if name == RAM else _read_amount)(item, context)
        if context.resources is not None and name:
            _check(name, amount, context.resources)
        return amount

    return _each(value, need)


def _check(name: str, amount: int, known: Mapping[str, Resource]) -> None:
    resource = known.get(name)
    if resource is None:
        if name == RAM:
            return
        raise Rejected(
            Fault(
                (),
                f"unknown resource{did_you_mean(name, [*known, RAM])}: declare it in [pool.resources]",
                at_key=True,
            )
        )
    if resource.limit is not None and amount > resource.limit:
        raise reject(f"more than there is: [pool.resources] has {resource.limit:,}, so it would never start")
    if resource.rate is not None and amount > resource.burst:
        raise reject(f"more than the burst of {resource.burst:,} in [pool.resources]: it would never start")


def _each(table: Mapping[str, object], read: Callable[[str, Any], Any]) -> tuple[tuple[str, Any], ...]:
    """Read all items of a table with names, in the order of the names."""
    found: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, item in table.items():
        try:
            check_name(name, "resource")
            found[name] = read(name, item)
        except Rejected as error:
            faults += error.under(name)
    if faults:
        raise Rejected(*faults)
    return tuple(sorted(found.items()))
