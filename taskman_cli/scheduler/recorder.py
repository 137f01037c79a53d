"""Between engine and deeds: what a turn of the loop recorded is made durable before any of it is carried out.

All steps of one turn are one transaction, so a burst costs few. Where the ledger cannot be written, nothing
is started: the attempts wait, ends are remembered here and by the supervisor, and it is tried again.
"""

from __future__ import annotations

import signal
from itertools import chain
from typing import TYPE_CHECKING

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.timespec import format_rough
from taskman_cli.errors import EXIT_FAILED
from taskman_cli.ledger.store import LedgerBroken, LedgerUnwritable
from taskman_cli.scheduler.log import logger
from taskman_cli.scheduler.poison import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from taskman_cli.core.engine.engine import Engine
    from taskman_cli.ledger.ledger import Ledger

#: What is said where an answer cannot be put together.
_NO_ANSWER = "internal error: it is done, but the answer to it cannot be given; the scheduler's log has more"
#: Pause before a ledger that could not be written is tried again.
RETRY_NS = 1_000_000_000
#: The longest pause before another new ledger is made, where each was broken as soon as it was made.
MAX_REPLACE_NS = 60_000_000_000
#: Records owed that are written together: a try that fails costs no more, however long nothing could be.
PORTION = 200


class Recorder:
    """Gathers effects, and lets them happen when their records are durable."""

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        *,
        tell: Callable[[effects.Record | effects.Mark], None],
        do: Callable[[effects.Action], None],
        set_aside: Callable[[str, Exception], None] = lambda *_: None,
        handle: Callable[[events.Event, Now], list[effects.Effect]] | None = None,
    ) -> None:
        """`set_aside` is told of what raised and was done without, in words; `handle` is the engine's."""
        self._engine = engine
        self._handle = handle or engine.handle
        self._ledger = ledger
        self._tell = tell
        self._do = do
        self._set_aside = set_aside
        self._records: list[effects.Record | effects.Mark] = []
        self._actions: list[effects.Action] = []
        #: Turns whose records were told and could not be written, and what may only follow them.
        self._owed: list[list[effects.Record | effects.Mark]] = []
        self._held: list[effects.Action] = []
        #: A ledger that was set aside is still to be told of: there is no new one yet.
        self._is_replacing = False
        self._replace_pause_ns = RETRY_NS
        #: Runs of which nobody could write that they are there: nothing of them starts.
        self._unrecorded: set[str] = set()
        #: When it is tried again, on the elapsed clock; None: all is well.
        self.retry_at_ns: int | None = None
        self._why = ""
        self._since = Now(0, 0)
        #: Slots that were skipped since, which are told of together.
        self._skips = 0

    @property
    def trouble(self) -> str | None:
        """Return why the ledger cannot be written, in words; None: it can."""
        return None if self.retry_at_ns is None else self._why

    def take(self, new: Iterable[effects.Effect]) -> None:
        """Gather the effects of a step."""
        for effect in new:
            if isinstance(effect, _ACTIONS):
                self._actions.append(effect)
            else:
                self._records.append(effect)

    def note(self, record: effects.Record) -> None:
        """Gather a record of the program itself."""
        self._records.append(record)

    def settle(self, now: Now) -> None:
        """Write what has gathered, then do what has."""
        while self._records or self._actions or self._is_retry_due(now):
            records, self._records = self._records, []
            actions, self._actions = self._actions, []
            is_written = self._write(records, now)
            for record in records:
                if not is_written and isinstance(record, effects.SlotsSkipped):
                    self._skips += record.count or 1  # a line each would drown the one that matters
                else:
                    self._tell_of(record)
            if is_written:
                held, self._held = self._held, []
                for action in (*held, *actions):
                    self._carry_out(action, now)
            else:
                for action in actions:
                    self._make_do(action, now)

    def _tell_of(self, record: effects.Record | effects.Mark) -> None:
        try:
            self._tell(record)
        except Exception as error:  # it is on record, and what follows from it is no other's affair
            self._set_aside(f"what follows from {_named(record)}", error)

    def _carry_out(self, action: effects.Action, now: Now) -> None:
        """Do what is to be done; where that cannot be, let it have failed."""
        if isinstance(action, effects.Start) and action.run in self._unrecorded:
            why = "that it begins could not be put on record"
            self._fail(action, why, now)
            return
        try:
            self._do(action)
        except Exception as error:
            self._set_aside(_named(action), error)
            why = f"cannot be asked for ({words_of(error)})"
            if isinstance(action, effects.Start):
                self._fail(action, why, now)
            elif isinstance(action, effects.Answer) and action.reply.get("error") != _NO_ANSWER:
                reply = {"ok": False, "error": _NO_ANSWER, "code": EXIT_FAILED}
                self._carry_out(effects.Answer(action.token, reply, action.is_urgent), now)
            elif isinstance(action, effects.Adopt):
                self.take(self._handle(events.AttemptGone(action.key, why), now))

    def _fail(self, start: effects.Start, why: str, now: Now) -> None:
        failed = events.StartFailed(start.key, why, is_transient=False, at=now)
        self.take(self._handle(failed, now))

    def _is_retry_due(self, now: Now) -> bool:
        return self.retry_at_ns is not None and self.retry_at_ns <= now.elapsed_ns

    def _write(self, records: list[effects.Record | effects.Mark], now: Now) -> bool:
        if self.retry_at_ns is not None and not self._is_retry_due(now):
            self._owed.append(records)
            return False
        if not records and not self._owed:
            self.retry_at_ns = None
            return True
        again = [] if self.retry_at_ns is None else [effects.SchedulerNoted("ledger_writable")]
        try:
            self._write_owed([*records, *again], now)
        except LedgerUnwritable as error:
            self._put_off(str(error), records, now)
            return False
        except LedgerBroken as error:
            return self._begin_anew(str(error), records, now)
        self._go_on(now)
        return True

    def _write_owed(self, rest: list[effects.Record | effects.Mark], now: Now) -> None:
        """Write what is owed, in portions of whole turns, and with the last of them the rest."""
        while len(portion := self._portion()) < len(self._owed):
            self._write_what_can_be([*chain.from_iterable(portion)], now)
            del self._owed[: len(portion)]
        self._write_what_can_be([*chain.from_iterable(self._owed), *rest], now)

    def _write_what_can_be(self, records: list[effects.Record | effects.Mark], now: Now) -> None:
        """Write records, all but those that nobody can write."""
        try:
            self._ledger.write(records, now)
        except (LedgerUnwritable, LedgerBroken):
            raise
        except Exception as error:  # of one record, or of ours
            logger.critical("a record cannot be written; each is written alone", exc_info=error)
        else:
            return
        found = self._ledger.salvage(records, now)
        for record, why, is_escaped in found:
            self._set_aside(f"the record {_named(record)}{' as it was' if is_escaped else ''}", why)
            if isinstance(record, effects.RunQueued | effects.AttemptBegun) and not is_escaped:
                self._unrecorded.add(record.run)

    def _portion(self) -> list[list[effects.Record | effects.Mark]]:
        """Return the first turns that are owed: as many as fit, one at least."""
        count = 0
        for number, turn in enumerate(self._owed):
            count += len(turn)
            if count > PORTION and number:
                return self._owed[:number]
        return self._owed

    def _put_off(self, why: str, records: list[effects.Record | effects.Mark], now: Now) -> None:
        """Keep records until they can be written, and with the first of them when and why that began."""
        if self.retry_at_ns is None:
            logger.critical("the ledger cannot be written (%s): nothing starts until it can be", why)
            self._owed.append([effects.SchedulerNoted("ledger_unwritable", why, now.wall_ns)])
            self._since, self._skips = now, 0
        self._owed.append(records)
        self._why = why
        self.retry_at_ns = now.elapsed_ns + RETRY_NS

    def _tell_of_outage(self, now: Now) -> None:
        length = format_rough(now.elapsed_ns - self._since.elapsed_ns)
        words = f"the ledger can be written again, after {length}"
        if self._skips:
            words += f"; {self._skips:,} slot{'s were' if self._skips > 1 else ' was'} skipped"
        logger.warning(words)

    def close(self, now: Now) -> bool:
        """Tell whether all is on record, after a last try; if not, say what never will be."""
        if self.retry_at_ns is None:
            return True
        self.retry_at_ns = now.elapsed_ns
        self.settle(now)
        if self.retry_at_ns is not None:
            ends = sum(isinstance(record, effects.AttemptFinished) for turn in self._owed for record in turn)
            lost = f" (how {ends:,} command{'s' if ends > 1 else ''} ended, too)" if ends else ""
            logger.critical(
                "what happened in the last %s is not on record%s: %s",
                format_rough(now.elapsed_ns - self._since.elapsed_ns), lost, self._why,
            )  # fmt: skip
        return self.retry_at_ns is None

    def _begin_anew(self, why: str, records: list[effects.Record | effects.Mark], now: Now) -> bool:
        """Go on with a new ledger, which is told what there is; tell whether there is one."""
        # Skips are nobody's state: all else that is owed, the new one is told as it stands.
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
            # One that is broken as soon as it is made is no reason to make one each second.
            is_broken = isinstance(error, LedgerBroken)
            self._replace_pause_ns = (
                min(2 * self._replace_pause_ns, MAX_REPLACE_NS) if is_broken else RETRY_NS
            )
            trouble = f"the new one is broken, too: {error}" if is_broken else str(error)
            logger.critical(
                "the ledger is broken (%s), and there can be no new one (%s): nothing starts until there can",
                why,
                trouble,
            )
            self._owed = [standing]
            if self.retry_at_ns is None:
                self._since, self._skips = now, 0
            self._why = f"the ledger is broken, and there can be no new one: {trouble}"
            self._is_replacing = True
            self.retry_at_ns = now.elapsed_ns + self._replace_pause_ns
            return False
        self._is_replacing = True
        self._go_on(now)
        return True

    def _go_on(self, now: Now) -> None:
        """Take note that all is written, and let begin what waited for that."""
        was_out, self.retry_at_ns = self.retry_at_ns is not None, None
        self._replace_pause_ns = RETRY_NS
        self._owed.clear()
        if self._is_replacing:
            self._is_replacing = False
            tell_set_aside(self._ledger)
        if was_out:
            self._tell_of_outage(now)
            self.take(self._handle(events.StartsReleased(), now))

    def _make_do(self, action: effects.Action, now: Now) -> None:
        """Do of what goes unrecorded what does no harm."""
        match action:
            case effects.Start():
                self.take(self._handle(events.StartHeld(action.key), now))
            # Not so before it is on record.
            case effects.Forget() | effects.Abandon() | effects.Answer(is_urgent=False):
                self._held.append(action)
            # A command that is stopped off the record would be so for good, were this scheduler to die. One
            # goes after the other; what ends a command has it go on by itself.
            case effects.Signal(signum=signal.SIGSTOP | signal.SIGCONT):
                self._held.append(action)
            case _:
                self._carry_out(action, now)


