"""A long scenario in stretches, which several players play at the same time.

The first player begins where the scenario does. Each other one begins further on, as a scheduler that is
started again there, with what the first has learned so far. It plays for a while before anything counts:
after that, what it could not know at its beginning mostly makes no difference any more. Where a player comes
to the stretch of the next one, the two are compared. Only if they are in the same state, the rest is what the
next one counts. If not, the player goes on itself. So the result is that of one player, and the others only
save time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine import events
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.simulate.likeness import digest
from taskman_cli.simulate.player import Beginning, Part, Player

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from taskman_cli.core.engine.timetable import ArmedJob

#: So long is played before anything counts, at least; and at most such a share of what is to be played.
_LEAD_NS, _LEAD_SHARE = 3600 * SECOND_NS, 0.25
#: Where in its stretch a player may be joined, in parts of the stretch.
_MARKS = (0.0, 1 / 64, 1 / 16)
#: More players than this would spend more time before their stretches than in them.
MOST = 8


class Stretch(NamedTuple):
    """What one player has to play; in nanoseconds of the scenario."""

    #: Where it begins, some way before its stretch.
    begin_ns: int
    #: Where the player before it may be in the same state, and has done its part then.
    marks_ns: tuple[int, ...]


class Follower(Protocol):
    """The player of the next stretch, wherever it is."""

    marks_ns: tuple[int, ...]

    def digest(self) -> bytes | None:
        """Return its state at the next mark; None: it has failed."""

    def rest(self, mark: int) -> Part | None:
        """Return what was counted from a mark to the end of the scenario; None: it has failed."""

    def close(self) -> None:
        """Hear no more of it: it need not go on."""


def plan(player: Player, *, most: int, least_turns: int) -> list[Stretch]:
    """Divide what a player has left among itself and others; `least_turns`: each is worth so many, about.

    The first stretch is the player's own, and is not returned.
    """
    done_ns = player.played_ns
    left_ns = player.scenario.length_ns - done_ns
    if player.is_over or done_ns <= 0 or any(map(_is_chained, player.engine.timetable.jobs.values())):
        return []
    count = min(most, MOST, int(player.turns * left_ns / done_ns) // least_turns)
    if count < 2:
        return []
    lead_ns = _lead_ns(player, left_ns)
    length_ns = (left_ns - lead_ns) // count
    if length_ns < lead_ns:
        return []
    found = []
    for number in range(1, count):
        first_ns = done_ns + lead_ns + number * length_ns
        marks_ns = tuple(first_ns + int(length_ns * share) for share in _MARKS)
        found.append(Stretch(first_ns - lead_ns, marks_ns))
    return found


def _is_chained(armed: ArmedJob) -> bool:
    """Tell whether when a job runs depends on each run before: no player knows that but the first."""
    return armed.is_from_finish and armed.job.enabled and not armed.is_used_up


def _lead_ns(player: Player, left_ns: int) -> int:
    """Return how long a player plays before its stretch: so long that all jobs that come often had a run."""
    most_ns, found_ns = int(left_ns * _LEAD_SHARE), _LEAD_NS
    for armed in player.engine.timetable.jobs.values():
        if armed.slot_ns is not None and (next_ns := armed.slot_after(armed.slot_ns)) is not None:
            gap_ns = (next_ns - armed.slot_ns) * 9 // 8
            if found_ns < gap_ns <= most_ns:
                found_ns = gap_ns
    return found_ns


def beginning_of(stretch: Stretch, first: Player) -> Beginning:
    """Return how the player of a stretch begins: with what the first one has learned so far."""
    known = {
        name: events.JobStanding(
            definition_of(armed.job),
            armed.since_ns,
            armed.anchor_ns,
            armed.run_count,
            failures=armed.failures,
        )
        for name, armed in first.engine.timetable.jobs.items()
    }
    return Beginning(stretch.begin_ns, known, first.engine.pool.memory)


def play_stretch(
    player: Player,
    stretch: Stretch,
    followers: Sequence[Follower],
    *,
    tell: Callable[[bytes], object],
) -> list[Part]:
    """Play a stretch and what comes after it; return what was counted from each mark to the next.

    `tell` is called with the state at each mark, as soon as it is known.
    """
    parts = list(_parts_to(player, stretch.marks_ns, tell))
    return [*parts[1:], finish(player, followers)]  # what comes before the first mark counts elsewhere


def _parts_to(player: Player, marks_ns: Sequence[int], tell: Callable[[bytes], object]) -> Iterator[Part]:
    for mark_ns in marks_ns:
        player.run(to_ns=mark_ns)
        yield player.cut()
        tell(digest(player))


def finish(
    player: Player, followers: Sequence[Follower], watch: Callable[[float], None] | None = None
) -> Part:
    """Play to the end of the scenario, or to where the first follower is in the same state.

    Returns what is counted from now on to the end of the scenario. Raises Standstill.
    """
    part = player.cut()
    if followers:
        follower = followers[0]
        for mark, mark_ns in enumerate(follower.marks_ns):
            player.run(to_ns=mark_ns, watch=watch)
            part.merge(player.cut())
            state = follower.digest()
            if state is None:
                break
            if state == digest(player) and (rest := follower.rest(mark)) is not None:
                part.merge(rest)
                return part
        follower.close()
    player.run(watch=watch)
    part.merge(player.cut())
    return part
