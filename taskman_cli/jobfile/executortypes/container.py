"""The keys of `[executors.NAME]` with `type = "container"`: each command in a container of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from taskman_cli.core.escapes import quoted
from taskman_cli.jobfile.problems import Fault, reject
from taskman_cli.jobfile.shapes import shape_of, shaped
from taskman_cli.jobfile.tables import Key, Keys, Values, keys, missing
from taskman_cli.jobfile.units import duration, read_memory
from taskman_cli.jobfile.values import (
    Context,
    Reader,
    array,
    choice,
    integer,
    number,
    read_boolean,
    read_line,
)


class Engine(StrEnum):
    """The programs that make containers."""

    DOCKER = "docker"
    PODMAN = "podman"


class Pull(StrEnum):
    """When an image is fetched."""

    MISSING = "missing"
    ALWAYS = "always"
    NEVER = "never"


_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?")


@shaped(type="string", pattern=r"^[^-\s]")
def _read_word(value: object, context: Context) -> str:
    """Read a word that no program takes for an option."""
    word = read_line(value, context)
    if word.startswith("-") or any(map(str.isspace, word)):
        raise reject(f"{quoted(word)} is not a name: it must not begin with - or have blanks in it")
    return word


@shaped(type="string", pattern=r"^[^-:][^:]*:[^:]")
def _read_volume(value: object, context: Context) -> str:
    """Read SOURCE:TARGET[:OPTIONS]; a relative path starts at the job file."""
    volume = read_line(value, context)
    source, colon, rest = volume.partition(":")
    if not colon or not source or not rest.startswith("/") or source.startswith("-"):
        raise reject(f'{quoted(volume)} is not a volume: write SOURCE:TARGET, as in "/srv/data:/data:ro"')
    if source[0] == "." or ("/" in source and source[0] != "/"):
        source = str(context.directory / source)
    return f"{source}:{rest}"


@shaped(type="string", pattern=r"^[A-Za-z0-9_]")
def _read_user(value: object, context: Context) -> str:
    user = read_line(value, context)
    if not _USER.fullmatch(user):
        raise reject(
            f'{quoted(user)} is not a user of a container: write USER or USER:GROUP, as in "1000:1000"'
        )
    return user


@shaped(type="array", items=shape_of(read_line))
def _read_flags(value: object, context: Context) -> list[str]:
    flags: tuple[str, ...] = array(read_line, example='["--gpus=all"]')(value, context)
    return [*flags]


def _listed(reader: Reader) -> Reader:
    @shaped(**(shape_of(reader) or {}))
    def read(value: object, context: Context) -> list[str]:
        return [*reader(value, context)]

    return read


def _plain(reader: Reader) -> Reader:
    @shaped(**(shape_of(reader) or {}))
    def read(value: object, context: Context) -> str:
        return str(reader(value, context).value)

    return read


KEYS: Keys = keys(
    Key("image", _read_word, about="The image that containers are made of."),
    Key("engine", _plain(choice(Engine)), about='The program: "docker" or "podman".'),
    Key("program", read_line, about="Where the program is; by default the first one on PATH."),
    Key("engine_options", _read_flags, about='Options before its subcommand, as in ["--context=far"].'),
    Key("options", _read_flags, about='More options of its "create", as in ["--gpus=all"].'),
    Key(
        "volumes",
        _listed(array(_read_volume, example='["/srv/data:/data:ro"]')),
        about="Directories and volumes that containers see: SOURCE:TARGET[:ro].",
    ),
    Key("network", _read_word, about='The network, as in "none" or "host".'),
    Key("pull", _plain(choice(Pull)), about="When the image is fetched; by default when it is missing."),
    Key("user", _read_user, about="The user in the container; by default that of the image."),
    Key("use_entrypoint", read_boolean, about="true: commands are arguments of the image's entry point."),
    Key("memory", read_memory, about="The most memory that a container gets."),
    Key("cpu", number(0.01, 10_000), about="The most CPUs that a container gets, as in 1.5."),
    Key("processes", integer(1, 4_194_304), about="The most processes in a container."),
    Key(
        "create_timeout",
        duration("1s"),
        field="create_timeout_ns",
        about="How long it may take to make a container, its image's download included.",
    ),
)
JOB_KEYS: Keys = {}

_INSIDE = "the command runs in a container"
refused: Mapping[str, str] = {
    "umask": f"{_INSIDE}: set it in the command",
    "nice": f"{_INSIDE}: set cpu in [executors], or options",
    "inherit_env": f"{_INSIDE}, which has an environment of its own: set variables with env",
    "limits": f"{_INSIDE}: set memory, cpu and processes in [executors]",
}


def faults(given: Mapping[str, object], values: Values) -> list[Fault]:
    """Return what is wrong with the keys of a table taken together."""
    return [] if "image" in given else [missing('image is missing: an executor of type "container" needs it')]
