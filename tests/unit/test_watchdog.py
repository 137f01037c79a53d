"""The watchdog of the supervisor: who hangs, who does not, and who may not be replaced."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from taskman_cli.core.clock import Now
from taskman_cli.core.engine.wakes import Wake
from taskman_cli.scheduler.pulse import Pulse
from taskman_cli.supervisor.watchdog import FAR_NS, Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

S = 1_000_000_000


class Scene:
    """A watchdog with a clock that stands still, and timers on it."""

    def __init__(self, patience_s: int | None = 60) -> None:
        self.now = 1_000 * S
        self.timers: list[tuple[int, int, Callable[[], None]]] = []
        self.asked: list[int] = []
        self.replaced: list[str] = []
        self.said: list[str] = []
        self.why = ""
        self.dog = Watchdog(
            self.after, ask=self.asked.append, replace=self.replaced.append, say=self.said.append,
            clock=lambda: self.now, hindrance=lambda _: self.why,
        )  # fmt: skip
        self.dog.configure(None if patience_s is None else patience_s * S)
        self.dog.begin(7)

    def after(self, delay_ns: int, action: Callable[[], None]) -> None:
        heapq.heappush(self.timers, (self.now + delay_ns, len(self.timers), action))

    def wait(self, seconds: float) -> None:
        """Let time pass, with each timer at its time."""
        end = self.now + int(seconds * S)
        while self.timers and self.timers[0][0] <= end:
            at_ns, _, action = heapq.heappop(self.timers)
            self.now = max(self.now, at_ns)
            action()
        self.now = end

    def stall(self, seconds: float) -> None:
        """Let time pass in which nothing runs; then the timers that are overdue."""
        self.now += int(seconds * S)
        while self.timers and self.timers[0][0] <= self.now:
            heapq.heappop(self.timers)[2]()


def test_a_scheduler_that_is_behind_is_asked_and_replaced_if_it_does_not_answer() -> None:
    scene = Scene()
    scene.dog.note_due(10 * S, 0)
    scene.wait(39)
    assert scene.asked == []
    scene.wait(2)
    assert (scene.asked, scene.replaced) == ([1], [])
    scene.wait(30)
    assert scene.replaced == ["does not answer"]
    scene.wait(1000)
    assert len(scene.replaced) == 1


def test_one_that_answers_that_its_next_thing_is_to_come_does_not_hang() -> None:
    scene = Scene()
    scene.dog.note_due(10 * S, 0)  # and then the wall clock was set back by an hour
    scene.wait(41)
    scene.dog.note_due(3000 * S, 1)
    scene.wait(3000)
    assert (scene.asked, scene.replaced) == ([1], [])


def test_one_that_answers_but_is_still_behind_hangs() -> None:
    scene = Scene()
    scene.dog.note_due(10 * S, 0)
    scene.wait(41)
    scene.dog.note_due(-31 * S, 1)
    assert scene.replaced == ["answers, but has not done what was due 31 s ago"]


def test_one_that_does_what_is_due_only_when_it_is_asked_hangs_the_second_time() -> None:
    scene = Scene()
    scene.dog.note_due(S, 0)
    scene.wait(31)
    scene.dog.note_due(S, 1, 30 * S)
    assert scene.replaced == []
    scene.wait(31)
    scene.dog.note_due(S, 2, 30 * S)
    assert scene.replaced == ["does what is due only when it is asked"]


def test_one_that_was_stopped_and_goes_on_is_behind_once_each_time() -> None:
    scene = Scene()
    for number in range(1, 5):
        scene.dog.note_due(S, 0)
        scene.wait(31)
        scene.dog.note_due(S, number, 30 * S)
        scene.wait(1)
        scene.dog.note_due(S, 0)
    assert scene.replaced == []


def test_a_late_answer_to_an_earlier_question_is_none() -> None:
    scene = Scene()
    scene.dog.note_due(0, 0)
    scene.wait(30)
    scene.stall(100)  # it is asked again
    assert scene.asked == [1, 2]
    scene.dog.note_due(50 * S, 1)
    scene.wait(31)
    assert scene.replaced == ["does not answer"]


def test_one_that_has_nothing_to_do_is_left_alone_however_long() -> None:
    scene = Scene()
    scene.dog.note_due(None, 0)
    scene.wait(100_000)
    assert (scene.asked, scene.timers) == ([], [])


def test_progress_moves_the_next_look() -> None:
    scene = Scene()
    for _ in range(100):
        scene.dog.note_due(10 * S, 0)
        scene.wait(10)
    assert scene.asked == []
    assert len(scene.timers) < 5


def test_what_is_due_in_a_year_wakes_nobody_more_than_once_an_hour() -> None:
    scene = Scene()
    scene.dog.note_due(365 * 86_400 * S, 0)
    assert [at_ns - scene.now for at_ns, _, _ in scene.timers] == [FAR_NS]
    scene.wait(7200)
    assert scene.asked == []


def test_one_that_does_not_hear_what_it_is_told_is_asked() -> None:
    scene = Scene()
    scene.dog.note_due(None, 0)
    scene.dog.note_sent()
    scene.wait(10)
    scene.dog.note_heard()
    scene.wait(100)
    assert scene.asked == []
    scene.dog.note_sent()
    scene.dog.note_sent()
    scene.wait(61)
    assert scene.replaced == ["does not answer"]


def test_time_that_the_supervisor_did_not_get_either_is_no_proof() -> None:
    scene = Scene()
    scene.dog.note_due(0, 0)
    scene.wait(31)
    assert scene.asked == [1]
    scene.stall(600)  # a stopped container: nobody could answer
    assert (scene.asked, scene.replaced) == ([1, 2], [])
    scene.dog.note_due(5 * S, 2)
    scene.wait(20)
    assert scene.replaced == []


def test_a_traced_or_held_scheduler_is_not_replaced_and_that_is_said_once() -> None:
    scene = Scene()
    scene.why = "a debugger traces it"
    scene.dog.note_due(0, 0)
    scene.wait(300)
    assert scene.replaced == []
    assert scene.said == [
        "the scheduler (process 7) does not answer, and is not replaced: a debugger traces it"
    ]
    scene.why = ""
    scene.wait(61)
    assert scene.replaced == ["does not answer"]


def test_nobody_is_replaced_before_its_first_word_or_with_none() -> None:
    silent = Scene()
    silent.dog.note_sent()
    silent.wait(1000)
    off = Scene(None)
    off.dog.note_due(0, 0)
    off.wait(1000)
    assert (silent.asked, off.asked) == ([], [])


def test_another_scheduler_is_watched_from_its_own_first_word() -> None:
    scene = Scene()
    scene.dog.note_due(0, 0)
    scene.wait(31)
    scene.dog.begin(8)
    scene.wait(100)
    assert scene.replaced == []


def test_a_machine_that_slept_makes_timers_early_and_nobody_late() -> None:
    scene = Scene()
    scene.dog.note_due(10 * S, 0)
    _, _, action = scene.timers.pop()
    scene.now += S  # the other timers count the sleep
    action()
    assert scene.asked == []
    scene.wait(40)
    assert scene.asked == [1]


def test_the_pulse_tells_what_is_new_and_answers() -> None:
    told: list[tuple[int | None, int, int]] = []
    pulse = Pulse(lambda *words: told.append(words))
    pulse.beat(Wake(None, None), Now(0, 0))
    pulse.beat(Wake(None, None), Now(0, 0))
    assert told == [(None, 0, 0)]
    pulse.beat(Wake(100 * S, 900 * S), Now(0, 500 * S))
    pulse.beat(Wake(100 * S, 599 * S + S // 2), Now(0, 500 * S))  # hardly earlier
    pulse.beat(Wake(200 * S, None), Now(0, 500 * S))  # later: not to be waited for
    assert told[1:] == [(100 * S, 0, 0)]
    pulse.beat(Wake(200 * S, None), Now(100 * S, 600 * S))
    pulse.asked(4, Wake(90 * S, None), Now(101 * S, 601 * S))
    pulse.beat(Wake(200 * S, None), Now(101 * S, 601 * S))
    pulse.asked(5, Wake(None, None), Now(102 * S, 602 * S))
    pulse.beat(Wake(None, None), Now(102 * S, 602 * S))
    pulse.beat(Wake(None, None), Now(103 * S, 603 * S))
    assert told[2:] == [(100 * S, 0, 0), (99 * S, 4, 11 * S), (None, 5, 0)]


def beat(scene: Scene, times: int = 1) -> None:
    """Let the scheduler do what is due each second, in time and by itself."""
    for _ in range(times):
        scene.dog.note_due(S, 0)
        scene.wait(1)
        scene.dog.note_due(S, 0)


def replace(scene: Scene) -> None:
    """Let the scheduler that was found hanging, or died, be followed by another."""
    scene.dog.begin(0)
    scene.dog.note_death()
    scene.dog.begin(8)


def test_all_is_well_from_the_first_word_on_and_as_long_as_what_is_due_is_done() -> None:
    scene = Scene()
    assert scene.dog.is_well() is False
    beat(scene, 100)
    assert scene.dog.is_well() is True
    scene.wait(32)
    assert scene.dog.is_well() is False
    scene.dog.note_due(S, 0)
    assert scene.dog.is_well() is True


def test_nothing_due_is_well_however_long() -> None:
    scene = Scene()
    scene.dog.note_due(None, 0)
    scene.wait(100_000)
    assert scene.dog.is_well() is True


def test_one_that_hangs_and_is_not_replaced_is_not_well() -> None:
    scene = Scene()
    scene.why = "a debugger traces it"
    scene.dog.note_due(0, 0)
    scene.wait(62)
    assert (scene.said != [], scene.dog.is_well()) == (True, False)


def test_a_replaced_one_is_well_again_from_its_first_word_on() -> None:
    scene = Scene()
    beat(scene)
    scene.wait(62)
    assert (scene.replaced, scene.dog.is_well()) == (["does not answer"], False)
    replace(scene)
    assert scene.dog.is_well() is False
    beat(scene)
    assert scene.dog.is_well() is True


def test_it_is_not_well_if_replacing_does_not_help_until_one_makes_progress() -> None:
    scene = Scene()
    beat(scene)
    for _ in range(2):
        scene.wait(62)
        replace(scene)
        scene.dog.note_due(S, 0)
    assert len(scene.replaced) == 2
    assert scene.dog.is_well() is False
    scene.wait(1)
    scene.dog.note_due(S, 0)
    assert scene.dog.is_well() is True


def test_broken_timers_are_not_well_however_often_the_scheduler_is_replaced() -> None:
    scene = Scene()
    beat(scene)
    fed_s = 0
    for _ in range(20):
        scene.dog.note_due(S // 2, 0)  # at its start it does what is due, and later only when it is asked
        for _ in range(63):
            if scene.asked:
                scene.dog.note_due(S // 2, scene.asked.pop(), 30 * S)
            fed_s += scene.dog.is_well()
            if scene.replaced:
                break
            scene.wait(1)
        scene.replaced.clear()
        replace(scene)
    assert fed_s < 130  # the first two, and no more


def test_deaths_with_nothing_due_are_forgotten_by_one_that_lives() -> None:
    scene = Scene()
    for _ in range(5):
        scene.dog.note_due(None, 0)
        replace(scene)
    scene.dog.note_due(86_400 * S, 0)
    assert scene.dog.is_well() is False
    scene.wait(119)
    assert scene.dog.is_well() is False
    scene.wait(2)
    assert scene.dog.is_well() is True


def test_where_nobody_is_replaced_one_that_is_behind_is_not_well_all_the_same() -> None:
    scene = Scene(None)
    scene.dog.note_due(10 * S, 0)
    scene.wait(39)
    assert scene.dog.is_well() is True
    scene.wait(2)
    assert scene.dog.is_well() is False
    scene.dog.note_due(10 * S, 0)
    assert scene.dog.is_well() is True
