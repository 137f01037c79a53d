"""The messages of the control socket: lines of JSON; requests are answered in order.

A request is an object with `do`, its name, and its parameters; `v` may be the version.
A reply is an object: `{"ok": true, …}`, or `{"ok": false, "error": WORDS, "code": EXIT_CODE}`. A request that
waits for a run is answered twice: at once, and when the run is over (`"final": true`).
"""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

#: Requests of another version are refused.
VERSION = 1
#: Longer lines are refused. The environment of a one-off is what makes a request long.
MAX_LINE_BYTES = 1 << 20
#: Numbers must be smaller: an instant of today in nanoseconds is a third of it.
_MOST = 1 << 62
#: The last instant that can be requested and recorded: in February 2116.
LAST_NS = _MOST - 1


#: Added to what is unknown: mostly the command is newer than the scheduler.
_OTHER = " (if taskman was upgraded while the scheduler was running: taskman restart)"


class ProtocolError(Exception):
    """Say what is wrong with a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Return workers, queue and counters."""

    do: ClassVar[str] = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectMetrics:
    """Return figures for monitoring: all but the jobs with the first portion, then more jobs with each."""

    do: ClassVar[str] = "metrics"
    #: The number of the collection, from the reply to the first request; 0: begin one.
    collection: int = 0
    #: Where the portion begins, from the reply before.
    start: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListJobs:
    """List jobs: all, or those with one of the tags and in one of the states; `once`: one-off jobs only.

    Each is told as it is at some moment during the answer. A job that is gone by then is left out, and so may
    be one that comes meanwhile.
    """

    do: ClassVar[str] = "list"
    tags: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    once: bool = False
    #: Only these fields of each job; none: all of them.
    fields: list[str] = field(default_factory=list)
    #: Only jobs that come after this one, in the order of the job files, one-off jobs last.
    after: str | None = None
    #: At most this many.
    limit: int | None = None
    #: Leave out of each job what is null, false, 0 or empty: most of it, as a rule.
    brief: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """Return a job's whole definition, with defaults."""

    do: ClassVar[str] = "show"
    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerJob:
    """Make an extra run of a job now, or of one of its tasks."""

    do: ClassVar[str] = "trigger"
    job: str
    task: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    #: Take the next slot now instead of an extra run; the schedule goes on from here.
    instead: bool = False
    #: Run it even if `overlap` or `max_runs` is against it.
    force: bool = False
    wait: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseJobs:
    """Stop starting new runs of jobs: those named, those with a tag, or all."""

    do: ClassVar[str] = "pause"
    jobs: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    all: bool = False
    #: For this long; None: until `resume`.
    for_ns: int | None = None
    #: Until this time on the wall clock, instead of `for_ns`.
    until_ns: int | None = None
    reason: str = ""
    #: Stop their running commands too (SIGSTOP).
    stop: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """End the pause of jobs."""

    do: ClassVar[str] = "resume"
    jobs: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """End a run, the runs of a job, or one task of them: with `signal`, then KILL after `kill_timeout`."""

    do: ClassVar[str] = "cancel"
    #: A run's id, or JOB or JOB.TASK.
    target: str
    #: Number of the signal; None: the job's own.
    signal: int | None = None
    #: Send KILL at once, and no other signal.
    now: bool = False
    wait: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Answer when a run, or all current runs of a job, are over; for a one-off job, its one run."""

    do: ClassVar[str] = "wait"
    target: str
    timeout_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Take a job, or one of its tasks, out of the running scheduler."""

    do: ClassVar[str] = "remove"
    job: str
    task: str | None = None
    #: Cancel its runs, too.
    cancel: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """Restore what was removed and the file still defines; None: all of it."""

    do: ClassVar[str] = "restore"
    job: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """Read the job files again; an error in them changes nothing."""

    do: ClassVar[str] = "reload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Stop the program."""

    do: ClassVar[str] = "stop"
    #: First let running commands end by themselves, for this long; -1: however long it takes.
    drain_ns: int | None = None
    #: Kill at once.
    now: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOnce:
    """Run a command once, now or later."""

    do: ClassVar[str] = "once"
    #: A string for the shell, or an array to be run without one.
    command: str | list[str]
    #: None: now.
    at_ns: int | None = None
    #: The time was given as a duration from now, so it moves when the clock is set.
    elapsed: bool = False
    name: str | None = None
    cwd: str
    #: All of its environment.
    env: dict[str, str]
    umask: int
    #: Wait for the load to be low, as batch(1) does.
    batch: bool = False
    #: The sinks that are told of it.
    sinks: list[str] = field(default_factory=list)
    wait: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSinks:
    """Say how each sink stands."""

    do: ClassVar[str] = "sinks"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSink:
    """Send a sink a message to try it; answered with what the other side says."""

    do: ClassVar[str] = "test_sink"
    sink: str
    event: str = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySink:
    """Tell a sink again what it was told since a line of the journal, or else a time."""

    do: ClassVar[str] = "replay_sink"
    sink: str
    since: int | None = None
    since_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipReport:
    """Do not tell a sink of a report: one that waits, or was set aside."""

    do: ClassVar[str] = "skip_report"
    sink: str
    seq: int


