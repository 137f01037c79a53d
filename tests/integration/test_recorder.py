"""Between engine and deeds: nothing is done that is not on record, and what cannot wait is done at once."""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING

import pytest
from integration.ledger_tables import dump
from unit.engine_driver import START, make_job, seconds

from taskman_cli.core import protocol
from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.model import Exit, Policy, Settings, Trigger
from taskman_cli.ledger.ledger import Ledger
from taskman_cli.ledger.store import LedgerBroken, LedgerUnwritable
from taskman_cli.scheduler.recorder import PORTION, RETRY_NS, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from taskman_cli.ledger.standing import OpenRunRow, SchedulerStanding

Record = effects.Record | effects.Mark


MOVED = (
    "the ledger was broken (malformed): it was moved to /state/ledger.db.broken-1, and a new one was created"
)


class FakeLedger:
    """Writes to a list, unless it is told to fail."""

    def __init__(self, diary: list[object]) -> None:
        self.diary = diary
        self.batches: list[list[Record]] = []
        #: How many records each try was given.
        self.tries: list[int] = []
        self.trouble: Exception | None = None
        self.trouble_of_replacing: Exception | None = None
        #: What replaces it is as broken.
        self.is_each_broken = False
        self.replaced: list[str] = []
        self.set_aside: tuple[str, str] | None = None

    def write(self, records: Iterable[Record], _: Now) -> None:
        batch = list(records)
        self.tries.append(len(batch))
        if self.trouble:
            raise self.trouble
        self.batches.append(batch)
        self.diary += self.batches[-1]

    def replace(self, why: str, _: Now) -> None:
        if self.trouble_of_replacing:
            raise self.trouble_of_replacing
        if not self.is_each_broken:
            self.trouble = None
        self.replaced.append(why)
        self.set_aside = ("/state/ledger.db.broken-1", why)

    @property
    def records(self) -> list[Record]:
        return [record for batch in self.batches for record in batch]


class World:
    """An engine, a recorder and a diary of what was written, told and done."""

    def __init__(self, *, jobs: int = 1) -> None:
        self.diary: list[object] = []
        self.told: list[Record] = []
        self.done: list[effects.Action] = []
        self.engine = Engine(Settings())
        self.ledger = FakeLedger(self.diary)
        self.recorder = Recorder(
            self.engine, self.ledger, tell=self.told.append, do=self._do  # type: ignore[arg-type]
        )  # fmt: skip
        self.now = START
        self.jobs = tuple(
            make_job(f"job{number}", policy=Policy(run_on_start=True)) for number in range(jobs)
        )

    def _do(self, action: effects.Action) -> None:
        self.done.append(action)
        self.diary.append(action)

    def settle(self, *new: events.Event, after: float = 0) -> None:
        """Let time pass and things happen, and end a turn of the loop."""
        self.now = Now(self.now.wall_ns + seconds(after), self.now.elapsed_ns + seconds(after))
        if new:
            self.recorder.take(self.engine.handle_all(new, self.now))
        self.recorder.settle(self.now)

    def load(self) -> None:
        self.settle(events.JobsLoaded(self.jobs))

    def tick(self, after: float) -> None:
        self.settle(events.Tick(), after=after)

    def done_of(self, kind: type[effects.Action]) -> list[effects.Action]:
        return [action for action in self.done if isinstance(action, kind)]

    def ended(self, key: str) -> events.AttemptEnded:
        return events.AttemptEnded(key, Exit(exit_code=0), self.now)

    def fill_disk(self) -> None:
        self.ledger.trouble = LedgerUnwritable("database or disk is full")

    def make_room(self) -> None:
        self.ledger.trouble = None


@pytest.fixture
def world() -> World:
    return World()


def key_of(world: World) -> str:
    start = world.done_of(effects.Start)[-1]
    assert isinstance(start, effects.Start)
    return start.key


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def critical(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]


# --- all is well ---


