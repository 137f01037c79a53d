"""What a scheduler that ends leaves to the next, and what that one does without."""

from __future__ import annotations

import logging
import marshal
import signal
from dataclasses import fields, replace
from typing import Any

import pytest
from unit.engine_driver import FIXED, START, make_job, seconds
from unit.test_recovery import KEY, RUN, going, opened, over

from taskman_cli.core import protocol
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.admission import Signals
from taskman_cli.core.engine.blame import ADMISSION, EngineBroken, Item
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.engine.memory import Memory
from taskman_cli.core.model import Execution, Exit, Job, Policy, Settings, Task
from taskman_cli.core.pause import Pause
from taskman_cli.core.schedule import Reboot
from taskman_cli.core.tuning import AdmissionTuning
from taskman_cli.jobfile import JobFile
from taskman_cli.jobfile.dump import dump, load_dump
from taskman_cli.scheduler.clocks import Clocks
from taskman_cli.scheduler.driver import EngineDriver
from taskman_cli.scheduler.items import print_of_jobs
from taskman_cli.scheduler.poison import MOST_ITEMS, REFUSED_NS, Poison, ReadFiles, words_of

NOW = START.wall_ns
JOB = make_job()


def ended(
    item: Item | None = None,
    *,
    doing: object = None,
    asked: Any = None,
    cause: Exception | None = None,
    times: int = 1,
    before: Poison | None = None,
) -> Poison:
    """Let schedulers end, none of which has come to anything, and return what the next knows."""
    poison = before or Poison()
    for _ in range(times):
        poison.doing, poison.asked = doing, asked
        error = EngineBroken(item)
        error.__cause__ = cause or KeyError("x")
        poison.blame(error, NOW)
        poison = Poison(marshal.loads(marshal.dumps(poison.as_kept())))
    return poison


def begun(poison: Poison) -> Poison:
    """Let a scheduler do without what is set aside, and return what the one after it knows."""
    poison.take_out([], [], {})
    assert poison.has_begun()
    assert not poison.has_begun()
    return Poison(poison.as_kept())


END = events.AttemptEnded(KEY, Exit(0), START)


def test_of_what_came_together_the_event_that_raises_is_to_blame() -> None:
    driver = EngineDriver(Engine(FIXED), None, Clocks(lambda: START, lambda: 0))  # type: ignore[arg-type]
    driver.give_all([events.AttemptGone("a"), events.AttemptGone("b")])
    assert driver.poison.doing is None

    def fail(*_: object) -> None:
        raise KeyError("a fault")

    driver.engine._handlers[events.OrphanAdopted] = fail
    with pytest.raises(EngineBroken):
        driver.give_all([events.AttemptGone("a"), events.OrphanAdopted("b", 1), events.AttemptGone("c")])
    assert driver.poison.doing == events.OrphanAdopted("b", 1)


def test_an_end_that_raised_counts_as_unknown() -> None:
    without = ended(doing=END).take_out([opened(over())], [JOB], {})
    [attempt] = without.runs[0].attempts
    assert events.Gone("it crashed the scheduler (KeyError: 'x')") == attempt.fate
    assert (without.runs[0].set_aside, without.paused) == ("", {})


def test_running_commands_go_on() -> None:
    without = ended(doing=events.AttemptStarted(KEY, 7, START)).take_out([opened(going)], [JOB], {})
    assert without.runs == (opened(going),)


def test_a_run_is_set_aside_and_its_job_paused_if_its_command_still_runs() -> None:
    item = Item("run", RUN, "job")
    assert ended(item).take_out([opened(over())], [JOB], {}).paused == {}
    without = ended(item).take_out([opened(going)], [JOB], {})
    why = "it crashed the scheduler (KeyError: 'x')"
    assert ((why,), {"job": why}) == (tuple(run.set_aside for run in without.runs), without.paused)


def test_a_run_that_was_never_recorded_pauses_its_job() -> None:
    assert [*ended(Item("run", RUN, "job")).take_out([], [JOB], {}).paused] == ["job"]


def test_a_job_that_crashed_two_schedulers_is_paused() -> None:
    first = ended(Item("run", RUN, "job"))
    first.take_out([opened(over())], [JOB], {})
    assert first.has_begun()
    another = RUN[:-1] + "1"
    second = ended(Item("run", another, "job"), before=first)
    assert [*second.take_out([opened(over(), run=another)], [JOB], {}).paused] == ["job"]


