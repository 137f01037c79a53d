"""Deliveries to sinks: what each is told next, and how far it has got.

The queue is the ledger: a report is there as soon as its event is, and a sink's cursor moves when a delivery
is on record. Only then the next one begins, so that a crash repeats at most the one on its way, as it was:
what a digest has is on record before. The process of the sinks (`sinks.process`) waits, tries again and knows
the secrets; nothing here waits for it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS, earliest
from taskman_cli.core.engine import effects
from taskman_cli.core.escapes import printable
from taskman_cli.core.timespec import format_rough
from taskman_cli.ledger.reportqueue import QueueError
from taskman_cli.scheduler.logs.loggers import sink_log as logger
from taskman_cli.scheduler.outlets.bound import keep_within
from taskman_cli.scheduler.outlets.link import Link
from taskman_cli.scheduler.outlets.state import Sender, Sent, SinkState, plain
from taskman_cli.scheduler.outlets.trials import Trials
from taskman_cli.scheduler.outlets.watch import Watch
from taskman_cli.supervisor.wire import WireError

if TYPE_CHECKING:
    import select
    from collections.abc import Callable

    from taskman_cli.core.engine.view import SinkRow
    from taskman_cli.ledger.reportqueue import ReportQueue
    from taskman_cli.scheduler.driver import EngineDriver

#: Numbers of reports that are read ahead.
_AHEAD = 256
#: The most reports of one message, and the most bytes of them, roughly.
_MOST_REPORTS, _MOST_BYTES = 1_000, 4 << 20
#: How often a row that cannot be read is tried, and the pause before what is on record is read again.
_MOST_MISREADS, _AGAIN_NS = 3, SECOND_NS
#: How long a stop waits for what is on its way to sinks.
_SEE_OFF_NS = 3 * SECOND_NS


class Deliveries:
    """Gives each sink its next message."""

    def __init__(
        self, driver: EngineDriver, sender: Sender | None = None, *, make_link: Callable[..., Link] = Link
    ) -> None:
        self._driver = driver
        self._engine = driver.engine
        self._sender = sender or Sender("", "")
        #: The sinks, by name.
        self.sinks: dict[str, SinkState] = {}
        self.link = make_link(is_owed=self._is_owed, began=self._configure, ended=self._give_back)
        self._number = 0
        self._identity = ""
        self._was_troubled = False
        self._watch: Watch | None = None
        #: What is on record has to be read again; when, on the elapsed clock, if it cannot be read now.
        self._is_stale = True
        self._again_ns: int | None = None
        self._read_from: ReportQueue | None = None
        self._is_unreadable = self._is_stopping = False
        self._trials = Trials(self.link, self._say)
        driver.follow(
            {
                effects.Reported: self._reported,
                effects.SinksTaken: lambda _: self._look_again(),
                effects.SinkDelivered: lambda mark: self._on_record(mark.sink),
                effects.ReportSetAside: lambda mark: self._on_record(mark.sink),
                effects.DigestCut: self._cut,
                effects.SinkMoved: lambda mark: self._look_again(mark.sink),
                effects.ReportSkipped: lambda mark: self._look_again(mark.sink),
            }
        )

    # --- the loop ---

    def watch(self, poll: select.epoll) -> None:
        """Keep this up to date with the descriptors to wait on."""
        self._watch = Watch(poll, self.link)

    def next_timer(self) -> int | None:
        """Return when a turn is wanted at the latest, on the elapsed clock, or None."""
        can_send = self.link.is_open and self._driver.trouble is None
        gathering = [state.gathers_to_ns for state in self.sinks.values() if can_send]
        return earliest(self.link.next_timer(), self._trials.next_timer(), self._again_ns, *gathering)

    def turn(self, ready: set[int]) -> None:
        """Take what the process says."""
        for message in self.link.turn(ready, self._driver.now.elapsed_ns):
            try:
                self._heard(message)
            except (ValueError, TypeError, AttributeError) as error:  # of another version
                self._driver.set_aside("what the process of the sinks says", error)
        self._trials.turn(self._driver.now.elapsed_ns)

    def flush(self) -> bool:
        """Send each sink what it is told next; tell whether something is to be recorded."""
        if self._driver.trouble is not None:
            self._was_troubled, self._again_ns = True, None
            return False
        now_ns = self._driver.now.elapsed_ns
        is_again = self._again_ns is not None and self._again_ns <= now_ns
        # A ledger that was broken has another one in its place, where the numbers begin anew.
        is_old = self._is_stale or self._was_troubled or self._queue is not self._read_from
        if is_again or (is_old and self._again_ns is None):
            self._is_stale = self._was_troubled = False
            self._load()
        noted = False
        if self.sinks:
            self.link.start(now_ns)
        for state in self.sinks.values():
            if not state.is_held and self._again_ns is None:
                noted |= self._next(state)
        self.link.flush()
        if self._watch:
            self._watch.renew()
        return noted

    # --- what is on record ---

    def _load(self) -> None:
        """Read how far each sink has got."""
        queue = self._queue
        self._again_ns = None
        definitions = {sink.name: sink for sink in self._engine.reports.sinks}
        for name in [name for name in self.sinks if name not in definitions]:
            self._drop(self.sinks.pop(name))
            self._driver.meters.depths.forget(f"sink.{name}")
        try:
            rows, identity = queue.sinks(), queue.identity()
        except QueueError as error:
            self._cannot_read(error)
            return
        self._is_unreadable = False
        is_other = queue is not self._read_from or identity != self._identity
        self._read_from, self._identity = queue, identity
        for name, definition in definitions.items():
            known = self.sinks.get(name)
            if known is not None and (is_other or known.definition != definition):
                self._drop(known)
            if known is None:
                known = self.sinks[name] = SinkState(definition)
                self._driver.meters.depths.watch(f"sink.{name}", partial(getattr, known, "waiting"))
            known.definition = definition
            if (row := rows.get(name)) is not None:
                self._read_state(known, row.cursor)
                known.take(row)
        self._configure()

    def _read_state(self, state: SinkState, cursor: int) -> None:
        """Begin anew to read what a sink is told after a line; what is on its way stays so."""
        state.cursor = cursor
        last = state.sent.seqs[-1] if state.sent else 0
        if state.sent and last <= cursor:
            self._drop(state)
        state.ahead.clear()
        state.known_to = max(cursor, last if state.sent else 0)
        state.is_more, state.is_held = True, False
        try:
            state.waiting = self._queue.count(state.name, cursor)
            state.refused = self._queue.refused_count(state.name)
        except QueueError as error:
            self._cannot_read(error)

    def _cannot_read(self, error: QueueError) -> None:
        """Deliver nothing until what is on record could be read again."""
        if not self._is_unreadable:
            logger.error("sinks: the ledger cannot be read (%s): nothing is delivered now", error)
        self._is_unreadable = True
        self._again_ns = self._driver.now.elapsed_ns + _AGAIN_NS

    @property
    def _queue(self) -> ReportQueue:
        return self._driver.ledger.reports

    def _look_again(self, name: str | None = None) -> None:
        if name is not None and (state := self.sinks.get(name)):
            self._drop(state)
        self._is_stale = True

    def _reported(self, record: effects.Reported) -> None:
        """Take note of a report that is durable, or will be."""
        for name, _ in record.to:
            if state := self.sinks.get(name):
                state.waiting += 1
                state.is_more = True

    def _on_record(self, name: str) -> None:
        """Let the next message of a sink begin: the end of the last one is on record, or will be."""
        if state := self.sinks.get(name):
            state.is_held = False

    def _cut(self, mark: effects.DigestCut) -> None:
        """Let a digest be sent: what it has is on record, or will be."""
        if state := self.sinks.get(mark.sink):
            state.cut_seq, state.is_held = mark.seq, False

    # --- to the sinks ---

    def _next(self, state: SinkState) -> bool:
        """Send a sink its next message, if it is time; tell whether something is to be recorded."""
        try:
            noted = keep_within(state, self._queue, self._driver.note)
        except QueueError as error:
            self._cannot_read(error)
            return False
        if not self.link.is_open or state.sent is not None or not self._has_next(state):
            return noted
        if state.has_cut and state.ahead[0] > state.cut_seq:
            state.cut_seq = 0  # nothing of it is left: what comes next gathers
        if state.definition.digest_ns and not (self._is_stopping or state.is_hurried or state.has_cut):
            now_ns = self._driver.now.elapsed_ns
            if state.gathers_to_ns is None:
                state.gathers_to_ns = now_ns + state.definition.digest_ns
            if now_ns < state.gathers_to_ns:
                return noted
        state.gathers_to_ns, state.is_hurried = None, False
        return self._send(state) or noted

    def _has_next(self, state: SinkState) -> bool:
        """Tell whether there is a report for a sink, and read the numbers of some."""
        while not state.ahead and state.is_more:
            try:
                found, upto = self._queue.next_of(state.name, state.known_to, _AHEAD)
            except QueueError as error:
                self._cannot_read(error)
                return False
            state.ahead.extend(found)
            state.is_more = upto > state.known_to
            state.known_to = upto
        return bool(state.ahead)

    def _send(self, state: SinkState) -> bool:
        """Send what is next, after a note of what a digest has; tell whether something is to be recorded."""
        most = _MOST_REPORTS if state.definition.digest_ns else 1
        has_cut = state.has_cut
        reports, seqs, size = list[dict[str, Any]](), list[int](), 0
        while len(reports) < most and size < _MOST_BYTES and self._has_next(state):
            seq = state.ahead[0]
            if has_cut and seq > state.cut_seq:
                break
            try:
                row = self._queue.read(seq)
            except QueueError as error:
                self._cannot_read(error)
                if state.misread(seq) < _MOST_MISREADS and (has_cut or not reports):
                    state.ahead.extendleft(reversed(seqs))
                    return False
                row = None
            if row is None:
                if reports:
                    break  # first what comes before it
                state.misreads = 0
                self._set_aside(state, [state.ahead.popleft()], "its row in the ledger could not be read")
                return True
            reports.append(self._sender.report(row, state.name))
            seqs.append(state.ahead.popleft())
            size += 1_000 + sum(map(len, reports[-1].get("output", ())))
        has_rest = has_cut and self._has_next(state) and state.ahead[0] <= state.cut_seq
        is_rest_unknown = has_cut and self._again_ns is not None and not state.ahead
        if is_rest_unknown or (most > 1 and (has_rest or not has_cut)):
            state.ahead.extendleft(reversed(seqs))
            if not is_rest_unknown:
                # It would have another key after a crash, if more had come by then.
                state.is_held = True
                self._driver.note(effects.DigestCut(state.name, seqs[-1]))
            return not is_rest_unknown
        self._number += 1
        self.link.expect(self._driver.now.elapsed_ns)
        is_full = most > 1 and (len(reports) == most or size >= _MOST_BYTES)
        state.sent, state.misreads = Sent(self._number, seqs, reports[0]["at_ns"], is_full), 0
        key = self._sender.key(self._identity, state.cut_seq if has_cut else seqs[-1])
        self._say("deliver", state.name, self._number, key, reports, False)
        return False

    def _drop(self, state: SinkState) -> None:
        """Forget the message that is on its way."""
        if state.sent is not None:
            self._say("drop", state.name, state.sent.number)
        state.sent, state.is_held, state.gathers_to_ns = None, False, None

    # --- from the sinks ---

    def _heard(self, message: tuple[Any, ...]) -> None:
        if message[0] == "pong":
            return
        kind, name, number, words = message[:4]
        words = printable(str(words))[:1_000]
        if self._trials.heard(number, words, is_taken=kind == "delivered"):
            return
        state, is_of_it = self.sinks.get(name), self._queue is self._read_from
        if state is None or state.sent is None or state.sent.number != number or not is_of_it:
            return  # perhaps of the ledger before
        if kind == "delivered":
            self._delivered(state, state.sent, words)
        elif kind in ("failed", "refused"):
            self._failed(state, words)
            if kind == "refused":
                self._set_aside(state, state.sent.seqs, words)

    def _delivered(self, state: SinkState, sent: Sent, answer: str) -> None:
        now, name = self._driver.now, state.name
        if state.failing_ns is not None:
            length = format_rough(max(0, now.wall_ns - state.failing_ns))
            logger.warning("sink %s: works again, after %s", name, length, extra={"sink": name})
        state.failing_ns, state.error, state.is_complained, state.is_overfull = None, "", False, False
        state.delivered += len(sent.seqs)
        state.delivered_ns, state.answer = now.wall_ns, answer
        state.pass_over(sent.seqs)
        state.is_hurried = sent.is_full
        self._driver.note(effects.SinkDelivered(name, sent.seqs[-1], now.wall_ns, answer, len(sent.seqs)))

    def _failed(self, state: SinkState, words: str) -> None:
        now, name = self._driver.now, state.name
        if state.failing_ns is None:
            state.failing_ns = now.wall_ns
            logger.warning("sink %s: %s; it is tried again", name, words, extra={"sink": name})
        if words != state.error:
            state.error = words
            self._driver.note(effects.SinkFailed(name, now.wall_ns, words))

    def _set_aside(self, state: SinkState, seqs: list[int], words: str) -> None:
        name = state.name
        if not state.is_complained:
            state.is_complained = True
            which = f"report {seqs[0]} is" if len(seqs) == 1 else f"{len(seqs)} reports are"
            fields = {"sink": name, "event": "set_aside"}
            logger.error("sink %s: %s set aside: %s; see taskman sinks", name, which, words, extra=fields)
        state.refused += len(seqs)
        state.pass_over(seqs)
        self._driver.note(effects.ReportSetAside(name, tuple(seqs), self._driver.now.wall_ns, words))

    # --- requests ---

    def test(self, name: str, values: dict[str, Any], tell: Callable[[bool, str], None]) -> None:
        """Send a message of its own to a sink; `tell` is called with whether it was taken, and the answer."""
        self._number += 1
        self.link.expect(self._driver.now.elapsed_ns)
        key = self._sender.key(self._identity, f"test-{self._driver.now.wall_ns}")
        message = ("deliver", name, self._number, key, [values], True)
        self._trials.add(self._number, message, tell, self._driver.now.elapsed_ns)

    def rows(self) -> tuple[SinkRow, ...]:
        """Return what a view shows of the sinks."""
        return tuple(state.row() for state in self.sinks.values())

    def told(self) -> list[dict[str, Any]]:
        """Return how each sink stands, for people."""
        return [state.told() for state in self.sinks.values()]

    # --- the process ---

    def _give_back(self) -> None:
        """Begin again with what was on its way: another process comes."""
        self._trials.give_up()
        for state in self.sinks.values():
            state.give_back()

    def _configure(self) -> None:
        facts = {
            "instance": self._sender.instance,
            "host": self._sender.host,
            "ledger": self._identity,
            "is_durable": str(self._engine.settings.durability) == "power",
            "trust": self._sender.trust,
        }
        self._say("configure", facts, [plain(state.definition) for state in self.sinks.values()])
        self._trials.send()

    def _say(self, *message: Any) -> None:
        try:
            self.link.say(*message)
        except WireError as error:
            self._driver.set_aside("a message to the process of the sinks", error)

    def _is_owed(self) -> bool:
        """Tell whether the process owes an answer."""
        return bool(self._trials) or any(state.sent is not None for state in self.sinks.values())

    # --- the end ---

    def stop(self, elapsed_ns: int) -> int:
        """Send what gathers, since the program ends; return until when it waits for what is on its way."""
        self._is_stopping = True
        return elapsed_ns + _SEE_OFF_NS

    @property
    def is_busy(self) -> bool:
        """Tell whether something is on its way to a sink that works, or about to be."""
        return self._driver.trouble is None and any(
            state.failing_ns is None and state.waiting > 0 for state in self.sinks.values()
        )

    def close(self) -> None:
        """End the process; what is not delivered is by the next start."""
        self.link.close()
