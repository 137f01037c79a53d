"""The keys of `[executors.NAME]` with `type = "dask"`: commands on the workers of a Dask cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping

from taskman_cli.core.escapes import quoted
from taskman_cli.jobfile.problems import Fault, Rejected, reject
from taskman_cli.jobfile.shapes import shape_of, shaped, whole
from taskman_cli.jobfile.tables import Key, Keys, Values, keys, missing, read_table, table_shape
from taskman_cli.jobfile.units import duration, read_path
from taskman_cli.jobfile.values import NAME, Context, array, check_name, mistyped, read_boolean, read_line

_ADDRESS = re.compile(r"(tls|tcp)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})", re.ASCII)
_TLS = "tls://"
_WHOLE_TLS = "{ ca, cert, key }: files in PEM format"

TLS_KEYS: Keys = keys(
    Key("ca", read_path, about="The certificate of the cluster's authority."),
    Key("cert", read_path, about="taskman's own certificate, made by that authority."),
    Key("key", read_path, about="Its key."),
)


@shaped(type="string", pattern=whole(_ADDRESS.pattern))
def _read_address(value: object, context: Context) -> str:
    address = read_line(value, context)
    match = _ADDRESS.fullmatch(address)
    if match is None or not 1 <= int(match[3]) <= 65535:
        example = '"tls://scheduler.example.org:8786"'
        raise reject(f"{quoted(address)} is not the address of a Dask scheduler: write it as in {example}")
    return address


@shaped(**table_shape(TLS_KEYS))
def _read_tls(value: object, context: Context) -> dict[str, str]:
    if type(value) is not dict:
        raise mistyped(value, "a table", f": write it as in tls = {_WHOLE_TLS}")
    values, faults = read_table(value, TLS_KEYS, context)
    faults += [
        missing(f"{name} is missing: tls needs {_WHOLE_TLS}") for name in TLS_KEYS if name not in value
    ]
    if faults:
        raise Rejected(*faults)
    return dict(values)


@shaped(type="string", pattern=whole(NAME.pattern))
def _read_name(value: object, context: Context) -> str:
    name = read_line(value, context)
    check_name(name, "resource")
    return name


@shaped(type="array", items=shape_of(_read_name))
def _read_names(value: object, context: Context) -> list[str]:
    return [*array(_read_name, example='["gpu"]')(value, context)]


KEYS: Keys = keys(
    Key("address", _read_address, about="Dask's scheduler, as in tls://scheduler.example.org:8786."),
    Key("tls", _read_tls, about="The certificates: ca, cert and key, files in PEM format."),
    Key(
        "insecure",
        read_boolean,
        about="true: connections without TLS, as to tcp://; whoever reaches the cluster can run code on it.",
    ),
    Key(
        "direct",
        read_boolean,
        about="false: workers are reached through the scheduler alone, which takes longer.",
    ),
    Key(
        "resources",
        _read_names,
        about="Resources of jobs that a worker has to declare, even while no worker that does is there.",
    ),
    Key(
        "orphan_after",
        duration("2s"),
        field="orphan_after_ns",
        about="A worker's machine ends a command when it has heard nothing of taskman for so long.",
    ),
    Key(
        "connect_timeout",
        duration("1s"),
        field="connect_timeout_ns",
        about="How long a connection may take.",
    ),
)
JOB_KEYS: Keys = {}

_THERE = "the command runs on a worker of the cluster"
refused: Mapping[str, str] = {
    "user": f"{_THERE}, as the user of the worker",
    "group": f"{_THERE}, as the user of the worker",
    "inherit_env": f"{_THERE}, which has an environment of its own: set variables with env",
    "limits": f"{_THERE}: set limits there",
}


def faults(given: Mapping[str, object], values: Values) -> list[Fault]:
    """Return what is wrong with the keys of a table taken together."""
    found = []
    if "address" not in given:
        found.append(missing('address is missing: an executor of type "dask" needs that of its scheduler'))
    address = values.get("address", "")
    if address.startswith(_TLS):
        if "tls" not in given:
            found.append(missing(f"tls is missing: an address with tls:// needs tls = {_WHOLE_TLS}"))
        if values.get("insecure"):
            found.append(Fault(("insecure",), "not with an address with tls://: leave it out", at_key=True))
    elif address:
        if "tls" in given:
            found.append(Fault(("tls",), "not with an address with tcp://: write tls://", at_key=True))
        if not values.get("insecure"):
            words = (
                "without TLS, whoever reaches the cluster can run code on it: write tls://, "
                "or set insecure = true where nobody else does"
            )
            found.append(Fault(("address",), words))
    orphan_ns, lost_ns = values.get("orphan_after"), values.get("lost_after", 300_000_000_000)
    if orphan_ns is not None and orphan_ns >= lost_ns:
        words = (
            "must be shorter than lost_after (5m, if it is not given): "
            "a command that counts as lost must not go on"
        )
        found.append(Fault(("orphan_after",), words))
    return found
