"""The table `[sinks]`, the receivers of results, and the names by which jobs use them.

What a type of sink needs to know is in `sinktypes`; here are the keys that all sinks share.
"""

from __future__ import annotations

from typing import Any

from taskman_cli.core.escapes import quoted
from taskman_cli.core.nearest import did_you_mean
from taskman_cli.core.sinks import MAILTO, PROBLEMS, SINK_TYPES, ReportKind, SinkDefinition, default_on
from taskman_cli.jobfile.problems import Fault, Rejected, reject
from taskman_cli.jobfile.shapes import shape_of, shaped, whole
from taskman_cli.jobfile.sinktypes import faults_of, formats_of, keys_of, settings_of
from taskman_cli.jobfile.tables import Key, Values, as_fields, keys, missing, read_partly, read_table
from taskman_cli.jobfile.units import duration
from taskman_cli.jobfile.values import NAME, Context, array, check_name, integer, mistyped, read_line

#: The group of entry points that add types.
GROUP = "taskman.sinks"
#: Sets of kinds, by name.
_ALL, _PROBLEMS = "all", "problems"
_KINDS: dict[str, frozenset[ReportKind]] = {
    _PROBLEMS: PROBLEMS,
    _ALL: frozenset(ReportKind),
    **{kind.value: frozenset({kind}) for kind in ReportKind},
}
_MOST_OUTPUT_LINES = 1_000
_read_interval = duration("1s")


@shaped(type="string", pattern=whole(NAME.pattern))
def _read_type(value: object, context: Context) -> str:
    name = read_line(value, context)
    if name not in SINK_TYPES and context.accounts.is_run_here:
        from importlib.metadata import entry_points  # half a megabyte that most never need

        others = sorted({entry.name for entry in entry_points(group=GROUP)})
        if name not in others:
            known = [*SINK_TYPES, *others]
            hint = did_you_mean(name, known)
            raise reject(f"{quoted(name)} is not a type of sink{hint}: not one of {', '.join(known)}")
    return name


@shaped(enum=list(_KINDS))
def _read_kind(value: object, context: Context) -> str:
    name = read_line(value, context)
    if name not in _KINDS:
        raise reject(f"{quoted(name)} is not one of {', '.join(_KINDS)}{did_you_mean(name, _KINDS)}")
    return name


_read_kinds = array(_read_kind, example='["problems", "succeeded"]')


@shaped(**(shape_of(_read_kinds) or {}))
def _read_on(value: object, context: Context) -> tuple[frozenset[ReportKind], bool]:
    """Read what a sink is told: kinds, and whether skips that are problems are told."""
    names = _read_kinds(value, context)
    if not names:
        raise reject('empty: the sink would be told nothing; leave it out for ["problems"]')
    return frozenset().union(*(_KINDS[name] for name in names)), _PROBLEMS in names


@shaped(anyOf=[{"enum": ["first", "every"]}, shape_of(_read_interval)])
def _read_repeat(value: object, context: Context) -> int | None:
    if value == "first":
        return None
    if value == "every":
        return 0
    try:
        interval_ns: int = _read_interval(value, context)
    except Rejected as error:
        words = f'{error.faults[0].message}; or write "first" or "every"'
        raise Rejected(Fault((), words, offset=error.faults[0].offset)) from None
    return interval_ns


@shaped(**(shape_of(duration("1s", or_none=True)) or {}))
def _read_digest(value: object, context: Context) -> int:
    return duration("1s", or_none=True)(value, context) or 0


