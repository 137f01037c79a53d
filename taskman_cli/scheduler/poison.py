"""Poison items: what made a scheduler crash, and is set aside by the next one.

Before an item is handled, `doing` and `asked` are set to it, and cleared after it: what raises between two
items is the fault of neither. A scheduler that crashes with an exception leaves the item with the supervisor,
and the next scheduler goes on without it: an attempt becomes `lost`, a request is refused, a job is paused. A
scheduler that is killed leaves the item in the flight recorder; after three such deaths in a row at the same
item, it is set aside. An error that leaves no half-made change is handled at once, and noted here too.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.core import protocol
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.blame import ADMISSION, EngineBroken, Item, item_of
from taskman_cli.core.engine.parts import is_of_gate
from taskman_cli.core.escapes import printable
from taskman_cli.scheduler.items import named, print_of, print_of_jobs, stand_in, without
from taskman_cli.scheduler.logs.loggers import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from taskman_cli.core.model import Job
    from taskman_cli.core.protocol import Request
    from taskman_cli.scheduler.flightrecorder import FlightRecorder

#: Name of a value kept for the next scheduler: the items that are set aside, and why.
SET_ASIDE = "set_aside"
#: Name of a value kept for the next scheduler: the item at which schedulers were killed, and how often in a
#: row.
SUSPECT = "suspect"
#: After this many such deaths in a row, the item is set aside.
SILENT_DEATHS = 3
#: At most this many items are remembered, the latest.
MOST_ITEMS = 50
#: A request that crashed a scheduler is refused for this long.
REFUSED_NS = 3_600_000_000_000
#: Events that name an attempt.
_OF_ATTEMPTS = frozenset(
    (
        events.AttemptEnded, events.AttemptStarted, events.StartFailed, events.AttemptGone,
        events.OrphanAdopted,
    )
)  # fmt: skip
#: Events that the supervisor can see to as well.
_STOPS = frozenset((events.StopRequested, events.KillRequested))
#: Events of the gate of `admission = "auto"`.
_OF_GATE = frozenset((events.SignalsRead, events.MemoryMeasured, events.GateTried))
#: What follows for it.
_UNGATED = 'until a reload or `taskman restart`, commands start as with admission = "fixed"'
#: The longest description of an error.
_MOST_WORDS = 300


class ReadFiles(NamedTuple):
    """Job files that have been read and are about to take effect."""

    jobs: tuple[Job, ...]
    #: What they are recognized by, where that is known: it takes long to find out for many jobs.
    print: str = ""


class Without(NamedTuple):
    """What a scheduler starts with: runs and jobs without the items that are set aside."""

    runs: tuple[events.OpenRun, ...]
    jobs: tuple[Job, ...]
    #: Jobs to pause, and why.
    paused: dict[str, str]


@dataclass(slots=True)
class _Entry:
    """One item that crashed a scheduler."""

    item: Item
    why: str
    at_ns: int
    #: How many schedulers crashed on it.
    count: int = 0
    #: The item may not be the cause: it is set aside only the second time.
    is_doubtful: bool = True
    #: It has not been handled yet.
    is_new: bool = True
    #: A job that cannot even be paused. A job that is never due replaces it.
    is_left_out: bool = False

    @property
    def is_out(self) -> bool:
        return self.count > self.is_doubtful


class Poison:
    """Keeps track of what is being done, and of what is set aside."""

    def __init__(self, kept: object = None, recorder: FlightRecorder | None = None) -> None:
        """Read what `as_kept` of an earlier scheduler returned, which may be another version."""
        self._recorder = recorder
        self._doing: object = None
        #: A request to stop whose effects are not carried out yet.
        self._stopping: object = None
        self._asked: Request | ReadFiles | None = None
        #: The item at which schedulers were killed, for the supervisor to keep; None: nothing.
        self.suspected: tuple[tuple[str, ...], int] | None = None
        #: Called with a record of each item that is set aside.
        self.record: Callable[[effects.Record], None] = lambda _: None
        self._is_gate_wanted = False
        self._entries: dict[tuple[str, str], _Entry] = {}
        #: What was set aside by this scheduler: when first, why, and how often.
        self._noted: dict[str, tuple[int, str, int]] = {}
        try:
            for item, *rest in kept or ():  # type: ignore[attr-defined]
                entry = _Entry(Item(*item), *rest)
                self._entries[entry.item[:2]] = entry
        except (TypeError, ValueError):
            self._entries.clear()

    def as_kept(self, *, is_anew: bool = False) -> list[tuple[Any, ...]]:
        """Return what the supervisor keeps for the next scheduler.

        `is_anew`: the next scheduler is to try everything again.
        """
        latest = list(self._entries.values())[-MOST_ITEMS:]
        if is_anew:
            latest = [entry for entry in latest if entry.item.kind == "run"]
        return [
            (
                tuple(entry.item), entry.why, entry.at_ns, entry.count, entry.is_doubtful, entry.is_new,
                entry.is_left_out,
            )
            for entry in latest
        ]  # fmt: skip

    # --- what is done now ---

    @property
    def doing(self) -> object:
        """Return the event that the engine handles; it is set before that, and `done` comes after."""
        return self._doing

    @doing.setter
    def doing(self, event: object) -> None:
        self._doing = event
        # For all other events, the request is known, or `watch` is called for each job.
        if self._recorder is not None and type(event) in _OF_ATTEMPTS:
            self._recorder.write_attempt(event.key)  # type: ignore[attr-defined]

    def done(self) -> None:
        """Note that the engine has handled the event: what raises from now on is not its fault."""
        if type(self._doing) in _STOPS:
            self._stopping = self._doing
        self._doing = None

    def rest(self) -> None:
        """Note that everything that has happened is handled."""
        self._stopping = None
        if self._recorder is not None:
            self._recorder.clear()

    @property
    def asked(self) -> Request | ReadFiles | None:
        """Return the request or the job files that are being handled."""
        return self._asked

    @asked.setter
    def asked(self, asked: Request | ReadFiles | None) -> None:
        self._asked = asked
        if self._recorder is not None:
            # The checksum of many jobs takes long, and the next start finds out what is wrong with them.
            self._recorder.write(None if isinstance(asked, ReadFiles) else _item_of(asked))

    def watch(self, subject: object) -> None:
        """Note the job or run that the engine is deciding on."""
        if self._asked is None and self._recorder is not None:
            self._recorder.write(item_of(subject))

    def suspect(self, kept: object, at_ns: int) -> None:
        """Examine the item at which the previous scheduler was killed; `kept` is its `suspected`."""
        item = self._recorder.left if self._recorder else None
        self.suspected = None
        if item is None:
            return
        count = 1
        match kept:
            case (before, int(times)) if before == tuple(item):
                count = times + 1
        if count < SILENT_DEATHS:
            self.suspected = (tuple(item), count)
        else:
            self._add(
                item, f"{count} schedulers in a row were killed while handling it", at_ns, is_doubtful=False
            )

    # --- the end of a scheduler ---

    def blame(self, error: BaseException, at_ns: int) -> str:
        """Note the item that crashes this scheduler, and return its description."""
        cause, subject = error, None
        if isinstance(error, EngineBroken):
            cause, subject = error.__cause__ or error, error.item
        elif is_of_gate(error):  # the engine was not there yet
            subject = ADMISSION
        doing = _item_of(self.asked) or _item_of(self.doing)
        if subject == ADMISSION:
            doing = None  # whatever it was at, the gate is the cause
        elif isinstance(self.asked, ReadFiles | protocol.Remove | protocol.Restore):
            subject = None  # the jobs that are in effect are not the cause
        is_doubtful = isinstance(cause, MemoryError)  # any item may run out of memory
        why = words_of(cause)
        if subject is not None:
            self._add(subject, why, at_ns, is_doubtful=is_doubtful)
        if doing is not None:
            self._add(doing, why, at_ns, is_doubtful=is_doubtful or subject is not None)
        return " in ".join(named(item) for item in (subject, doing) if item) or "an unknown item"

    def _add(self, item: Item, why: str, at_ns: int, *, is_doubtful: bool) -> None:
        if item == ADMISSION:
            why = f"{why}; {_UNGATED}"
        entry = self._entries.pop(item[:2], None) or _Entry(item, why, at_ns)
        self._entries[item[:2]] = entry  # so that the latest is last
        # This scheduler was to pause it, and crashed on it all the same.
        entry.is_left_out |= item.kind == "job" and entry.is_new and entry.is_out
        entry.item, entry.why, entry.at_ns, entry.is_new = item, why, at_ns, True
        entry.count += 1
        entry.is_doubtful &= is_doubtful

    @property
    def stop_signal(self) -> int | None:
        """Return the signal that makes the supervisor stop everything, which this scheduler could not."""
        if isinstance(self.asked, protocol.Stop) and self.asked.drain_ns is None:
            return signal.SIGQUIT if self.asked.now else signal.SIGTERM
        doing = self._doing or self._stopping
        if isinstance(doing, events.KillRequested):
            return signal.SIGQUIT
        return signal.SIGTERM if isinstance(doing, events.StopRequested) else None

    # --- the beginning of the next ---

    def take_out(
        self,
        runs: Iterable[events.OpenRun],
        jobs: Collection[Job],
        known: Mapping[str, events.JobStanding],
    ) -> Without:
        """Return the runs and jobs that a scheduler starts with, and report the items that are left out."""
        # A run that was set aside while its command still runs is recorded as over.
        by_id = {run.run: run for run in runs if run.is_on_record or ("run", run.run) not in self._entries}
        paused: dict[str, str] = {}
        for entry in [entry for entry in self._entries.values() if entry.is_out and entry.is_new]:
            why = f"it crashed the scheduler ({entry.why})"
            self._say(f"{named(entry.item)}: {entry.why}")
            kind, name, job_id = entry.item
            run = by_id.get(name.partition(".")[0])
            if kind in ("attempt", "run") and run is not None:
                entry.item = Item(kind, name, run.job)
                by_id[run.run] = without(run, name if kind == "attempt" else None, why)
                is_going = any(isinstance(seen.fate, events.Going) for seen in run.attempts)
                if (kind == "run" and is_going) or self._ends_by(run.job) > 1:
                    paused[run.job] = why  # its command still runs unwatched
                if self._ends_by(run.job) > 2:  # one crash for each of its runs would be too many
                    by_id |= {
                        other.run: replace(other, set_aside=why)
                        for other in by_id.values()
                        if other.job == run.job
                    }
            elif kind == "job" or (kind == "run" and job_id):  # a run that was not recorded
                paused[entry.item.job] = why
                is_paused = job_id in known and known[job_id].pause is not None
                entry.is_left_out |= kind == "job" and entry.count > 1 and is_paused
        left_out = {entry.item.job: entry for entry in self._entries.values() if entry.is_left_out}
        paused |= {job_id: f"it crashed the scheduler ({entry.why})" for job_id, entry in left_out.items()}
        # A one-off job may have the name of a job of the files, which waits for it.
        stand_ins = {job.id: stand_in(job) for job in jobs if job.id in left_out}
        others = (job for job in jobs if job.id not in left_out)
        return Without(tuple(by_id.values()), (*others, *stand_ins.values()), paused)

    def _ends_by(self, job_id: str) -> int:
        """Count the schedulers that crashed on a job's runs."""
        return sum(
            entry.count for entry in self._entries.values() if entry.item.job == job_id and entry.is_out
        )

    @property
    def is_gate_shut(self) -> bool:
        """Tell whether the gate of `admission = "auto"` is set aside."""
        entry = self._entries.get(ADMISSION[:2])
        return entry is not None and entry.is_out

    def ask_for_gate(self) -> None:
        """Note that the gate is to be tried again, as after a reload."""
        self._is_gate_wanted = self.is_gate_shut

    def take_gate(self) -> bool:
        """Tell whether the gate is to be tried again now; it is not set aside any more then."""
        is_wanted, self._is_gate_wanted = self._is_gate_wanted, False
        if is_wanted:
            del self._entries[ADMISSION[:2]]
        return is_wanted

    def has_begun(self) -> bool:
        """Note that the new items have been handled and recorded; tell whether there were any."""
        is_any = any(entry.is_new for entry in self._entries.values())
        for entry in self._entries.values():
            entry.is_new = not entry.is_out
        return is_any

    @property
    def has_files(self) -> bool:
        """Tell whether job files were set aside; another thread may ask."""
        return any(kind == "files" for kind, _ in list(self._entries))

    @property
    def left_out(self) -> frozenset[str]:
        """Return the names of the jobs in whose place others stand."""
        return frozenset(entry.item.job for entry in self._entries.values() if entry.is_left_out)

    def objection(self, asked: Request | ReadFiles, now_ns: int) -> str | None:
        """Return why a request or job files are refused; None if they are not."""
        if not self._entries or (isinstance(asked, protocol.Stop) and asked.drain_ns is None):
            return None
        if isinstance(asked, ReadFiles) and not self.has_files:
            return None
        item = _item_of(asked)
        entry = self._entries.get(item[:2]) if item else None
        if entry is None or not entry.is_out or abs(now_ns - entry.at_ns) > REFUSED_NS:
            return None
        return (
            f"a scheduler crashed on this ({entry.why}; see its log): it is refused for one hour, "
            "or until `taskman restart`"
        )

    def leave(self, left: Iterable[tuple[str, str, str, int | None]]) -> dict[str, str]:
        """Report commands whose run is recorded as over; return the jobs to pause for it, and why."""
        paused = {}
        for _, run, job, pid in left:
            if ("run", run) in self._entries:
                continue  # it was reported when it was set aside
            what = f"run {run}" if pid is None else f"process {pid} of run {run}"
            paused[job] = f"{what} still runs unwatched, although the run is recorded as over"
            self._say(f"{what} ({job}): it still runs unwatched, although the run is recorded as over")
        return paused

    # --- errors that are handled at once ---

    def note(self, what: str, error: BaseException, now_ns: int) -> None:
        """Log and record an error that was handled at once, with its traceback; once for each item."""
        first_ns, _, count = self._noted.pop(what, (now_ns, "", 0))
        self._noted[what] = first_ns, words_of(error), count + 1
        if len(self._noted) > MOST_ITEMS:
            del self._noted[next(iter(self._noted))]
        if not count:
            fields = {"event": "set_aside"}
            logger.critical("set aside: %s (%s)", what, words_of(error), exc_info=error, extra=fields)
            self.record(effects.SchedulerNoted("set_aside", f"{what}: {words_of(error)}"))

    def _say(self, words: str) -> None:
        logger.critical("set aside: %s", words, extra={"event": "set_aside"})
        self.record(effects.SchedulerNoted("set_aside", words))

    def told(self) -> list[dict[str, Any]]:
        """Return what is set aside, as rows for `status` and `doctor`."""
        entries = [entry for entry in self._entries.values() if entry.is_out]
        rows = [(entry.at_ns, named(entry.item), entry.why, entry.count) for entry in entries]
        rows += [(at_ns, what, why, count) for what, (at_ns, why, count) in self._noted.items()]
        return [
            {"at_ns": at_ns, "what": what, "why": why, "times": count}
            for at_ns, what, why, count in sorted(rows)
        ]


def words_of(error: BaseException) -> str:
    """Describe any exception in one short line of printable text."""
    try:
        text = str(error)
    except Exception:
        text = ""
    words = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return printable(" ".join(words.split()))[:_MOST_WORDS]


def _item_of(doing: object) -> Item | None:
    """Return an item that the next scheduler can recognize; None if this cannot come again."""
    match doing:
        case ReadFiles():
            return Item("files", doing.print or print_of_jobs(doing.jobs))
        case events.RequestReceived():
            return _item_of(doing.request)
    if type(doing) in _OF_GATE:
        return ADMISSION
    if type(doing) in _OF_ATTEMPTS:
        return Item("attempt", doing.key)  # type: ignore[attr-defined]
    if type(doing) in protocol.REQUESTS.values():
        return Item("request", f"{doing.do} {print_of(doing)}")  # type: ignore[attr-defined]
    return None