def _named(effect: effects.Effect) -> str:
    """Say what an effect is about: "AttemptBegun of backup"."""
    of = getattr(effect, "job", None) or getattr(effect, "key", None)
    return f"{type(effect).__name__} of {of}" if isinstance(of, str) else type(effect).__name__


_ACTIONS = (
    effects.Start, effects.Adopt, effects.Signal, effects.Forget, effects.Abandon, effects.Answer,
    effects.Stopped,
)  # fmt: skip


def tell_set_aside(ledger: Ledger) -> None:
    """Say where a broken ledger was put, if one was."""
    if ledger.set_aside:
        path, why = ledger.set_aside
        if path is None:
            logger.critical("the ledger was lost (%s): a new one was begun, with what is known here", why)
        else:
            logger.critical("the ledger was broken (%s): it is now %s, and a new one was begun", why, path)


#: Rows that are told of one by one; the others are in the ledger's own table of them.
_MOST_TOLD = 20


def tell_unreadable(ledger: Ledger, note: Callable[[effects.Record], None]) -> None:
    """Say which rows of the ledger could not be read, and put it on record."""
    rows = [row.words for row in ledger.unreadable]
    if len(rows) > _MOST_TOLD:
        rows[_MOST_TOLD:] = [f"{len(rows) - _MOST_TOLD:,} more rows of the ledger"]
    for words in rows:
        logger.critical("set aside: %s", words)
        note(effects.SchedulerNoted("set_aside", words))
