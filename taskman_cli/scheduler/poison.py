"""What schedulers of this program could not deal with, and what this one sets aside because of it.

Before an item is dealt with, `doing` and `asked` say what it is. A scheduler that dies of an error leaves the
item with the supervisor, and the next one does without it: an end becomes `lost`, a request is refused, a job
is paused. One that dies without a word leaves it in the flight recorder; of three such deaths in a row at the
same item, none was by chance. An error that has left nothing half changed is dealt with on the spot, and
noted here as well.
"""

from __future__ import annotations

import signal
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.core import protocol
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.blame import EngineBroken, Item, item_of
from taskman_cli.core.escapes import printable
from taskman_cli.core.model import Policy
from taskman_cli.core.schedule import Reboot
from taskman_cli.scheduler.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from taskman_cli.core.model import Job
    from taskman_cli.core.protocol import Request
    from taskman_cli.scheduler.flightrecorder import FlightRecorder

#: Value kept for the next scheduler: what is set aside, and what for.
SET_ASIDE = "set_aside"
#: Value kept likewise: what schedulers died at without a word, and how many in a row.
SUSPECT = "suspect"
#: So many such deaths are no chance.
SILENT_DEATHS = 3
#: So many items are remembered, the latest.
MOST_ITEMS = 50
#: A request that a scheduler died of is refused for so long.
REFUSED_NS = 3_600_000_000_000
#: Events that name an attempt.
_OF_ATTEMPTS = frozenset(
    (
        events.AttemptEnded, events.AttemptStarted, events.StartFailed, events.AttemptGone,
        events.OrphanAdopted,
    )
)  # fmt: skip
#: Of an error, no more is told.
_MOST_WORDS = 300


class Files(NamedTuple):
    """Job files that have been read, and are about to be in force."""

    jobs: tuple[Job, ...]


class Without(NamedTuple):
    """What a scheduler begins with, once what is set aside was taken out."""

    runs: tuple[events.OpenRun, ...]
    jobs: tuple[Job, ...]
    #: Jobs to be paused, and why.
    paused: dict[str, str]


@dataclass(slots=True)
class _Entry:
    """One item that a scheduler died of."""

    item: Item
    why: str
    at_ns: int
    #: How many have.
    count: int = 0
    #: It may have been the item, and may not: the second time is needed.
    is_doubtful: bool = True
    #: Nothing has been done about it.
    is_new: bool = True
    #: A job that cannot even be paused: something that never comes due stands in for it.
    is_left_out: bool = False

    @property
    def is_out(self) -> bool:
        return self.count > self.is_doubtful


