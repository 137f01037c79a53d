"""What an earlier scheduler left unfinished: the ledger's word and the supervisor's, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from integration.ledger_tables import second, wall

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import events
from taskman_cli.core.model import Exit, State, Trigger
from taskman_cli.ledger.standing import OpenAttemptRow, OpenRunRow
from taskman_cli.scheduler.handover import left_running, open_runs
from taskman_cli.scheduler.heard import Hello
from taskman_cli.scheduler.orphans import Orphan
from taskman_cli.supervisor.wire import PROTOCOL_VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: When this supervisor started, and the one before it.
OURS, EARLIER = 200, 100
RUN, OTHER = "67avwsa1m4", "67avwsa1m5"
KEY = f"{RUN}.main.1"
NOW = second(100)
STARTED = second(1)


def attempt(
    state: State = State.RUNNING,
    *,
    task: str = "main",
    number: int = 1,
    supervisor: int = OURS,
    pid: int | None = None,
    ended_ns: int | None = None,
    next_ns: int | None = None,
) -> OpenAttemptRow:
    started = STARTED if pid else None
    return OpenAttemptRow(task, number, state, supervisor, wall(0), pid, started, ended_ns, next_ns)


def run(*attempts: OpenAttemptRow, is_cancelled: bool = False) -> OpenRunRow:
    return OpenRunRow(RUN, "job", wall(0), Trigger.SLOT, is_cancelled, attempts)


def seen(
    key: str = KEY,
    *,
    pid: int | None = 7,
    end: dict[str, Any] | None = None,
    ending: str = "",
    trigger: str = "slot",
    slot_ns: int | None = wall(0),
) -> tuple[Any, ...]:
    """Return an attempt as the supervisor's "hello" has it."""
    run_id, task, number = key.split(".")
    meta = (run_id, "job", task, int(number), slot_ns, trigger)
    return (key, meta, pid, *STARTED, end, ending)


def over(**values: Any) -> dict[str, Any]:
    """Return how a process ended, as the supervisor has it."""
    usual = {
        "status": 0, "cpu_s": 0.5, "peak_rss_bytes": 9, "output_bytes": 0, "cut_bytes": 0,
        "output_error": None, "group_left": False, "wall_ns": wall(5), "elapsed_ns": second(5).elapsed_ns,
    }  # fmt: skip
    return usual | values


FAILED = {"message": "not found: foo", "wall_ns": wall(2), "elapsed_ns": second(2).elapsed_ns}


def hello(*attempts: tuple[Any, ...], is_complete: bool = True) -> Hello:
    facts: dict[str, Any] = {
        "version": PROTOCOL_VERSION, "started_ns": OURS, "scheduler_ended_ns": None, "kept": {},
        "is_complete": is_complete, "attempts": attempts,
    }  # fmt: skip
    return Hello(facts)


class Find:
    """Stands for the table of processes."""

    def __init__(self, **found: Orphan) -> None:
        self.found = {key.replace("_", "."): orphan for key, orphan in found.items()}
        self.asked: list[set[str]] = []

    def __call__(self, keys: Collection[str]) -> Mapping[str, Orphan]:
        self.asked.append(set(keys))
        return {key: orphan for key, orphan in self.found.items() if key in keys}


Runs = tuple[tuple[events.OpenRun, ...], tuple[str, ...]]


def take(*rows: OpenRunRow, to: Hello | None = None, find: Find | None = None, **facts: bool) -> Runs:
    usual = {"is_same_boot": True, "is_ledger_new": False}
    return open_runs(
        rows, to or hello(), now=NOW, find=find or Find(), is_gone=lambda _: False, **usual | facts
    )


def fates(runs: Runs) -> list[object]:
    return [attempt.fate for run in runs[0] for attempt in run.attempts]


# --- what both know of ---


