"""The arguments of `docker` and `podman`, with no value of a variable in them; and what `inspect` says."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable
from taskman_cli.core.limits import OVER_MEMORY, over_memory
from taskman_cli.executors.base import Result, StartFailed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from taskman_cli.executors.base import Order

ENGINES = ("docker", "podman")
#: Labels of a container begin with this.
LABEL = "io.taskman."
#: Variables that mean something to the engine's program itself: it must not inherit them from a job.
_THE_PROGRAMS_OWN = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|LANG|LC_.*|LD_.*|GO.*|GLIBC_.*|MALLOC_.*|XDG_.*|DBUS_.*|SSL_.*|SSH_.*"
    r"|DOCKER_.*|BUILDKIT_.*|CONTAINER.*|PODMAN_.*|BUILDAH_.*|STORAGE_.*|NOTIFY_SOCKET|LISTEN_.*|_.*|.*_proxy|.*_PROXY"
)


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables of a container, by the way that they get into it."""

    #: The text of a file, one variable a line.
    file: str
    #: Those whose values have more than one line: the engine's program inherits them.
    inherited: Mapping[str, str]


def environment_of(order: Order, *, engine: str) -> Environment:
    """Sort the variables of an order by the way that they can go. Raises StartFailed."""
    lines: list[str] = []
    inherited: dict[str, str] = {}
    for name, value in order.env.items():
        if not name or "=" in name or name[0] == "#" or not name.isprintable() or " " in name:
            raise StartFailed(f"{engine} cannot set the variable {name!r}: give it another name")
        try:
            (name + value).encode()
        except UnicodeEncodeError:
            raise StartFailed(f"{engine} cannot set {name}: its value is not UTF-8") from None
        if "\n" not in value and "\r" not in value:
            lines.append(f"{name}={value}\n")
        elif _THE_PROGRAMS_OWN.fullmatch(name):
            raise StartFailed(f"{engine} cannot set {name} to more than one line")
        else:
            inherited[name] = value
    return Environment("".join(lines), inherited)


def program(settings: Mapping[str, Any]) -> list[str]:
    """Return the words that every call of the engine begins with."""
    engine = str(settings.get("engine", "docker"))
    return [str(settings.get("program", engine)), *map(str, settings.get("engine_options", ()))]


def name_of(order: Order) -> str:
    """Return the name of an attempt's container."""
    return f"taskman-{order.handle}"


def create(
    settings: Mapping[str, Any],
    order: Order,
    *,
    inherited: Collection[str],
    env_file: str,
    cid_file: str,
    labels: Mapping[str, str],
) -> list[str]:
    """Return the call that makes an attempt's container; it prints the id. Raises StartFailed."""
    words = [*program(settings), "create", "--init", "--name", name_of(order), "--cidfile", cid_file]
    for label, value in labels.items():
        words += ["--label", f"{LABEL}{label}={value}"]
    words += ["--env-file", env_file]
    for name in inherited:
        words += ["--env", name]
    words += _placement(settings, order)
    words += _limits(settings)
    words += map(str, settings.get("options", ()))
    command = _command(order)
    if not settings.get("use_entrypoint", False):
        words += ["--entrypoint", command.pop(0)]
    return [*words, str(settings["image"]), *command]


def _placement(settings: Mapping[str, Any], order: Order) -> list[str]:
    """Return the flags that say as whom, where, and with what of this machine it runs."""
    words: list[str] = []
    if order.stdin is not None:
        words.append("--interactive")
    if order.user is not None:
        uid, gid, groups = order.user
        words += ["--user", f"{uid}:{gid}"]
        for group in groups:
            words += ["--group-add", str(group)]
    elif settings.get("user"):
        words += ["--user", str(settings["user"])]
    if order.cwd is not None:
        words += ["--workdir", order.cwd]
    for volume in settings.get("volumes", ()):
        words += ["--volume", str(volume)]
    for key in ("network", "pull"):
        if settings.get(key):
            words += [f"--{key}", str(settings[key])]
    return words


def _limits(settings: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    if (memory := settings.get("memory")) is not None:
        # Swap would make it slow instead of ending it.
        words += ["--memory", str(memory), "--memory-swap", str(memory)]
    if (cpu := settings.get("cpu")) is not None:
        words += ["--cpus", f"{cpu:g}"]
    if (processes := settings.get("processes")) is not None:
        words += ["--pids-limit", str(processes)]
    return words


def _command(order: Order) -> list[str]:
    if order.command is None:
        raise StartFailed("there is no command that a container could run")
    words = ["/bin/sh", "-c", order.command] if isinstance(order.command, str) else list(order.command)
    try:
        "".join(words).encode()
    except UnicodeEncodeError:
        raise StartFailed("its command is not UTF-8, which no container can be given") from None
    return words


# --- what inspect says ---


@dataclass(frozen=True, slots=True)
class State:
    """How a container stands."""

    status: str
    has_started: bool
    exit_code: int
    is_out_of_memory: bool
    error: str

    @property
    def is_over(self) -> bool:
        """Whether it ran and has ended."""
        return self.has_started and self.status in ("exited", "dead", "stopped")


def state_in(text: bytes) -> State | None:
    """Return the state of the only container that `inspect` told of; None: it makes no sense."""
    try:
        (found,) = json.loads(text)
        state = found["State"]
        return State(
            status=str(state["Status"]).lower(),
            has_started=not str(state["StartedAt"]).startswith("0001-"),
            exit_code=int(state["ExitCode"]),
            is_out_of_memory=bool(state.get("OOMKilled", False)),
            error=printable(str(state.get("Error") or "")),
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def result_of(state: State, *, sent: Collection[int], memory: int | None) -> Result:
    """Return how a container ended, of which these signals were asked.

    An engine tells a death by a signal as exit code 128 and the number, like a shell. It is told as a signal
    where we sent it, or the kernel did for want of memory.
    """
    code = state.exit_code & 255
    if state.is_out_of_memory:
        words = over_memory(memory) if memory else OVER_MEMORY
        return Result(signal=signal.SIGKILL, error=words)
    if code > 128 and code - 128 in sent:
        return Result(signal=code - 128)
    return Result(exit_code=code, error=state.error)