class Poison:
    """Knows what is being done, and what is set aside."""

    def __init__(self, kept: object = None, recorder: FlightRecorder | None = None) -> None:
        """Take what an earlier scheduler has left, perhaps of another version, as `as_kept` made it."""
        self._recorder = recorder
        self._doing: object = None
        self._asked: Request | Files | None = None
        #: What schedulers died at without a word, for the supervisor to keep; None: nothing.
        self.suspected: tuple[tuple[str, ...], int] | None = None
        #: Gets a record of each item that is set aside.
        self.record: Callable[[effects.Record], None] = lambda _: None
        self._entries: dict[tuple[str, str], _Entry] = {}
        #: What was set aside on the spot: when first, why, and how often.
        self._noted: dict[str, tuple[int, str, int]] = {}
        try:
            for item, *rest in kept or ():  # type: ignore[attr-defined]
                entry = _Entry(Item(*item), *rest)
                self._entries[entry.item[:2]] = entry
        except (TypeError, ValueError):
            self._entries.clear()

    def as_kept(self, *, is_anew: bool = False) -> list[tuple[Any, ...]]:
        """Return what the next scheduler is to know, for the supervisor to keep.

        `is_anew`: that one tries all again.
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
        """Return the event that the engine takes: set before it does."""
        return self._doing

    @doing.setter
    def doing(self, event: object) -> None:
        self._doing = event
        # Of all others, either what was asked for is known, or `watch` hears of each job.
        if self._recorder is not None and type(event) in _OF_ATTEMPTS:
            self._recorder.write_attempt(event.key)  # type: ignore[attr-defined]

    def rest(self) -> None:
        """Take note that all that has happened is dealt with."""
        if self._recorder is not None:
            self._recorder.clear()

    @property
    def asked(self) -> Request | Files | None:
        """Return the request or the files behind it, if there are any."""
        return self._asked

    @asked.setter
    def asked(self, asked: Request | Files | None) -> None:
        self._asked = asked
        if self._recorder is not None:
            # To name files takes long where they are many, and the next start finds what is wrong with them.
            self._recorder.write(None if isinstance(asked, Files) else _item_of(asked))

    def watch(self, subject: object) -> None:
        """Take note of the job or the run that the engine decides on."""
        if self._asked is None and self._recorder is not None:
            self._recorder.write(item_of(subject))

    def suspect(self, kept: object, at_ns: int) -> None:
        """Judge what the scheduler before this one died at, if it said nothing; `kept` is its `suspected`."""
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
            self._add(item, f"{count} schedulers died at it without a word", at_ns, is_doubtful=False)

    # --- the end of a scheduler ---

    def blame(self, error: BaseException, at_ns: int) -> str:
        """Take note of what this scheduler dies of, and return it in words."""
        cause, subject = error, None
        if isinstance(error, EngineBroken):
            cause, subject = error.__cause__ or error, error.item
        doing = _item_of(self.asked) or _item_of(self.doing)
        if isinstance(self.asked, Files | protocol.Remove | protocol.Restore):
            subject = None  # what is in force of the job is well
        is_doubtful = isinstance(cause, MemoryError)  # it came upon whatever was done just then
        why = words_of(cause)
        if subject is not None:
            self._add(subject, why, at_ns, is_doubtful=is_doubtful)
        if doing is not None:
            self._add(doing, why, at_ns, is_doubtful=is_doubtful or subject is not None)
        return " in ".join(_named(item) for item in (subject, doing) if item) or "what it was doing"

    def _add(self, item: Item, why: str, at_ns: int, *, is_doubtful: bool) -> None:
        entry = self._entries.pop(item[:2], None) or _Entry(item, why, at_ns)
        self._entries[item[:2]] = entry  # the latest is last
        # This scheduler was about to pause it, and that did not help.
        entry.is_left_out |= item.kind == "job" and entry.is_new and entry.is_out
        entry.item, entry.why, entry.at_ns, entry.is_new = item, why, at_ns, True
        entry.count += 1
        entry.is_doubtful &= is_doubtful

    @property
    def stop_signal(self) -> int | None:
        """Return the signal by which the supervisor does what this scheduler could not: end all."""
        if isinstance(self.asked, protocol.Stop) and self.asked.drain_ns is None:
            return signal.SIGQUIT if self.asked.now else signal.SIGTERM
        if isinstance(self.doing, events.KillRequested):
            return signal.SIGQUIT
        return signal.SIGTERM if isinstance(self.doing, events.StopRequested) else None

    # --- the beginning of the next ---

    def take_out(
        self,
        runs: Iterable[events.OpenRun],
        jobs: Collection[Job],
        known: Mapping[str, events.JobStanding],
    ) -> Without:
        """Return the runs and jobs that a scheduler begins with, and say what it does without."""
        # One that was set aside, and whose command still runs, is over for the ledger.
        by_id = {run.run: run for run in runs if run.is_on_record or ("run", run.run) not in self._entries}
        paused: dict[str, str] = {}
        for entry in [entry for entry in self._entries.values() if entry.is_out and entry.is_new]:
            why = f"the scheduler died of it ({entry.why})"
            self._say(f"{_named(entry.item)}: {entry.why}")
            kind, name, job_id = entry.item
            run = by_id.get(name.partition(".")[0])
            if kind in ("attempt", "run") and run is not None:
                entry.item = Item(kind, name, run.job)
                by_id[run.run] = _without(run, name if kind == "attempt" else None, why)
                is_going = any(isinstance(seen.fate, events.Going) for seen in run.attempts)
                if (kind == "run" and is_going) or self._ends_by(run.job) > 1:
                    paused[run.job] = why  # what still runs of it has nobody who watches it
                if self._ends_by(run.job) > 2:  # one end for each of its runs would be many
                    by_id |= {
                        other.run: replace(other, set_aside=why)
                        for other in by_id.values()
                        if other.job == run.job
                    }
            elif kind == "job" or (kind == "run" and job_id):  # a run that was not even on record
                paused[entry.item.job] = why
                is_paused = job_id in known and known[job_id].pause is not None
                entry.is_left_out |= kind == "job" and entry.count > 1 and is_paused
        left_out = {entry.item.job: entry for entry in self._entries.values() if entry.is_left_out}
        paused |= {job_id: f"the scheduler died of it ({entry.why})" for job_id, entry in left_out.items()}
        # A one-hit job may have the name of one of the files, which waits for it.
        stand_ins = {job.id: _stand_in(job) for job in jobs if job.id in left_out}
        others = (job for job in jobs if job.id not in left_out)
        return Without(tuple(by_id.values()), (*others, *stand_ins.values()), paused)

    def _ends_by(self, job_id: str) -> int:
        """Count the schedulers that a job's runs have ended."""
        return sum(
            entry.count for entry in self._entries.values() if entry.item.job == job_id and entry.is_out
        )

    def has_begun(self) -> bool:
        """Take note that what was to be done about it is on record; tell whether there was anything."""
        is_any = any(entry.is_new for entry in self._entries.values())
        for entry in self._entries.values():
            entry.is_new = not entry.is_out
        return is_any

    def objection(self, asked: Request | Files, now_ns: int) -> str | None:
        """Say why a request, or files, are refused; None: they are not."""
        if not self._entries or (isinstance(asked, protocol.Stop) and asked.drain_ns is None):
            return None
        item = _item_of(asked)
        entry = self._entries.get(item[:2]) if item else None
        if entry is None or not entry.is_out or abs(now_ns - entry.at_ns) > REFUSED_NS:
            return None
        return (
            f"a scheduler has died of this ({entry.why}; its log has more): it is refused for an hour, "
            "or until `taskman restart`"
        )

    def leave(self, left: Iterable[tuple[str, str, str, int]]) -> dict[str, str]:
        """Say what runs on though its run is over on record; return the jobs to be paused for it, and why."""
        paused = {}
        for _, run, job, pid in left:
            if ("run", run) in self._entries:
                continue  # that was said when it was set aside
            what = f"process {pid} of run {run}"
            paused[job] = f"{what} still runs, and the run is over on record: nobody watches it"
            self._say(f"{what} ({job}): the run is over on record; it runs on, and nobody watches it")
        return paused

    # --- on the spot ---

    def note(self, what: str, error: BaseException, now_ns: int) -> None:
        """Say what was set aside on the spot, with the traceback, and put it on record; once of a kind."""
        first_ns, _, count = self._noted.pop(what, (now_ns, "", 0))
        self._noted[what] = first_ns, words_of(error), count + 1
        if len(self._noted) > MOST_ITEMS:
            del self._noted[next(iter(self._noted))]
        if not count:
            logger.critical("set aside: %s (%s)", what, words_of(error), exc_info=error)
            self.record(effects.SchedulerNoted("set_aside", f"{what}: {words_of(error)}"))

    def _say(self, words: str) -> None:
        logger.critical("set aside: %s", words)
        self.record(effects.SchedulerNoted("set_aside", words))

    def told(self) -> list[dict[str, Any]]:
        """Return what is set aside, for people."""
        entries = [entry for entry in self._entries.values() if entry.is_out]
        rows = [(entry.at_ns, _named(entry.item), entry.why, entry.count) for entry in entries]
        rows += [(at_ns, what, why, count) for what, (at_ns, why, count) in self._noted.items()]
        return [
            {"at_ns": at_ns, "what": what, "why": why, "times": count}
            for at_ns, what, why, count in sorted(rows)
        ]