def test_nothing_is_carried_out_before_it_is_recorded(world: World) -> None:
    world.load()
    begun = [number for number, entry in enumerate(world.diary) if isinstance(entry, effects.AttemptBegun)]
    started = [number for number, entry in enumerate(world.diary) if isinstance(entry, effects.Start)]
    assert (len(begun), len(started)) == (1, 1)
    assert begun[0] < started[0]
    assert world.told == world.ledger.records


def test_a_turn_is_one_batch_however_many_steps_it_had(world: World) -> None:
    world.load()
    key = key_of(world)
    world.settle(events.AttemptStarted(key, 7, world.now), world.ended(key), events.Suspended(5))
    assert len(world.ledger.batches) == 2
    kinds = {type(record) for record in world.ledger.batches[1]}
    assert kinds == {
        effects.AttemptSpawned,
        effects.AttemptFinished,
        effects.RunFinished,
        effects.SuspendNoted,
    }
    assert world.done_of(effects.Forget) == [effects.Forget((key,))]


def test_a_turn_in_which_nothing_happened_writes_nothing(world: World) -> None:
    world.load()
    world.settle(after=10)
    assert len(world.ledger.tries) == 1


def test_records_made_by_an_action_are_written_too(world: World) -> None:
    def note(_: effects.Action) -> None:
        world.recorder.note(effects.SchedulerNoted("scheduler_stopped"))

    world.recorder = Recorder(
        world.engine, world.ledger, tell=world.told.append, do=note  # type: ignore[arg-type]
    )  # fmt: skip
    world.settle(events.JobsLoaded(()), events.StopRequested())
    assert world.ledger.batches[-1] == [effects.SchedulerNoted("scheduler_stopped")]


# --- the ledger cannot be written ---


def test_without_a_record_nothing_starts_and_the_attempt_waits(world: World) -> None:
    world.fill_disk()
    world.load()
    assert world.done == []
    assert (len(world.engine.pool.running), world.engine.pool.ready_count) == (0, 1)
    assert any(isinstance(record, effects.AttemptWithdrawn) for record in world.told)


def test_writing_is_tried_again_after_a_pause_and_not_before(world: World) -> None:
    world.fill_disk()
    world.load()
    assert (1, world.now.elapsed_ns + RETRY_NS) == (len(world.ledger.tries), world.recorder.retry_at_ns)
    world.tick(after=0.3)
    world.settle(events.Suspended(5), after=0.3)
    assert len(world.ledger.tries) == 1
    world.settle(after=0.4)
    assert (2, world.now.elapsed_ns + RETRY_NS) == (len(world.ledger.tries), world.recorder.retry_at_ns)
    world.make_room()
    world.settle(after=0.9)
    assert len(world.ledger.tries) == 2
    world.settle(after=0.1)
    # What is owed, and then what could not begin before.
    assert (len(world.ledger.tries), world.recorder.retry_at_ns) == (4, None)


def test_unwritten_records_are_written_first_and_once_and_reported_once(world: World) -> None:
    world.fill_disk()
    world.load()
    since_ns, owed = world.now.wall_ns, list(world.told)
    world.settle(events.Suspended(5), after=0.5)
    world.make_room()
    world.settle(events.Suspended(6), after=0.6)
    begin = effects.SchedulerNoted("ledger_unwritable", "database or disk is full", since_ns)
    end = effects.SchedulerNoted("ledger_writable")
    batch = [begin, *owed, effects.SuspendNoted(5), effects.SuspendNoted(6), end]
    assert world.ledger.batches[:1] == [batch]
    assert world.told == [record for record in world.ledger.records if record not in (begin, end)]
    world.settle(events.Suspended(7), after=5)
    assert world.ledger.batches[-1] == [effects.SuspendNoted(7)]