def test_what_the_supervisor_knows_counts() -> None:
    rows = run(attempt(), attempt(task="b"), attempt(task="c"), attempt(task="d"))
    known = hello(
        seen(ending="cancelled"),
        seen(f"{RUN}.b.1", pid=8, end=over(status=3 << 8), ending="timed_out"),
        seen(f"{RUN}.c.1", pid=None, end=FAILED),
        seen(f"{RUN}.d.1", pid=9, end=over(status=9, output_bytes=5)),
    )
    going, ended, failed, killed = fates(take(rows, to=known))
    assert events.Going(7, STARTED, State.CANCELLED) == going
    end = Exit(exit_code=3, cpu_s=0.5, peak_rss_bytes=9)
    assert events.Over(
        8, STARTED, events.AttemptEnded(f"{RUN}.b.1", end, second(5)), State.TIMED_OUT
    ) == ended  # fmt: skip
    assert events.StartFailed(f"{RUN}.c.1", "not found: foo", is_transient=False, at=second(2)) == failed
    assert isinstance(killed, events.Over)
    assert (killed.end.exit.exit_code, killed.end.exit.signal, killed.end.exit.output_bytes) == (None, 9, 5)


def test_a_run_keeps_what_the_ledger_says_of_it() -> None:
    [taken] = take(run(is_cancelled=True))[0]
    assert events.OpenRun(RUN, "job", wall(0), Trigger.SLOT, (), is_cancelled=True) == taken


def test_an_end_that_is_on_record_is_told_and_need_not_be_remembered() -> None:
    rows = run(
        attempt(State.FAILED, ended_ns=wall(5), next_ns=wall(9)), attempt(State.LOST, task="b"),
        attempt(number=2),
    )  # fmt: skip
    runs = take(rows, to=hello(seen(end=over()), seen(f"{RUN}.main.2", pid=8)))
    assert fates(runs) == [
        events.Told(State.FAILED, wall(5), wall(9)),
        events.Told(State.LOST, wall(0), None),
        events.Going(8, STARTED),
    ]
    assert runs[1] == (KEY,), "only what it remembers is worth a word"


def test_what_the_supervisor_adopted_is_its_own_and_not_looked_for() -> None:
    find = Find()
    row = run(attempt(supervisor=EARLIER, pid=7), attempt(task="b", supervisor=EARLIER))
    runs = take(row, to=hello(seen(), seen(f"{RUN}.b.1", pid=8)), find=find)
    assert fates(runs) == [events.Going(7, STARTED), events.Going(8, STARTED)]
    assert find.asked == [set()]


# --- what the ledger alone knows of ---


@pytest.mark.parametrize(
    ("is_complete", "expected"),
    [(True, events.Unstarted()), (False, events.Gone())],
    ids=["it told all it knows", "it could not tell all"],
)
def test_what_this_supervisor_was_to_start_and_does_not_know(is_complete: bool, expected: object) -> None:
    find = Find(**{KEY.replace(".", "_"): Orphan(7, 5)})
    assert fates(take(run(attempt()), to=hello(is_complete=is_complete), find=find)) == [expected]
    assert find.asked == [set()]


def test_an_orphan_whose_process_is_on_record_is_to_be_adopted() -> None:
    runs = take(run(attempt(supervisor=EARLIER, pid=7)))
    assert fates(runs) == [events.Going(7, STARTED, is_orphan=True)]


def test_an_orphan_whose_process_is_not_on_record_is_looked_for() -> None:
    find = Find(**{KEY.replace(".", "_"): Orphan(7, 30_000_000_000)})
    runs = take(run(attempt(supervisor=EARLIER), attempt(task="b", supervisor=EARLIER)), find=find)
    wall_ns = NOW.wall_ns - NOW.elapsed_ns + 30_000_000_000
    assert fates(runs) == [
        events.Going(7, Now(wall_ns, 30_000_000_000), is_orphan=True), events.Gone()
    ]  # fmt: skip
    assert find.asked == [{KEY, f"{RUN}.b.1"}]


def test_only_nameless_orphans_that_are_not_over_are_looked_for() -> None:
    find = Find()
    take(
        run(
            attempt(supervisor=EARLIER, pid=7), attempt(State.FAILED, task="b", supervisor=EARLIER),
            attempt(task="c"), attempt(task="d", supervisor=EARLIER),
        ),
        find=find,
    )  # fmt: skip
    assert find.asked == [{f"{RUN}.d.1"}]


