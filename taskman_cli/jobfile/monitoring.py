"""The keys of `[metrics]`."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

from taskman_cli.core.escapes import quoted
from taskman_cli.jobfile.problems import reject
from taskman_cli.jobfile.shapes import shaped
from taskman_cli.jobfile.tables import Key, keys
from taskman_cli.jobfile.units import read_path
from taskman_cli.jobfile.values import Context, mistyped, read_boolean, unless_none

_EXAMPLE = '"127.0.0.1:9464"'
_ADDRESS = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*):(?P<port>[0-9]{1,5})", re.ASCII)
_MOST_PORT = 65_535
#: What collectors of text files look for.
_SUFFIX = ".prom"


@shaped(type="string", minLength=1)
def read_listen(value: object, context: Context) -> str:
    """Read where to listen: an address with a port, or the path of a socket, made absolute."""
    if type(value) is not str:
        raise mistyped(value, "an address with a port, or a path", f": write it as in {_EXAMPLE}")
    if "/" in value and ":" not in value.partition("/")[0]:
        return read_path(value, context)
    match = _ADDRESS.fullmatch(value)
    if match is None or int(match["port"]) > _MOST_PORT:
        raise reject(
            f"{quoted(value)} is not an address with a port: write it as in {_EXAMPLE} or "
            '"[::1]:9464", or the path of a socket, as in "/run/taskman/metrics.sock"'
        )
    return f"{_host(match['host'], value)}:{int(match['port'])}"


def _host(host: str, value: str) -> str:
    """Return a host in the usual form: a name would have to be looked up each time, and could change."""
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ip_address(host[1:-1] if host.startswith("[") else host)
    except ValueError:
        raise reject(
            f"{quoted(value)} does not begin with an IP address: write 127.0.0.1 for this machine alone, "
            "0.0.0.0 or [::] for all that can reach it"
        ) from None
    if isinstance(address, IPv6Address) != host.startswith("["):
        raise reject(f"{quoted(value)} has its brackets wrong: only IPv6 addresses have them")
    return f"[{address}]" if host.startswith("[") else str(address)


@shaped(type="string", minLength=1)
def read_textfile(value: object, context: Context) -> str:
    """Read the path of a file for a collector of text files, and make it absolute."""
    path = read_path(value, context)
    if not path.endswith(_SUFFIX):
        raise reject(f"{quoted(path)} must end in {_SUFFIX}: collectors read no other files")
    return path


METRICS_KEYS = keys(
    Key(
        "listen",
        unless_none(read_listen),
        field="metrics_listen",
        about="Where metrics are served over HTTP: an IP address and a port, or the path of a Unix socket.",
    ),
    Key(
        "textfile",
        unless_none(read_textfile),
        field="metrics_textfile",
        about="The file that metrics are written to, for the textfile collector of node_exporter.",
    ),
    Key("jobs", read_boolean, field="metrics_jobs", about="false: no metrics of single jobs."),
)
