"""What the supervisor says, read into events: its first message, and what becomes of attempts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import Now
from taskman_cli.core.conditions import condition_of
from taskman_cli.core.engine import effects, events
from taskman_cli.core.model import Exit, State, Trigger
from taskman_cli.errors import TaskmanError
from taskman_cli.supervisor.waitstatus import exit_of
from taskman_cli.supervisor.wire import PROTOCOL_VERSION, name_of

if TYPE_CHECKING:
    from taskman_cli.supervisor.wire import Message


class Hello:
    """The supervisor's first message to a scheduler."""

    def __init__(self, facts: dict[str, Any]) -> None:
        if facts["version"] != PROTOCOL_VERSION:
            raise TaskmanError(
                f"the supervisor is another version of taskman (protocol {facts['version']}, and this "
                f"scheduler has {PROTOCOL_VERSION}). Its commands go on, but nothing starts: stop it (kill "
                f"-TERM {os.getppid()}) and run taskman again, or go back to its version"
            )
        #: No scheduler of this supervisor came before.
        self.is_first: bool = facts.get("generation") == 0
        #: When the supervisor started, which identifies it.
        self.started_ns: int = facts["started_ns"]
        #: When the previous scheduler was reaped; None for the first one.
        self.scheduler_ended_ns: int | None = facts["scheduler_ended_ns"]
        #: False: there was no room for the attempts that have ended.
        self.is_complete: bool = facts.get("is_complete", True)
        self.kept: dict[str, Any] = facts["kept"]
        #: A service manager listens to reports.
        self.has_manager: bool = facts.get("has_manager", False)
        #: It can have attempts carried out by executors; a supervisor of an earlier version cannot.
        self.has_executors: bool = facts.get("has_executors", False)
        #: It can hold starts that are asked for early; neither can that.
        self.has_early: bool = facts.get("has_early", False)
        #: Attempts that cannot be read, and why.
        self.unreadable: list[tuple[str, Exception]] = []
        self.attempts = tuple(filter(None, map(self._read, facts["attempts"])))

    def _read(self, attempt: Message) -> SeenAttempt | None:
        """Return an attempt; one that cannot be read is `Gone`."""
        try:
            return _seen(*attempt)
        except Exception as error:  # the other attempts must go on
            self.unreadable.append((name_of(attempt), error))
            return self._guess(attempt, error)

    def _guess(self, attempt: Message, error: Exception) -> SeenAttempt | None:
        try:
            key, (run, job, task, number, slot_ns, trigger, *_more), *_ = attempt
            gone = events.Gone(f"its end cannot be read ({type(error).__name__})")
            return SeenAttempt(key, run, job, task, number, slot_ns, Trigger(trigger), gone)
        except (TypeError, ValueError):
            # It is not known which one: a missing attempt may no longer be taken for one that never started.
            self.is_complete = False
            return None


@dataclass(frozen=True, slots=True)
class SeenAttempt:
    """An attempt as the supervisor reports it."""

    key: str
    run: str
    job: str
    task: str
    number: int
    slot_ns: int | None
    trigger: Trigger
    fate: events.Going | events.Over | events.StartFailed | events.Gone
    #: By which its executor finds it again; "": it is a command here.
    handle: str = ""


def to_event(message: Message) -> events.Event | None:
    """Return the event for a message about an attempt; None for other messages."""
    read = _READERS.get(message[0])
    return read(*message[1:]) if read else None


def gone(message: Message, why: str) -> events.Event | None:
    """Return the event for a message that cannot be read: an end becomes `AttemptGone`."""
    is_end = message[0] in ("ended", "failed") and isinstance(message[1], str)
    return events.AttemptGone(message[1], f"its end cannot be read ({why})") if is_end else None


def survivors_of(message: Message) -> effects.SurvivorsFound:
    """Return the record for what an attempt has left."""
    (run, job, task, number, *_), what, signum, count, named = message[2:7]
    which = tuple((int(pid), str(name)) for pid, name in named)
    told = int(signum) if what == "signalled" else None
    return effects.SurvivorsFound(run, job, task, number, told, int(count), which)


