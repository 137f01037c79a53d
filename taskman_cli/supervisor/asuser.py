"""Starting a command in a fork that becomes the command while this process goes on.

It is for commands of another user, and for programs whose start another user can delay (trusted.py).
posix_spawn does not suit them: it stops this process until the child execs. A fork of this small process
costs twice as much as a spawn.
"""

from __future__ import annotations

# The module `signal` makes enums of all numbers, which would take a third of a start.
import _signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

_ALL_SIGNALS = _signal.valid_signals()
_MOST_WORDS = 2000
_NUMBER_BYTES = 4
#: The child's end of the pipe on which it reports its outcome.
_TELL = 3
#: Most descriptors that are closed one by one on a system without close_range(2).
_MOST_DESCRIPTORS = 1 << 16


class NotBecome(Exception):
    """Say why the child did not become the command: errno and message."""

    def __init__(self, number: int, words: str) -> None:
        super().__init__(words)
        self.errno = number


def start_apart(become: Callable[[], NoReturn], files: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Fork a child that leads its own session and calls `become`, which ends in exec(2) or an exception.

    The child has none of our descriptors except `files`, each as (ours, its number in the child, 0 to 2).
    Return its pid and a descriptor that becomes readable when `hear_from_child` has an answer. Nothing here
    waits for the child: once it belongs to another user, that user may stop it as long as they like. Raises
    OSError if the fork fails.
    """
    told, tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        # A signal that reaches the child before it leads its own session was meant for us.
        before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _ALL_SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                _be_child(become, files, tell)
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
            os.close(tell)
    except BaseException:
        os.close(told)
        raise
    return pid, told


def hear_from_child(told: int) -> bool:
    """Tell if the child of `start_apart` has become the command, or ended; False: neither yet.

    Raises NotBecome with the message of the exception in the child, which then ends by itself.
    """
    try:
        said = os.read(told, _NUMBER_BYTES + _MOST_WORDS)
    except BlockingIOError:
        return False
    if said:
        raise NotBecome(int.from_bytes(said[:_NUMBER_BYTES], "big"), os.fsdecode(said[_NUMBER_BYTES:]))
    return True


def _be_child(become: Callable[[], NoReturn], files: Iterable[tuple[int, int]], tell: int) -> NoReturn:
    """Become the command, or report why not and exit: none of our own code may continue here."""
    try:
        os.setsid()
        for ours, number in files:
            os.dup2(ours, number)
        if tell != _TELL:
            os.dup2(tell, _TELL, inheritable=False)
        # Above all the lock: a child that its user stops here must not hold it when we are gone.
        os.closerange(_TELL + 1, min(os.sysconf("SC_OPEN_MAX"), _MOST_DESCRIPTORS))
        become()
    except BaseException as error:
        code: int = getattr(error, "errno", None) or 0
        os.write(_TELL, code.to_bytes(_NUMBER_BYTES, "big") + os.fsencode(str(error))[:_MOST_WORDS])
    finally:
        os._exit(127)


def reset_signals(numbers: Iterable[int]) -> None:
    """Give signals their default action and unblock them; one that came meanwhile takes effect."""
    for number in numbers:
        if _signal.getsignal(number) != _signal.SIG_DFL:
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def give_up_rights(uid: int, gid: int, groups: list[int]) -> None:
    """Become another user for good. The order matters: each step needs the rights that the last one gives up.

    When all three user ids are set, a process of root loses its capabilities too.
    """
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def has_too_many_processes() -> bool:
    """Tell if this process may execute nothing, since its user has more processes than allowed.

    execve(2) checks that first, and once: the next one of this process is not refused for it.
    """
    try:
        os.execve("/", ["/"], {})  # noqa: S606 - no shell is wanted
    except BlockingIOError:
        return True
    except OSError:
        return False