def words_of(error: BaseException) -> str:
    """Return an error in one short line that can be written anywhere; it may be of any kind."""
    try:
        text = str(error)
    except Exception:
        text = ""
    words = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return printable(" ".join(words.split()))[:_MOST_WORDS]


def _item_of(doing: object) -> Item | None:
    """Name what is done so that the next scheduler knows it again; None: it does not come again."""
    match doing:
        case Files():
            return Item("files", _print(doing.jobs))
        case events.Asked():
            return _item_of(doing.request)
    if type(doing) in _OF_ATTEMPTS:
        return Item("attempt", doing.key)  # type: ignore[attr-defined]
    if type(doing) in protocol.REQUESTS.values():
        return Item("request", f"{doing.do} {_print(doing)}")  # type: ignore[attr-defined]
    return None


def _print(value: object) -> str:
    return f"{zlib.crc32(repr(value).encode('utf-8', 'surrogatepass')):08x}"


def _named(item: Item) -> str:
    """Name an item for people."""
    match item.kind:
        case "attempt":
            return f"what became of attempt {item.name}"
        case "request":
            return f"a request ({item.name.partition(' ')[0]})"
        case "files":
            return "the job files as they were read"
        case "run":
            return f"run {item.name} of {item.job}"
        case _:
            return f"{item.kind} {item.name}"


def _without(run: events.OpenRun, key: str | None, why: str) -> events.OpenRun:
    """Return a run of which one end, or all of it, is set aside."""
    if key is None:
        return replace(run, set_aside=why)
    _, task, number = key.split(".")
    return replace(
        run,
        attempts=tuple(
            replace(seen, fate=events.Gone(why))
            if (seen.task, str(seen.number)) == (task, number)
            and isinstance(seen.fate, events.Over | events.StartFailed)
            else seen
            for seen in run.attempts
        ),
    )


def _stand_in(job: Job) -> Job:
    """Return a job of that name that never comes due."""
    policy = Policy(max_runs=job.policy.max_runs)  # the runs that it has had still count
    return replace(job, schedule=Reboot("UTC"), policy=policy, is_once=False)
