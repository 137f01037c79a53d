"""Signals: what a process of ours does with those that it was started with, and as something to wait for."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

#: What commands rely on: hearing of children's ends, and being told to end.
_RELIED_ON = (signal.SIGCHLD, signal.SIGTERM)


def take_signals() -> None:
    """Block none, and ignore none of those that a command relies on, whatever this process was started with.

    Hang-ups that are ignored stay so (nohup), and interrupts, too (a background job of a script).
    """
    # `taskman restart` may come before the supervisor is there to take it: then there is nothing to restart.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for signum in _RELIED_ON:
        signal.signal(signum, signal.SIG_DFL)


def catch_signals() -> tuple[socket.socket, socket.socket]:
    """Turn INT, TERM, HUP and QUIT into bytes on a socket; return its reading and its writing end.

    Under nohup(1), HUP stays ignored.
    """
    import socket  # not for every small command that takes its signals

    take_signals()
    reading, writing = socket.socketpair()
    for end in (reading, writing):
        end.setblocking(False)
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signum != signal.SIGHUP or signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, lambda *_: None)
    for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        signal.signal(signum, signal.SIG_IGN)
    # The scheduler is in a process group of its own: drawing on the terminal must not stop it.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    return reading, writing
