"""Signals of the scheduler's process, as something that its loop can wait for."""

from __future__ import annotations

import signal
import socket


def catch_signals() -> tuple[socket.socket, socket.socket]:
    """Turn INT, TERM, HUP and QUIT into bytes on a socket; return its reading and its writing end."""
    reading, writing = socket.socketpair()
    for end in (reading, writing):
        end.setblocking(False)
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(signum, lambda *_: None)
    for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        signal.signal(signum, signal.SIG_IGN)
    # The scheduler is in a process group of its own: drawing on the terminal must not stop it.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    return reading, writing
