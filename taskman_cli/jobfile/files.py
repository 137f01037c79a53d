"""Which files are read: those given, those in directories, and included ones; each once."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from taskman_cli.core.escapes import quoted
from taskman_cli.core.executors import ExecutorDefinition
from taskman_cli.core.model import Resource
from taskman_cli.core.schedule import load_zone
from taskman_cli.jobfile.crontab.dialect import Dialect
from taskman_cli.jobfile.crontab.source import Form, crontabs_in, read_any
from taskman_cli.jobfile.crontab.spool import CrontabRefused, crontabs_of_users, is_spool
from taskman_cli.jobfile.fingerprint import (
    MOST_DIRECTORIES,
    Place,
    Seen,
    TooManyDirectories,
    file_at,
    find,
    is_pattern,
    look,
    mode_of,
    names_in,
)
from taskman_cli.jobfile.foreign.kinds import foreign_in
from taskman_cli.jobfile.keys import POOL_KEYS, TASKMAN_KEYS, TOP, misplaced
from taskman_cli.jobfile.monitoring import METRICS_KEYS
from taskman_cli.jobfile.problems import Fault, JobFileError, Problem, TreePath, prefixed
from taskman_cli.jobfile.source import NotTrusted, Source, decoded, parse_source, read_bytes
from taskman_cli.jobfile.tables import Keys, Values, read_table
from taskman_cli.jobfile.values import Context, mistyped
from taskman_cli.launch.accounts import Accounts, find_account
from taskman_cli.trust import Trust, Untrusted, standing_trust

#: How the names of job files in Python end.
_PYTHON = ".py"


@dataclass(eq=False, slots=True)
class Member:
    """One of the files that are loaded together."""

    source: Source
    #: The users that its commands can run as.
    accounts: Accounts
    #: When the files are read, if known.
    now: datetime | None = None
    #: The file that includes it.
    parent: Member | None = None
    #: Whose files it may include.
    trust: Trust = field(default_factory=lambda: Trust(is_checked=False))
    #: The values of `[taskman]` and `[pool]`.
    scheduler: Values = field(default_factory=dict)
    #: The defaults of its jobs, inherited ones included.
    defaults: Values = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def context(
        self,
        zone: ZoneInfo,
        resources: Mapping[str, Resource] | None = None,
        sinks: Collection[str] | None = None,
        executors: Mapping[str, ExecutorDefinition | None] | None = None,
    ) -> Context:
        """Return the context in which this file's values are read."""
        directory = self.source.path.absolute().parent
        return Context(directory, zone, self.now, self.accounts, resources, sinks, executors)

    def table(self, name: str) -> dict[str, Any]:
        """Return a top-level table as parsed."""
        table = self.source.tables.get(name, {})
        if type(table) is dict:
            return table
        self.faults += mistyped(table, "a table", f": write [{name}] above its keys").under(name)
        # Reported once is enough.
        self.source.tables[name] = {}
        return {}

    def read(self, name: str, known: Keys, context: Context) -> Values:
        """Read a top-level table and return its valid values."""
        values, faults = read_table(self.table(name), known, context)
        self.faults += prefixed(faults, name)
        return values

    def problems(self) -> list[Problem]:
        """Return all problems of the file, from top to bottom."""
        found = [self.source.problem(fault) for fault in self.faults]
        return sorted(found, key=lambda problem: (problem.line, problem.column))


@dataclass(frozen=True, slots=True)
class _PendingFile:
    """A file still to be read."""

    path: Path
    #: The file that includes it, and the index in its `include`.
    includer: Member | None = None
    index: int = 0
    #: The kind of crontab; None: a job file, or to be guessed.
    form: Form | None = None

    def below(self, path: Path, form: Form | None = None) -> _PendingFile:
        """Return a pending file of this directory."""
        return _PendingFile(path, self.includer, self.index, form)


