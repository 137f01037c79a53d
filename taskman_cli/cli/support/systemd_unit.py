"""The text of systemd units for taskman: pure functions of what the unit is for.

Each line that takes something away from jobs says what, so that people can leave out what their jobs need.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: What stands in a template for the instance, and for its job file: systemd replaces them.
INSTANCE, INSTANCE_FILE = "%i", "%E/taskman/%i.toml"
#: The watchdog waits this many times as long as a scheduler may hang until it is replaced, or this long.
WATCHDOG_TIMES, WATCHDOG_LEAST_S = 5, 300
#: The most that `systemd-analyze security` gives the units that are printed here, system's and user's.
EXPOSURE, USER_EXPOSURE = 4.0, 6.7

_PLAIN = re.compile(r"[A-Za-z0-9_@/.,:=+%-]+")
#: What systemd refuses in the path of an executable.
_REFUSED = re.compile(r"""["'\\\x00-\x1f\x7f]""")


@dataclass(frozen=True, slots=True)
class UnitFor:
    """What a unit is for. Paths are absolute."""

    #: The words that call taskman.
    program: tuple[str, ...]
    #: The arguments of `taskman run`.
    arguments: tuple[str, ...]
    #: The instance; "": the one without a name; `INSTANCE`: a template.
    name: str = ""
    is_user: bool = False
    #: Files and directories that have to be there before it starts.
    needs: tuple[str, ...] = ()
    hang_after_ns: int | None = 60 * SECOND_NS
    #: The sendmail that sinks or jobs use has the rights of another user.
    sends_mail: bool = False
    #: Variables of the user's that say where the state is.
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def unit(self) -> str:
        """Return the name of the unit."""
        if self.name == INSTANCE:
            return "taskman@.service"
        return f"taskman-{self.name}.service" if self.name else "taskman.service"

    @property
    def service(self) -> str:
        """Return what people call it in commands."""
        return self.unit.replace("@.", "@NAME.").removesuffix(".service")


_MAIL = """\
# What has a # is left out, since the job files have mail sent with the machine's sendmail.
"""

_NO_PRIVILEGES = """\
# Jobs cannot use programs with the rights of another user or group: sudo, su, crontab, ping, sendmail.
NoNewPrivileges=yes
"""

_SYSTEM_LIMITS = """\
# Jobs of root may read and change all files and become other users, but may not mount, configure the
# network, load modules or make devices. taskman itself needs SETUID, SETGID and KILL for jobs of
# other users, SYS_PTRACE to find what they leave behind, SYS_NICE for a negative `nice`, and
# SYS_RESOURCE to raise limits.
CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_KILL CAP_SYS_PTRACE CAP_SYS_NICE CAP_SYS_RESOURCE
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID
CapabilityBoundingSet=CAP_AUDIT_WRITE CAP_NET_BIND_SERVICE
# Jobs cannot write to /usr, /boot and /etc: no package upgrades, no new certificates in /etc. Name
# what they do write to: ReadWritePaths=/etc/letsencrypt
ProtectSystem=full
# No disks, tapes, serial ports or /dev/fuse: no smartctl, no dd of a disk.
PrivateDevices=yes
# No sysctl.
ProtectKernelTunables=yes
# No modprobe.
ProtectKernelModules=yes
# No dmesg.
ProtectKernelLogs=yes
# No cgroups of their own, as containers have.
ProtectControlGroups=yes
# Jobs cannot set the clock: no ntpdate.
ProtectClock=yes
# No hostname.
ProtectHostname=yes
"""

_ALL_LIMITS = """\
# Jobs cannot make files with set-user-ID or set-group-ID bits, as restoring a backup of /usr would.
RestrictSUIDSGID=yes
# No containers and no sandboxes such as bwrap.
RestrictNamespaces=yes
# No real-time scheduling.
RestrictRealtime=yes
# No raw packets: no tcpdump, no arping.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
# No setarch.
LockPersonality=yes
# No 32-bit programs on a 64-bit machine.
SystemCallArchitectures=native
# No strace and gdb, no mount and chroot. They fail; nothing is killed for it.
SystemCallFilter=~@clock @cpu-emulation @debug @module @mount @obsolete @raw-io @reboot @swap
SystemCallErrorNumber=EPERM
"""

_FURTHER_SYSTEM = """
# These cost more. Take the # away from those that your jobs can do without.
# A /tmp of their own: jobs cannot clean up that of the machine, or exchange files in it.
#PrivateTmp=yes
# No job writes to a home directory. With `yes`, none reads one: there is no backup of them either.
#ProtectHome=read-only
# Jobs can write to the state directory, /dev, /proc, /sys and ReadWritePaths= only.
#ProtectSystem=strict
# No programs that make code at run time: Java, Node.js, PyPy.
#MemoryDenyWriteExecute=yes
"""


def unit_text(unit: UnitFor) -> str:
    """Return the text of a unit."""
    target = "default" if unit.is_user else "multi-user"
    return "\n".join(_lines(unit)) + f"\n{_limits(unit)}\n[Install]\nWantedBy={target}.target\n"