def test_an_attempt_to_write_costs_no_more_after_a_long_outage(world: World) -> None:
    world.fill_disk()
    world.load()
    for number in range(3 * PORTION):
        world.settle(events.Suspended(number), after=1)
    assert max(world.ledger.tries) < 1.1 * PORTION
    world.make_room()
    world.settle(events.Suspended(0), after=1)
    suspended = [record for record in world.ledger.records if isinstance(record, effects.SuspendNoted)]
    assert [*range(3 * PORTION), 0] == [record.length_ns for record in suspended]
    assert world.ledger.records.count(effects.SchedulerNoted("ledger_writable")) == 1
    assert max(map(len, world.ledger.batches)) < 1.1 * PORTION
    world.settle(after=5)
    assert len(suspended) == sum(isinstance(record, effects.SuspendNoted) for record in world.ledger.records)


def test_the_attempt_starts_once_the_ledger_can_be_written_again(world: World) -> None:
    world.fill_disk()
    world.load()
    for _ in range(40):
        world.tick(after=0.25)
    assert world.done == []
    world.make_room()
    for _ in range(60):
        world.tick(after=0.25)
    [start] = world.done_of(effects.Start)
    before = world.diary[: world.diary.index(start)]
    begun = [entry for entry in before if isinstance(entry, effects.AttemptBegun)]
    withdrawn = [entry for entry in before if isinstance(entry, effects.AttemptWithdrawn)]
    assert len(begun) - len(withdrawn) == 1


def test_attempts_are_forgotten_in_order_after_the_next_success() -> None:
    world = World(jobs=3)
    world.load()
    keys = [start.key for start in world.done_of(effects.Start) if isinstance(start, effects.Start)]
    world.settle(*(events.AttemptStarted(key, 7, world.now) for key in keys))
    world.fill_disk()
    for key in keys[:2]:
        world.settle(world.ended(key), after=0.1)
    assert world.done_of(effects.Forget) == []
    world.make_room()
    world.settle(world.ended(keys[2]), after=1)
    assert [effects.Forget((key,)) for key in keys] == world.done_of(effects.Forget)
    world.settle(after=5)
    assert len(world.done_of(effects.Forget)) == 3


def test_running_commands_are_ended_at_once(world: World) -> None:
    world.load()
    key = key_of(world)
    world.settle(events.AttemptStarted(key, 7, world.now))
    world.fill_disk()
    world.settle(events.StopRequested())
    assert [key] == [sent.key for sent in world.done_of(effects.Signal) if isinstance(sent, effects.Signal)]
    world.settle(world.ended(key), after=0.1)
    assert effects.Stopped() == world.done[-1], "nor is the end waited for"
    assert world.done_of(effects.Forget) == []


def test_no_command_is_stopped_without_a_record(world: World) -> None:
    world.load()
    world.settle(events.AttemptStarted(key_of(world), 77, world.now))
    world.fill_disk()
    for request in (protocol.PauseJobs(jobs=["job0"], stop=True), protocol.Resume(jobs=["job0"])):
        world.settle(events.RequestReceived(1, request, "ann"))
    assert world.done_of(effects.Signal) == []
    world.make_room()
    world.settle(after=RETRY_NS / 1e9)
    sent = [action.signum for action in world.done if isinstance(action, effects.Signal)]
    assert sent == [signal.SIGSTOP, signal.SIGCONT]


def test_an_orphan_is_adopted_at_once(world: World) -> None:
    run = events.OpenRun(
        "67avwsa1m4", "job0", None, Trigger.START,
        (events.OpenAttempt("main", 1, events.Going(7, START, is_orphan=True)),),
    )  # fmt: skip
    world.fill_disk()
    world.settle(events.JobsLoaded(world.jobs, runs=(run,), is_new_life=False))
    assert [adopt.key for adopt in world.done_of(effects.Adopt) if isinstance(adopt, effects.Adopt)] == [
        "67avwsa1m4.main.1"
    ]


