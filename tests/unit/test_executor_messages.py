"""What the process of an executor says is sent together, and one bad message is nobody else's trouble."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from taskman_cli.executors.messages import HOLD_S, Messages
from taskman_cli.supervisor.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Turns:
    """A loop whose turns and timers a test plays, and a socket that takes what marshal knows."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.sent: list[list[Any]] = []
        self.whole: list[Any] = []
        self._soon: list[Callable[[], None]] = []
        self._later: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now_s

    def call_soon(self, do: Callable[[], None]) -> None:
        self._soon.append(do)

    def call_later(self, after_s: float, do: Callable[[], None]) -> None:
        self._later.append((self.now_s + after_s, do))

    def send(self, messages: Sequence[Any]) -> None:
        if "<class 'object'>" in repr(messages):
            raise WireError("holds what marshal does not know")
        self.whole += messages
        self.sent.append([message[:2] for message in messages])

    def end_turn(self) -> None:
        soon, self._soon = self._soon, []
        for do in soon:
            do()

    def wait(self, for_s: float) -> None:
        self.now_s += for_s
        due = [do for at_s, do in self._later if at_s <= self.now_s]
        self._later = [(at_s, do) for at_s, do in self._later if at_s > self.now_s]
        for do in due:
            do()


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def messages(turns: Turns) -> Messages:
    return Messages(turns.send, turns)  # type: ignore[arg-type]


def test_how_the_executor_stands_is_told_while_a_start_is_held_back(turns: Turns, messages: Messages) -> None:
    messages.started("a")
    messages.say("condition", {"reach": "up"})
    turns.end_turn()
    assert turns.sent == [[("condition", {"reach": "up"})]]
    turns.wait(HOLD_S)
    turns.end_turn()
    assert turns.sent[1:] == [[("started", "a")]]


def test_all_of_a_turn_goes_at_its_end_and_in_order(turns: Turns, messages: Messages) -> None:
    messages.say("said", "a")
    messages.say("failed", "a")
    messages.say("pong")
    assert turns.sent == []
    turns.end_turn()
    assert turns.sent == [[("said", "a"), ("failed", "a"), ("pong",)]]


def test_a_start_is_told_after_a_moment(turns: Turns, messages: Messages) -> None:
    messages.started("a")
    turns.end_turn()
    turns.wait(HOLD_S / 2)
    assert turns.sent == []
    turns.wait(HOLD_S)
    turns.end_turn()
    assert turns.sent == [[("started", "a")]]


def test_each_start_waits_for_a_moment_of_its_own_with_one_timer(turns: Turns, messages: Messages) -> None:
    messages.started("a")
    turns.wait(HOLD_S / 2)
    messages.started("b")
    turns.wait(HOLD_S / 2)
    turns.end_turn()
    assert turns.sent == [[("started", "a")]]
    turns.wait(HOLD_S)
    turns.end_turn()
    assert turns.sent[1:] == [[("started", "b")]]
    turns.wait(HOLD_S)
    turns.end_turn()
    assert len(turns.sent) == 2


@pytest.mark.parametrize("is_brief", [False, True], ids=["earlier", "brief"])
def test_an_end_says_that_it_had_started_unless_that_was_told(
    turns: Turns, messages: Messages, is_brief: bool
) -> None:
    messages.is_brief = is_brief
    messages.started("a")
    messages.ended("a", {})
    messages.started("b")
    messages.say("progress", "b", 1)
    messages.ended("b", {})
    messages.ended("c", {})
    messages.ended("d", {}, has_started=True)
    turns.end_turn()
    turns.wait(2 * HOLD_S)
    turns.end_turn()
    both = {
        key: [("ended", key, {"has_started": True})] if is_brief else [("started", key), ("ended", key, {})]
        for key in "ad"
    }
    rest = [("started", "b"), ("progress", "b", 1), ("ended", "b", {}), ("ended", "c", {})]
    assert turns.whole == [*both["a"], *rest, *both["d"]]


def test_an_end_that_cannot_be_sent_is_told_in_words_and_the_others_are_sent(
    turns: Turns, messages: Messages
) -> None:
    messages.is_brief = True
    messages.started("b")
    messages.say("progress", "a", object)
    messages.ended("b", {"error": object})
    messages.ended("c", {})
    turns.end_turn()
    assert turns.sent == [[("ended", "b")], [("ended", "c")]]
    words = "what its executor says cannot be sent: holds what marshal does not know"
    assert turns.whole[0][2] == {"error": words, "has_started": True}