def _started(key: str, pid: int, wall_ns: int, elapsed_ns: int) -> events.AttemptStarted:
    return events.AttemptStarted(key, pid or None, Now(wall_ns, elapsed_ns))


def _failed(
    key: str,
    _: int,
    message: str,
    is_transient: bool,
    wall_ns: int,
    elapsed_ns: int,
    is_users: bool = False,  # missing from a supervisor of an earlier version
) -> events.StartFailed:
    return events.StartFailed(key, message, is_transient, Now(wall_ns, elapsed_ns), is_users)


def _returned(key: str) -> events.StartReturned:
    return events.StartReturned(key)


def _adopted(key: str, pid: int) -> events.OrphanAdopted:
    return events.OrphanAdopted(key, pid or None)


def _gone(key: str, why: str = "") -> events.AttemptGone:
    return events.AttemptGone(key, why)


def _progress(key: str, part: float | None, words: str) -> events.AttemptProgressed:
    return events.AttemptProgressed(key, part, words)


def _unheard(key: str, why: str) -> events.AttemptUnheard:
    return events.AttemptUnheard(key, why)


def _unstoppable(key: str, why: str) -> events.AttemptUnstoppable:
    return events.AttemptUnstoppable(key, why)


def _executor(name: str, told: dict[str, Any]) -> events.ExecutorTold:
    condition = told.get("condition")
    known = None if condition is None else condition_of(condition)
    return events.ExecutorTold(name, known, int(told.get("restarts", 0)))


def _seen(
    key: str,
    meta: tuple[Any, ...],
    pid: int | None,
    wall_ns: int,
    elapsed_ns: int,
    payload: dict[str, Any] | None,
    ending: str,
    *_more: object,
) -> SeenAttempt:
    # A process of a later version may have sent more.
    run, job, task, number, slot_ns, trigger = meta[:6]
    handle = meta[6] if len(meta) > 6 else ""
    started, ended_as = Now(wall_ns, elapsed_ns), State(ending) if ending else None
    fate: events.Going | events.Over | events.StartFailed | events.Gone
    if pid is None:
        assert payload is not None, "an attempt that did not start has failed"
        at = Now(payload["wall_ns"], payload["elapsed_ns"])
        fate = events.StartFailed(key, payload["message"], is_transient=False, at=at)
    elif payload is None:
        fate = events.Going(pid or None, started, ended_as)
    elif payload.get("lost"):
        fate = events.Gone(payload["lost"], ended_as if payload.get("is_over") else None)
    else:
        fate = events.Over(pid or None, started, _exited(key, payload), ended_as)
    return SeenAttempt(key, run, job, task, number, slot_ns, Trigger(trigger), fate, handle)


def _ended(key: str, payload: dict[str, Any]) -> events.AttemptEnded | events.AttemptGone:
    if payload.get("lost"):
        return events.AttemptGone(key, payload["lost"], is_over=payload.get("is_over", False))
    return _exited(key, payload)


def _exited(key: str, payload: dict[str, Any]) -> events.AttemptEnded:
    end = Exit(
        *exit_of(payload["status"]),
        cpu_s=payload["cpu_s"],
        peak_rss_bytes=payload["peak_rss_bytes"],
        output_bytes=payload["output_bytes"],
        cut_bytes=payload["cut_bytes"],
        output_error=payload["output_error"],
        is_group_left=payload["group_left"],
        has_core=payload["status"] is not None and os.WCOREDUMP(payload["status"]),
        memory=payload.get("memory", ""),  # an older supervisor does not tell
        error=payload.get("error", ""),
        over_memory_bytes=payload.get("over_memory", 0),
    )
    return events.AttemptEnded(key, end, Now(payload["wall_ns"], payload["elapsed_ns"]))


_READERS: dict[str, Callable[..., events.Event]] = {
    "started": _started,
    "failed": _failed,
    "ended": _ended,
    "returned": _returned,
    "adopted": _adopted,
    "gone": _gone,
    "progress": _progress,
    "unheard": _unheard,
    "unstoppable": _unstoppable,
    "executor": _executor,
}
