"""One sink at work: its message, the thread that delivers it, and when it is tried again.

A delivery that does not come back in time is left behind with its thread, and counts as failed; the next try
has a new thread and a new sink. So code that hangs holds nobody.
"""

from __future__ import annotations

import queue
import random
import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

from taskman_cli.sinks.base import DeliveryFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.sinks import SinkDefinition
    from taskman_cli.sinks.base import Message, Sink

#: How much longer than its timeout a delivery may take before its thread is given up.
_GRACE_S = 2.0
#: So many deliveries of a sink may hang before it is tried no more until one of them comes back.
_MOST_HANGING = 4
#: No pause that the other side asks for is longer.
_LONGEST_PAUSE_S = 86_400.0
_NS = 1_000_000_000


class Outcome(NamedTuple):
    """What came of one delivery: an answer, or why it failed."""

    answer: str | None
    words: str = ""
    retry_after_s: float | None = None
    is_final: bool = False
    is_down: bool = False


class Said(Protocol):
    """Takes a message to the scheduler."""

    def __call__(self, *message: object) -> None: ...


class Hand:
    """A thread that delivers one message at a time, with a sink of its own."""

    def __init__(self, make: Callable[[], Sink], finish: Callable[[Hand, int, Outcome], None]) -> None:
        self._make = make
        self._finish = finish
        self._sink: Sink | None = None
        self._given: queue.SimpleQueue[tuple[int, Message, float] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def give(self, number: int, message: Message, timeout_s: float) -> None:
        """Deliver a message."""
        self._given.put((number, message, timeout_s))

    def end(self) -> None:
        """End after the delivery that goes on."""
        self._given.put(None)

    def _run(self) -> None:
        while (given := self._given.get()) is not None:
            number, message, timeout_s = given
            outcome = self._deliver(message, timeout_s)
            self._finish(self, number, outcome)
        if self._sink is not None:
            try:
                self._sink.close()
            except Exception:  # nobody could do anything about it
                return

    def _deliver(self, message: Message, timeout_s: float) -> Outcome:
        """Deliver, and say what came of it; words of errors that are not its own may have secrets in them."""
        try:
            if self._sink is None:
                self._sink = self._make()
            return Outcome(str(self._sink.deliver(message, timeout_s)))
        except DeliveryFailed as error:
            return Outcome(None, str(error), error.retry_after_s, error.is_final, error.is_down)
        except TimeoutError:
            return Outcome(None, "no answer in time", is_down=True)
        except OSError as error:
            return Outcome(None, error.strerror or type(error).__name__, is_down=True)
        except ValueError as error:
            # From `make`, in words, or from a mistake in the code of a sink.
            words = str(error) if self._sink is None else type(error).__name__
            return Outcome(None, words, is_down=self._sink is None)
        except BaseException as error:  # the thread goes on, whatever the code of a sink does
            return Outcome(None, f"the sink fails with {type(error).__name__}")


class Line:
    """One sink, its message and its tries."""

    def __init__(
        self,
        definition: SinkDefinition,
        make: Callable[[], Sink],
        finish: Callable[[Hand, int, Outcome], None],
        say: Said,
        *,
        clock: Callable[[], float],
        is_test: bool = False,
    ) -> None:
        """`clock` returns the elapsed time, in seconds."""
        self._clock = clock
        self.definition = definition
        self._make = make
        self._finish = finish
        self._say = say
        self._is_test = is_test
        self._hand: Hand | None = None
        #: Hands whose delivery did not come back in time.
        self._hanging: set[Hand] = set()
        self._number = 0
        self._message: Message | None = None
        #: The number that the hand is busy with; None: it is free.
        self._busy: int | None = None
        #: Until when the delivery has to come back, and when the next try is.
        self._deadline_s = 0.0
        self._retry_s = 0.0
        self._failures = 0
        self._refusals = 0

    @property
    def is_idle(self) -> bool:
        """Tell whether there is nothing to deliver."""
        return self._message is None

    def wait_s(self) -> float | None:
        """Return in how many seconds a turn is wanted, or None."""
        if self._busy is not None:
            return self._deadline_s - self._clock()
        return None if self._message is None else self._retry_s - self._clock()

    def begin(self, number: int, message: Message) -> None:
        """Deliver a message, until it is taken or refused."""
        self._number, self._message = number, message
        self._failures = self._refusals = 0
        self._retry_s = 0.0

    def drop(self, number: int) -> None:
        """Do not try a message again."""
        if number == self._number:
            self._message = None

    def close(self) -> None:
        """Let the sink go."""
        self._message = None
        if self._hand is not None:
            self._hand.end()
            self._hand = None

    def turn(self) -> None:
        """Do what has come due: give up a hand that hangs, and try again."""
        now_s = self._clock()
        if self._busy is not None and now_s >= self._deadline_s:
            self._give_up_hand()
        if self._busy is None and self._message is not None and now_s >= self._retry_s:
            self._try(self._message)

    def _try(self, message: Message) -> None:
        if len(self._hanging) >= _MOST_HANGING:
            words = f"{len(self._hanging)} deliveries hang: it is tried again when one has come back"
            self._failed(Outcome(None, words, is_down=True))
            return
        if self._hand is None:
            try:
                self._hand = Hand(self._make, self._finish)
            except (RuntimeError, MemoryError):  # no thread can be started now
                self._failed(Outcome(None, "no thread can be started", is_down=True))
                return
        timeout_s = self.definition.timeout_ns / _NS
        self._busy = self._number
        self._deadline_s = self._clock() + timeout_s + _GRACE_S
        self._hand.give(self._number, message, timeout_s)

    def _give_up_hand(self) -> None:
        """Leave a hand that does not come back."""
        assert self._hand is not None
        number, self._busy = self._busy, None
        self._hand.end()
        self._hanging.add(self._hand)
        self._hand = None
        if self._message is not None and number == self._number:
            timeout_s = self.definition.timeout_ns / _NS
            self._failed(Outcome(None, f"it does not come back within {timeout_s:g} s", is_down=True))

    def heard(self, hand: Hand, number: int, outcome: Outcome) -> None:
        """Take what came of a delivery, if it is one of this sink."""
        if hand in self._hanging:
            self._hanging.discard(hand)
            if outcome.answer is None:
                return  # it has been counted
        elif hand is self._hand and number == self._busy:
            self._busy = None
        else:
            return
        if self._message is None or number != self._number:
            return
        if outcome.answer is not None:
            self._message = None
            self._say("delivered", self.definition.name, number, outcome.answer)
        else:
            self._failed(outcome)

    def _failed(self, outcome: Outcome) -> None:
        self._failures += 1
        self._refusals += not outcome.is_down
        name, definition = self.definition.name, self.definition
        if not self._is_test and (outcome.is_final or self._refusals >= definition.attempts):
            self._message = None
            self._say("refused", name, self._number, outcome.words)
            return
        self._say("failed", name, self._number, outcome.words, self._failures)
        if self._is_test:
            self._message = None
            return
        pause_ns = min(definition.delay_ns << min(self._failures - 1, 40), definition.max_delay_ns)
        # Not all senders of a service that was down come at once when it is back.
        pause_s = pause_ns / _NS * random.uniform(0.75, 1)  # noqa: S311 - not a secret
        if outcome.retry_after_s is not None:
            pause_s = max(pause_s, min(outcome.retry_after_s, _LONGEST_PAUSE_S))
        self._retry_s = self._clock() + pause_s
