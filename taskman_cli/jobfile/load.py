"""Job files in, jobs out.

`[taskman]` and `[pool]` are one for all files: a key may be said again, but not otherwise. `[defaults]`
hold for their file and, key by key, for the files it includes, which may say otherwise; a file reached in
several ways is taken once, the way it was reached first. An empty file is a job file with no jobs.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.model import Job, Settings
from taskman_cli.jobfile import settings
from taskman_cli.jobfile.build import JobBuilder, Sharing, overlaid
from taskman_cli.jobfile.files import FileLoader, Member
from taskman_cli.jobfile.fingerprint import Seen
from taskman_cli.jobfile.keys import DEFAULT_KEYS
from taskman_cli.jobfile.problems import Fault, JobFileError, Problem, Rejected, prefixed
from taskman_cli.jobfile.rules import window_faults
from taskman_cli.jobfile.source import Source
from taskman_cli.jobfile.timeout import READ_TIMEOUT_S, run_with_timeout
from taskman_cli.jobfile.units import in_zone
from taskman_cli.launch.accounts import Accounts
from taskman_cli.trust import Trust, standing_trust


@dataclass(frozen=True, slots=True)
class JobFile:
    """All that the job files say."""

    jobs: tuple[Job, ...]
    settings: Settings
    #: The default zone, by name.
    timezone: str
    #: Every file that was read, included ones after the one that includes them.
    files: tuple[Path, ...]
    #: What is worth knowing about crontabs: what taskman does otherwise, and lines left out.
    notes: tuple[Problem, ...] = ()
    #: All that was looked at to read them.
    seen: Seen = field(default_factory=dict, compare=False)


def load(
    paths: Sequence[Path],
    *,
    timezone: str | None = None,
    user_crontabs: Sequence[Path | str] = (),
    skip_bad: bool = False,
    is_run_here: bool = True,
    trust: Trust | None = None,
    now_ns: int | None = None,
    sources: list[Source] | None = None,
    seen: Seen | None = None,
    timeout_s: float = READ_TIMEOUT_S,
) -> JobFile:
    """Load job files, crontabs and directories of them (`*.toml`, or where there is none crontabs).

    `timezone` is the default zone if the files name none; None: the machine's. `user_crontabs` are crontabs
    whose lines name no user. `skip_bad`: bad lines of crontabs become notes. `is_run_here` False: jobs of any
    user are taken, known here or not, and files that root must not run, too. `trust`: whose files are taken
    besides; None: as this process's environment has it. `now_ns` is for hints: what a
    time is that would move with the clock. `sources` gets what was read, to place in it what is found later;
    `seen` gets what was looked at, also where that ends with an error. `timeout_s`: no file is waited for
    any longer. Raises `JobFileError` with everything that is wrong in all files.
    """
    now = None if now_ns is None else datetime.fromtimestamp(now_ns // SECOND_NS, UTC)
    if not is_run_here:
        trust = Trust(is_checked=False)
    elif trust is None:
        trust = standing_trust(os.environ)
    files = FileLoader(Accounts(is_run_here=is_run_here), now, trust=trust, skip_bad=skip_bad)

    def read() -> JobFile:
        files.read(paths, [Path(name) for name in user_crontabs])
        files.notes += [Problem(path, 1, 1, "", words, is_info=True) for path, words in trust.notes()]
        return _finish(files, timezone)

    try:
        with no_collection():
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
) -> JobFile:
    """Load the text of one job file as if it stood in `path`, which need not be there."""
    with no_collection():
        files = FileLoader(Accounts(), now)
        files.read_text(text, path)
        return _finish(files, timezone)


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector out: it would look through all jobs again and again as they are made."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _finish(files: FileLoader, timezone: str | None) -> JobFile:
    """Make the jobs of the files, or raise all that is wrong."""
    members = files.members
    numbers, zone = settings.merge(members, timezone)
    jobs = _jobs(members, zone)
    problems = files.problems + [problem for member in members for problem in member.problems()]
    if problems:
        raise JobFileError(problems, jobs=len(jobs))
    paths = tuple(member.source.path for member in members)
    return JobFile(tuple(jobs), numbers, zone.key, paths, tuple(files.notes), files.seen)


def _jobs(members: Sequence[Member], zone: ZoneInfo) -> list[Job]:
    jobs: list[Job] = []
    owners: dict[str, Member] = {}
    sharing = Sharing()
    for member in members:
        builder = _builder(member, zone, sharing)
        tables = member.table("jobs")
        for name in list(tables):
            # Popped, so that the raw table is gone as soon as its job is made.
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


def _builder(member: Member, zone: ZoneInfo, sharing: Sharing) -> JobBuilder:
    """Read the defaults of a file. Its includer came before it, so what it inherits is known."""
    inherited = member.parent.defaults if member.parent else {}
    context = member.context(zone)
    outer = replace(context, zone=inherited.get("timezone", zone))
    own = member.read("defaults", DEFAULT_KEYS, in_zone(outer, member.table("defaults")))
    member.defaults = overlaid(inherited, own)
    member.faults += prefixed(window_faults(own, member.defaults), "defaults")
    return JobBuilder(member.defaults, context, sharing, source=str(member.source.path))
