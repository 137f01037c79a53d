"""Signals: the dispositions that our processes start with, and signals as something to wait for."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

#: Signals that commands rely on: the end of a child, and requests to stop.
_RELIED_ON = (signal.SIGCHLD, signal.SIGTERM)


def take_signals() -> None:
    """Unblock all signals, and stop ignoring those that commands rely on, as the parent may have set them.

    An ignored HUP stays ignored (nohup), and so does an ignored INT (a background job of a script).
    """
    # `taskman restart` may send this before the supervisor handles it; there is nothing to restart then.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for signum in _RELIED_ON:
        signal.signal(signum, signal.SIG_DFL)


def catch_signals() -> tuple[socket.socket, socket.socket]:
    """Turn INT, TERM, HUP and QUIT into bytes on a socket; return its two ends, the reading end first.

    Under nohup(1), HUP stays ignored.
    """
    import socket  # not for every command that imports this module

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
    # The scheduler has its own process group; drawing on the terminal must not stop it.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    return reading, writing
