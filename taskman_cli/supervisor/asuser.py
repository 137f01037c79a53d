"""Starting a command as another user: a fork that stops being us before it becomes the command.

Not by posix_spawn, whose child shares this process's memory until then: once it belonged to somebody else,
he could kill or change it, and us with it. A fork of this small process costs twice a spawn.
"""

from __future__ import annotations

# The module `signal` makes enums of all numbers, which would be a third of a start.
import _signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

_ALL_SIGNALS = _signal.valid_signals()
_MOST_WORDS = 2000
_NUMBER_BYTES = 4


class NotBecome(Exception):
    """Carry out of the child why it did not become the command: the number of the error, and words."""

    def __init__(self, number: int, words: str) -> None:
        super().__init__(words)
        self.errno = number


def start_apart(become: Callable[[], NoReturn]) -> int:
    """Fork a child that calls `become`, which ends in exec(2) or an exception; return its pid.

    Raises NotBecome with the words of that exception, and OSError if there can be no child.
    """
    told, tell = os.pipe2(os.O_CLOEXEC)
    try:
        # One that comes to the child before it leads its own session was meant for us.
        before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _ALL_SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                _be_child(become, tell)
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
            os.close(tell)
        said = os.read(told, _NUMBER_BYTES + _MOST_WORDS)
    finally:
        os.close(told)
    if said:
        os.waitpid(pid, 0)
        raise NotBecome(int.from_bytes(said[:_NUMBER_BYTES], "big"), os.fsdecode(said[_NUMBER_BYTES:]))
    return pid


def _be_child(become: Callable[[], NoReturn], tell: int) -> NoReturn:
    """Become the command, or tell why not and end: nothing of ours may go on in here."""
    try:
        become()
    except BaseException as error:
        number: int = getattr(error, "errno", None) or 0
        os.write(tell, number.to_bytes(_NUMBER_BYTES, "big") + os.fsencode(str(error))[:_MOST_WORDS])
    finally:
        os._exit(127)


def reset_signals(numbers: Iterable[int]) -> None:
    """Let ignored signals do what they do after login, and block none; handlers end with exec(2)."""
    for number in numbers:
        if _signal.getsignal(number) == _signal.SIG_IGN:
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def give_up_rights(uid: int, gid: int, groups: list[int]) -> None:
    """Become another user for good. In this order: each step takes the rights that the last one gives up.

    With the last of its three user numbers a process of root's loses its capabilities, too.
    """
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
