"""A configuration of the standard library's `logging`, as `dictConfig` takes it, in TOML.

What is found wrong here has its place in the file. Nothing is imported, opened or created: the scheduler does
that, and may find out more.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
from collections.abc import Collection, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from taskman_cli.core.escapes import quoted
from taskman_cli.core.logsettings import LogLevel
from taskman_cli.core.nearest import did_you_mean
from taskman_cli.jobfile.problems import Fault, TreePath

_TOP = ("version", "disable_existing_loggers", "formatters", "filters", "handlers", "loggers", "root")
_GROUPS = ("formatters", "filters", "handlers", "loggers")
_LOGGER_KEYS = ("level", "handlers", "filters", "propagate")
#: As `logging` knows them, and our own.
LEVELS = frozenset({*(level.name for level in LogLevel), "NOTSET", "WARN", "FATAL"})
_PLAIN = (str, bool, int, float)


def config_text(tables: Mapping[str, Any]) -> str:
    """Return a valid configuration as JSON."""
    # Its own default would silence the loggers of taskman, which there are before it is read.
    return json.dumps(_with_levels({"version": 1, "disable_existing_loggers": False, **tables}))


def _with_levels(value: Any) -> Any:
    """Return a value with the names of levels as `logging` writes them."""
    if isinstance(value, list):
        return [_with_levels(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: item.upper() if name == "level" and isinstance(item, str) else _with_levels(item)
        for name, item in value.items()
    }


def config_faults(tables: Mapping[str, Any]) -> Iterator[Fault]:
    """Return what is wrong with a configuration."""
    yield from _strange_values(tables, ())
    yield from _unknown(tables, _TOP, ())
    version = tables.get("version", 1)
    if version != 1 or version is True:
        yield Fault(("version",), "there is only version 1")
    if tables.get("disable_existing_loggers") not in (None, False):
        yield Fault(("disable_existing_loggers",), "must be false: the loggers of taskman exist already")
    groups = {}
    for name in _GROUPS:
        groups[name] = tables.get(name, {})
        if type(groups[name]) is not dict:
            yield Fault((name,), f"expected tables: write [{name}.NAME] above its keys")
            groups[name] = {}
        for item in [item for item, value in groups[name].items() if type(value) is not dict]:
            yield Fault((name, item), f"expected a table: write [{name}.{item}] above its keys")
            del groups[name][item]
    for name, table in groups["formatters"].items():
        yield from _class_fault(table, ("formatters", name))
    for name, table in groups["handlers"].items():
        yield from _handler_faults(table, ("handlers", name), groups)
    loggers: list[tuple[TreePath, Mapping[str, Any]]] = [
        (("loggers", name), table) for name, table in groups["loggers"].items()
    ]
    if type(root := tables.get("root", {})) is dict:
        loggers.append((("root",), root))
    else:
        yield Fault(("root",), "expected a table: write [root] above its keys")
    for path, table in loggers:
        yield from _unknown(table, _LOGGER_KEYS, path)
        yield from _level_fault(table, path)
        for key in ("handlers", "filters"):
            yield from _name_faults(table.get(key, []), (*path, key), groups[key], key[:-1])
    if not any(table.get("handlers") for _, table in loggers):
        place: TreePath = ("root",) if "root" in tables else ()
        yield Fault(
            place, "no logger has handlers, so nothing would be logged: set root.handlers", at_key=True
        )


def _strange_values(value: Any, path: TreePath) -> Iterator[Fault]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _strange_values(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strange_values(item, (*path, index))
    elif type(value) not in _PLAIN:
        yield Fault(path, "a date or time is no value of a logging configuration: put it in quotes")


def _unknown(table: Mapping[str, Any], known: Collection[str], path: TreePath) -> Iterator[Fault]:
    for name in table:
        if name == "incremental":
            yield Fault(
                (*path, name), "not supported: there is no earlier configuration to change", at_key=True
            )
        elif name not in known:
            yield Fault((*path, name), f"unknown key{did_you_mean(name, known)}", at_key=True)


def _level_fault(table: Mapping[str, Any], path: TreePath) -> Iterator[Fault]:
    level = table.get("level", "INFO")
    if type(level) is str and level.upper() not in LEVELS:
        known = ", ".join(level.value for level in LogLevel)
        near = did_you_mean(level.lower(), [level.value for level in LogLevel])
        yield Fault((*path, "level"), f"{quoted(level)} is not one of {known}{near}")
    elif type(level) not in (str, int):
        yield Fault((*path, "level"), "expected the name of a level, or its number")


def _handler_faults(
    table: Mapping[str, Any], path: TreePath, groups: Mapping[str, Mapping[str, Any]]
) -> Iterator[Fault]:
    if "class" not in table and "()" not in table:
        yield Fault(path, 'has no class: add one, as in class = "logging.FileHandler"', at_key=True)
    yield from _class_fault(table, path)
    yield from _level_fault(table, path)
    if (formatter := table.get("formatter")) is not None:
        yield from _name_faults([formatter], (*path, "formatter"), groups["formatters"], "formatter")
    yield from _name_faults(table.get("filters", []), (*path, "filters"), groups["filters"], "filter")


def _name_faults(names: object, path: TreePath, known: Collection[str], what: str) -> Iterator[Fault]:
    if type(names) is not list:
        yield Fault(path, "expected an array of names")
        return
    for index, name in enumerate(names):
        if type(name) is not str or (name not in known and not name.startswith(("ext://", "cfg://"))):
            near = did_you_mean(name, known) if type(name) is str else ""
            at = path if path[-1] == "formatter" else (*path, index)
            yield Fault(at, f"there is no {what} {quoted(str(name))} in this file{near}")


def _class_fault(table: Mapping[str, Any], path: TreePath) -> Iterator[Fault]:
    for key in ("class", "()"):
        name = table.get(key)
        if name is None:
            continue
        if type(name) is not str or "." not in name:
            yield Fault((*path, key), "expected a class with its module, as in logging.FileHandler")
        elif name.startswith("logging."):
            yield from _standard_fault(name, (*path, key))
        elif not name.startswith(("ext://", "cfg://")) and not _is_module(name.partition(".")[0]):
            yield Fault((*path, key), f"there is no module {quoted(name.partition('.')[0])} here: install it")


def _standard_fault(name: str, path: TreePath) -> Iterator[Fault]:
    _, *parts = name.split(".")
    found: Any = logging
    for part in parts:
        if not hasattr(found, part):
            near = did_you_mean(part, [known for known in dir(found) if known.endswith("Handler")])
            yield Fault(path, f"there is no {quoted(name)} in the standard library{near}")
            return
        found = getattr(found, part)


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False