Request = (
    Status
    | CollectMetrics
    | ListJobs
    | Show
    | TriggerJob
    | PauseJobs
    | Resume
    | Cancel
    | Wait
    | Remove
    | Restore
    | Reload
    | Stop
    | RunOnce
    | ListSinks
    | TestSink
    | ReplaySink
    | SkipReport
)
REQUESTS: dict[str, type[Request]] = {kind.do: kind for kind in get_args(Request)}


def encode(request: Request) -> bytes:
    """Write a request as a line, without default values: an earlier version need not know the parameter."""
    values = {
        item.name: value
        for item in fields(request)
        if (value := getattr(request, item.name)) != _default_of(item)
    }
    return json.dumps({"v": VERSION, "do": request.do} | values).encode() + b"\n"


def _default_of(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()


def decode(line: bytes) -> Request:
    """Read a request, or raise ProtocolError with what is wrong with it."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ProtocolError("not an object")
    version = values.pop("v", VERSION)
    if version != VERSION:
        raise ProtocolError(f"version {version!r} is not supported, only {VERSION}")
    kind = REQUESTS.get(str(values.get("do")))
    if kind is None:
        raise ProtocolError(f"unknown request {values.get('do')!r}: not one of {', '.join(REQUESTS)}{_OTHER}")
    del values["do"]
    return _build(kind, values)


def _build(kind: type[Request], values: dict[str, Any]) -> Request:
    hints = _hints(kind.do)
    known = {item.name: item for item in fields(kind)}
    for name, value in values.items():
        if name not in known:
            raise ProtocolError(f"{kind.do} has no parameter {name!r}{_OTHER}")
        if not _fits(value, hints[name]):
            raise ProtocolError(f"{kind.do}: {name} cannot be {json.dumps(value)[:80]}")
    missing = [
        name
        for name, item in known.items()
        if name not in values and item.default is MISSING and item.default_factory is MISSING
    ]
    if missing:
        raise ProtocolError(f"{kind.do} requires {', '.join(missing)}")
    return kind(**values)


@cache
def _hints(do: str) -> dict[str, Any]:
    """Return the types of a request's parameters, by name."""
    return get_type_hints(REQUESTS[do])


def _fits(value: object, hint: Any) -> bool:
    """Tell if a JSON value is of a type; True is not a number."""
    arguments: tuple[Any, ...] = get_args(hint)
    origin = get_origin(hint)
    if origin is list:
        return isinstance(value, list) and all(_fits(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(item, arguments[1]) for item in value.values())
    if arguments:  # a union
        return any(_fits(value, argument) for argument in arguments)
    if hint is str:
        return isinstance(value, str) and _is_bytes(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MOST
    return isinstance(value, hint)


def _is_bytes(text: str) -> bool:
    """Tell if a text can be given to a command: half a surrogate pair stands for a byte that is not UTF-8."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
