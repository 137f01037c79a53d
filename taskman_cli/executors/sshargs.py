"""The arguments of the `ssh` program: nothing of a job is in them, and no host is taken for an option."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable, quoted
from taskman_cli.core.sshoptions import FIXED, HOST, USER, option_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A silent line is given up after 45 s; a job file may say otherwise.
_DEFAULTS = {"ServerAliveInterval": "15", "ServerAliveCountMax": "3"}
#: How long a connection may take, if the job file does not say, in nanoseconds.
CONNECT_TIMEOUT_NS = 15_000_000_000


def arguments(settings: Mapping[str, Any], *, control_path: str = "", is_master: bool = False) -> list[str]:
    """Return the words of a call, all but the remote command. Raises ValueError for settings that are odd."""
    host, user = str(settings.get("host", "")), str(settings.get("user", ""))
    if not HOST.fullmatch(host):
        raise ValueError(f"{quoted(host)} is not the name of a host")
    timeout_s = max(1, round(settings.get("connect_timeout_ns", CONNECT_TIMEOUT_NS) / 1e9))
    # ssh takes the first value that it gets of an option.
    options = FIXED | {
        "ConnectTimeout": str(timeout_s),
        "ControlMaster": "yes" if is_master else "no",
        "ControlPath": control_path.replace("%", "%%") or "none",
    }
    words = [str(settings.get("program", "ssh")), "-T", "-e", "none"]
    for name, value in options.items():
        words += ["-o", f"{name}={value}"]
    for name, value in settings.get("options", {}).items():
        if fault := option_fault(name):
            raise ValueError(f"option {quoted(name)}: {fault}")
        if not str(value).isprintable():
            raise ValueError(f"option {quoted(name)}: its value has characters that ssh cannot take")
        words += ["-o", f"{name}={value}"]
    for name, value in _DEFAULTS.items():
        words += ["-o", f"{name}={value}"]
    if user:
        if not USER.fullmatch(user):
            raise ValueError(f"{quoted(user)} is not the name of a user")
        words += ["-l", user]
    return [*words, "--", host]


def by_hand(settings: Mapping[str, Any]) -> str:
    """Return the command by which a person can try whether a login works."""
    words = [str(settings.get("program", "ssh")), "-o", "BatchMode=yes"]
    for name, value in settings.get("options", {}).items():
        words += ["-o", f"{name}={value}"]
    if settings.get("user"):
        words += ["-l", str(settings["user"])]
    return printable(shlex.join([*words, str(settings["host"]), "true"]))
