"""The players of a scenario, each in a process of its own: one for each core.

The first process starts all others, and alone ends and awaits them. Each other one tells the one before it
what it finds, through a pipe, and ends by itself when nobody hears it any more.
"""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
from contextlib import contextmanager, suppress
from io import BufferedReader, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.simulate.player import Part, Played, Player, Scenario
from taskman_cli.simulate.stretches import Stretch, beginning_of, finish, plan, play_stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from taskman_cli.simulate.habits import Habits

#: After so many turns it is known how many there will be; a player is worth its while for so many.
_FIRST_TURNS, _LEAST_TURNS = 20_000, 40_000
#: How long the digest of a state is, in bytes.
_DIGEST = 64
#: What may raise an exception in the first process.
_HELD = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
#: So often others look whether they are heard, and the first, while it waits, that they go on.
_LOOK_S = 1.0
#: How much of all seems done where the first player comes to the stretch of the next one.
_MET_SHARE = 0.9


def play(
    scenario: Scenario,
    habits: Habits,
    *,
    most: Callable[[], int],
    watch: Callable[[float], None] | None = None,
    first_turns: int = _FIRST_TURNS,
    least_turns: int = _LEAST_TURNS,
) -> Played:
    """Play a scenario; a long one with several players. Raises Standstill.

    The result is that of one player. `most` says how many the machine can take, and is asked if that matters.
    `watch` is told now and then which share is done.
    """
    player = Player(scenario, habits)
    player.run(turns=first_turns, watch=watch)
    part = player.cut()
    stretches = [] if player.is_over else plan(player, most=most(), least_turns=least_turns)
    with _followers(player, habits, stretches) as followers:
        if watch is not None and followers:
            watch = _with_others(watch, followers[0].marks_ns[0] / scenario.length_ns)
        part.merge(finish(player, followers, watch))
    return Played.of(scenario, part, seats=player.engine.pool.seats)


def _with_others(watch: Callable[[float], None], met: float) -> Callable[[float], None]:
    """Let most of all seem done where others are to have done the rest; it never seems to go back."""

    def tell(done: float) -> None:
        if done <= met:
            watch(_MET_SHARE * done / met)
        else:  # they have not
            watch(_MET_SHARE + (1 - _MET_SHARE) * (done - met) / (1 - met))

    return tell


class _Pipe(FileIO):
    """A pipe whose other end may be stopped: `wake` is called while nothing comes."""

    def __init__(self, pipe: int, wake: Callable[[], None]) -> None:
        super().__init__(pipe)
        self._wake = wake
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)

    def readinto(self, buffer: Any, /) -> int | None:
        while not self._poll.poll(_LOOK_S * 1000):
            self._wake()
        return super().readinto(buffer)


class Forked:
    """A player in another process, which tells what it finds through a pipe."""

    def __init__(self, pid: int, pipe: int, marks_ns: tuple[int, ...]) -> None:
        self.pid, self.marks_ns = pid, marks_ns
        #: Those that are to go on while this one is waited for.
        self.awaited: Sequence[Forked] = ()
        self._pipe = BufferedReader(_Pipe(pipe, self._wake))
        self._left = len(marks_ns)

    def digest(self) -> bytes | None:
        """Return its state at the next mark; None: it has failed."""
        self._left -= 1
        found = self._pipe.read(_DIGEST)
        return found if len(found) == _DIGEST else None

    def rest(self, mark: int) -> Part | None:
        """Return what was counted from a mark to the end of the scenario; None: it has failed."""
        self._pipe.read(self._left * _DIGEST)
        try:
            first, *others = pickle.load(self._pipe)[mark:]  # noqa: S301 - our own child has written it
        except (EOFError, pickle.UnpicklingError):
            return None
        for one in others:
            first.merge(one)
        assert isinstance(first, Part)
        return first

    def close(self) -> None:
        """Hear no more of it: it ends then."""
        self._pipe.close()

    def _wake(self) -> None:
        """Let go on whoever was stopped alone: this process was not, and would wait for ever."""
        for one in self.awaited:
            os.kill(one.pid, signal.SIGCONT)


@contextmanager
def _followers(player: Player, habits: Habits, stretches: Sequence[Stretch]) -> Iterator[list[Forked]]:
    """Have the stretches played, each by a process; none is left at the end.

    If the machine has no process or descriptor left, the first of them are not played by others.
    """
    forked: list[Forked] = []
    try:
        with suppress(OSError):
            for stretch in reversed(stretches):  # each hears the one that is after it
                with _uninterrupted():
                    forked.insert(0, _fork(player, habits, stretch, forked))
        for one in forked:
            one.awaited = forked
        for one in forked[1:]:
            one.close()
        yield forked
    finally:
        with _uninterrupted():
            for one in forked:
                one.close()
                os.kill(one.pid, signal.SIGKILL)  # not waited for yet, so this is no other process
                os.waitpid(one.pid, 0)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let no exception come between the start of a process and the note of it, nor between their ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fork(first: Player, habits: Habits, stretch: Stretch, followers: Sequence[Forked]) -> Forked:
    parent = os.getpid()
    hears, tells = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(hears)
        os.close(tells)
        raise
    if pid:
        os.close(tells)
        return Forked(pid, hears, stretch.marks_ns)
    try:
        # Whoever ends the first process ends all: the others see that it is gone.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
        gc.freeze()  # to look at what both have would copy it
        for one in followers[1:]:
            one.close()
        os.close(hears)
        _end_unheard(parent, tells)
        _be_killed_first()
        player = Player(first.scenario, habits, beginning_of(stretch, first))
        with open(tells, "wb") as pipe:  # noqa: PTH123 - a pipe

            def tell(state: bytes) -> None:
                pipe.write(state)
                pipe.flush()

            pickle.dump(play_stretch(player, stretch, followers, tell=tell), pipe)
            pipe.flush()
    finally:  # whatever happens in here, nothing of the first process is done twice
        os._exit(1)


def _end_unheard(parent: int, tells: int) -> None:
    """End soon after the first process has ended, or nobody reads the pipe, however long a turn takes."""
    pipe = select.poll()
    pipe.register(tells, 0)  # that nobody reads it is told anyway

    def look(*_: object) -> None:
        if os.getppid() != parent or pipe.poll(0):
            os._exit(1)

    signal.signal(signal.SIGALRM, look)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, _LOOK_S, _LOOK_S)


def _be_killed_first() -> None:
    """Let the kernel take this process, which can be done without, if the memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
