"""The players of a scenario, each in a process of its own: one for each core."""

from __future__ import annotations

import os
import pickle
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from taskman_cli.simulate.player import Part, Played, Player, Scenario
from taskman_cli.simulate.stretches import Stretch, beginning_of, finish, plan, play_stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from taskman_cli.simulate.habits import Habits

#: After so many turns it is known how many there will be; a player is worth its while for so many.
_FIRST_TURNS, _LEAST_TURNS = 20_000, 60_000
#: How long the digest of a state is, in bytes.
_DIGEST = 64
#: What may raise an exception in the first process.
_HELD = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def play(
    scenario: Scenario,
    habits: Habits,
    *,
    cpus: int,
    watch: Callable[[float], None] | None = None,
    first_turns: int = _FIRST_TURNS,
    least_turns: int = _LEAST_TURNS,
) -> Played:
    """Play a scenario; a long one with as many players as there are CPUs. Raises Standstill.

    The result is that of one player. `watch` is told now and then which share is done.
    """
    player = Player(scenario, habits)
    player.run(turns=first_turns, watch=watch)
    part = player.cut()
    with _followers(player, habits, plan(player, most=cpus, least_turns=least_turns)) as followers:
        share = followers[0].marks_ns[0] / scenario.length_ns if followers else 1.0
        part.merge(finish(player, followers, watch and (lambda done: watch(min(1.0, done / share)))))
    return Played.of(scenario, part, seats=player.engine.pool.seats)


class Forked:
    """A player in another process, which tells what it finds through a pipe."""

    def __init__(self, pid: int, pipe: int, marks_ns: tuple[int, ...]) -> None:
        self.pid, self.marks_ns = pid, marks_ns
        self._pipe = open(pipe, "rb")  # noqa: SIM115 - it lives as long as this
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
        """Hear no more of it: what it tells then ends it."""
        self._pipe.close()


@contextmanager
def _followers(player: Player, habits: Habits, stretches: Sequence[Stretch]) -> Iterator[list[Forked]]:
    """Have the stretches played, each by a process; none is left at the end."""
    forked: list[Forked] = []
    try:
        with suppress(OSError):  # there are too many processes, or descriptors: then it takes longer
            for stretch in reversed(stretches):  # each hears the one that is after it
                with _uninterrupted():
                    forked.insert(0, _fork(player, habits, stretch, forked))
        for one in forked[1:]:
            one.close()
        yield forked if len(forked) == len(stretches) else []
    finally:
        for one in forked:
            one.close()
            os.kill(one.pid, signal.SIGKILL)  # not waited for yet, so this is no other process
            os.waitpid(one.pid, 0)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let no exception come between the start of a process and the note of it."""
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
        for one in followers[1:]:
            one.close()
        os.close(hears)
        player = Player(first.scenario, habits, beginning_of(stretch, first))
        with open(tells, "wb") as pipe:  # noqa: PTH123 - a pipe

            def tell(state: bytes) -> None:
                pipe.write(state)
                pipe.flush()

            parts = play_stretch(player, stretch, followers, tell=tell, watch=lambda _: _end_without(parent))
            pickle.dump(parts, pipe)
            pipe.flush()
    finally:  # whatever happens in here, nothing of the first process is done twice
        os._exit(1)


def _end_without(parent: int) -> None:
    """End if the first process has ended."""
    if os.getppid() != parent:
        os._exit(1)