@pytest.mark.parametrize("pid", [7, None])
def test_nothing_outlives_the_machine(pid: int | None) -> None:
    find = Find(**{KEY.replace(".", "_"): Orphan(7, 5)})
    runs = take(run(attempt(supervisor=EARLIER, pid=pid)), find=find, is_same_boot=False)
    assert fates(runs) == [events.Gone()]
    assert find.asked == []


# --- what the supervisor alone knows of ---


def test_what_is_over_on_record_is_forgotten() -> None:
    runs = take(to=hello(seen(end=over()), seen(f"{OTHER}.main.1", pid=None, end=FAILED)))
    assert runs == ((), (KEY, f"{OTHER}.main.1"))


def test_a_run_that_goes_on_and_is_not_on_record_is_taken_over_whole() -> None:
    """The ledger was put back, or lost and made anew: what ended of the run counts too."""
    known = hello(seen(f"{RUN}.a.1", end=over()), seen(), seen(f"{OTHER}.main.1", end=over()))
    [taken], done = take(to=known)
    assert (
        taken.job, taken.run, taken.is_on_record, [attempt.task for attempt in taken.attempts]
    ) == ("job", RUN, False, ["a", "main"])  # fmt: skip
    assert done == (f"{OTHER}.main.1",)


def test_with_a_new_ledger_all_that_the_supervisor_remembers_is_taken_over() -> None:
    known = hello(
        seen(end=over()), seen(f"{RUN}.main.2", pid=8),
        seen(f"{OTHER}.main.1", slot_ns=None, trigger="start"),
    )  # fmt: skip
    (first, other), done = take(to=known, is_ledger_new=True)
    assert [(1, events.Over), (2, events.Going)] == [
        (attempt.number, type(attempt.fate)) for attempt in first.attempts
    ]
    assert (wall(0), Trigger.SLOT) == (first.slot_ns, first.trigger)
    assert (other.slot_ns, other.trigger, other.is_on_record) == (None, Trigger.START, False)
    assert done == ()


def test_strangers_stand_beside_what_is_on_record() -> None:
    runs, done = take(run(attempt()), to=hello(seen(), seen(f"{OTHER}.main.1", pid=8)))
    assert [(taken.run, taken.is_on_record) for taken in runs] == [(RUN, True), (OTHER, False)]
    assert done == ()


# --- a ledger that lost some of it ---


def test_an_attempt_that_the_ledger_has_lost_is_taken_over_as_the_supervisor_knows_it() -> None:
    known = hello(seen(), seen(f"{RUN}.b.1", pid=8), seen(f"{OTHER}.b.1", pid=9))
    [opened, _] = take(run(attempt()), to=known)[0]
    assert [
        (attempt.task, attempt.fate.pid, attempt.is_on_record)
        for attempt in opened.attempts
        if isinstance(attempt.fate, events.Going)
    ] == [("main", 7, True), ("b", 8, False)]
    second_try = hello(seen(f"{RUN}.main.2", pid=8))
    [opened] = take(run(attempt(State.FAILED, ended_ns=wall(1))), to=second_try)[0]
    assert [(attempt.number, attempt.is_on_record) for attempt in opened.attempts] == [(1, True), (2, False)]


def test_a_run_that_is_over_on_record_is_not_opened_again_for_what_runs_of_it() -> None:
    known = hello(seen(), seen(f"{RUN}.b.1", pid=8, end=over()), seen(f"{OTHER}.main.1", pid=9))
    runs, done = open_runs(
        [], known, is_same_boot=True, is_ledger_new=False, now=NOW, find=Find(), over={RUN}
    )  # fmt: skip
    assert ([run.run for run in runs], done) == ([OTHER], (KEY, f"{RUN}.b.1"))
    assert left_running(known, {RUN}) == [(KEY, RUN, "job", 7)]