class FileLoader:
    """Reads files and all that they include; an including file comes before the included ones."""

    def __init__(
        self,
        accounts: Accounts,
        now: datetime | None,
        *,
        trust: Trust | None = None,
        skip_bad: bool = False,
        dialect: Dialect | None = None,
    ) -> None:
        """Set up; `trust` None accepts everybody's files, and `dialect` None is told by each crontab."""
        self.members: list[Member] = []
        #: Notes on files that were accepted.
        self.notes: list[Problem] = []
        #: Problems of files that could not be read or parsed.
        self.problems: list[Problem] = []
        #: Everything that was looked at, with its fingerprint just before it was read.
        self.seen: Seen = {}
        #: The path being waited for; None: none. A new object for each.
        self.looked_at: Path | None = None
        self._identities: set[str] = set()
        #: Names of jobs that the jobs of a crontab must not reuse.
        self._names: dict[str, int] = {}
        self._accounts = accounts
        self._now = now
        self._skip_bad = skip_bad
        self._dialect = dialect
        self._trust = trust or Trust(is_checked=False)

    def read(self, paths: Sequence[Path], user_crontabs: Sequence[Path] = ()) -> None:
        """Read files and directories of them, and user crontabs."""
        self._read(
            [_PendingFile(path) for path in paths]
            + [_PendingFile(path, form=Form.USER) for path in user_crontabs]
        )

    def read_text(self, text: str, path: Path) -> None:
        """Read a text as if it were the content of `path`, which need not exist."""
        self._identities.add(_identity(path))
        self._read(self._join(Member(parse_source(text, path), self._accounts, self._now)))

    def _read(self, wanted: Sequence[_PendingFile]) -> None:
        stack = [*reversed(wanted)]
        while stack:
            want = stack.pop()
            self._look(file_at(want.path))
            identity = _identity(want.path)
            if identity in self._identities:
                continue
            self._identities.add(identity)
            trust = self._trust_for(want)
            self._look_at_owners(want.path, identity)
            try:
                source = self._source(want, trust)
                member = Member(source, self._accounts, self._now, want.includer, trust)
            except IsADirectoryError:
                stack += reversed(self._in_directory(want))
            except CrontabRefused as error:
                self._leave_out(want, error.problems)
            except JobFileError as error:
                if isinstance(error, NotTrusted):
                    self._look(mode_of(error.component))
                self._reject(want, error.problems)
            else:
                stack += reversed(self._join(member))
        self.looked_at = None

    def _source(self, want: _PendingFile, trust: Trust) -> Source:
        """Read one file of any kind."""
        if want.path.suffix == _PYTHON and want.form is None:
            from taskman_cli.jobfile.pysource import read_python  # megabytes that most never need

            if not trust.is_checked:  # what root only looks at, in Python root runs
                trust = standing_trust(os.environ)
            source = read_python(want.path, read_bytes(want.path, trust), trust)
            for path in source.imported:
                self._look(file_at(path))
            return source
        return read_any(
            want.path,
            want.form,
            taken=self._names,
            accounts=self._accounts,
            skip_bad=self._skip_bad,
            trust=trust,
            dialect=self._dialect,
        )

    def read_toml(self, path: Path, owner: Member, key: TreePath) -> Source | None:
        """Read another file that a job file names with `key`; None: its problems are noted."""
        self._look(file_at(path))
        self._look_at_owners(path, _identity(path))
        try:
            return parse_source(decoded(read_bytes(path, owner.trust), path), path)
        except IsADirectoryError:
            owner.faults.append(Fault(key, f"{path} is a directory"))
        except JobFileError as error:
            if isinstance(error, NotTrusted):
                self._look(mode_of(error.component))
            for problem in error.problems:
                if problem.source_line is None:
                    owner.faults.append(Fault(key, f"{problem.file} {problem.message}"))
                else:
                    self.problems.append(problem)
        finally:
            self.looked_at = None
        return None

    def _trust_for(self, want: _PendingFile) -> Trust:
        return want.includer.trust if want.includer is not None else self._trust

    def _look_at_owners(self, path: Path, identity: str) -> None:
        """Fingerprint the owners of the directories of a file's name and real path, if that matters."""
        if not self._trust.is_checked:
            return
        for directory in (os.path.dirname(path.absolute()), os.path.dirname(identity)):  # noqa: PTH120
            if mode_of(directory) not in self.seen:
                self._look(mode_of(directory))
        self.looked_at = Path(path)

    def _look(self, place: Place) -> Any:
        """Keep the fingerprint of something that is about to be read."""
        self.looked_at = Path(place[1])
        seen = self.seen[place] = look(place)
        return seen

    def _in_directory(self, want: _PendingFile) -> list[_PendingFile]:
        """Return the job files of a directory, or its crontabs if it has none."""
        try:
            if is_spool(want.path):
                os.close(self._trust_for(want).open_to_list(want.path, is_spool=True))
                return self._in_spool(want)
            # Not Path.glob, which also finds hidden files, as editors create them.
            if names := self._find(want.path, "*.toml", self._trust_for(want)):
                return [want.below(want.path / name) for name in names]
            self._look(names_in(want.path, "*"))
            crontabs, others = crontabs_in(want.path, self._dialect)
            words = "" if crontabs else foreign_in(want.path)
        except OSError as error:
            return self._unreadable(want, error)
        except Untrusted as error:
            self._look(mode_of(error.path))
            self._reject(want, [Problem(str(want.path), 1, 1, "", str(error))])
            return []
        if words:
            self.notes.append(Problem(str(want.path), 1, 1, "", f"no job file is in it, but {words}"))
        for path in others:
            message = (
                "ignored: Debian's cron only reads files whose names consist of letters, digits, _ and -"
                if self._dialect is not Dialect.CRONIE
                else "ignored: cronie does not read files of such names"
            )
            self.notes.append(Problem(str(path), 1, 1, "", message))
        form = Form.SYSTEM if self._dialect is None or self._dialect.has_users else Form.USER
        return [want.below(path, form) for path in crontabs]

    def _find(self, directory: Path, pattern: str, trust: Trust) -> Sequence[str]:
        """Return what a pattern matches; raises Untrusted if others than `trust` allows can add files."""
        place = names_in(directory, pattern)
        self.looked_at = Path(place[1])
        names = self.seen[place] = find(str(directory), pattern, opened=trust.open_to_list)
        return names

    def _in_spool(self, want: _PendingFile) -> list[_PendingFile]:
        """Return the user crontabs of a directory; files not named after a user are noted, as cron does."""
        self._look(names_in(want.path, "*"))
        wanted = []
        for path in crontabs_of_users(want.path):
            if self._accounts.is_run_here and not path.is_dir() and find_account(path.name) is None:
                message = (
                    "ignored: a crontab in this directory is named after its user, and "
                    f"there is no user {path.name}"
                )
                self.notes.append(Problem(str(path), 1, 1, "", message))
            else:
                wanted.append(want.below(path))
        return wanted

    def _unreadable(self, want: _PendingFile, error: OSError) -> list[_PendingFile]:
        reason = f"cannot be read: {(error.strerror or str(error)).lower()}"
        self._reject(want, [Problem(str(want.path), 1, 1, "", reason)])
        return []

    def _join(self, member: Member) -> list[_PendingFile]:
        """Add a file and return the files that it includes."""
        self.members.append(member)
        tables = member.source.tables
        self.notes += member.source.notes
        for name in member.table("jobs"):
            self._names.setdefault(name, 1)
        member.faults += member.source.faults
        member.faults += [Fault((name,), misplaced(name), at_key=True) for name in tables if name not in TOP]
        context = member.context(load_zone("UTC"))
        member.scheduler |= member.read("taskman", TASKMAN_KEYS, context)
        member.scheduler |= member.read("pool", POOL_KEYS, context)
        member.scheduler |= member.read("metrics", METRICS_KEYS, context)
        named = member.scheduler.pop("trust", ())
        member.trust = member.trust.and_those(
            (item for item in named if type(item) is int), (item for item in named if type(item) is str)
        )
        wanted = []
        for index, pattern in enumerate(member.scheduler.pop("include", ())):
            try:
                found = self._matching(pattern, member)
            except TooManyDirectories:
                message = (
                    f"searches more than {MOST_DIRECTORIES:,} directories: name the "
                    "directories that hold job files"
                )
                member.faults.append(Fault(("taskman", "include", index), message))
            except Untrusted as error:
                self._look(mode_of(error.path))
                member.faults.append(Fault(("taskman", "include", index), str(error)))
            else:
                wanted += [_PendingFile(path, member, index) for path in found]
        return wanted

    def _leave_out(self, want: _PendingFile, problems: Sequence[Problem]) -> None:
        """Skip a user's crontab that must not be run, if `skip_bad` asks for it."""
        if not self._skip_bad:
            self._reject(want, problems)
            return
        self.notes += [replace(problem, message=f"left out: {problem.message}") for problem in problems]

    def _matching(self, pattern: str, member: Member) -> list[Path]:
        """Return the files of an `include` item: all matches of a pattern, or one file that must exist."""
        directory = member.source.path.parent
        if not is_pattern(pattern):
            return [directory / pattern]
        return [directory / name for name in self._find(directory, pattern, member.trust)]

    def _reject(self, want: _PendingFile, problems: Sequence[Problem]) -> None:
        """Record the problems of a rejected file; a missing one is a fault of the file that includes it."""
        for problem in problems:
            if want.includer is not None and problem.source_line is None:
                message = f"{quoted(problem.file)} {problem.message}"
                want.includer.faults.append(Fault(("taskman", "include", want.index), message))
            else:
                self.problems.append(problem)


def _identity(path: Path) -> str:
    """Return an identity that is the same for all names of a file."""
    try:
        return os.path.realpath(path)
    except ValueError:
        return str(path)  # no file can have this name
