"""How long the supervisor waits before it starts the next scheduler."""

from __future__ import annotations

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.supervisor.scheduler_process import RestartPause


def pauses(*lived_s: float, has_answered: bool = True) -> list[float | None]:
    """Return the pauses in seconds after schedulers that lived so long, one after the other."""
    pause = RestartPause()
    pause.has_answered = has_answered
    found = [pause.after(round(lived * SECOND_NS)) for lived in lived_s]
    return [None if pause_ns is None else pause_ns / SECOND_NS for pause_ns in found]


def test_it_doubles_with_each_that_died_at_once_up_to_the_longest() -> None:
    assert pauses(0, 1, 2, 3, 4.9) == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert pauses(*[0] * 11)[8:] == [25.6, 30, 30]


def test_after_one_that_was_well_it_is_the_first_again() -> None:
    assert pauses(0, 0, 0, 60, 0, 0) == [0.1, 0.2, 0.4, 0.1, 0.1, 0.2]


def test_one_that_lived_for_a_while_makes_it_no_longer() -> None:
    assert pauses(0, 0, 5, 59, 5, 0, 0) == [0.1, 0.2, 0.4, 0.4, 0.4, 0.4, 0.8]


def test_schedulers_that_never_say_a_word_are_given_up() -> None:
    assert pauses(0, 0, 0, 0, 0, has_answered=False) == [0.1, 0.2, 0.4, 0.8, None]
