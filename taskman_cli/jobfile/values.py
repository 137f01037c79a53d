"""Readers of plain values: text, numbers, choices, lists.

A reader takes a value of a job file and returns what the model needs, or raises `Rejected` with a message
that includes the fix. It gets exactly the types of TOML, so `type(x) is int` excludes booleans.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from taskman_cli.core.escapes import quoted
from taskman_cli.core.executors import LOCAL, ExecutorDefinition
from taskman_cli.core.limits import excess
from taskman_cli.core.model import Resource
from taskman_cli.core.nearest import did_you_mean
from taskman_cli.core.variables import Assigned, Variables
from taskman_cli.jobfile.other_schedulers import value_hint
from taskman_cli.jobfile.problems import Fault, Rejected, reject
from taskman_cli.jobfile.shapes import named, shape_of, shaped, whole
from taskman_cli.launch.accounts import Accounts


@dataclass(frozen=True, slots=True)
class Context:
    """What the meaning of a value may depend on."""

    #: The absolute directory of the job file; relative paths start there.
    directory: Path
    #: The zone of date-times without an offset.
    zone: ZoneInfo
    #: When the file is read, for hints; None: unknown.
    now: datetime | None
    #: The users that commands can run as.
    accounts: Accounts
    #: The resources that commands can draw on; None: not known here, so needs are not checked.
    resources: Mapping[str, Resource] | None = None
    #: The names of the sinks; None: not known here, so names are not checked.
    sinks: Collection[str] | None = None
    #: The executors; None: not known here, so names are not checked. One that has a fault is None.
    executors: Mapping[str, ExecutorDefinition | None] | None = None


Reader = Callable[[Any, Context], Any]
Choice = TypeVar("Choice", bound=StrEnum)

#: Names of jobs and tasks; without dots, since `JOB.TASK` names a task.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def mistyped(value: object, needed: str, fix: str = "") -> Rejected:
    """Return the error for a value of the wrong type."""
    return reject(f"expected {needed}, got {_describe(value)}{fix}")


def _describe(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return "a number"
        case float():
            return "a decimal number"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "a table"
        case datetime():
            return "a date-time"
        case date():
            return "a date"
        case time():
            return "a time"
    raise AssertionError(f"no TOML value: {type(value)}")


@shaped(type="string")
def read_text(value: object, _context: Context) -> str:
    """Read a string."""
    if type(value) is not str:
        raise mistyped(value, "a string", "" if type(value) in (list, dict) else ": put it in quotes")
    if "\0" in value:
        raise Rejected(Fault((), "NUL characters are not allowed", offset=value.index("\0")))
    return value


@shaped(type="string")
def read_executor_name(value: object, context: Context) -> str:
    """Read the name of the executor of a job or task."""
    name = read_text(value, context)
    if name != LOCAL and context.executors is not None and name not in context.executors:
        hint = did_you_mean(name, [LOCAL, *context.executors])
        raise reject(f"unknown executor{hint}: declare it as [executors.NAME]")
    return name


@shaped(type="string", pattern=r"\S")
def read_word(value: object, context: Context) -> str:
    """Read a string that is not blank."""
    text = read_text(value, context)
    if not text or text.isspace():
        raise reject("empty: leave the key out or give it a value")
    return text


def fitting(text: str) -> str:
    """Return an argument of a program; raise Rejected if it is too long for one."""
    if wrong := excess(text):
        raise reject(f"{wrong}: put it into a script or a file")
    return text


@shaped(anyOf=[shape_of(read_word), {"type": "array", "items": {"type": "string"}, "minItems": 1}])
def read_command(value: object, context: Context) -> str | tuple[str, ...]:
    """Read a string for the shell, or an array to be run without one.

    A string that is too long for a shell is refused, though it may be one that needs none: it is the same for
    all executors, users and shells.
    """
    if type(value) is str:
        return fitting(read_word(value, context))
    if type(value) is not list:
        raise mistyped(value, "a string or an array of strings")
    words: list[str] = []
    faults: list[Fault] = []
    for index, item in enumerate(value):
        try:
            words.append(fitting(read_text(item, context) if index else read_word(item, context)))
        except Rejected as error:
            faults += error.under(index)
    if faults:
        raise Rejected(*faults)
    if not words:
        raise reject("empty: write a command")
    return tuple(words)


@shaped(type="string", pattern=r"\S")
def read_line(value: object, context: Context) -> str:
    """Read a string that is not blank and has only printable characters."""
    text = read_word(value, context)
    for offset, char in enumerate(text):
        if not char.isprintable():
            raise Rejected(Fault((), f"U+{ord(char):04X} is not a printable character", offset=offset))
    return text


@shaped(type="boolean")
def read_boolean(value: object, _context: Context) -> bool:
    """Read true or false."""
    if type(value) is not bool:
        is_quoted = type(value) is str and value.lower() in ("true", "false")
        raise mistyped(value, "true or false", ": remove the quotes" if is_quoted else "")
    return value


def integer(low: int, high: int) -> Reader:
    """Return a reader of whole numbers from `low` to `high`, inclusive."""

    @shaped(type="integer", minimum=low, maximum=high)
    def read(value: object, _context: Context) -> int:
        if type(value) is not int:
            is_quoted = type(value) is str and value.strip("+-").isdecimal()
            raise mistyped(value, "a whole number", ": remove the quotes" if is_quoted else "")
        if not low <= value <= high:
            raise out_of_range(value, f"{low}", f"{high}")
        return value

    return read


def number(low: float, high: float) -> Reader:
    """Return a reader of numbers from `low` to `high`, inclusive."""

    @shaped(type="number", minimum=low, maximum=high)
    def read(value: object, _context: Context) -> float:
        if type(value) is not int and type(value) is not float:
            raise mistyped(value, "a number")
        if not low <= value <= high:  # also true of nan
            raise out_of_range(value, f"{low:g}", f"{high:g}")
        return float(value)

    return read


def out_of_range(value: float | str, low: str, high: str, *, fix: str = "") -> Rejected:
    """Return the error for a value outside its bounds."""
    # Python refuses to print huge integers in decimal, and nobody could read them.
    is_short = not isinstance(value, int) or value.bit_length() <= 64
    return reject(
        f"{value if is_short else 'this number'} is out of range: it must be from {low} to {high}{fix}"
    )


def choice(kind: type[Choice]) -> Reader:
    """Return a reader of the values of an enum."""
    known: dict[str, Choice] = {member.value: member for member in kind}

    @shaped(enum=list(known))
    def read(value: object, _context: Context) -> Choice:
        if type(value) is str and value in known:
            return known[value]
        words = ", ".join(known)
        if type(value) is not str:
            raise mistyped(value, f"one of {words}")
        raise reject(f"{quoted(value)} is not one of {words}{value_hint(kind.__name__, value, known)}")

    return read


def unless_none(reader: Reader) -> Reader:
    """Return a reader that also accepts `"none"`: no limit, whatever `[defaults]` says."""

    @shaped(anyOf=[{"const": "none"}, shape_of(reader)])
    def read(value: object, context: Context) -> Any:
        if value == "none":
            return None
        if value is False:
            raise reject('false is not a limit: write "none" for no limit')
        return reader(value, context)

    return read


def array(reader: Reader, *, example: str) -> Reader:
    """Return a reader of arrays; `example` is shown in the error for other types."""

    @shaped(type="array", items=shape_of(reader))
    def read(value: object, context: Context) -> tuple[Any, ...]:
        if type(value) is not list:
            raise mistyped(value, "an array", f": write it as in {example}")
        items: list[Any] = []
        faults: list[Fault] = []
        for index, item in enumerate(value):
            try:
                items.append(reader(item, context))
            except Rejected as error:
                faults += error.under(index)
        if faults:
            raise Rejected(*faults)
        return tuple(items)

    return read


_read_exit_code = integer(0, 255)
_exit_codes = array(_read_exit_code, example="[75]")


@shaped(type="array", items=shape_of(_read_exit_code), minItems=1)
def read_exit_codes(value: object, context: Context) -> tuple[int, ...]:
    """Read an array of exit codes and return them sorted, without duplicates."""
    codes = _exit_codes(value, context)
    if not codes:
        raise reject("empty: name at least one exit code")
    return tuple(sorted(set(codes)))


@shaped(type="string", pattern=whole(_ENV_NAME.pattern))
def read_env_name(value: object, context: Context) -> str:
    """Read the name of an environment variable."""
    name = read_text(value, context)
    if not _ENV_NAME.fullmatch(name):
        raise reject(
            f"{quoted(name)} is not a valid variable name: use letters, digits and _, and no digit first"
        )
    return name


_env_names = array(read_env_name, example='["LANG"]')


@shaped(anyOf=[{"type": "boolean"}, shape_of(_env_names)])
def read_inherit_env(value: object, context: Context) -> bool | tuple[str, ...]:
    """Read true, false or the names of the variables to inherit."""
    if type(value) is bool:
        return value
    if type(value) is not list:
        raise mistyped(value, "true, false or an array of names")
    names: tuple[str, ...] = _env_names(value, context)
    return names


@shaped(**named(_ENV_NAME.pattern, {"type": "string"}))
def read_env(value: object, context: Context) -> Variables:
    """Read a table of variables; one from a crontab is valid already."""
    if isinstance(value, Assigned):
        return Variables(value)
    if type(value) is not dict:
        raise mistyped(value, "a table", ': write it as in { LANG = "C" }')
    faults: list[Fault] = []
    pairs: list[tuple[str, str]] = []
    for name, text in value.items():
        try:
            read_env_name(name, context)
        except Rejected as error:
            faults.append(Fault((name,), error.faults[0].message, at_key=True))
        try:
            pairs.append((name, read_text(text, context)))
            fitting(f"{name}={text}")
        except Rejected as error:
            faults += error.under(name)
    if faults:
        raise Rejected(*faults)
    return Variables(dict(sorted(pairs)))


def check_name(name: str, what: str) -> None:
    """Reject a name that would need quoting on a command line."""
    if not NAME.fullmatch(name):
        message = (
            f"{quoted(name)} is not a valid {what} name: use up to 64 letters, digits, _ and -, "
            "and start with a letter or digit"
        )
        raise Rejected(Fault((), message, at_key=True))
