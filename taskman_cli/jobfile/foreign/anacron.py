"""An anacrontab as jobs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.jobfile.crontab.comments import description
from taskman_cli.jobfile.crontab.env import CRON_PATH
from taskman_cli.jobfile.crontab.names import unique
from taskman_cli.jobfile.crontab.text import read_assignment
from taskman_cli.jobfile.foreign.imported import Imported, Table, job_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WAYS = (
    "As under anacron: what was missed while the machine was off runs later, once, and a run is skipped",
    "while the one before it is running. Anacron counts days since the last run; here the days are fixed.",
)
_ENTRY = re.compile(r"(?P<period>\d+|@\w+)\s+(?P<delay>\d+)\s+(?P<name>\S+)\s+(?P<command>.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Anacron's own variables.
_OWN = frozenset(
    {"START_HOURS_RANGE", "RANDOM_DELAY", "MAILTO", "MAILFROM", "NO_MAIL_OUTPUT", "PREFERRED_HOUR"}
)
_PERIODS = {"@daily": 1, "@weekly": 7, "@monthly": 30, "@yearly": 365, "@annually": 365}
_LONGEST_PERIOD = 10_000
_LONGEST_DELAY = 100_000


def from_anacrontab(text: str, *, path: str, taken: dict[str, int]) -> Imported:
    """Convert an anacrontab."""
    imported = Imported(path, text.replace("\r\n", "\n"), ways=_WAYS)
    env: dict[str, str] = {}
    comments: list[str] = []
    for number, line in _lines(text):
        if not line:
            comments = []
        elif line[0] == "#":
            comments.append(line.lstrip("#").strip())
        elif (assigned := read_assignment(line)) or line.partition("=")[0].strip() in _OWN:
            name, value = assigned or (line.partition("=")[0].strip(), "")
            env[name] = value
            comments = []
            if name == "SHELL" and not value.startswith("/"):
                imported.note(number, f"SHELL: {quoted(value)} is not an absolute path: /bin/sh is used")
                env[name] = "/bin/sh"
            if name == "MAILTO" and value:
                imported.note(number, f"MAILTO: {value} gets no mail: give the jobs a sink of type mail")
        else:
            _read_entry(line, number, comments, env, imported, taken)
            comments = []
    return imported


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers; one that ends in a backslash goes on in the next."""
    lines = enumerate(text.replace("\r\n", "\n").split("\n"), 1)
    for number, line in lines:
        whole = line.strip()
        while whole.endswith("\\") and whole[:1] != "#":
            whole = whole[:-1].rstrip() + " " + next(lines, (0, ""))[1].strip()
        yield number, whole


def _read_entry(
    line: str,
    number: int,
    comments: list[str],
    env: Mapping[str, str],
    imported: Imported,
    taken: dict[str, int],
) -> None:
    match = _ENTRY.fullmatch(line)
    if match is None:
        imported.problem(
            number, f"{quoted(line[:60])} is no line of an anacrontab: period, delay, name, command"
        )
        return
    period = _PERIODS.get(match["period"].lower()) or (
        int(match["period"]) if match["period"].isdecimal() and len(match["period"]) < 6 else 0
    )
    delay = int(match["delay"]) if len(match["delay"]) < 7 else _LONGEST_DELAY + 1
    if not 0 < period <= _LONGEST_PERIOD or delay > _LONGEST_DELAY:
        imported.problem(
            number, f"the period {quoted(match['period'])} or the delay {match['delay']} is no such time"
        )
        return
    name = unique(job_name(match["name"]), taken)
    schedule, words = _schedule(period, delay, env.get("START_HOURS_RANGE", ""))
    table: Table = {
        "description": description(comments)[0],
        **schedule,
        "command": match["command"],
        "overlap": "skip",
        "timeout": "none",
        "on_missed": "once",
        "start_deadline": "none",
        "cwd": "/",
        "shell": env.get("SHELL") if env.get("SHELL", "/bin/sh") != "/bin/sh" else None,
        "inherit_env": False,
        "env": _environment(env),
    }
    random = env.get("RANDOM_DELAY", "")
    if random.isdecimal() and int(random[:6]) > 0:
        table["jitter"] = f"{int(random[:6])}m"
    imported.add(name, number, table)
    if words:
        imported.note(number, words, job=name)


def _schedule(period: int, delay: int, hours: str) -> tuple[Table, str]:
    """Return when a job runs, and what is to be said about that."""
    match = re.match(r"\s*(\d{1,2})\s*-\s*\d{1,2}", hours)
    start = int(match[1]) % 24 if match else 0
    minutes = (start * 60 + delay) % (24 * 60)
    time = f"{minutes % 60} {minutes // 60}"
    every_day = {1: "* * *", 7: "* * 0", 30: "1 * *", 31: "1 * *", 365: "1 1 *"}
    if period in every_day:
        on = {7: "on Sundays", 30: "on the first of the month", 31: "on the first of the month",
              365: "on the first of January"}.get(period, "")  # fmt: skip
        words = f"every {period} days, counted from the last run, under anacron: here {on}" if on else ""
        return {"cron": f"{time} {every_day[period]}"}, words
    return {
        "every": f"{period}d"
    }, f"the delay of {delay} minutes is left out: an interval has no time of day"


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    own = {name: value for name, value in env.items() if _NAME.fullmatch(name) and name not in _OWN}
    own.pop("SHELL", None)
    own.pop("LOGNAME", None)
    return {"PATH": CRON_PATH, **own}
