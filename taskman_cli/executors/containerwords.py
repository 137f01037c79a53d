"""What `docker` and `podman` mean by what they say if they have not done what they were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskman_cli.executors.programs import Answer

#: What the programs say if the engine itself cannot be reached.
_AWAY = (b"cannot connect to", b"error during connect", b"unable to connect to", b"daemon running?")


def is_away(answer: Answer) -> bool:
    """Tell whether the engine's program has not reached the engine."""
    return any(words in answer.err.lower() for words in _AWAY)


def is_unreachable(answer: Answer) -> bool:
    """Tell whether the engine could not be asked, other than that there is nothing to signal any more."""
    said = answer.err.lower()
    return not any(words in said for words in (b"not running", b"no such", b"can only kill running"))


def is_paused(answer: Answer) -> bool:
    """Tell whether there was nothing to stop: it is stopped already, or over."""
    said = answer.err.lower()
    return any(words in said for words in (b"already paused", b"not running", b"no such"))


def is_removed(answer: Answer) -> bool:
    """Tell whether there was nothing to remove, or somebody is at it."""
    said = answer.err.lower()
    return b"no such" in said or b"already in progress" in said