def test_a_job_is_paused_and_if_that_does_not_help_replaced() -> None:
    item = Item("job", "job", "job")
    without = ended(item).take_out([], [JOB], {})
    assert (without.jobs, [*without.paused]) == ((JOB,), ["job"])
    without = ended(item, times=2).take_out([], [JOB], {})
    assert (
        without.jobs[0].schedule, without.jobs[0].tasks, [*without.paused]
    ) == (Reboot("UTC"), JOB.tasks, ["job"])  # fmt: skip


def test_a_resumed_job_is_paused_again() -> None:
    item = Item("job", "job", "job")
    since_ns = NOW - seconds(10)
    for pause, is_same in ((None, True), (Pause(since_ns), False)):
        again = ended(item, before=begun(ended(item)))
        known = {"job": events.JobStanding(definition_of(JOB), since_ns, since_ns, pause=pause)}
        without = again.take_out([], [JOB], known)
        assert (is_same, ["job"]) == (without.jobs == (JOB,), [*without.paused])


def test_an_item_is_reported_only_once() -> None:
    poison = begun(ended(Item("job", "job", "job")))
    assert poison.take_out([], [JOB], {}).paused == {}
    assert len(poison.told()) == 1


def test_a_replacement_stays_for_all_later_schedulers() -> None:
    poison = begun(ended(Item("job", "job", "job"), times=2))
    assert JOB.schedule != poison.take_out([], [JOB], {}).jobs[0].schedule


def test_a_request_is_refused_for_an_hour_and_no_other() -> None:
    request = protocol.TriggerJob(job="job")
    poison = ended(asked=request)
    assert "crashed on this (KeyError: 'x'" in (poison.objection(request, NOW) or "")
    assert poison.objection(protocol.TriggerJob(job="other"), NOW) is None
    assert poison.objection(request, NOW + REFUSED_NS + 1) is None
    assert Poison().objection(request, NOW) is None


def test_a_request_in_which_a_job_raised_is_refused_the_second_time() -> None:
    request = protocol.TriggerJob(job="job")
    poison = ended(Item("job", "other", "other"), asked=request)
    assert poison.objection(request, NOW) is None
    assert ended(Item("job", "third", "third"), asked=request, before=poison).objection(request, NOW)


def test_files_are_refused_while_unchanged_and_their_jobs_are_not_blamed() -> None:
    files = ReadFiles((JOB,))
    poison = ended(Item("job", "job", "job"), asked=files)
    assert poison.objection(files, NOW)
    assert poison.objection(ReadFiles((make_job("new"),)), NOW) is None
    assert poison.take_out([], [JOB], {}).paused == {}


class Unread(tuple[Job, ...]):
    """Jobs that nobody may look at: that takes long where there are many."""

    def __iter__(self) -> Any:
        raise AssertionError("they are read")

    __repr__ = __iter__


def test_files_are_not_looked_at_while_something_else_is_set_aside() -> None:
    files = ReadFiles(Unread())
    assert ended(Item("job", "job", "job")).objection(files, NOW) is None
    assert ended(asked=protocol.Resume(jobs=["job"])).objection(files, NOW) is None


def test_files_whose_print_is_known_are_not_looked_at() -> None:
    poison = ended(asked=ReadFiles((JOB,)))
    assert (poison.has_files, Poison().has_files) == (True, False)
    assert poison.objection(ReadFiles(Unread(), print_of_jobs((JOB,))), NOW)
    assert poison.objection(ReadFiles(Unread(), print_of_jobs(())), NOW) is None


class Counted(dict[str, str]):
    """Variables that count how often they are written."""

    count = 0

    def __repr__(self) -> str:
        self.count += 1
        return super().__repr__()


def test_what_jobs_share_is_looked_at_once() -> None:
    env = Counted(A="a")
    execution = Execution(env=env)
    jobs = tuple(replace(JOB, id=name, tasks=(Task("main", name, execution),)) for name in "abc")
    found = print_of_jobs(jobs)
    assert env.count == 1
    alone = [replace(job, tasks=(replace(job.tasks[0], execution=replace(execution)),)) for job in jobs]
    assert print_of_jobs(alone) == found
    assert env.count == 1 + len(jobs)