#: The keys of `[sinks.NAME]` that all types share.
SINK_KEYS = keys(
    Key("type", _read_type, about="What kind of receiver it is."),
    Key("on", _read_on, about="What it is told: events, or the sets problems (the default) and all."),
    Key(
        "repeat",
        _read_repeat,
        field="repeat_ns",
        about="When trouble that goes on is told again: first (never), every (each time), or after a time.",
    ),
    Key(
        "digest",
        _read_digest,
        field="digest_ns",
        about="Put what gathers in this time into one message.",
    ),
    Key("format", read_line, about="How a message is written: json, text, or the name of a template."),
    Key("output_lines", integer(0, _MOST_OUTPUT_LINES), about="How many last lines of output go along."),
    Key("keep", integer(1, 1_000_000_000), about="How many reports may wait for it; then the oldest go."),
    Key("attempts", integer(1, 1_000_000), about="Set a report aside that was refused this many times."),
    Key("delay", duration("10ms"), field="delay_ns", about="The first pause after a delivery that failed."),
    Key("max_delay", duration("10ms"), field="max_delay_ns", about="The longest such pause."),
    Key("timeout", duration("100ms"), field="timeout_ns", about="How long one delivery may take."),
)
_OWN = frozenset({"type", "on"})


@shaped(type="array", items={"type": "string"})
def read_names(value: object, context: Context) -> tuple[str, ...]:
    """Read the names of the sinks that are told of a job."""
    if type(value) is not list:
        raise mistyped(value, "an array", ': write it as in ["ops"], or [] for none')
    faults: list[Fault] = []
    for index, name in enumerate(value):
        try:
            read_line(name, context)
        except Rejected as error:
            faults += error.under(index)
            continue
        if context.sinks is not None and name not in context.sinks:
            hint = did_you_mean(name, context.sinks)
            faults.append(Fault((index,), f"unknown sink{hint}: declare it as [sinks.{name}]"))
    if faults:
        raise Rejected(*faults)
    return tuple(dict.fromkeys(value))


def read_sink(name: str, value: object, context: Context) -> SinkDefinition:
    """Read the table of one sink, or raise `Rejected` with every fault."""
    check_name(name, "sink")
    if name == MAILTO:
        message = "[taskman] crontab_mail makes the sink of this name: choose another one"
        raise Rejected(Fault((), message, at_key=True))
    if type(value) is not dict:
        raise mistyped(value, "a table", f": write [sinks.{name}] above its keys")
    if "type" not in value:
        raise Rejected(missing(f"type is missing: one of {', '.join(SINK_TYPES)}"))
    try:
        type_ = _read_type(value["type"], context)
    except Rejected as error:
        raise Rejected(*error.under("type")) from None
    own = keys_of(type_)
    if own is None:
        values, settings, faults = read_partly(value, SINK_KEYS, context)
    else:
        values, faults = read_table(value, SINK_KEYS | dict(own), context)
        settings = settings_of(type_, values)
        faults += faults_of(type_, value, values) + _format_faults(type_, values)
        values = {key: item for key, item in values.items() if key in SINK_KEYS}
    if faults:
        raise Rejected(*faults)
    sink = _definition(name, type_, values, settings)
    if sink.delay_ns > sink.max_delay_ns:
        at = "delay" if "delay" in values else "max_delay"
        raise Rejected(Fault((at,), "delay is longer than max_delay"))
    return sink


def _definition(name: str, type_: str, values: Values, settings: dict[str, Any]) -> SinkDefinition:
    on, tells_skips = values.get("on", (default_on(type_), default_on(type_) is PROBLEMS))
    shared = as_fields(((key, item) for key, item in values.items() if key not in _OWN), SINK_KEYS)
    if type_ == "healthcheck":
        # Such a service counts the pings: one that is left out is an alarm.
        shared.setdefault("repeat_ns", 0)
    return SinkDefinition(name, type_, on, tells_skips, settings=settings, **shared)


def _format_faults(type_: str, values: Values) -> list[Fault]:
    known = formats_of(type_)
    chosen = values.get("format")
    if chosen is None or chosen in known:
        return []
    words = ", ".join(known)
    hint = did_you_mean(chosen, known)
    return [Fault(("format",), f'{quoted(chosen)} is not a format of type "{type_}": one of {words}{hint}')]
