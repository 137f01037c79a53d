"""Check whether cron or another instance runs the same jobs."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.cli.doctor.files import text_of
from taskman_cli.cli.doctor.result import CheckResult, fail, ok, warn, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_CRONS = frozenset({"cron", "crond", "fcron", "bcron-sched", "systemd-cron"})


@dataclass(frozen=True, slots=True)
class Others:
    """Other programs that start commands."""

    #: Names of the running cron daemons.
    crons: tuple[str, ...] = ()
    #: Readable crontabs with their lines.
    crontabs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    #: The jobs of this instance with their commands.
    jobs: Mapping[str, tuple[str, ...]] | None = None
    #: Running instances that use the same job file.
    doubles: tuple[str, ...] = ()


def look_at_others(
    user: str, *, pid: int | None, base: Path, directory: Path, root: Path = Path("/")
) -> Others:
    """Look at cron, its crontabs, and the other instances."""
    return Others(
        crons=tuple(sorted(_running_crons(root))),
        crontabs=tuple((str(path), lines) for path, lines in _crontabs(user, root)),
        jobs=None if pid is None else _jobs_of(pid),
        doubles=() if pid is None else tuple(_doubles(pid, base, directory)),
    )


def _running_crons(root: Path) -> set[str]:
    found = set()
    for entry in (root / "proc").iterdir():
        if entry.name.isdecimal() and (name := text_of(entry / "comm").strip()) in _CRONS:
            found.add(name)
    return found


def _crontabs(user: str, root: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    folder = root / "etc/cron.d"
    spool = root / "var/spool/cron"
    paths = [root / "etc/crontab", *(sorted(folder.iterdir()) if folder.is_dir() else ())]
    for path in (*paths, spool / "crontabs" / user, spool / user):
        lines = [line.strip() for line in text_of(path).splitlines()]
        kept = tuple(" ".join(line.split()) for line in lines if line and not line.startswith("#"))
        if kept:
            yield path, kept


def _jobs_of(pid: int) -> dict[str, tuple[str, ...]]:
    from taskman_cli.cli.support.running_options import jobs_of

    return {
        job.id: tuple(
            task.command if isinstance(task.command, str) else shlex.join(task.command) for task in job.tasks
        )
        for job in jobs_of(pid)
    }


def _doubles(pid: int, base: Path, directory: Path) -> Iterator[str]:
    from taskman_cli.cli.support.running_options import files_of
    from taskman_cli.control.client import running_directories
    from taskman_cli.errors import TaskmanError
    from taskman_cli.instance.lock import holder

    own = set(files_of(pid))
    for place in running_directories(base):
        try:
            other = holder(place)
            if place != directory and other not in (None, pid) and own.intersection(files_of(other or 0)):
                yield f"{place.name} (process {other})"
        except TaskmanError:
            continue  # another user's, or gone


def judge_others(seen: Others) -> CheckResult:
    """Judge whether a job may run twice."""
    found = []
    for path, job in _same(seen.crontabs, seen.jobs or {}):
        words = f"{job} is also in {path}"
        fix = f"remove it from {path}"
        found.append(
            fail(f"{words}, so it runs twice", fix) if seen.crons else warn(f"{words}, but no cron runs", fix)
        )
    if seen.doubles:
        words = f"another instance has the same job file: {', '.join(seen.doubles)}"
        found.append(fail(words, "stop one of them"))
    cron = f"{', '.join(seen.crons)} runs" if seen.crons else "no cron runs"
    compared = (
        "none of its lines is a job here" if seen.jobs is not None else "no scheduler to compare it with"
    )
    lines = sum(len(lines) for _, lines in seen.crontabs)
    return worst(found[:5], else_=ok(f"{cron}, {lines} lines in crontabs; {compared}"))


def _same(
    crontabs: Iterable[tuple[str, Sequence[str]]], jobs: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, str]]:
    """Yield each crontab with a job that has the same command as one of its lines."""
    wanted = [(job, " ".join(text.split())) for job, commands in jobs.items() for text in commands]
    for path, lines in crontabs:
        there = {command for line in lines for command in _commands(line)}
        yield from ((path, job) for job, command in wanted if command in there)


def _commands(line: str) -> tuple[str, str]:
    """Return the command of a crontab line: without a user column, and with one."""
    words = line.split(" ")[1 if line.startswith("@") else 5 :]
    return " ".join(words), " ".join(words[1:])