def test_jobs_that_differ_anywhere_have_another_print() -> None:
    task = replace(JOB.tasks[0], id="a")
    job = replace(JOB, tasks=(task, replace(task, id="b")))
    others: dict[str, Any] = {
        "id": "other", "schedule": Reboot("UTC"), "tasks": (task,), "policy": Policy(priority=1),
        "enabled": False, "description": "x", "tags": ("x",), "source": "other.toml", "is_once": True,
        "gate": task,
    }  # fmt: skip
    assert others.keys() == {field.name for field in fields(Job)}
    changed = [replace(job, **{name: value}) for name, value in others.items()]
    of_tasks: dict[str, Any] = {"id": "c", "command": ("a",), "execution": Execution(nice=5)}
    assert of_tasks.keys() == {field.name for field in fields(Task)}
    changed += [
        replace(job, tasks=(job.tasks[0], replace(job.tasks[1], **{name: value})))
        for name, value in of_tasks.items()
    ]
    lists = [(), (job,), (job, job), *((one,) for one in changed), (job, changed[0]), (changed[0], job)]
    lists.append((replace(job, tasks=job.tasks[1:], gate=task),))
    assert len({print_of_jobs(jobs) for jobs in lists}) == len(lists)
    again = load_dump(dump(JobFile((job, *changed), Settings(), "UTC", ()))).jobs
    assert print_of_jobs(again) == print_of_jobs((job, *changed))


def test_the_jobs_in_whose_place_others_stand_are_named() -> None:
    poison = ended(Item("job", "job", "job"), times=2)
    poison.take_out([], [JOB], {})
    assert poison.left_out == {"job"}
    assert ended(Item("job", "job", "job")).left_out == set()


def test_an_event_for_a_request_is_identified_by_the_request() -> None:
    request = protocol.Resume(jobs=["job"])
    poison = ended(doing=events.RequestReceived(1, request, "the load"))
    assert poison.objection(request, NOW)


@pytest.mark.parametrize(
    ("doing", "asked", "signum"),
    [
        (events.StopRequested(), None, signal.SIGTERM),
        (events.KillRequested(), None, signal.SIGQUIT),
        (events.Tick(), None, None),
        (None, protocol.Stop(), signal.SIGTERM),
        (None, protocol.Stop(now=True), signal.SIGQUIT),
        (None, protocol.Stop(drain_ns=5), None),
    ],
)
def test_a_stop_that_raised_is_left_to_the_supervisor(doing: object, asked: Any, signum: int | None) -> None:
    poison = Poison()
    poison.doing, poison.asked = doing, asked
    assert signum == poison.stop_signal


@pytest.mark.parametrize(
    "handled", [END, events.SignalsRead(Signals(1)), events.RequestReceived(1, protocol.Status(), "ann")]
)
def test_what_raises_later_in_the_turn_is_not_blamed_on_what_was_handled(handled: object) -> None:
    poison = Poison()
    poison.doing = handled
    poison.done()
    assert poison.blame(RuntimeError("can't start new thread"), NOW) == "an unknown item"
    assert poison.as_kept() == []


def test_a_stop_is_left_to_the_supervisor_until_its_effects_are_carried_out() -> None:
    poison = Poison()
    for event, signum in ((events.StopRequested(), signal.SIGTERM), (events.KillRequested(), signal.SIGQUIT)):
        poison.doing = event
        poison.done()
        poison.doing = events.Tick()
        poison.done()
        assert poison.stop_signal == signum
        poison.rest()
        assert poison.stop_signal is None


def test_a_stop_is_never_refused() -> None:
    poison = ended(asked=protocol.Stop())
    assert poison.objection(protocol.Stop(), NOW) is None


def test_an_error_that_can_hit_any_item_is_blamed_on_it_the_second_time() -> None:
    item = Item("job", "job", "job")
    once = ended(item, cause=MemoryError())
    assert (once.take_out([], [JOB], {}).paused, once.told()) == ({}, [])
    twice = ended(item, cause=MemoryError(), before=once)
    assert [*twice.take_out([], [JOB], {}).paused] == ["job"]