def _lines(unit: UnitFor) -> Iterator[str]:
    scope = " --user" if unit.is_user else ""
    run = command_line([*unit.program, "run", *_instance(unit), *unit.arguments])
    yield f"# {_place(unit)}"
    yield f"# Then: systemctl{scope} daemon-reload && systemctl{scope} enable --now {unit.service}"
    if unit.is_user:
        yield "# It runs while you are logged in; to let it run always: loginctl enable-linger"
    yield from ("", "[Unit]")
    yield f"Description=taskman{f' ({unit.name})' if unit.name else ''}: jobs on a schedule"
    if not unit.is_user:
        yield "After=remote-fs.target nss-user-lookup.target time-sync.target"
    if needed := [path.replace("%", "%%") for path in unit.needs if _PLAIN.fullmatch(path)]:
        yield f"RequiresMountsFor={' '.join(needed)}"
    yield "# After a crash it is started again, however often."
    yield "StartLimitIntervalSec=0"
    yield from ("", "[Service]", "Type=notify")
    for name, value in unit.environment:
        yield f"Environment={_quoted(f'{name}={value}')}"
    yield f"ExecStart={run}"
    yield "# Says what changed, or what is wrong with the job files; then the jobs stay as they are."
    yield f"ExecReload={command_line([*unit.program, 'reload', *_instance(unit)])}"
    yield f"SyslogIdentifier={unit.service.replace('NAME', INSTANCE)}"
    if not unit.is_user:
        yield "# For root, commands such as `taskman status` look there."
        yield "StateDirectory=taskman"
        yield "StateDirectoryMode=0700"
    yield f"RuntimeDirectory={_runtime(unit)}"
    yield "RuntimeDirectoryMode=0700"
    yield "# A ledger of an earlier version, or very many jobs, may take long."
    yield "TimeoutStartSec=5min"
    yield "Restart=on-failure"
    yield "RestartSec=2s"
    yield "# Bites if what is due is not done, although the scheduler was replaced; longer than `hang_after`."
    yield f"WatchdogSec={_watchdog_s(unit)}s"
    yield "# taskman ends its commands itself, and asks for more time if their `kill_timeout` is longer."
    yield "KillMode=mixed"
    yield "TimeoutStopSec=90s"
    yield "# A job that runs out of memory fails; the others go on."
    yield "OOMPolicy=continue"
    yield "# A CPU group of its own: without it, each command begins in a new one, behind all that computes."
    yield "# With it, taskman and its commands together get as much of the CPUs as one other service."
    yield "CPUWeight=100"
    yield from ("", "# What jobs cannot do; leave out the lines that yours cannot run with.")


def _limits(unit: UnitFor) -> str:
    first, others = _NO_PRIVILEGES, _ALL_LIMITS if unit.is_user else _SYSTEM_LIMITS + _ALL_LIMITS
    if unit.sends_mail:
        first = _MAIL + _left_out(first)
        if unit.is_user:  # a user gets the others only together with it
            others = _left_out(others)
    return first + others + ("" if unit.is_user else _FURTHER_SYSTEM)


def _left_out(lines: str) -> str:
    return re.sub(r"^(?=\w)", "#", lines, flags=re.M)


def _place(unit: UnitFor) -> str:
    """Return where the unit belongs."""
    folder = "~/.config/systemd/user" if unit.is_user else "/etc/systemd/system"
    return f"{folder}/{unit.unit}"


def _instance(unit: UnitFor) -> tuple[str, ...]:
    return ("-i", unit.name) if unit.name else ()


def _runtime(unit: UnitFor) -> str:
    """Return its runtime directory: one for each unit, since systemd removes it with what is in it."""
    return f"taskman-{unit.name}" if unit.name else "taskman"


def _watchdog_s(unit: UnitFor) -> int:
    return max(WATCHDOG_LEAST_S, WATCHDOG_TIMES * (unit.hang_after_ns or 0) // SECOND_NS)


def command_line(words: Sequence[str]) -> str:
    """Write a command line for ExecStart=; the first word is the path of a program."""
    program, *arguments = words
    if _REFUSED.search(program) or "\udc80" <= max(program) <= "\udcff":
        program, arguments = "/usr/bin/env", [program, *arguments]
    # No variable is looked for in the path.
    return " ".join([_quoted(program), *(_quoted(word).replace("$", "$$") for word in arguments)])


def _quoted(word: str) -> str:
    r"""Write one word as systemd.syntax(7) has it: quoted if need be, `%%` for `%`, `\xe9` for a byte."""
    if word in (INSTANCE, INSTANCE_FILE):
        return word
    text = "".join(map(_escaped, word)).replace("%", "%%")
    return text if _PLAIN.fullmatch(word) else f'"{text}"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def tmpfiles_text(*, is_user: bool, ephemeral: str) -> str:
    """Return lines for systemd-tmpfiles; `ephemeral`: how the names of throw-away states begin."""
    if is_user:
        return (
            "# ~/.config/user-tmpfiles.d/taskman.conf; then: systemd-tmpfiles --user --create\n"
            "# Throw-away states (`taskman run --ephemeral`) are not cleaned away while they are used.\n"
            f"x /tmp/{ephemeral}*\n"
        )
    return (
        "# /etc/tmpfiles.d/taskman.conf; then: systemd-tmpfiles --create\n"
        "# The job files, which only root may change.\n"
        "d /etc/taskman 0755 root root -\n"
        "# The state, also for a taskman that is not started by a unit.\n"
        "d /var/lib/taskman 0700 root root -\n"
        "# Throw-away states (`taskman run --ephemeral`) are not cleaned away while they are used.\n"
        f"x /tmp/{ephemeral}*\n"
        f"x /tmp/.{ephemeral}*\n"
    )
