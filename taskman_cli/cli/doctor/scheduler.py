"""Check of the running scheduler, over the control socket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskman_cli.cli.doctor.result import CheckResult, fail, ok, warn
from taskman_cli.errors import TaskmanError

if TYPE_CHECKING:
    from pathlib import Path

_ELSEWHERE = "name the state directory with --state-dir or -i"
#: A healthy scheduler answers within milliseconds.
_ANSWER_S = 1.0


@dataclass(frozen=True, slots=True)
class SchedulerHealth:
    """The state that the scheduler reports."""

    pid: int | None = None
    version: str = ""
    trouble: str = ""
    #: Why the scheduler cannot write the ledger.
    ledger: str = ""
    #: The error of the job files at the last reload.
    files: str = ""
    #: The items that it could not process, in words.
    set_aside: tuple[str, ...] = ()
    #: How the machine's time zone differs from that of the jobs.
    zone: str = ""


def look_at_scheduler(directory: Path) -> SchedulerHealth:
    """Ask the scheduler for its status."""
    from taskman_cli.control.client import connect
    from taskman_cli.core.protocol import Status
    from taskman_cli.instance.lock import holder

    try:
        pid = holder(directory)
    except TaskmanError as error:
        return SchedulerHealth(trouble=str(error))
    if pid is None:
        return SchedulerHealth()
    try:
        with connect(directory, patience_s=_ANSWER_S) as connection:
            reply = connection.ask(Status(), timeout_s=_ANSWER_S)
    except TaskmanError as error:
        return SchedulerHealth(pid, trouble=str(error))
    files = reply.get("files_trouble") or {}
    return SchedulerHealth(
        pid,
        str(reply.get("version", "")),
        ledger=str(reply.get("ledger") or ""),
        files=str(files.get("summary", "")),
        zone=str(reply.get("zone_trouble") or ""),
        set_aside=tuple(f"{item['what']} ({item['why']})" for item in reply.get("set_aside", ())),
    )


def judge_scheduler(seen: SchedulerHealth, *, version: str) -> CheckResult:
    """Judge whether a scheduler runs and works."""
    if seen.trouble:
        if seen.pid is None:
            is_theirs = "denied" in seen.trouble or "not permitted" in seen.trouble
            return fail(seen.trouble, "run this as the user who runs taskman" if is_theirs else _ELSEWHERE)
        return fail(seen.trouble, f"taskman restart; if that hangs too: kill {seen.pid}")
    if seen.pid is None:
        return warn(
            "no scheduler runs with this state directory",
            "taskman run jobs.toml, or choose another instance with -i NAME",
        )
    if seen.ledger:
        return fail(
            f"process {seen.pid} starts nothing, because it cannot record it: {seen.ledger}", "fix the cause"
        )
    if seen.files:
        return fail(
            f"process {seen.pid} continues with the previous jobs; the job files have an error: {seen.files}",
            "fix them, then run taskman reload (not needed with watch = true)",
        )
    if seen.set_aside:
        *others, last = seen.set_aside
        more = f", and {len(others):,} more" if others else ""
        return warn(
            f"process {seen.pid} has set aside what it could not process: {last}{more}",
            "report the traceback in its log; run taskman resume JOB for each job that it paused, and "
            "taskman restart to try the rest again",
        )
    if seen.zone:
        return warn(f"process {seen.pid}: {seen.zone}", "taskman reload, or set [taskman] timezone")
    if seen.version != version:
        words = f"process {seen.pid} runs taskman {seen.version}, but this is {version}"
        return warn(words, "taskman restart")
    return ok(f"process {seen.pid} answers, taskman {version}")
