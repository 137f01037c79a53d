"""The keys of `[executors.NAME]` with `type = "ssh"`: commands on another machine."""

from __future__ import annotations

from collections.abc import Mapping

from taskman_cli.core.escapes import quoted
from taskman_cli.core.sshoptions import HOST, OPTION, USER, option_fault
from taskman_cli.jobfile.problems import Fault, Rejected, reject
from taskman_cli.jobfile.shapes import named, shaped, whole
from taskman_cli.jobfile.tables import Key, Keys, Values, keys, missing
from taskman_cli.jobfile.units import duration
from taskman_cli.jobfile.values import Context, mistyped, read_boolean, read_line


@shaped(type="string", pattern=whole(HOST.pattern))
def _read_host(value: object, context: Context) -> str:
    host = read_line(value, context)
    if "@" in host:
        raise reject(f"{quoted(host)} is not a host: write what is before the @ as user")
    if not HOST.fullmatch(host):
        raise reject(f"{quoted(host)} is not a host: write a name of ssh_config, a DNS name or an address")
    return host


@shaped(type="string", pattern=whole(USER.pattern))
def _read_user(value: object, context: Context) -> str:
    user = read_line(value, context)
    if not USER.fullmatch(user):
        raise reject(f"{quoted(user)} is not the name of a user")
    return user


@shaped(**named(OPTION.pattern, {"type": ["string", "integer", "boolean"]}))
def _read_options(value: object, context: Context) -> dict[str, str]:
    if type(value) is not dict:
        raise mistyped(value, "a table", ": write it as in { Port = 2222 }")
    options: dict[str, str] = {}
    faults: list[Fault] = []
    for name, given in value.items():
        if fault := option_fault(name):
            faults.append(Fault((name,), fault, at_key=True))
        elif type(given) is bool:
            options[name] = "yes" if given else "no"
        elif type(given) is int:
            options[name] = str(given)
        else:
            try:
                options[name] = read_line(given, context)
            except Rejected as error:
                faults += error.under(name)
    if faults:
        raise Rejected(*faults)
    return options


KEYS: Keys = keys(
    Key("host", _read_host, about="The machine: a name of ssh_config, a DNS name or an address."),
    Key("user", _read_user, about="The user there; by default as ssh's configuration says."),
    Key("options", _read_options, about="Options of ssh_config, as in { Port = 2222 }."),
    Key("program", read_line, about="The ssh program; by default the first one on PATH."),
    Key(
        "directory",
        read_line,
        about="Where running commands are kept there, relative to the home directory.",
    ),
    Key(
        "connect_timeout",
        duration("1s"),
        field="connect_timeout_ns",
        about="How long a connection may take.",
    ),
    Key("multiplex", read_boolean, about="false: each command has a connection of its own."),
)
JOB_KEYS: Keys = {}

_THERE = "the command runs on another machine"
refused: Mapping[str, str] = {
    "user": f"{_THERE}: set user in [executors]",
    "group": _THERE,
    "inherit_env": f"{_THERE}, which has an environment of its own: set variables with env",
    "limits": f"{_THERE}: set limits there",
}


def faults(given: Mapping[str, object], values: Values) -> list[Fault]:
    """Return what is wrong with the keys of a table taken together."""
    return [] if "host" in given else [missing('host is missing: an executor of type "ssh" needs it')]
