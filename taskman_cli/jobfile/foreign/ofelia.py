"""ofelia's INI files as jobs: those in containers with docker exec or docker run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.jobfile.crontab.names import unique
from taskman_cli.jobfile.foreign.expressions import CannotSay, Days, schedule_of
from taskman_cli.jobfile.foreign.imported import Imported, Table, job_name
from taskman_cli.jobfile.foreign.inilines import BadSetting, Setting, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

_WAYS = (
    "As under ofelia: runs of a job may overlap unless it has no-overlap, and missed runs are not caught up.",
    "Jobs in containers need the docker command here.",
)
_SECTION = re.compile(r"(?P<kind>job-[a-z-]+)\s+\"(?P<name>[^\"]*)\"")
_KINDS = frozenset({"job-exec", "job-run", "job-local", "job-service-run"})
_TRUE = frozenset({"true", "yes", "on", "1", ""})
_BARE = re.compile(r"[A-Za-z-]+")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
#: Settings of `docker run` by their names in ofelia.
_RUN = {
    "user": "--user", "network": "--network", "volume": "--volume", "volumes-from": "--volumes-from",
    "hostname": "--hostname", "entrypoint": "--entrypoint", "environment": "--env",
}  # fmt: skip
_KNOWN = {
    "job-exec": {"container", "user", "tty", "environment"},
    "job-run": {*_RUN, "image", "container", "tty", "delete", "pull"},
    "job-local": {"dir", "environment"},
    "job-service-run": {"image", "network", "user", "tty", "delete"},
}
_ALWAYS = frozenset({"schedule", "command", "no-overlap"})


@dataclass(slots=True)
class _Section:
    kind: str
    name: str
    line: int
    settings: dict[str, list[str]] = field(default_factory=dict)

    def one(self, key: str) -> str:
        return self.settings.get(key, [""])[-1]

    def flag(self, key: str) -> bool:
        return key in self.settings and self.one(key).lower() in _TRUE


def from_ofelia(text: str, *, path: str, taken: dict[str, int]) -> Imported:
    """Convert a file."""
    imported = Imported(path, text.replace("\r\n", "\n"), ways=_WAYS)
    sections: dict[str, _Section] = {}
    others: dict[str, int] = {}
    for one in read_settings(text):
        if isinstance(one, BadSetting):
            if not (one.section and _BARE.fullmatch(one.text)):
                imported.problem(one.line, f"{quoted(one.text[:60])} is no setting: KEY = VALUE")
                continue
            one = Setting(one.section, one.text, "true", one.line)
        match = _SECTION.fullmatch(one.section)
        if match is None or match["kind"] not in _KINDS:
            others.setdefault(one.section, one.line)
            continue
        section = sections.setdefault(one.section, _Section(match["kind"], match["name"], one.line))
        value, comment = _value(one.value)
        if comment and one.key.lower() == "command":
            imported.note(one.line, f"as in ofelia, what follows is a comment: {comment[:60]}")
        section.settings.setdefault(one.key.lower(), []).append(value)
    for name, line in others.items():
        imported.note(line, f"[{name}] is left out: taskman sends no mail or messages yet")
    for section in sections.values():
        _add(section, imported, taken)
    if not sections and not imported.problems:
        imported.problem(0, 'there are no jobs in it, such as [job-exec "NAME"]')
    return imported


def _value(text: str) -> tuple[str, str]:
    """Return a value and the comment after it: it begins with a # or ; outside of quotes."""
    written, quote, at = "", "", 0
    while at < len(text) and (quote or text[at] not in "#;"):
        char = text[at]
        if char == "\\" and (quote == '"' or text.startswith('"', at + 1)):
            written += text[at : at + 2] if quote == '"' else '"'
            at += 2
            continue
        if char == quote:
            quote = ""
        elif char in "\"'" and not quote:
            quote = char
        written += char
        at += 1
    written = written.rstrip()
    if len(written) > 1 and written[0] == written[-1] == '"':
        written = written[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return written, text[at:]


def _add(section: _Section, imported: Imported, taken: dict[str, int]) -> None:
    label = f'[{section.kind} "{section.name}"]'
    try:
        schedule = schedule_of(section.one("schedule"), days=Days.EITHER)
    except CannotSay as error:
        imported.problem(section.line, f"{label}: the schedule {quoted(section.one('schedule'))}: {error}")
        return
    env = [word for word in section.settings.get("environment", ()) if _ASSIGNMENT.fullmatch(word)]
    command = _command(section, env)
    if command is None:
        needed = {"job-exec": "a container and a command", "job-local": "a command"}.get(
            section.kind, "an image"
        )
        imported.problem(section.line, f"{label} needs {needed}")
        return
    name = unique(job_name(section.name), taken)
    table: Table = {
        "description": section.name if job_name(section.name) != section.name else "",
        **schedule,
        "command": command,
        "overlap": "skip" if section.flag("no-overlap") else "allow",
        "timeout": "none",
        "on_missed": "skip",
    }
    if section.kind == "job-local":
        table["cwd"] = section.one("dir")
        table["env"] = dict(word.split("=", 1) for word in env)
    imported.add(name, section.line, table)
    if section.kind != "job-local":
        imported.note(section.line, f"{section.kind}: the command is run with docker", job=name)
    left = sorted(set(section.settings) - _KNOWN[section.kind] - _ALWAYS)
    if left:
        imported.note(section.line, f"not known, and left out: {', '.join(left)}", job=name)


def _command(section: _Section, env: Sequence[str]) -> str | list[str] | None:
    command = section.one("command")
    if section.kind == "job-local":
        return command or None
    words = _words(command)
    if section.kind == "job-exec":
        container = section.one("container")
        if not container or not words:
            return None
        options = [*_pairs("--user", [section.one("user")]), *_pairs("--env", env)]
        return shlex.join(["docker", "exec", *options, container, *words])
    if not section.one("image"):
        container = section.one("container")
        return shlex.join(["docker", "start", "--attach", container]) if container else None
    if section.kind == "job-service-run":
        options = [
            *_pairs("--network", section.settings.get("network", ())),
            *_pairs("--user", [section.one("user")]),
        ]
        return shlex.join(
            [
                "docker",
                "service",
                "create",
                "--restart-condition",
                "none",
                *options,
                section.one("image"),
                *words,
            ]
        )
    options = [
        word for key, option in _RUN.items() for word in _pairs(option, section.settings.get(key, ()))
    ]  # fmt: skip
    keep = section.settings.get("delete", ["true"])[-1].lower() not in _TRUE
    return shlex.join(["docker", "run", *([] if keep else ["--rm"]), *options, section.one("image"), *words])


def _pairs(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in values if value for word in (option, value)]


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()
