"""Check of what can limit commands here: the key `limits`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.cli.doctor.result import CheckResult, ok
from taskman_cli.supervisor.groups import CONTROLLERS, find_place

if TYPE_CHECKING:
    from taskman_cli.supervisor.groups import Place

_KINDS = {
    "v2": "control groups of version 2",
    "v1": "control groups of version 1",
    "systemd": "systemd makes a scope for each command",
}
_INSTEAD = {
    "memory": "memory holds for each process alone",
    "processes": "processes counts all of the user's, for jobs with a user only",
    "cpu": "cpu has no effect",
}


def look_at_groups(pid: int | None) -> Place:
    """Look where a process can make control groups; None: this one."""
    return find_place(str(pid) if pid else "self")


def judge_groups(place: Place) -> CheckResult:
    """Say how the limits of jobs work here."""
    lacking = "; ".join(words for what, words in _INSTEAD.items() if what not in place.works)
    if not place.works:
        return ok(
            f"limits of jobs: no control group can be made here, so {lacking} (to have them: run taskman as "
            "root, or under systemd)"
        )
    works = ", ".join(what for what in CONTROLLERS if what in place.works)
    return ok(f"limits of jobs: {_KINDS[place.kind]}, for {works}" + (f"; {lacking}" if lacking else ""))
