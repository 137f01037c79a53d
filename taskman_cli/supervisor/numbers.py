"""Numbers of the system: errors that pass, and signals that a command finds as if nobody had altered them."""

from __future__ import annotations

import errno
import signal

#: Processes, files or memory ran out: not the command's fault, and likely to pass.
TRANSIENT = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOBUFS})

#: Commands get these with their default action, whatever this process and Python did to them.
_ALTERED_SIGNALS = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGPIPE,
    signal.SIGTERM,
    signal.SIGCHLD,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGXFSZ,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
)
#: And those that this process was started with ignored (by a window manager, nohup(1), a shell's trap).
DEFAULT_SIGNALS = (
    *_ALTERED_SIGNALS,
    *(
        number
        for number in signal.valid_signals() - {*_ALTERED_SIGNALS}
        if signal.getsignal(number) is signal.SIG_IGN
    ),
)
