"""Between engine and actions: the records of a turn are made durable before its actions are carried out.

All steps of a turn are one transaction, so a burst costs few transactions. While the ledger cannot be
written, nothing starts: attempts wait, ends are kept here and by the supervisor, and writing is tried again.
"""

from __future__ import annotations

import signal
from itertools import chain
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.timespec import format_rough
from taskman_cli.errors import EXIT_FAILED
from taskman_cli.ledger.store import LedgerBroken, LedgerUnwritable
from taskman_cli.scheduler.logs.loggers import ledger_log
from taskman_cli.scheduler.poison import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from taskman_cli.core.engine.engine import Engine
    from taskman_cli.core.engine.outbox import Step
    from taskman_cli.ledger.ledger import Ledger

#: The reply if the real one cannot be sent.
_NO_ANSWER = "internal error: the request was carried out, but cannot be answered; see the scheduler's log"
UNWRITABLE = "the ledger cannot be written (%s): nothing starts until it can be"
WRITABLE = "the ledger can be written again, after %s"
#: Pause before writing is tried again.
RETRY_NS = 1_000_000_000
#: The longest pause before another new ledger is created, if each new one was broken at once.
MAX_REPLACE_NS = 60_000_000_000
#: Unwritten records that are written together: this bounds the cost of a failed attempt.
PORTION = 200


