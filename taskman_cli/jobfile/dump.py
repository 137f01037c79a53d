"""Loaded job files as bytes for another process, which may run another version of taskman.

The scheduler leaves them with its supervisor for the next scheduler, and a reload reads files in a separate
process. The format is marshal with built-in types only: `(FORMAT, fields, root)`. `fields` names the fields
of each class in the order of their values. A field that is missing gets its default; a field that this
version does not know makes the dump invalid, and the files are read again. Shared objects (policies,
executions, schedules) are written once and shared again when decoded.

A field that changes its meaning, or a new type, needs a new FORMAT.
"""

from __future__ import annotations

import marshal
import zlib
from dataclasses import fields
from enum import Enum
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from taskman_cli.core import executors, limits, logsettings, model, sinks, tuning
from taskman_cli.core.collector import without_collections
from taskman_cli.core.schedule import CronSchedule, Interval, Once, Reboot, load_zone, parse_cron
from taskman_cli.core.variables import Assigned, Assignments, Variables
from taskman_cli.errors import TaskmanError
from taskman_cli.jobfile.load import JobFile
from taskman_cli.jobfile.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FORMAT = 1
#: What the output of zlib begins with, and that of marshal never.
_COMPRESSED = b"x"

_CLASSES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        JobFile, model.Job, model.Task, model.Execution, model.Policy, model.Retry, model.Account,
        model.Group, model.Resource, model.Settings, tuning.AdmissionTuning, sinks.SinkDefinition,
        executors.ExecutorDefinition, limits.Limits, logsettings.LogSettings, logsettings.LogConfig, Interval,
        Once, Reboot, Problem,
    )
}  # fmt: skip
_ENUMS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        tuning.Admission,
        logsettings.LogFormat,
        logsettings.LogLevel,
        logsettings.LogPart,
        model.Overlap,
        model.OnMissed,
        model.OnCrash,
        model.Durability,
        model.Mode,
        model.Output,
        sinks.ReportKind,
    )
}
_PLAIN = frozenset({str, int, bool, float, bytes, type(None)})
# Tags for types other than dataclasses; a dataclass has its name as tag.
_MAP, _PATH, _ZONE, _CRON, _ENUM = "{}", "path", "zone", "cron", "enum"
_SEQUENCES: dict[type, str] = {tuple: "()", list: "[]", frozenset: "set"}
_LAYERS, _ASSIGNED, _ASSIGNMENTS = "layers", "assigned", "assignments"


class BadDump(TaskmanError):
    """The bytes are not job files that this version can read."""


def dump(jobfile: JobFile) -> bytes:
    """Encode job files."""
    with without_collections():
        return pack(encoded(jobfile))


def load_dump(data: object) -> JobFile:
    """Decode what `dump` of any version wrote. Raises BadDump."""
    jobfile = load_part(data)
    if not isinstance(jobfile, JobFile):
        raise BadDump(f"{type(jobfile).__name__}, not job files")
    return jobfile


def compressed(dumped: bytes) -> bytes:
    """Return a dump as it is kept for long: where jobs are alike, a tenth as long."""
    return zlib.compress(dumped, 1)


def expanded(kept: object) -> bytes:
    """Return a dump that was kept; version 0.2 kept dumps as they are. Raises BadDump."""
    if not isinstance(kept, bytes):
        raise BadDump(f"{type(kept).__name__}, not bytes")
    try:
        return zlib.decompress(kept) if kept.startswith(_COMPRESSED) else kept
    except zlib.error as error:
        raise BadDump(str(error)) from error


def encoded(jobfile: JobFile) -> Any:
    """Return job files as tuples that start with a tag; the same object becomes the same tuple."""
    return _Encoder().value(jobfile)


def field_names() -> dict[str, tuple[str, ...]]:
    """Return the fields of each class in the order of their values in a tuple."""
    return {name: tuple(field.name for field in fields(kind)) for name, kind in _CLASSES.items()}


def pack(value: Any) -> bytes:
    """Return the bytes of something encoded."""
    return marshal.dumps((FORMAT, field_names(), value))


def unpack(data: object) -> tuple[dict[str, tuple[str, ...]], Any]:
    """Return the names of the fields, and what is encoded. Raises ValueError, TypeError and EOFError."""
    if not isinstance(data, bytes):
        raise TypeError(f"{type(data).__name__}, not bytes")
    number, names, value = marshal.loads(data)  # noqa: S302 - our own, through our own processes
    if number != FORMAT:
        raise ValueError(f"format {number}, and this version reads {FORMAT}")
    return names, value


