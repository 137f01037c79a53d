"""The ledger's word and the supervisor's, put together: what has become of each attempt."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest
from unit.engine_driver import START, seconds

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import events
from taskman_cli.core.model import Exit, State, Trigger
from taskman_cli.ledger.standing import OpenAttemptRow, OpenRunRow
from taskman_cli.scheduler.handover import open_runs
from taskman_cli.scheduler.heard import Hello
from taskman_cli.scheduler.orphans import Orphan
from taskman_cli.supervisor.wire import PROTOCOL_VERSION

OURS, THEIRS = 70, 60
RUN = "1k0zpm61m0"
KEY = f"{RUN}.main.1"
BEGAN = Now(START.wall_ns - seconds(4), START.elapsed_ns - seconds(4))
META = (RUN, "job", "main", 1, 5, "slot")
END: dict[str, Any] = {
    "status": 0, "cpu_s": 0.0, "peak_rss_bytes": 0, "output_bytes": 0, "cut_bytes": 0, "output_error": None,
    "group_left": False, "wall_ns": START.wall_ns, "elapsed_ns": START.elapsed_ns,
}  # fmt: skip
GOING = (KEY, META, 9, *BEGAN, None, "")
OVER = (KEY, META, 9, *BEGAN, END, "")

going = events.Going(9, BEGAN)
over = events.Over(9, BEGAN, events.AttemptEnded(KEY, Exit(exit_code=0), START))


def hello(*attempts: tuple[Any, ...], is_complete: bool = True) -> Hello:
    return Hello(
        {
            "version": PROTOCOL_VERSION,
            "started_ns": OURS,
            "scheduler_ended_ns": None,
            "is_complete": is_complete,
            "kept": {},
            "attempts": attempts,
        }
    )


def row(
    state: State = State.RUNNING,
    *,
    supervisor: int = OURS,
    pid: int | None = None,
    number: int = 1,
    ended_ns: int | None = None,
    next_ns: int | None = None,
) -> OpenAttemptRow:
    started = BEGAN if pid else None
    return OpenAttemptRow("main", number, state, supervisor, 11, pid, started, ended_ns, next_ns)


def run_of(*attempts: OpenAttemptRow) -> OpenRunRow:
    return OpenRunRow(RUN, "job", 5, Trigger.SLOT, is_cancelled=False, attempts=attempts)


class Processes:
    """A table of processes that remembers what was looked for."""

    def __init__(self, found: Orphan | None = None) -> None:
        self.found = {KEY: found} if found else {}
        self.asked: set[str] = set()

    def find(self, keys: Collection[str]) -> Mapping[str, Orphan]:
        self.asked |= set(keys)
        return {key: orphan for key, orphan in self.found.items() if key in keys}


def fates(
    *attempts: OpenAttemptRow,
    greeting: Hello | None = None,
    is_same_boot: bool = True,
    processes: Processes | None = None,
) -> list[object]:
    runs, _ = open_runs(
        [run_of(*attempts)],
        greeting or hello(),
        is_same_boot=is_same_boot,
        is_ledger_new=False,
        now=START,
        find=(processes or Processes()).find,
        is_gone=lambda _: False,
    )
    [run] = runs
    return [attempt.fate for attempt in run.attempts]


def test_an_orphan_that_is_gone_for_sure_is_not_waited_for() -> None:
    orphan = row(pid=9, supervisor=THEIRS)
    told = []
    for is_gone in (True, False):
        runs, _ = open_runs(
            [run_of(orphan)], hello(), is_same_boot=True, is_ledger_new=False, now=START,
            find=Processes().find, is_gone=lambda pid, is_gone=is_gone: is_gone and pid == 9,
        )  # fmt: skip
        told.append(runs[0].attempts[0].fate)
    assert told == [events.Gone(), events.Going(9, BEGAN, is_orphan=True)]


def test_an_end_on_record_stands_whatever_the_supervisor_says() -> None:
    ended = row(State.FAILED, pid=9, ended_ns=20, next_ns=30)
    assert fates(ended, greeting=hello(GOING)) == [events.Told(State.FAILED, 20, 30)]


@pytest.mark.parametrize(("seen", "fate"), [(GOING, going), (OVER, over)], ids=["going", "over"])
@pytest.mark.parametrize("supervisor", [OURS, THEIRS], ids=["ours", "adopted-before"])
def test_of_what_is_not_over_the_supervisor_knows_more(
    seen: tuple[Any, ...], fate: object, supervisor: int
) -> None:
    processes = Processes()
    assert fates(row(supervisor=supervisor), greeting=hello(seen), processes=processes) == [fate]
    assert set() == processes.asked


def test_what_this_supervisor_was_to_start_and_does_not_know_was_never_started() -> None:
    assert fates(row()) == [events.Unstarted()]
    # It had a process, which did not become the command.
    assert fates(row(pid=9)) == [events.Unstarted()]


@pytest.mark.parametrize("is_same_boot", [True, False])
def test_when_an_attempt_was_told_to_end_is_taken_from_the_ledger(is_same_boot: bool) -> None:
    """The clock since boot begins anew with the machine."""
    told_to = {"ending": State.TIMED_OUT, "told": START}
    told = START if is_same_boot else None
    ours = fates(replace(row(), **told_to), greeting=hello(GOING), is_same_boot=is_same_boot)
    assert ours == [events.Going(9, BEGAN, State.TIMED_OUT, told=told)]
    if is_same_boot:
        adopted = events.Going(9, BEGAN, State.TIMED_OUT, is_orphan=True, told=told)
        assert fates(replace(row(supervisor=THEIRS, pid=9), **told_to)) == [adopted]


def test_of_a_supervisor_that_could_not_tell_all_nothing_is_sure() -> None:
    assert fates(row(), greeting=hello(is_complete=False)) == [events.Gone()]


def test_what_another_supervisor_started_is_to_be_adopted() -> None:
    expected = events.Going(9, BEGAN, is_orphan=True)
    processes = Processes()
    assert fates(row(supervisor=THEIRS, pid=9), processes=processes) == [expected]
    assert set() == processes.asked


def test_what_another_supervisor_may_have_started_is_looked_for_by_name() -> None:
    began_ns = START.elapsed_ns - seconds(7)
    processes = Processes(Orphan(33, began_ns))
    expected = events.Going(33, Now(START.wall_ns - seconds(7), began_ns), is_orphan=True)
    assert fates(row(supervisor=THEIRS), processes=processes) == [expected]
    assert processes.asked == {KEY}


def test_what_is_not_found_is_gone() -> None:
    assert fates(row(supervisor=THEIRS)) == [events.Gone()]


@pytest.mark.parametrize("pid", [9, None])
def test_no_process_outlives_the_machine(pid: int | None) -> None:
    processes = Processes(Orphan(33, 1))
    assert fates(row(supervisor=THEIRS, pid=pid), is_same_boot=False, processes=processes) == [events.Gone()]
    assert set() == processes.asked


def test_attempts_before_the_latest_keep_their_ends() -> None:
    first = row(State.LOST, supervisor=THEIRS, ended_ns=20, next_ns=20)
    assert fates(first, row(number=2)) == [events.Told(State.LOST, 20, 20), events.Unstarted()]


# --- what the supervisor may forget, and what only it knows ---


def handed_over(
    *rows: OpenRunRow, greeting: Hello, is_ledger_new: bool = False
) -> tuple[tuple[events.OpenRun, ...], tuple[str, ...]]:
    return open_runs(
        rows,
        greeting,
        is_same_boot=True,
        is_ledger_new=is_ledger_new,
        now=START,
        find=Processes().find,
        is_gone=lambda _: False,
    )


def test_an_end_on_record_need_not_be_remembered_any_more() -> None:
    ended = run_of(row(State.SUCCEEDED, pid=9, ended_ns=20))
    assert handed_over(ended, greeting=hello(OVER))[1] == (KEY,)
    assert handed_over(ended, greeting=hello())[1] == ()
    assert handed_over(run_of(row(pid=9)), greeting=hello(OVER))[1] == ()


def test_an_end_of_a_run_that_is_over_need_not_be_remembered_any_more() -> None:
    assert handed_over(greeting=hello(OVER)) == ((), (KEY,))


@pytest.mark.parametrize(
    ("seen", "fate", "is_ledger_new"), [(GOING, going, False), (GOING, going, True), (OVER, over, True)]
)
def test_what_only_the_supervisor_knows_is_a_run_all_the_same(
    seen: tuple[Any, ...], fate: events.Going | events.Over, is_ledger_new: bool
) -> None:
    other = (f"{RUN}.b.1", (RUN, "job", "b", 1, 5, "slot"), 10, *BEGAN, None, "")
    runs, forgotten = handed_over(greeting=hello(seen, other), is_ledger_new=is_ledger_new)
    attempts = (events.OpenAttempt("main", 1, fate), events.OpenAttempt("b", 1, events.Going(10, BEGAN)))
    expected = events.OpenRun(RUN, "job", 5, Trigger.SLOT, attempts, is_on_record=False)
    assert ((expected,), ()) == (runs, forgotten)


def test_what_is_on_record_of_a_run_is_handed_on() -> None:
    waiting = OpenRunRow(RUN, "job", None, Trigger.START, is_cancelled=True, attempts=())
    expected = events.OpenRun(RUN, "job", None, Trigger.START, (), is_cancelled=True)
    assert handed_over(waiting, greeting=hello()) == ((expected,), ())


# --- executors ---


def far_fate(
    attempt: OpenAttemptRow, *attempts: tuple[Any, ...], boot: bool = True, old: bool = False
) -> Any:
    """Return the fate of an attempt that an executor carries out."""
    greeting = hello(*attempts)
    greeting.has_executors = not old
    processes = Processes()
    runs, _ = open_runs(
        [run_of(attempt)], greeting, is_same_boot=boot, is_ledger_new=False, now=START, find=processes.find
    )
    assert processes.asked == set(), "no process here is looked for"
    [opened] = runs[0].attempts
    assert opened.handle == "far/x"
    return opened.fate


FAR = replace(row(supervisor=THEIRS), handle="far/x")


def test_what_an_executor_carries_out_is_found_again_by_its_name() -> None:
    known = replace(FAR, started=BEGAN)
    assert far_fate(known) == events.Going(None, BEGAN, is_orphan=True)


def test_it_goes_on_through_a_restart_of_this_machine() -> None:
    told = Now(START.wall_ns - seconds(1), 10**15)
    known = replace(FAR, started=BEGAN, ending=State.CANCELLED, told=told)
    moved = Now(told.wall_ns, START.elapsed_ns - seconds(1))
    fate = far_fate(known, boot=False)
    assert fate == events.Going(None, BEGAN, State.CANCELLED, is_orphan=True, told=moved)


def test_one_whose_start_is_not_on_record_counts_from_its_begin() -> None:
    known = replace(FAR, begun_ns=START.wall_ns - seconds(3))
    began = Now(START.wall_ns - seconds(3), START.elapsed_ns - seconds(3))
    assert far_fate(known) == events.Going(None, began, is_orphan=True)


def test_a_supervisor_that_knows_no_executors_finds_nothing_again() -> None:
    assert far_fate(FAR, old=True) == events.Gone("the supervisor is of a version that has no executors")


def test_one_that_this_supervisor_never_heard_of_is_started() -> None:
    assert far_fate(replace(FAR, supervisor=OURS)) == events.Unstarted()


def test_what_the_supervisor_has_of_an_executor_has_no_pid() -> None:
    seen = (KEY, (*META, "far/x"), 0, *BEGAN, None, "")
    assert far_fate(replace(FAR, supervisor=OURS), seen) == events.Going(None, BEGAN)
    lost = (KEY, (*META, "far/x"), 0, *BEGAN, END | {"status": None, "lost": "no trace"}, "")
    assert far_fate(replace(FAR, supervisor=OURS), lost) == events.Gone("no trace")