class Recorder:
    """Collects effects, and carries out actions once the records are durable."""

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        *,
        tell: Callable[[effects.Record | effects.Mark], None],
        do: Callable[[effects.Action], None],
        set_aside: Callable[[str, Exception], None] = lambda *_: None,
        handle: Callable[[Sequence[events.Event], Now], Step] | None = None,
        timed: Callable[[int], None] = lambda _: None,
        tick: Callable[[], int] = lambda: 0,
    ) -> None:
        """`set_aside` is called for each error that is handled at once; `handle` is the engine's.

        `timed` is told how long each transaction took, in nanoseconds by `tick`.
        """
        self._timed, self._tick = timed, tick
        self._engine = engine
        self._handle = handle or engine.handle_all
        self._ledger = ledger
        self._tell = tell
        self._do = do
        self._set_aside = set_aside
        self._records: list[effects.Record | effects.Mark] = []
        self._actions: list[effects.Action] = []
        #: Turns whose records could not be written, and actions that must wait for them.
        self._owed: list[list[effects.Record | effects.Mark]] = []
        self._held: list[effects.Action] = []
        #: A broken ledger is still to be reported: there is no new one yet.
        self._is_replacing = False
        self._replace_pause_ns = RETRY_NS
        #: The last ledger that was lost or broken, as a row for `status`.
        self.lost: dict[str, Any] | None = None
        #: Called when there is a new ledger, and that was told.
        self.renewed: Callable[[], None] = lambda: None
        #: Runs that could not be recorded: nothing of them starts.
        self._unrecorded: set[str] = set()
        #: When writing is tried again, on the elapsed clock; None: the ledger can be written.
        self.retry_at_ns: int | None = None
        self._why = ""
        self._since = Now(0, 0)
        #: Slots skipped since then; they are reported together.
        self._skips = 0

    @property
    def trouble(self) -> str | None:
        """Return why the ledger cannot be written; None if it can."""
        return None if self.retry_at_ns is None else self._why

    @property
    def owed_count(self) -> int:
        """Return how many turns have records that are still to be written."""
        return len(self._owed)

    def take(self, step: Step) -> None:
        """Add what a step has returned."""
        records, actions = step
        self._records += records
        self._actions += actions

    def note(self, record: effects.Record | effects.Mark) -> None:
        """Add a record about the program itself."""
        self._records.append(record)

    def note_lost(self, now: Now) -> None:
        """Tell of a ledger that was lost or broken, if one was, and put it on record in the new one."""
        if words := tell_set_aside(self._ledger):
            self.note(effects.SchedulerNoted("ledger_lost", words))
            times = self.lost["times"] + 1 if self.lost else 1
            self.lost = {"at_ns": now.wall_ns, "what": "the ledger", "why": words, "times": times}

    def settle(self, now: Now) -> None:
        """Write the records of the turn, then carry out its actions."""
        while self._records or self._actions or self._is_retry_due(now):
            records, self._records = self._records, []
            actions, self._actions = self._actions, []
            is_written = self._write(records, now)
            for record in records:
                if not is_written and isinstance(record, effects.SlotsSkipped):
                    self._skips += record.count or 1  # one line for each would hide the important one
                    continue
                try:
                    self._tell(record)
                except Exception as error:  # the record is written, and other records are not affected
                    self._set_aside(f"the follow-up of {_named(record)}", error)
            if is_written:
                held, self._held = self._held, []
                for action in (*held, *actions):
                    self._carry_out(action, now)
            else:
                for action in actions:
                    self._make_do(action, now)

    def _carry_out(self, action: effects.Action, now: Now) -> None:
        """Carry out an action; if that raises, tell the engine that it failed."""
        if isinstance(action, effects.Start) and action.run in self._unrecorded:
            why = "its start could not be recorded"
            self._fail(action, why, now)
            return
        try:
            self._do(action)
        except Exception as error:
            self._set_aside(_named(action), error)
            why = f"the request to the supervisor cannot be sent ({words_of(error)})"
            if isinstance(action, effects.Start):
                self._fail(action, why, now)
            elif isinstance(action, effects.Answer) and action.reply.get("error") != _NO_ANSWER:
                reply = {"ok": False, "error": _NO_ANSWER, "code": EXIT_FAILED}
                self._carry_out(effects.Answer(action.token, reply, action.is_urgent), now)
            elif isinstance(action, effects.Adopt):
                self.take(self._handle((events.AttemptGone(action.key, why),), now))

    def _fail(self, start: effects.Start, why: str, now: Now) -> None:
        failed = events.StartFailed(start.key, why, is_transient=False, at=now)
        self.take(self._handle((failed,), now))

    def _is_retry_due(self, now: Now) -> bool:
        return self.retry_at_ns is not None and self.retry_at_ns <= now.elapsed_ns

    def _write(self, records: list[effects.Record | effects.Mark], now: Now) -> bool:
        if self.retry_at_ns is not None and not self._is_retry_due(now):
            self._owed.append(records)
            return False
        if not records and not self._owed:
            self.retry_at_ns = None
            return True
        try:
            if self.retry_at_ns is None:
                self._write_what_can_be(records, now)
            else:
                self._write_owed([*records, effects.SchedulerNoted("ledger_writable")], now)
        except LedgerUnwritable as error:
            self._put_off(str(error), records, now)
            return False
        except LedgerBroken as error:
            return self._begin_anew(str(error), records, now)
        self._go_on(now)
        return True

    def _write_owed(self, rest: list[effects.Record | effects.Mark], now: Now) -> None:
        """Write the unwritten turns in portions, and `rest` with the last portion."""
        while len(portion := self._portion()) < len(self._owed):
            self._write_what_can_be([*chain.from_iterable(portion)], now)
            del self._owed[: len(portion)]
        self._write_what_can_be([*chain.from_iterable(self._owed), *rest], now)

    def _write_what_can_be(self, records: list[effects.Record | effects.Mark], now: Now) -> None:
        """Write records; leave out those that cannot be written at all."""
        began_ns = self._tick()
        try:
            self._ledger.write(records, now)
        except (LedgerUnwritable, LedgerBroken):
            raise
        except Exception as error:  # caused by one record, or by our code
            ledger_log.critical("a record cannot be written; writing them one by one", exc_info=error)
        else:
            self._timed(self._tick() - began_ns)
            return
        found = self._ledger.salvage(records, now)
        for record, why, is_escaped in found:
            self._set_aside(f"the record {_named(record)}{' as it was' if is_escaped else ''}", why)
            if isinstance(record, effects.RunQueued | effects.AttemptBegun) and not is_escaped:
                self._unrecorded.add(record.run)

    def _portion(self) -> list[list[effects.Record | effects.Mark]]:
        """Return the first unwritten turns: as many as fit into a portion, at least one."""
        count = 0
        for number, turn in enumerate(self._owed):
            count += len(turn)
            if count > PORTION and number:
                return self._owed[:number]
        return self._owed

    def _put_off(self, why: str, records: list[effects.Record | effects.Mark], now: Now) -> None:
        """Keep records until they can be written; the first time, also record when and why."""
        if self.retry_at_ns is None:
            ledger_log.critical(UNWRITABLE, why, extra={"event": "ledger_unwritable"})
            self._owed.append([effects.SchedulerNoted("ledger_unwritable", why, now.wall_ns)])
            self._since, self._skips = now, 0
        self._owed.append(records)
        self._why = why
        self.retry_at_ns = now.elapsed_ns + RETRY_NS

    def _tell_of_outage(self, now: Now) -> None:
        length = format_rough(now.elapsed_ns - self._since.elapsed_ns)
        words = WRITABLE % length
        if self._skips:
            words += f"; {self._skips:,} slot{'s were' if self._skips > 1 else ' was'} skipped"
        ledger_log.warning("%s", words, extra={"event": "ledger_writable"})

    def close(self, now: Now) -> bool:
        """Tell whether everything is recorded, after a last attempt; if not, log what is lost."""
        if self.retry_at_ns is None:
            return True
        self.retry_at_ns = now.elapsed_ns
        self.settle(now)
        if self.retry_at_ns is not None:
            ends = sum(isinstance(record, effects.AttemptFinished) for turn in self._owed for record in turn)
            lost = f" (including how {ends:,} command{'s' if ends > 1 else ''} ended)" if ends else ""
            ledger_log.critical(
                "what happened in the last %s is not on record%s: %s",
                format_rough(now.elapsed_ns - self._since.elapsed_ns), lost, self._why,
            )  # fmt: skip
        return self.retry_at_ns is None

    def _begin_anew(self, why: str, records: list[effects.Record | effects.Mark], now: Now) -> bool:
        """Continue with a new ledger, which gets the current state; tell whether there is one."""
        # The current state includes all unwritten records except for skips.
        skips = [
            record
            for record in chain.from_iterable([*self._owed, records])
            if isinstance(record, effects.SlotsSkipped) and record.run is None
        ]
        standing = [*self._engine.restate(now), *skips]
        try:
            self._ledger.replace(why, now)
            self._write_what_can_be(standing, now)
        except (LedgerUnwritable, LedgerBroken) as error:
            # If each new ledger is broken at once, do not create one every second.
            is_broken = isinstance(error, LedgerBroken)
            self._replace_pause_ns = (
                min(2 * self._replace_pause_ns, MAX_REPLACE_NS) if is_broken else RETRY_NS
            )
            trouble = f"the new one is broken too: {error}" if is_broken else str(error)
            ledger_log.critical(
                "the ledger is broken (%s), and a new one cannot be created (%s): "
                "nothing starts until it can",
                why,
                trouble,
            )
            self._owed = [standing]
            if self.retry_at_ns is None:
                self._since, self._skips = now, 0
            self._why = f"the ledger is broken, and a new one cannot be created: {trouble}"
            self._is_replacing = True
            self.retry_at_ns = now.elapsed_ns + self._replace_pause_ns
            return False
        self._is_replacing = True
        self._go_on(now)
        return True

    def _go_on(self, now: Now) -> None:
        """Note that everything is written, and release the starts that waited for it."""
        was_out, self.retry_at_ns = self.retry_at_ns is not None, None
        self._replace_pause_ns = RETRY_NS
        self._owed.clear()
        if self._is_replacing:
            self._is_replacing = False
            self.note_lost(now)
            self.renewed()
        if was_out:
            self._tell_of_outage(now)
            self.take(self._handle((events.StartsReleased(),), now))

    def _make_do(self, action: effects.Action, now: Now) -> None:
        """Carry out an action that is harmless although the records are not written."""
        match action:
            case effects.Start():
                self.take(self._handle((events.StartHeld(action.key),), now))
            # These wait until the records are written.
            case effects.Forget() | effects.Abandon() | effects.Answer(is_urgent=False):
                self._held.append(action)
            # If this scheduler died, a command that is stopped without a record would stay stopped for ever.
            # Both signals wait, to keep their order; ending a command continues it in any case.
            case effects.Signal(signum=signal.SIGSTOP | signal.SIGCONT):
                self._held.append(action)
            case _:
                self._carry_out(action, now)