@pytest.mark.parametrize(
    "crash",
    [
        {"doing": events.SignalsRead(Signals(1))},
        {"doing": events.MemoryMeasured({})},
        {"doing": events.GateTried()},
        {"item": ADMISSION, "doing": END},
        {"item": ADMISSION, "asked": ReadFiles((JOB,))},
    ],
)
def test_the_gate_is_set_aside_and_nothing_that_it_was_asked_for(crash: dict[str, Any]) -> None:
    poison = ended(**crash)
    assert poison.is_gate_shut
    without = poison.take_out([opened(over())], [JOB], {})
    assert without == ((opened(over()),), (JOB,), {})
    assert poison.objection(ReadFiles((JOB,)), NOW) is None
    [row] = poison.told()
    assert row["what"] == 'the gate of admission = "auto"'
    assert row["why"].startswith("KeyError: 'x'; until a reload")
    assert begun(poison).is_gate_shut


def test_a_gate_that_raises_before_the_engine_is_there_is_set_aside() -> None:
    poison = Poison()
    memory = Memory(AdmissionTuning())
    memory.use()
    with pytest.raises(TypeError) as caught:
        memory.resume({("job", "main"): None})  # type: ignore[dict-item]
    assert poison.blame(caught.value, NOW) == 'the gate of admission = "auto"'
    assert Poison(poison.as_kept()).is_gate_shut


def test_the_gate_is_tried_again_after_a_reload_or_a_restart() -> None:
    poison = ended(ADMISSION)
    assert not Poison(poison.as_kept(is_anew=True)).is_gate_shut
    poison.ask_for_gate()
    assert (poison.take_gate(), poison.is_gate_shut) == (True, False)
    assert poison.as_kept() == []
    poison.ask_for_gate()
    assert not poison.take_gate()
    assert ended(ADMISSION, before=poison).is_gate_shut


def test_a_gate_that_had_no_memory_left_is_tried_once_more() -> None:
    poison = ended(ADMISSION, cause=MemoryError())
    assert not poison.is_gate_shut
    assert ended(ADMISSION, cause=MemoryError(), before=poison).is_gate_shut


def test_an_error_without_an_item_is_reported_and_not_kept() -> None:
    poison = Poison()
    poison.doing = events.Tick()
    assert poison.blame(RuntimeError("x"), NOW) == "an unknown item"
    assert poison.as_kept() == []


@pytest.mark.parametrize("kept", [None, 5, "x", [1], [("a", 1)], [(("k", "n", "j"), 1, 2, 3, 4, 5, 6, 7)]])
def test_what_another_version_left_does_no_harm(kept: object) -> None:
    assert Poison(kept).told() == []


def test_only_the_latest_are_remembered() -> None:
    poison = Poison()
    for number in range(MOST_ITEMS + 5):
        poison = ended(Item("job", f"job{number}", f"job{number}"), before=poison)
    assert len(poison.as_kept()) == MOST_ITEMS


def test_everything_set_aside_is_recorded_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    poison = ended(Item("job", "job", "job"), doing=END, times=2)
    noted: list[effects.Record] = []
    poison.record = noted.append
    poison.take_out([], [JOB], {})
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        for _ in range(3):
            poison.note("the record RunQueued", error, NOW + 1)
    assert noted == [
        effects.SchedulerNoted("set_aside", "job job: KeyError: 'x'"),
        effects.SchedulerNoted("set_aside", f"the end of attempt {KEY}: KeyError: 'x'"),
        effects.SchedulerNoted("set_aside", "the record RunQueued: ValueError: two lines"),
    ]
    assert [(row["what"], row["times"]) for row in poison.told()] == [
        ("job job", 2),
        (f"the end of attempt {KEY}", 2),
        ("the record RunQueued", 3),
    ]
    assert sum(record.levelno == logging.CRITICAL for record in caplog.records) == 3
    assert "Traceback" in caplog.text


def test_an_error_whose_text_cannot_be_made_is_named() -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert (words_of(Nasty()), words_of(KeyError())) == ("Nasty", "KeyError")
    assert words_of(ValueError("caf\udce9 \x1b[1m\n\ud800")) == r"ValueError: caf\xe9 \x1b[1m \ud800"
