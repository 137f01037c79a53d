"""Requests about sinks: how they stand, a message to try one, and reports to be told again or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine import effects
from taskman_cli.core.escapes import printable, quoted
from taskman_cli.core.nearest import did_you_mean
from taskman_cli.core.sinks import OF_THE_SCHEDULER, ReportKind
from taskman_cli.errors import EXIT_FAILED, EXIT_NOT_FOUND, EXIT_USAGE, Refused
from taskman_cli.ledger.reportqueue import QueueError
from taskman_cli.scheduler.requests.lookups import check_sink, requester

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.control.peers import Client
    from taskman_cli.core import protocol
    from taskman_cli.scheduler.driver import EngineDriver
    from taskman_cli.scheduler.outlets.deliveries import Deliveries
    from taskman_cli.scheduler.outlets.state import SinkState

#: Reports that were set aside, of each sink, that are told of one by one.
_MOST_TOLD = 100


class SinkRequests:
    """Follows them, or refuses them."""

    def __init__(self, driver: EngineDriver, deliveries: Callable[[], Deliveries | None]) -> None:
        self._driver = driver
        self._get = deliveries
        #: Who is answered, and how, when a mark is durable.
        self._waiting: list[tuple[effects.Mark, Client, dict[str, Any]]] = []

    def tell(self, record: effects.Mark) -> None:
        """Answer what has become durable."""
        for item in [item for item in self._waiting if item[0] is record]:
            self._waiting.remove(item)
            item[1].reply(item[2])

    def _do(self, mark: effects.Mark, client: Client, reply: dict[str, Any]) -> None:
        self._waiting.append((mark, client, {"ok": True} | reply))
        self._driver.note(mark)

    def list(self, _: protocol.ListSinks, client: Client) -> None:
        """Say how each sink stands."""
        deliveries = self._get()
        found = deliveries.told() if deliveries else []
        for item in found:
            try:
                rows = self._driver.ledger.reports.refused(item["sink"], _MOST_TOLD)
            except QueueError:
                rows = []
            item["refused"] = [row._asdict() for row in rows]
        client.reply({"ok": True, "sinks": found})

    def test(self, request: protocol.TestSink, client: Client) -> None:
        """Send a sink a message of its own, and say what the other side answers."""
        deliveries, state = self._state(request.sink)
        if request.event not in {kind.value for kind in ReportKind}:
            hint = did_you_mean(request.event, [kind.value for kind in ReportKind])
            raise Refused(f"{printable(quoted(request.event))} is no event{hint}", EXIT_USAGE)

        def answer(is_taken: bool, words: str) -> None:
            if is_taken:
                client.reply({"ok": True, "sink": state.name, "type": state.definition.type, "answer": words})
            else:
                client.refuse(f"sink {state.name}: {words}", code=EXIT_FAILED)

        deliveries.test(state.name, self._sample(state, ReportKind(request.event)), answer)

    def _sample(self, state: SinkState, kind: ReportKind) -> dict[str, Any]:
        """Return a report that could be real, of a job that the sink is told of."""
        now_ns = self._driver.now.wall_ns
        values: dict[str, Any] = {"seq": 0, "kind": str(kind), "at_ns": now_ns, "count": 1}
        values["detail"] = "this is a test"
        values["command"] = f"taskman sinks test {state.name}"
        if kind in OF_THE_SCHEDULER:
            return values
        jobs = (armed.job for armed in self._driver.engine.timetable.jobs.values())
        named = next((job.id for job in jobs if state.name in job.policy.sinks), "example")
        values |= {"job": named, "task": "main", "attempt": 1, "run": "example", "slot_ns": now_ns}
        if kind is ReportKind.FAILED:
            values |= {"state": "failed", "detail": "exit 3", "exit_code": 3}
            values |= {"started_ns": now_ns - 1_500_000_000, "ended_ns": now_ns, "duration_ns": 1_500_000_000}
        return values | {"output": ["this is a test of taskman"], "is_output_cut": False}

    def replay(self, request: protocol.ReplaySink, client: Client) -> None:
        """Let a sink be told again what it was told since a line of the journal, or a time."""
        _, state = self._state(request.sink)
        queue = self._driver.ledger.reports
        try:
            seq = request.since - 1 if request.since is not None else queue.first_since(request.since_ns or 0)
            count = queue.count(state.name, seq)
            before = queue.count(state.name, state.cursor)
        except QueueError as error:
            raise Refused(f"the ledger cannot be read now ({error})") from error
        if seq >= state.cursor or count <= before:
            raise Refused(f"{state.name} was told nothing since then that is still on record", EXIT_NOT_FOUND)
        who = requester(client)
        moved = effects.SinkMoved(state.name, max(0, seq))
        self._do(moved, client, {"sink": state.name, "reports": count})
        words = f"{state.name}: {count:,} report{'s' if count > 1 else ''} since {seq + 1}"
        self._driver.note(effects.Commanded("sink_replayed", who, detail=words))

    def skip(self, request: protocol.SkipReport, client: Client) -> None:
        """Let a sink not be told of a report."""
        _, state = self._state(request.sink)
        queue = self._driver.ledger.reports
        try:
            is_refused = queue.is_refused(state.name, request.seq)
            row = queue.read(request.seq)
        except QueueError as error:
            raise Refused(f"the ledger cannot be read now ({error})") from error
        is_waiting = row is not None and state.name in row.counts and request.seq > state.cursor
        if not (is_refused or is_waiting):
            words = f"no report {request.seq} waits for {state.name} or is set aside: see `taskman sinks`"
            raise Refused(words, EXIT_NOT_FOUND)
        skipped = effects.ReportSkipped(state.name, request.seq)
        self._do(skipped, client, {"sink": state.name, "seq": request.seq})
        words = f"{state.name}: report {request.seq}"
        self._driver.note(effects.Commanded("report_skipped", requester(client), detail=words))

    def _state(self, name: str) -> tuple[Deliveries, SinkState]:
        deliveries = self._get()
        state = deliveries.sinks.get(name) if deliveries else None
        if deliveries is None or state is None:
            check_sink(name, self._driver.engine.reports.sinks)
            raise Refused(f"the sink {name} is not ready yet: try again")
        return deliveries, state
