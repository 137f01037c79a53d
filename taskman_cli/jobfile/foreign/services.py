"""What a systemd service runs, and as whom, in keys of a job."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.jobfile.foreign.execline import BadLine, ExecLine, read_exec, split_words
from taskman_cli.jobfile.foreign.spans import duration, seconds_of

if TYPE_CHECKING:
    from taskman_cli.jobfile.foreign.imported import Imported, Table
    from taskman_cli.jobfile.foreign.units import Unit

#: What systemd gives every command.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Conditions as tests of a shell.
_TESTS = {
    "ConditionPathExists": "-e", "ConditionPathIsDirectory": "-d", "ConditionFileNotEmpty": "-s",
    "ConditionFileIsExecutable": "-x",
}  # fmt: skip
_SANDBOX = re.compile(
    r"Private\w+|Protect\w+|Restrict\w+|Read(?:Only|Write)Paths|InaccessiblePaths|NoNewPrivileges|Capability\w+"
    r"|AmbientCapabilities|SystemCall\w+|LockPersonality|MemoryDenyWriteExecute|DynamicUser|\w+Directory"
    r"|Temporary\w+|Bind\w+Paths|RootDirectory|DevicePolicy|DeviceAllow|RemoveIPC|ProcSubset|SecureBits|LoadCredential"
)
_NOT_SANDBOX = frozenset({"WorkingDirectory"})
_LIMITS = re.compile(r"Limit\w+|Memory(?!Deny)\w+|CPU\w+|IO\w+|Tasks\w+|OOM\w+|Slice|BlockIO\w+")
_UNITS = ("Requires", "Wants", "BindsTo", "After", "Before", "OnFailure", "OnSuccess")


def read_service(service: Unit, imported: Imported) -> Table | None:
    """Return the keys that a job has from its service; None: it cannot be converted, which is said."""
    for bad in service.bad:
        imported.note(0, f'{service.name}:{bad.line}: not understood: "{bad.text}"')
    commands = _commands(service, imported)
    if commands is None:
        return None
    table: Table = dict(commands)
    table |= _account(service, imported)
    table |= _environment(service, imported)
    table |= _ends(service, imported)
    _tell(service, imported)
    return table


def _commands(service: Unit, imported: Imported) -> Table | None:
    found: dict[str, list[ExecLine]] = {}
    for key in ("ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecStopPost", "ExecStop"):
        for one in service.all("Service", key):
            try:
                found.setdefault(key, []).extend(read_exec(service.expanded(one.value)))
            except BadLine as error:
                imported.problem(0, f"{service.name}:{one.line}: {key}={one.value}: {error}")
                return None
    starts = found.get("ExecStart", [])
    if not starts and not found.get("ExecStop"):
        imported.problem(0, f"{service.name} has no ExecStart=")
        return None
    if any(line.is_privileged for lines in found.values() for line in lines) and service.one(
        "Service", "User"
    ):
        imported.note(0, "+ or ! before a program: it runs as the user here, not as root")
    for key in ("ExecStop", "ExecStopPost"):
        if key in found:
            imported.note(
                0,
                f"{key}= runs after the others, and only if they succeed; under systemd, after a failure too",
            )
    lines = [
        line
        for key in ("ExecStartPre", "ExecStart", "ExecStartPost", "ExecStop", "ExecStopPost")
        for line in found.get(key, [])
    ]
    guards = [
        *_guards(service, imported),
        *(f"{line.command} || exit 0" for line in found.get("ExecCondition", [])),
    ]
    return {"command": _joined(guards, lines)}


def _guards(service: Unit, imported: Imported) -> list[str]:
    """Return the conditions of the unit as commands that end the run quietly."""
    guards = []
    for (section, key), settings in service.settings.items():
        if section != "Unit" or not key.startswith(("Condition", "Assert")):
            continue
        for one in settings:
            test = _TESTS.get(key.replace("Assert", "Condition", 1))
            if test is None or one.value.startswith("|"):
                imported.note(
                    0, f"{service.name}: {key}={one.value} is not checked: the command runs in any case"
                )
                continue
            value = service.expanded(one.value)
            negation = "! " if value.startswith("!") else ""
            path = shlex.quote(value.lstrip("!").strip())
            code = 1 if key.startswith("Assert") else 0  # an assertion fails the run
            guards.append(f"[ {negation}{test} {path} ] || exit {code}")
    return guards


def _joined(guards: list[str], lines: list[ExecLine]) -> str:
    """Join commands: each runs if those before it succeed, or may fail."""
    if not guards and len(lines) == 1:
        return lines[0].command + (" || true" if lines[0].may_fail else "")
    parts = [f"{{ {line.command} || true; }}" if line.may_fail else line.command for line in lines]
    return "\n".join([*guards, " &&\n".join(parts)])


def _account(service: Unit, imported: Imported) -> Table:
    table: Table = {}
    user, group = service.one("Service", "User"), service.one("Service", "Group")
    if service.flag("Service", "DynamicUser") and not user:
        imported.note(0, "DynamicUser=: there is no such user here: the command runs as the user of taskman")
    if user and user.isdigit():
        imported.note(0, f"User={user} is a number: a job file has names; left out")
        user = ""
    table["user"], table["group"] = user, group
    directory = service.one("Service", "WorkingDirectory")
    is_optional = directory.startswith("-")
    directory = directory.removeprefix("-")
    if directory == "~":
        table["cwd"] = "" if user else "~"  # of another user, commands start at home anyway
    elif directory and is_optional and not os.path.isdir(directory):  # noqa: PTH112
        imported.note(0, f"WorkingDirectory=-{directory} does not exist here: commands start in /")
        table["cwd"] = "/"
    else:
        table["cwd"] = directory or "/"
    nice, umask = service.one("Service", "Nice"), service.one("Service", "UMask")
    if re.fullmatch(r"-?\d{1,2}", nice) and -20 <= int(nice) <= 19:
        table["nice"] = int(nice)
    if re.fullmatch(r"[0-7]{1,4}", umask):
        table["umask"] = umask
    return table


def _environment(service: Unit, imported: Imported) -> Table:
    env = {"PATH": _PATH}
    for one in service.all("Service", "Environment"):
        try:
            words = split_words(service.expanded(one.value))
        except BadLine as error:
            imported.note(0, f"Environment={one.value}: {error}: left out")
            continue
        for word, _ in words:
            name, separator, value = word.partition("=")
            if separator and _NAME.fullmatch(name) and "\0" not in value:
                env[name] = value
            else:
                imported.note(0, f"Environment=: {quoted(word)} is no assignment: left out")
    files = []
    for one in service.all("Service", "EnvironmentFile"):
        path = service.expanded(one.value)
        if path.startswith("-"):
            path = path[1:]
            if not os.path.isfile(path):  # noqa: PTH113
                imported.note(0, f"EnvironmentFile=-{path} does not exist here: left out")
                continue
        if "*" in path:
            imported.note(0, f"EnvironmentFile={path}: env_file takes no patterns: left out")
            continue
        files.append(path)
    passed = [name for one in service.all("Service", "PassEnvironment") for name in one.value.split()]
    passed = [name for name in passed if _NAME.fullmatch(name)]
    return {"inherit_env": passed or False, "env": env, "env_file": files}


def _ends(service: Unit, imported: Imported) -> Table:
    """Return how long a command may take, how it is ended, and what counts as success."""
    table: Table = {}
    kind = service.one("Service", "Type")
    limit = service.one("Service", "TimeoutStartSec" if kind == "oneshot" else "RuntimeMaxSec")
    limit = limit or (service.one("Service", "TimeoutSec") if kind == "oneshot" else "")
    seconds = seconds_of(limit)
    if seconds:
        table["timeout"] = duration(seconds)
    stop = seconds_of(service.one("Service", "TimeoutStopSec"))
    if stop:
        table["kill_timeout"] = duration(stop)
    signal = service.one("Service", "KillSignal").removeprefix("SIG")
    if re.fullmatch(r"[A-Z0-9+-]{1,10}", signal):
        table["kill_signal"] = signal
    codes = [word for one in service.all("Service", "SuccessExitStatus") for word in one.value.split()]
    numbers = {word: _exit_code(word) for word in codes}
    if codes:
        table["success_exit_codes"] = sorted({0, *(code for code in numbers.values() if code is not None)})
        if unknown := [word for word, code in numbers.items() if code is None]:
            imported.note(0, f"SuccessExitStatus=: {', '.join(unknown)} counts as a failure here")
    restart = service.one("Service", "Restart")
    if restart not in ("", "no"):
        imported.note(0, f"Restart={restart} is left out: to try again after a failure, set retry")
    if kind in ("forking", "notify", "notify-reload", "dbus"):
        imported.note(0, f"Type={kind}: a run ends when the process ends that was started")
    return table


def _exit_code(word: str) -> int | None:
    """Return the code of a number or a name of sysexits.h; None for another, such as a signal."""
    if word.isdecimal() and len(word) < 4 and int(word) < 256:
        return int(word)
    code = getattr(os, f"EX_{word}", None)
    return code if isinstance(code, int) else None


def _tell(service: Unit, imported: Imported) -> None:
    """Say what of a service has no effect."""
    keys = [key for section, key in service.settings if section == "Service"]
    sandbox = [key for key in keys if _SANDBOX.fullmatch(key) and key not in _NOT_SANDBOX]
    if sandbox:
        imported.note(0, f"{service.name}: taskman makes no sandbox and no directories: {', '.join(sandbox)}")
    limits = [key for key in keys if _LIMITS.fullmatch(key)]
    if limits:
        imported.note(0, f"{service.name}: limits are left out: {', '.join(limits)}")
    outputs = [
        key for key in keys if key in ("StandardOutput", "StandardError", "StandardInput", "SyslogIdentifier")
    ]
    if outputs:
        imported.note(
            0, f"{service.name}: output is kept by taskman (taskman log JOB), not by {', '.join(outputs)}"
        )
    units = [
        f"{key}={' '.join(one.value for one in service.all('Unit', key))}"
        for key in _UNITS
        if service.all("Unit", key)
    ]
    if units:
        imported.note(0, f"{service.name}: other units are left alone: {'; '.join(units)}")
