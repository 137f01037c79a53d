"""The numbers of the supervisor's loop: how much at once, and how long it waits for what."""

from __future__ import annotations

import signal

#: A start stops the loop for a millisecond; after this many messages, pipes and signals get their turn.
MESSAGES_A_TURN = 16
#: "started" is held back this long: mostly the end of a short command can then be sent with it.
HOLD_NS = 5_000_000
#: With more starts than these still held, ends wait as long: there is something to do meanwhile.
FEW_EARLY = 2
#: The same for starts that the process of an executor has: that of which there are so many is very short.
FEW_AHEAD = 32
#: A start that was asked for early goes back if no command has ended for it within this time.
EARLY_PATIENCE_NS = 20_000_000
#: How long the next scheduler waits for such starts that executors return, and how often it looks.
RETURN_PATIENCE_NS, RETURN_LOOK_NS = 100_000_000, 2_000_000
#: Most that a scheduler may leave for the next one with "keep"; "hello" has room for more.
MAX_KEPT_BYTES = 16 << 20

#: How many interrupts a signal counts as: after two, commands are killed at once.
URGENCY: dict[int, int] = {signal.SIGINT: 1, signal.SIGQUIT: 2}

_SECOND_NS = 1_000_000_000
#: epoll refuses waits of more than some weeks.
MAX_WAIT_NS = 3600 * _SECOND_NS
#: From TERM to KILL in a stop without a scheduler.
STOP_PATIENCE_NS = 10 * _SECOND_NS
#: From KILL to leaving commands behind that do not end: a disk or a file system holds them.
KILL_PATIENCE_NS = 10 * _SECOND_NS
#: How long a scheduler may be silent after the first signal to stop.
STUCK_PATIENCE_NS = 30 * _SECOND_NS
#: How long one may be silent that was started to carry out a stop.
LAST_PATIENCE_NS = 20 * _SECOND_NS
#: How long it may be silent after a second Ctrl-C.
ANSWER_PATIENCE_NS = 2 * _SECOND_NS
#: How long it may live on after it closed its socket without "exit".
HANG_PATIENCE_NS = 10 * _SECOND_NS
#: How long it may take to exit for a restart.
RESTART_PATIENCE_NS = 10 * _SECOND_NS

#: While attempts run, the process of their executor is asked whether it is well so often.
PING_NS = 5_000_000_000
#: An attempt of an executor that was not begun by then is reported as started anyway: its `timeout` runs.
BEGIN_PATIENCE_NS = 10_000_000_000
#: That many times longer while the executor says that it is away.
AWAY_TIMES = 6
#: At the end of the program, the processes of executors have so long to end what they hold.
LEAVE_S = 5.0
