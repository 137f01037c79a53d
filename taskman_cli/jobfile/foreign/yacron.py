"""YAML files of yacron and cronstable as jobs."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.core.schedule import ScheduleError, load_zone
from taskman_cli.core.schedule.expression import has_hash
from taskman_cli.jobfile.crontab.names import unique
from taskman_cli.jobfile.foreign.expressions import CannotSay, Days, schedule_of
from taskman_cli.jobfile.foreign.imported import Imported, job_name
from taskman_cli.jobfile.foreign.imported import Table as Job
from taskman_cli.jobfile.foreign.spans import duration
from taskman_cli.jobfile.foreign.yamlkeys import Keys
from taskman_cli.jobfile.foreign.yamltext import NotYaml, Table, Text, Value, read_documents

if TYPE_CHECKING:
    from collections.abc import Iterator

_WAYS = (
    "As under yacron: schedules are in UTC unless the file says otherwise, runs of a job may overlap unless",
    "it says otherwise, and missed runs are not caught up. Under yacron, a run that writes to standard error",
    "has failed, unless failsWhen says otherwise; here only the exit code counts.",
)
_OVERLAPS = {"Allow": "allow", "Forbid": "skip", "Replace": "replace"}
#: cronstable's.
_MISSED = {"run-once": "once", "run-all": "all"}
_COLUMNS = ("minute", "hour", "dayOfMonth", "month", "dayOfWeek")
#: Keys that are about what is kept and where it is shown.
_SILENT = frozenset(
    {"captureStdout", "captureStderr", "saveLimit", "maxLineLength", "streamPrefix", "archiveOutput"}
)
#: Keys of the file that are no jobs.
_TOP = frozenset({"web", "logging", "dags", "state", "cluster"})
#: For -1, which means for ever.
_MOST_RETRIES = 1_000_000
_REPORTS = frozenset({"onFailure", "onPermanentFailure", "onSuccess", "statsd"})


def from_yacron(data: bytes, *, path: str, taken: dict[str, int]) -> Imported:
    """Convert a file."""
    imported = Imported(path, data.decode("utf-8", "replace"), ways=_WAYS)
    try:
        documents = read_documents(data)
    except NotYaml as error:
        imported.problem(error.line, error.message)
        return imported
    for document in documents:
        top = Keys(document, imported, "")
        defaults = top.get("defaults")
        for name in top.words("include"):
            imported.note(top.line_of("include"), f"include: {quoted(name)} is not read: import it too")
        for item in top.items("jobs"):
            _read_job(_merged(defaults, item), imported, taken)
        for name in top.unread():
            words = "has no equivalent" if name in _TOP else "is not known"
            imported.note(top.line_of(name), f"{name} {words}: left out")
    if not imported.jobs and not imported.problems and not imported.notes:
        imported.problem(0, "there are no jobs in it")
    return imported


def _merged(defaults: Value, item: Value) -> Value:
    """Return a job with the defaults of the file; the keys of tables are merged, as yacron does."""
    if not isinstance(defaults, Table) or not isinstance(item, Table):
        return item
    merged = Table(item)
    merged.line, merged.lines = item.line, dict(item.lines)
    for key, value in defaults.items():
        if key not in merged:
            merged[key] = value
            merged.lines[key] = defaults.lines[key]
        elif key == "environment":
            merged[key] = _joined(value, merged[key])
        elif isinstance(value, Table):
            merged[key] = _merged(value, merged[key])
    return merged


def _joined(first: Value, second: Value) -> Value:
    if isinstance(first, list) and isinstance(second, list):
        joined = type(second)([*first, *second])
        joined.line = second.line
        return joined
    return second


def _read_job(item: Value, imported: Imported, taken: dict[str, int]) -> None:
    given = Keys(item, imported, "")
    title = given.text("name")
    keys = Keys(item, imported, f"{title or 'a job'}: ")
    keys.text("name")
    line = keys.line
    command, schedule = _command(keys), _schedule(keys)
    if not title or command is None:
        imported.problem(line, "a job needs a name and a command")
        return
    if isinstance(schedule, str):
        imported.problem(keys.line_of("schedule"), f"{title}: {schedule}")
        return
    name = unique(job_name(title), taken)
    notes: list[str] = []
    table: Job = {
        "description": title if job_name(title) != title else "",
        **schedule,
        "command": command,
        "enabled": False if keys.flag("enabled") is False else None,
        "shell": _shell(keys, notes),
        "overlap": _OVERLAPS.get(keys.text("concurrencyPolicy") or "Allow", "allow"),
        "timeout": duration(limit) if (limit := keys.number("executionTimeout")) else "none",
        "kill_timeout": duration(30 if (grace := keys.number("killTimeout")) is None else grace),
        "on_missed": _MISSED.get(keys.text("onMissed"), "skip"),
        "start_deadline": duration(late) if (late := keys.number("startingDeadlineSeconds")) else None,
        "cwd": keys.text("workingDirectory"),
        "user": _account(keys, "user", notes),
        "group": _account(keys, "group", notes),
        "env": dict(_environment(keys, notes)),
        "env_file": _env_files(keys, notes),
        "retry": _retry(keys.under("onFailure").under("retry")),
    }
    notes += _fails_when(keys.under("failsWhen"))
    if has_hash(str(schedule.get("cron", ""))):
        notes.append("H stands for another time here than there")
    reports = sorted({key for key in _REPORTS if keys.get(key) is not None} - _only_retry(keys))
    if reports:
        notes.append(f"{', '.join(reports)}: taskman sends no reports yet")
    left = [key for key in keys.unread() if key not in _SILENT]
    if left:
        notes.append(f"not known, and left out: {', '.join(left)}")
    imported.add(name, line, table)
    for words in notes:
        imported.note(line, words, job=name)


def _only_retry(keys: Keys) -> set[str]:
    """Return onFailure if it only says how to try again."""
    failure = keys.get("onFailure")
    return {"onFailure"} if isinstance(failure, Table) and set(failure) <= {"retry"} else set()


def _command(keys: Keys) -> str | list[str] | None:
    command = keys.get("command")
    if isinstance(command, Text):
        return str(command).strip() or None
    if isinstance(command, list) and command and all(isinstance(word, Text) for word in command):
        return [str(word) for word in command]
    return None


def _schedule(keys: Keys) -> Job | str:
    """Return the keys of a schedule, or why there is none."""
    value = keys.get("schedule")
    if isinstance(value, Table):
        text = " ".join(str(value.get(column) or "*") for column in _COLUMNS)
        if second := value.get("second"):
            text = f"{second} {text}"
        if year := value.get("year"):
            text += f" {year}"
    elif isinstance(value, Text):
        text = str(value).strip()
    else:
        return "a job needs a schedule"
    zone = keys.text("timezone")
    is_utc = keys.flag("utc")
    try:
        found = schedule_of(text, days=Days.BOTH)
    except CannotSay as error:
        return f"the schedule {quoted(text)}: {error}"
    if "cron" in found and found["cron"] != "@reboot":
        found["timezone"] = zone or ("" if is_utc is False else "UTC")
    try:
        load_zone(found.get("timezone") or "UTC")
    except ScheduleError as error:
        return f"the timezone: {error}"
    return found


def _shell(keys: Keys, notes: list[str]) -> str | None:
    shell = keys.text("shell")
    if not shell or shell == "/bin/sh":
        return None
    words = shlex.split(shell) if shell.count('"') % 2 == 0 and shell.count("'") % 2 == 0 else [shell]
    if len(words) == 1 and words[0].startswith("/"):
        return words[0]
    notes.append(f"shell: {quoted(shell)} is not the path of a shell: /bin/sh is used")
    return None


def _account(keys: Keys, name: str, notes: list[str]) -> str:
    value = keys.text(name)
    if value.isdigit():
        notes.append(f"{name}: {value} is a number: a job file has names; left out")
        return ""
    return value


def _environment(keys: Keys, notes: list[str]) -> Iterator[tuple[str, str]]:
    for item in keys.items("environment"):
        key, value = (item.get("key"), item.get("value")) if isinstance(item, Table) else (None, None)
        if isinstance(key, Text) and str(key).replace("_", "a").isalnum() and not str(key)[0].isdigit():
            yield str(key), "" if value is None else str(value)
        else:
            notes.append("an item of environment has no key and value: left out")


def _env_files(keys: Keys, notes: list[str]) -> list[str]:
    path = keys.text("env_file")
    if path and not os.path.isfile(path):  # noqa: PTH113
        notes.append(f"env_file: {quoted(path)} does not exist here")
    return [path] if path else []


def _retry(keys: Keys) -> Job | None:
    endless = str(keys.get("maximumRetries") or "").strip() == "-1"
    times = _MOST_RETRIES if endless else min(keys.whole("maximumRetries") or 0, _MOST_RETRIES)
    if not times:
        return None
    delay, longest, factor = map(keys.number, ("initialDelay", "maximumDelay", "backoffMultiplier"))
    backoff = 2.0 if factor is None else max(1.0, factor)
    return {
        "max": times,
        "delay": duration(1 if delay is None else delay),
        "max_delay": duration(300 if longest is None else longest),
        "backoff": int(backoff) if backoff == int(backoff) else backoff,
    }


def _fails_when(keys: Keys) -> Iterator[str]:
    """Yield what of failsWhen has no equivalent."""
    if keys.flag("producesStdout"):
        yield "failsWhen.producesStdout: output is no failure here"
    if keys.flag("producesStderr"):
        yield "failsWhen.producesStderr: output is no failure here"
    if keys.flag("nonzeroReturn") is False:
        yield "failsWhen.nonzeroReturn = false: a command that ends with another code than 0 has failed here"
    if keys.flag("always"):
        yield "failsWhen.always has no equivalent"