def _named(effect: effects.Effect) -> str:
    """Name an effect and its subject: "AttemptBegun of backup"."""
    of = getattr(effect, "job", None) or getattr(effect, "key", None)
    return f"{type(effect).__name__} of {of}" if isinstance(of, str) else type(effect).__name__


def tell_set_aside(ledger: Ledger) -> str:
    """Log where a broken ledger was put, and return it in words; "": there was none."""
    if ledger.set_aside is None:
        return ""
    path, why = ledger.set_aside
    if path is not None:
        words = f"the ledger was broken ({why}): it was moved to {path}, and a new one was created"
    elif ledger.is_new:
        words = f"the ledger was lost ({why}): a new one was created from what this process knows"
    else:
        words = f"the ledger was lost ({why}): that one is used from now on"
    ledger_log.critical("%s", words, extra={"event": "ledger_lost"})
    return words


#: Rows that are logged one by one; the others are only counted. The ledger has a table of all of them.
_MOST_TOLD = 20


def tell_unreadable(ledger: Ledger, note: Callable[[effects.Record], None]) -> None:
    """Log and record which rows of the ledger could not be read."""
    rows = [row.words for row in ledger.unreadable]
    if len(rows) > _MOST_TOLD:
        rows[_MOST_TOLD:] = [f"{len(rows) - _MOST_TOLD:,} more rows of the ledger"]
    for words in rows:
        ledger_log.critical("set aside: %s", words, extra={"event": "set_aside"})
        note(effects.SchedulerNoted("set_aside", words))
