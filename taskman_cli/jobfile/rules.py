"""Rules over several keys of a job: which belong together, and when a job would never run."""

from __future__ import annotations

from collections.abc import Collection

from taskman_cli.core.executors import CALL
from taskman_cli.core.model import OnCrash, Overlap
from taskman_cli.jobfile.executors import JOB_KEYS
from taskman_cli.jobfile.problems import Fault, prefixed
from taskman_cli.jobfile.tables import Values, missing
from taskman_cli.jobfile.tasks import EXECUTION_KEYS, shell_faults

#: A job has exactly one of these.
COMMANDS = ("command", "tasks", *({CALL} & JOB_KEYS.keys()))
_COMMANDS = frozenset(COMMANDS)

#: A job without any of these needs no checks beyond one schedule and one command.
_TOGETHER = frozenset(
    (
        "every_from",
        "mode",
        "max_running",
        "shell",
        "starts_at",
        "expires_at",
        "at",
        "park_for",
        "skip_exit_codes",
        "success_exit_codes",
        "retry",
        "tasks",
        "only_if_timeout",
        "expect_every",
    )
)


def job_faults(
    own: Values, table: Collection[str], defaults: Values, meant: Collection[str] = ()
) -> list[Fault]:
    """Check a job. `own` has its valid values, `table` all keys that it has.

    `meant` are the keys that unknown ones stand for; these are not reported as missing.
    """
    faults: list[Fault] = []
    if ("cron" in table) + ("every" in table) + ("at" in table) != 1:
        faults += _not_one(table, ("cron", "every", "at"), "schedule", meant)
    if len(_COMMANDS.intersection(table)) != 1:
        faults += _not_one(table, COMMANDS, "command", meant)
    if _TOGETHER.isdisjoint(own):
        return faults
    table = {*table, *meant}
    if "every_from" in own and "every" not in table:
        faults.append(Fault(("every_from",), "only valid with every", at_key=True))
    if "mode" in own and "tasks" not in table:
        faults.append(Fault(("mode",), "only valid with tasks", at_key=True))
    if own.get("max_running") is not None and not _may_overlap(own, table, defaults):
        faults.append(Fault(("max_running",), 'only valid with overlap = "allow"', at_key=True))
    faults += shell_faults(own)
    values = defaults | own
    if own.get("park_for") is not None and not _may_park(values, table):
        faults.append(Fault(("park_for",), 'only valid with max_failures or on_crash = "park"', at_key=True))
    faults += window_faults(own, values)
    faults += exit_code_faults(own, values)
    for task in own.get("tasks", ()):
        below = {name: value for name, value in values.items() if name in EXECUTION_KEYS}
        found = exit_code_faults(task.execution, below | task.execution)
        faults += prefixed(found, "tasks", task.id)
    if "only_if_timeout" in own and values.get("only_if") is None and "only_if" not in table:
        faults.append(Fault(("only_if_timeout",), "only valid with only_if", at_key=True))
    if own.get("expect_every") is not None and "at" in table:
        message = "only valid with cron or every: a job that runs once cannot be expected again"
        faults.append(Fault(("expect_every",), message, at_key=True))
    if "at" in own and not _is_inside(own["at"], values):
        faults.append(Fault(("at",), "not between starts_at and expires_at: the job would never run"))
    return faults


def exit_code_faults(own: Values, values: Values) -> list[Fault]:
    """Report exit codes that mean two things; `own` says where to point."""
    skipped = set(values.get("skip_exit_codes") or ())
    if not skipped or {"skip_exit_codes", "success_exit_codes", "retry"}.isdisjoint(own):
        return []
    retry = values.get("retry")
    others = {
        "success_exit_codes": values.get("success_exit_codes", (0,)),
        "retry": (retry.exit_codes or ()) if retry else (),
    }
    faults = []
    for name, codes in others.items():
        if both := sorted(skipped.intersection(codes)):
            is_own = "skip_exit_codes" in own
            path = ("skip_exit_codes",) if is_own else (name,)
            where = "retry.exit_codes" if name == "retry" else name
            what = ", ".join(map(str, both))
            other = where if is_own else "skip_exit_codes"
            faults.append(Fault(path, f"{what} is in {other} too: an exit code means one thing"))
    return faults


def window_faults(own: Values, values: Values) -> list[Fault]:
    """Report `starts_at` and `expires_at` without any time between them; `own` says where to point."""
    starts_ns, expires_ns = values.get("starts_at"), values.get("expires_at")
    if starts_ns is None or expires_ns is None or starts_ns < expires_ns:
        return []
    if "expires_at" in own:
        return [Fault(("expires_at",), "must be after starts_at: the job would never run")]
    if "starts_at" in own:
        return [Fault(("starts_at",), "must be before expires_at: the job would never run")]
    return []  # reported where both were set


def _may_overlap(own: Values, table: Collection[str], defaults: Values) -> bool:
    if "overlap" in table and "overlap" not in own:
        return True  # its intended value is unknown
    return own.get("overlap", defaults.get("overlap")) is Overlap.ALLOW


def _may_park(values: Values, table: Collection[str]) -> bool:
    if {"max_failures", "on_crash"} & ({*table} - values.keys()):
        return True  # the intended value is unknown
    return values.get("max_failures") is not None or values.get("on_crash") is OnCrash.PARK


def _is_inside(at_ns: int, values: Values) -> bool:
    starts_ns, expires_ns = values.get("starts_at"), values.get("expires_at")
    return (starts_ns is None or starts_ns <= at_ns) and (expires_ns is None or at_ns < expires_ns)


def _not_one(
    table: Collection[str], names: tuple[str, ...], what: str, meant: Collection[str]
) -> list[Fault]:
    """Report that none, or several, of some keys are present."""
    there = [name for name in table if name in names]
    if not there and not set(names).isdisjoint(meant):
        return []
    if not there:
        return [missing(f"the {what} is missing: add one of {', '.join(names)}")]
    message = f"a second {what} besides {there[0]}: keep only one of {', '.join(names)}"
    return [Fault((name,), message, at_key=True) for name in there[1:]]