def test_one_line_reports_the_begin_of_an_outage_and_one_its_end(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.load()
    world.fill_disk()
    for _ in range(20):
        world.settle(events.Suspended(5), after=0.7)
    begin = "the ledger cannot be written (database or disk is full): nothing starts until it can be"
    assert critical(caplog) == [begin]
    world.make_room()
    for _ in range(20):
        world.settle(events.Suspended(5), after=0.7)
    assert critical(caplog) == [begin]
    assert warnings(caplog) == ["the ledger can be written again, after 14s"]
    world.fill_disk()
    world.settle(events.Suspended(5))
    assert critical(caplog) == [begin, begin]


def test_a_short_outage_ends_even_if_nothing_else_happens(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.load()
    world.fill_disk()
    world.settle(events.Suspended(5))
    world.make_room()
    world.settle(after=1)
    assert warnings(caplog) == ["the ledger can be written again, after 1s"]
    assert world.recorder.retry_at_ns is None


def test_slots_skipped_during_an_outage_are_reported_together(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.load()
    world.settle(events.AttemptStarted(key_of(world), 7, world.now))
    world.fill_disk()
    for _ in range(5):
        world.tick(after=10)
    assert not any(isinstance(record, effects.SlotsSkipped) for record in world.told)
    world.make_room()
    world.settle(after=1)
    assert warnings(caplog) == ["the ledger can be written again, after 41s; 5 slots were skipped"]
    assert sum(isinstance(record, effects.SlotsSkipped) for record in world.ledger.records) == 5


def test_what_was_never_recorded_is_reported_at_the_end(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.load()
    key = key_of(world)
    world.settle(events.AttemptStarted(key, 7, world.now))
    world.fill_disk()
    world.settle(world.ended(key), after=1)
    world.now = Now(world.now.wall_ns + seconds(60), world.now.elapsed_ns + seconds(60))
    assert not world.recorder.close(world.now)
    words = "what happened in the last 1m is not on record (including how 1 command ended): "
    assert critical(caplog)[-1] == f"{words}database or disk is full"
    caplog.clear()
    world.make_room()
    assert world.recorder.close(world.now)
    assert critical(caplog) == []
    assert any(isinstance(record, effects.AttemptFinished) for record in world.ledger.records)


# --- the ledger is broken ---


def test_a_broken_ledger_is_replaced_and_gets_the_current_state(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.load()
    key = key_of(world)
    world.settle(events.AttemptStarted(key, 7, world.now))
    before = len(world.ledger.batches)
    world.recorder.renewed = lambda: told.append(critical(caplog))
    told: list[list[str]] = []
    world.ledger.trouble = LedgerBroken("malformed")
    world.settle(events.Suspended(5), after=1)
    assert (["malformed"], before + 2) == (world.ledger.replaced, len(world.ledger.batches))
    *_, restated, noted = world.ledger.batches
    assert noted == [effects.SchedulerNoted("ledger_lost", MOVED)]
    lost = {"at_ns": world.now.wall_ns, "what": "the ledger", "why": MOVED, "times": 1}
    assert world.recorder.lost == lost
    assert world.engine.restate(world.now) == restated
    kinds = [type(record) for record in restated]
    for kind in (effects.JobArmed, effects.RunQueued, effects.AttemptBegun, effects.AttemptSpawned):
        assert kind in kinds
    assert critical(caplog) == [MOVED]
    world.settle(world.ended(key), after=1)
    assert told == [[MOVED]]
    assert world.done_of(effects.Forget) == [effects.Forget((key,))]


def test_an_attempt_that_was_to_start_when_the_ledger_broke_is_started(world: World) -> None:
    world.ledger.trouble = LedgerBroken("malformed")
    world.load()
    [start] = world.done_of(effects.Start)
    assert any(isinstance(entry, effects.AttemptBegun) for entry in world.diary[: world.diary.index(start)])


def test_a_broken_ledger_without_room_for_a_new_one_holds_all_starts(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.ledger.trouble = LedgerBroken("malformed")
    world.ledger.trouble_of_replacing = LedgerUnwritable("disk is full")
    world.load()
    assert ([], world.now.elapsed_ns + RETRY_NS) == (world.done, world.recorder.retry_at_ns)
    for _ in range(4):
        world.tick(after=0.9)
    # As the real one does: the next write goes on where it was held up.
    world.ledger.trouble = world.ledger.trouble_of_replacing = None
    world.ledger.set_aside = ("/state/ledger.db.broken-1", "malformed")
    for _ in range(20):
        world.tick(after=0.9)
    assert len(world.done_of(effects.Start)) == 1
    lines = critical(caplog)
    words = "the ledger is broken (malformed), and a new one cannot be created (disk is full)"
    assert lines[0] == f"{words}: nothing starts until it can"
    assert lines[-1] == MOVED
    assert warnings(caplog) == ["the ledger can be written again, after 5.4s"]


def test_starts_that_an_outage_held_go_on_at_once_when_the_ledger_is_found_broken(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.fill_disk()
    world.load()
    for _ in range(34):  # the pause between two tries of a start has grown by then
        world.tick(after=1)
    assert world.done_of(effects.Start) == []
    world.ledger.trouble = LedgerBroken("malformed")
    world.settle(after=1)
    assert (len(world.done_of(effects.Start)), world.recorder.trouble) == (1, None)
    assert critical(caplog)[-1] == MOVED
    assert warnings(caplog) == ["the ledger can be written again, after 35s; 3 slots were skipped"]
    skips = [record for record in world.ledger.records if isinstance(record, effects.SlotsSkipped)]
    assert len(skips) == 3, "the new ledger has them, too"


@pytest.mark.parametrize("where", ["replacing", "writing"])
def test_if_the_new_ledger_is_broken_too_the_pauses_grow(
    world: World, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    world.load()
    world.ledger.trouble = broken = LedgerBroken("malformed")
    if where == "replacing":
        world.ledger.trouble_of_replacing = broken
    else:
        world.ledger.is_each_broken = True
    world.settle(events.Suspended(5), after=1)
    assert (
        world.recorder.trouble
    ) == "the ledger is broken, and a new one cannot be created: the new one is broken too: malformed"
    for _ in range(300):
        world.settle(after=1)
    assert len(critical(caplog)) == 9  # after 2, 4, 8, 16, 32 and then each 60 s
    world.ledger.trouble = world.ledger.trouble_of_replacing = None
    world.settle(after=60)
    assert world.recorder.trouble is None
    assert any(isinstance(record, effects.RunQueued) for record in world.ledger.batches[-2])


def test_a_ledger_replaced_by_the_recorder_has_the_same_state(tmp_path: Path) -> None:
    """The real ledger: what the next scheduler reads of a restated one is what it read of the old one."""
    world = World(jobs=2)
    ledger = Ledger(tmp_path, Settings(), supervisor=1, now=START)
    world.recorder = Recorder(world.engine, ledger, tell=world.told.append, do=world._do)
    world.load()
    first, second = (start.key for start in world.done_of(effects.Start) if isinstance(start, effects.Start))
    world.settle(events.AttemptStarted(first, 7, world.now), world.ended(first))
    world.settle(events.AttemptStarted(second, 8, world.now), events.StopRequested(), after=1)
    old = _standing(tmp_path)
    assert ledger._connection
    ledger._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.replace("malformed", world.now)
    ledger.write(world.engine.restate(world.now), world.now)
    new = _standing(tmp_path)
    assert (len(new[0]), new[0][0].is_cancelled) == (1, True)
    assert [old[0][0].run] == [run.run for run in new[0]]
    assert old[1].keys() == new[1].keys()
    assert (old[2].boot, old[2].supervisor, old[2].offset_ns) == (
        new[2].boot, new[2].supervisor, new[2].offset_ns
    )  # fmt: skip
    assert old[2].last_run == new[2].last_run
    assert ledger._connection
    assert len(dump(ledger._connection)["runs"]) == 1, "runs that are over are gone with the old one"
    ledger.close()


def _standing(directory: Path) -> tuple[list[OpenRunRow], dict[str, events.JobStanding], SchedulerStanding]:
    ledger = Ledger(directory, Settings(), supervisor=1, now=START)
    found = ledger.open_runs, ledger.jobs, ledger.standing
    ledger.close()
    return found
