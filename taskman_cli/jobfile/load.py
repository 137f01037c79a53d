"""From job files to jobs.

`[taskman]` and `[pool]` are shared by all files: a key may be repeated, but only with the same value.
`[defaults]` apply to their file and, key by key, to the files it includes, which may override them. A file
that is reached in several ways is read once, by the first way. An empty file is a job file without jobs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.collector import without_collections
from taskman_cli.core.logsettings import USUAL, LogSettings
from taskman_cli.core.model import Job, Settings
from taskman_cli.core.sinks import SinkDefinition
from taskman_cli.jobfile import settings
from taskman_cli.jobfile.build import JobBuilder, Sharing, overlaid
from taskman_cli.jobfile.crontab.dialect import Dialect
from taskman_cli.jobfile.crontab.mail import with_mail
from taskman_cli.jobfile.crontab.tables import UNMAILED
from taskman_cli.jobfile.executors import execution_faults
from taskman_cli.jobfile.files import FileLoader, Member
from taskman_cli.jobfile.fingerprint import Seen
from taskman_cli.jobfile.keys import DEFAULT_KEYS
from taskman_cli.jobfile.logs import merge_logging
from taskman_cli.jobfile.problems import Fault, JobFileError, Problem, Rejected, prefixed
from taskman_cli.jobfile.rules import exit_code_faults, window_faults
from taskman_cli.jobfile.source import Source
from taskman_cli.jobfile.timeout import READ_TIMEOUT_S, run_with_timeout
from taskman_cli.jobfile.units import in_zone
from taskman_cli.jobfile.values import Context
from taskman_cli.launch.accounts import Accounts
from taskman_cli.trust import Trust, standing_trust


@dataclass(frozen=True, slots=True)
class JobFile:
    """The contents of the job files."""

    jobs: tuple[Job, ...]
    settings: Settings
    #: The default zone, by name.
    timezone: str
    #: Every file that was read; included files come after the including one.
    files: tuple[Path, ...]
    #: Notes on crontabs: differences from cron, and lines that were skipped.
    notes: tuple[Problem, ...] = ()
    #: Fingerprints of everything that was looked at.
    seen: Seen = field(default_factory=dict, compare=False)
    #: The default zone is the machine's, since no file names one.
    is_machine_zone: bool = False
    #: The receivers of results, by name.
    sinks: tuple[SinkDefinition, ...] = ()
    #: What the log is like.
    logging: LogSettings = USUAL


def load(
    paths: Sequence[Path],
    *,
    timezone: str | None = None,
    user_crontabs: Sequence[Path | str] = (),
    skip_bad: bool = False,
    dialect: str | None = None,
    is_run_here: bool = True,
    trust: Trust | None = None,
    now_ns: int | None = None,
    sources: list[Source] | None = None,
    seen: Seen | None = None,
    timeout_s: float = READ_TIMEOUT_S,
) -> JobFile:
    """Load job files, crontabs and directories of them (`*.toml` files, or else crontabs).

    `timezone` is the default zone if the files name none; None: the machine's. `user_crontabs` are crontabs
    whose lines name no user. `skip_bad`: bad lines of crontabs become notes. `dialect` is theirs; None: each
    tells. `is_run_here` False: accept jobs
    of unknown users, and files that root must not run. `trust`: whose files are accepted in addition; None:
    as the environment says. `now_ns` is for hints about times that depend on when they are read. `sources`
    receives the sources, to place later findings in them; `seen` receives the fingerprints, even on errors.
    `timeout_s` is how long to wait for a single file. Raises `JobFileError` with all problems of all files.
    """
    now = None if now_ns is None else datetime.fromtimestamp(now_ns // SECOND_NS, UTC)
    if not is_run_here:
        trust = Trust(is_checked=False)
    elif trust is None:
        trust = standing_trust(os.environ)
    files = FileLoader(
        Accounts(is_run_here=is_run_here),
        now,
        trust=trust,
        skip_bad=skip_bad,
        dialect=None if dialect is None else Dialect(dialect),
    )

    def read() -> JobFile:
        files.read(paths, [Path(name) for name in user_crontabs])
        files.notes += [Problem(path, 1, 1, "", words, is_info=True) for path, words in trust.notes()]
        return _finish(files, timezone)

    try:
        with without_collections():
            job_file = run_with_timeout(read, lambda: files.looked_at, timeout_s=timeout_s)
    finally:
        if seen is not None:
            seen |= files.seen
    if sources is not None:
        sources += [member.source for member in files.members]
    return job_file


def loads(
    text: str,
    *,
    path: Path = Path("jobs.toml"),
    timezone: str | None = None,
    now: datetime | None = None,
    is_run_here: bool = True,
    sources: list[Source] | None = None,
) -> JobFile:
    """Load the text of one job file as if it were in `path`, which need not exist; `load` has the others."""
    with without_collections():
        files = FileLoader(Accounts(is_run_here=is_run_here), now)
        files.read_text(text, path)
        job_file = _finish(files, timezone)
    if sources is not None:
        sources += [member.source for member in files.members]
    return job_file


def _finish(files: FileLoader, timezone: str | None) -> JobFile:
    """Build the jobs of the files, or raise all problems."""
    members = files.members
    numbers, zone, is_machines = settings.merge(members, timezone)
    receivers, names = settings.merge_sinks(members, zone, files)
    executors = settings.merge_executors(members, zone)
    declared = settings.declared(members, numbers)
    numbers = settings.with_executors(numbers, executors)
    log = merge_logging(members, files)
    jobs = _jobs([(member, member.context(zone, declared, names, executors)) for member in members])
    if numbers.crontab_mail:
        jobs, mailing, notes = with_mail([member.source for member in members], jobs)
        receivers = (*receivers, *mailing)
        files.notes = [note for note in files.notes if not note.message.startswith(UNMAILED)] + notes
    problems = files.problems + [problem for member in members for problem in member.problems()]
    if problems:
        raise JobFileError(problems, jobs=len(jobs))
    paths = tuple(member.source.path for member in members)
    return JobFile(
        jobs=tuple(jobs), settings=numbers, timezone=zone.key, files=paths, notes=tuple(files.notes),
        seen=files.seen, is_machine_zone=is_machines, sinks=receivers, logging=log,
    )  # fmt: skip


def _jobs(members: Sequence[tuple[Member, Context]]) -> list[Job]:
    jobs: list[Job] = []
    owners: dict[str, Member] = {}
    sharing = Sharing()
    for member, context in members:
        builder = _builder(member, context, sharing)
        tables = member.table("jobs")
        for name in list(tables):
            # Popped, so that the raw table is freed as soon as its job exists.
            value = tables.pop(name)
            owner = owners.setdefault(name, member)
            if owner is not member:
                where = owner.source.place_of(("jobs", name))
                member.faults.append(Fault(("jobs", name), f"already defined in {where}", at_key=True))
                continue
            try:
                jobs.append(builder.job(name, value))
            except Rejected as error:
                member.faults += error.under("jobs", name)
    return jobs


def _builder(member: Member, context: Context, sharing: Sharing) -> JobBuilder:
    """Read the defaults of a file. The including file came first, so inherited ones are known."""
    inherited = member.parent.defaults if member.parent else {}
    outer = replace(context, zone=inherited.get("timezone", context.zone))
    own = member.read("defaults", DEFAULT_KEYS, in_zone(outer, member.table("defaults")))
    member.defaults = overlaid(inherited, own)
    found = window_faults(own, member.defaults) + exit_code_faults(own, member.defaults)
    found += execution_faults(own, own, context.executors)
    member.faults += prefixed(found, "defaults")
    return JobBuilder(member.defaults, context, sharing, source=str(member.source.path))