def load_part(data: object) -> Any:
    """Decode what `pack` of any version made of a part of job files. Raises BadDump."""
    try:
        with without_collections():
            names, value = unpack(data)
            return _Decoder(names).value(value)
    except Exception as error:  # anything another version wrote: the job files can be read again
        raise BadDump(f"{type(error).__name__}: {error}") from error


class _Encoder:
    """Turns objects into tuples that start with a tag; the same object becomes the same tuple."""

    def __init__(self) -> None:
        self._written: dict[int, Any] = {}
        self._parts: dict[type, Callable[[Any], tuple[Any, ...]]] = {
            kind: attrgetter(*names)
            if len(names := [field.name for field in fields(kind)]) > 1
            else _only(names)
            for kind in _CLASSES.values()
        }

    def value(self, value: Any) -> Any:
        """Encode a value. Its parts must outlive this object, since they are identified by `id`."""
        if type(value) in _PLAIN:
            return value
        known = self._written.get(id(value))
        if known is None:
            known = self._written[id(value)] = self._tagged(value)
        return known

    def _tagged(self, value: Any) -> tuple[Any, ...]:
        kind = type(value)
        if parts := self._parts.get(kind):
            return (kind.__name__, *map(self.value, parts(value)))
        if kind in _SEQUENCES:
            return (_SEQUENCES[kind], *map(self.value, value))
        if isinstance(value, Enum):
            return (_ENUM, kind.__name__, value.value)
        if kind is CronSchedule:
            return (_CRON, value.text, value.timezone, value.name)
        if isinstance(value, Path):
            return (_PATH, str(value))
        if kind is ZoneInfo:
            return (_ZONE, value.key)
        if kind is Variables and value.below:
            return (_LAYERS, self.value(value.own), self.value(value.below))
        if kind is Variables and type(value.own) is Assigned:
            return self._tagged(value.own)
        if kind is Assigned:
            return (_ASSIGNED, self.value(value.assignments), value.count)
        if kind is Assignments:
            return (_ASSIGNMENTS, *chain.from_iterable(value.pairs()))
        return (_MAP, {key: self.value(item) for key, item in value.items()})


def _only(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    get = attrgetter(names[0])
    return lambda value: (get(value),)


class _Decoder:
    """Reverses `_Encoder`; `names` are the fields of each class in the encoding version."""

    def __init__(self, names: dict[str, tuple[str, ...]]) -> None:
        self._read: dict[int, Any] = {}
        self._makers: dict[str, Callable[[list[Any]], Any]] = {
            **{name: _maker(_CLASSES[name], names[name]) for name in names if name in _CLASSES},
            **{tag: kind for kind, tag in _SEQUENCES.items()},
            _MAP: lambda parts: parts[0],
            _ENUM: lambda parts: _ENUMS[parts[0]](parts[1]),
            _CRON: lambda parts: parse_cron(parts[0], timezone=parts[1], name=parts[2]),
            _PATH: lambda parts: Path(parts[0]),
            _ZONE: lambda parts: load_zone(parts[0]),
            _LAYERS: lambda parts: Variables(parts[0], parts[1]),
            _ASSIGNED: lambda parts: Assigned(parts[0], parts[1]),
            _ASSIGNMENTS: lambda parts: Assignments(zip(parts[::2], parts[1::2], strict=True)),
        }

    def value(self, value: Any) -> Any:
        """Decode a value."""
        if type(value) in _PLAIN:
            return value
        known = self._read.get(id(value))
        if known is None:
            if type(value) is dict:
                known = {key: self.value(item) for key, item in value.items()}
            else:
                tag, *parts = value
                known = self._makers[tag](
                    [part if type(part) in _PLAIN else self.value(part) for part in parts]
                )
            self._read[id(value)] = known
        return known


def _maker(kind: Any, names: tuple[str, ...]) -> Callable[[Sequence[Any]], Any]:
    """Return a function that builds an object from field values, named as in another version."""
    if names == tuple(field.name for field in fields(kind)):
        return lambda parts: kind(*parts)
    return lambda parts: kind(**dict(zip(names, parts, strict=True)))
