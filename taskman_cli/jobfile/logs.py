"""The table `[logging]`, which all files share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from taskman_cli.core.escapes import quoted
from taskman_cli.core.logsettings import LogConfig, LogFormat, LogLevel, LogPart, LogSettings
from taskman_cli.core.nearest import did_you_mean
from taskman_cli.core.schedule import load_zone
from taskman_cli.jobfile.files import FileLoader, Member
from taskman_cli.jobfile.problems import Fault, Rejected, TreePath, dotted, reject
from taskman_cli.jobfile.shapes import shaped
from taskman_cli.jobfile.tables import Key, keys
from taskman_cli.jobfile.values import Context, choice, mistyped, read_line

_read_level = choice(LogLevel)
_PARTS = {part.value: part for part in LogPart}


@shaped(
    type="object",
    properties={part.value: {"enum": [level.value for level in LogLevel]} for part in LogPart},
    additionalProperties=False,
)
def read_levels(value: object, context: Context) -> tuple[tuple[LogPart, LogLevel], ...]:
    """Read the levels of parts."""
    if type(value) is not dict:
        raise mistyped(value, "a table", ': write it as in { supervisor = "debug" }')
    found: dict[LogPart, LogLevel] = {}
    faults: list[Fault] = []
    for name, item in value.items():
        if name not in _PARTS:
            known = ", ".join(_PARTS)
            words = f"there is no part {quoted(name)}{did_you_mean(name, _PARTS)}: the parts are {known}"
            faults.append(Fault((name,), words, at_key=True))
            continue
        try:
            found[_PARTS[name]] = _read_level(item, context)
        except Rejected as error:
            faults += error.under(name)
    if faults:
        raise Rejected(*faults)
    return tuple(sorted(found.items()))


@shaped(type="string", pattern=r"\.toml$")
def read_config(value: object, context: Context) -> Path:
    """Read the path of a configuration of the standard library's `logging`."""
    path = context.directory / read_line(value, context)
    if path.suffix != ".toml":
        raise reject(
            "not a TOML file: write what logging.config.dictConfig takes as TOML, in a file named *.toml"
        )
    return path


LOGGING_KEYS = keys(
    Key("format", choice(LogFormat), about="The form of log lines."),
    Key("level", _read_level, about="Log lines of this level and above."),
    Key("levels", read_levels, about="The levels of parts that have their own."),
    Key("config", read_config, about="A configuration of Python's logging, which replaces all of this."),
)


def merge_logging(members: Sequence[Member], files: FileLoader) -> LogSettings:
    """Merge the tables of all files; a file that contradicts an earlier one gets a fault."""
    said: dict[TreePath, tuple[object, Member]] = {}
    for member in members:
        values = member.read("logging", LOGGING_KEYS, member.context(load_zone("UTC")))
        found: dict[TreePath, object] = {("logging", name): value for name, value in values.items()}
        levels = found.pop(("logging", "levels"), ())
        assert isinstance(levels, tuple)
        found |= {("logging", "levels", part.value): level for part, level in levels}
        for path, value in found.items():
            first, owner = said.setdefault(path, (value, member))
            if value != first:
                where = owner.source.place_of(path)
                message = f"differs from {where}: all files share one log, so set it once"
                member.faults.append(Fault(path, message))
    plain = {path[1]: value for path, (value, _) in said.items() if len(path) == 2}
    config = said.get(("logging", "config"))
    if config is not None:
        for path, (_, member) in said.items():
            if path != ("logging", "config"):
                message = (
                    "has no effect beside config, which replaces the log of taskman: leave one of them out"
                )
                member.faults.append(Fault(path, message, at_key=True))
        path_of_config, owner = config
        assert isinstance(path_of_config, Path)
        plain["config"] = _read_config_file(path_of_config, owner, files)
    plain["levels"] = tuple(
        sorted((_PARTS[str(path[2])], value) for path, (value, _) in said.items() if len(path) == 3)
    )
    return LogSettings(**plain)  # type: ignore[arg-type]


def _read_config_file(path: Path, owner: Member, files: FileLoader) -> LogConfig | None:
    # Only here: it imports the handlers of the standard library.
    from taskman_cli.jobfile.logconfig import config_faults, config_text

    source = files.read_toml(path, owner, ("logging", "config"))
    if source is None:
        return None
    faults = list(config_faults(source.tables))
    if faults:
        found = [source.problem(fault) for fault in faults]
        files.problems += sorted(found, key=lambda problem: (problem.line, problem.column))
        return None
    places = [(name,) for name in source.tables] + [
        (name, item) for name, table in source.tables.items() if type(table) is dict for item in table
    ]
    lines = ((dotted(place), source.problem(Fault(place, "", at_key=True)).line) for place in places)
    return LogConfig(str(path), config_text(source.tables), tuple(lines))
