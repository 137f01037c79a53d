"""The files of systemd units: a timer, its service, and what `*.d/*.conf` adds to them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from taskman_cli.jobfile.foreign.inilines import BadSetting, Setting, read_settings
from taskman_cli.jobfile.source import read_bytes

#: Where systemd looks for the units of the system, the first first.
SYSTEM = tuple(
    Path(name)
    for name in (
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
    )
)
#: These assemble a list; an empty value empties it.
_LIST_KEYS = (
    "OnCalendar OnActiveSec OnBootSec OnStartupSec OnUnitActiveSec OnUnitInactiveSec ExecStart ExecStartPre"
    " ExecStartPost ExecCondition ExecStop ExecStopPost Environment EnvironmentFile PassEnvironment"
    " SuccessExitStatus OnFailure OnSuccess Requires Wants After Before BindsTo"
)
_LISTS = frozenset(_LIST_KEYS.split())
#: The specifiers of a unit of the system that are the same on every machine.
_MACHINE = {
    "t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc", "T": "/tmp",  # noqa: S108
    "V": "/var/tmp",  # noqa: S108
    "h": "/root", "u": "root", "U": "0", "g": "root", "G": "0", "s": "/bin/sh",
}  # fmt: skip
_SPECIFIER = re.compile(r"%(.)")


@dataclass(slots=True)
class Unit:
    """The settings of one unit."""

    name: str
    #: By section and key: the values with their lines.
    settings: dict[tuple[str, str], list[Setting]] = field(default_factory=dict)
    bad: list[BadSetting] = field(default_factory=list)
    #: Specifiers that are not known.
    unknown: set[str] = field(default_factory=set)

    def read(self, text: str) -> None:
        """Add the settings of a text."""
        for one in read_settings(text):
            if isinstance(one, BadSetting):
                self.bad.append(one)
                continue
            values = self.settings.setdefault((one.section, one.key), [])
            is_list = one.key in _LISTS or one.key.startswith(("Condition", "Assert"))
            if not is_list or not one.value:
                values.clear()
            if one.value:
                values.append(one)

    def all(self, section: str, key: str) -> list[Setting]:
        """Return the values of a list."""
        return self.settings.get((section, key), [])

    def one(self, section: str, key: str) -> str:
        """Return the last value of a key, or ""."""
        found = self.all(section, key)
        return self.expanded(found[-1].value) if found else ""

    def line(self, section: str, key: str) -> int:
        """Return where a key is set."""
        found = self.all(section, key)
        return found[-1].line if found else 1

    def flag(self, section: str, key: str) -> bool:
        """Tell whether a setting is on."""
        return self.one(section, key).lower() in ("1", "yes", "y", "true", "t", "on")

    def expanded(self, value: str) -> str:
        """Replace the specifiers that do not depend on the machine."""
        stem = self.name.rpartition(".")[0]
        prefix, _, instance = stem.partition("@")
        known = {
            "%": "%", "n": self.name, "N": stem, "p": prefix, "i": instance, "I": instance.replace("-", "/"),
            "j": prefix.rpartition("-")[2], **_MACHINE,
        }  # fmt: skip

        def replacement(match: re.Match[str]) -> str:
            if match[1] not in known:
                self.unknown.add(match[0])
            return known.get(match[1], match[0])

        return _SPECIFIER.sub(replacement, value)


def read_unit(name: str, text: str, *, beside: Path | None) -> Unit:
    """Return a unit from its text, with the settings of its drop-ins in the directory `beside`."""
    unit = Unit(name)
    unit.read(text)
    for path in () if beside is None else sorted((beside / f"{name}.d").glob("*.conf")):
        unit.read(read_bytes(path).decode("utf-8", "replace"))
    return unit


def find_unit(name: str, beside: Path) -> Path | None:
    """Return the file of a unit: beside another one, or where systemd looks if that is there."""
    template = re.sub(r"@[^@]*\.", "@.", name)
    directory = beside.absolute()
    for place in (directory, *(SYSTEM if directory in SYSTEM else ())):
        for one in (name, template):
            if (place / one).is_file():
                return place / one
    return None
