"""Reaches the scheduler of a state directory, which may be about to listen.

There may be none for a moment while the next one starts (`taskman restart`, a crash). A client waits for it
as long as the lock on the state directory shows that taskman runs: for a few seconds, and for longer while
the next one is at work on its jobs, which takes seconds if there are very many.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from taskman_cli.control.place import SOCKET, address_of
from taskman_cli.errors import NoScheduler, SchedulerUnresponsive, TaskmanError
from taskman_cli.instance.lock import holder
from taskman_cli.instance.silence import STOPPED, disk_trouble, in_words, scheduler_of, spent_ticks, state_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: How long a client waits for the next scheduler to listen.
PATIENCE_S = 3.0
#: How long it waits for one that loads, and how long that may do nothing.
LOADING_S, IDLE_S = 120.0, 10.0
#: One that does nothing for so long while its disk is full waits for room.
_WAITS_S = 1.0
#: How long a working scheduler may take to answer.
ANSWER_S = 60.0
#: Pause between two attempts to connect; and after how many of them a scheduler that loads is looked at.
_PAUSE_S, _LOOK = 0.05, 10
#: How many schedulers may begin to load, one after the other, while a client waits.
_MOST_LOADING = 2


#: Takes words for people that say why a command takes long, once; set by whoever can show them.
on_wait: Callable[[str], None] = lambda words: None  # noqa: E731


def no_scheduler(directory: Path) -> NoScheduler:
    """Return the error that nothing runs there, with what starts it."""
    return NoScheduler(f"no taskman is running with the state in {directory} (`taskman run FILE` starts one)")


def reach(directory: Path, patience_s: float | None) -> socket.socket:
    """Connect as soon as a scheduler listens; without `patience_s`, wait for one that loads."""
    path = directory / SOCKET
    loading = Loading(directory) if patience_s is None else None
    most = round((PATIENCE_S if patience_s is None else patience_s) / _PAUSE_S)
    number = 0
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(ANSWER_S)
        try:
            with address_of(path) as address:
                sock.connect(address)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError, BlockingIOError) as error:
            sock.close()  # nobody listens, or the backlog is full
            is_full = isinstance(error, BlockingIOError)
        except OSError as error:
            sock.close()
            raise TaskmanError(f"cannot reach {path}: {error.strerror or error}") from error
        else:
            return sock
        pid = holder(directory) if directory.is_dir() else None
        if pid is None:
            raise no_scheduler(directory)
        goes_on = loading is not None and not is_full and (number % _LOOK or loading.goes_on(pid))
        if number >= most and not goes_on:
            raise _not_reached(directory, pid, loading)
        time.sleep(_PAUSE_S)
        number += 1


def _not_reached(directory: Path, pid: int, loading: Loading | None) -> TaskmanError:
    """Return the error that the scheduler of a supervisor does not listen."""
    if state_of(pid) in STOPPED:
        words = f"taskman that runs with the state in {directory}"
        return SchedulerUnresponsive(in_words(pid, what=words))
    trouble = disk_trouble(directory)
    if loading is not None and loading.pid is not None and state_of(loading.pid):
        why = trouble or f", {loading.words}: {in_words(loading.pid)}"
        return SchedulerUnresponsive(f"the scheduler with the state in {directory} does not come up{why}")
    return NoScheduler(
        f"taskman (process {pid}) runs with the state in {directory}, but its scheduler accepts no "
        "connection: it is starting, stopping or busy, or it failed and will be restarted"
        f"{trouble}"
    )


class Loading:
    """Looks from time to time whether a scheduler that does not listen yet is at work."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        #: Its process; None: there is none.
        self.pid: int | None = None
        #: Why it is not waited for any more.
        self.words = ""
        self._looks = self._idle = self._schedulers = 0
        self._spent_ticks = -1

    def goes_on(self, supervisor: int) -> bool:
        """Look; return whether it is to be waited for."""
        self._looks += 1
        pid = scheduler_of(supervisor)
        if pid is None or pid != self.pid:
            self.pid, self._spent_ticks, self._idle = pid, -1, 0
            self._schedulers += pid is not None
        if pid is None or self._schedulers > _MOST_LOADING:
            return False
        is_stopped, ticks = state_of(pid) in STOPPED, spent_ticks(pid)
        self._idle = self._idle + 1 if ticks == self._spent_ticks else 0
        self._spent_ticks = ticks
        every_s = _PAUSE_S * _LOOK
        if self._looks * every_s > PATIENCE_S > (self._looks - 1) * every_s and not is_stopped:
            on_wait(f"the scheduler (process {pid}) is loading its jobs: waiting for it")
        if self._idle * every_s >= _WAITS_S and disk_trouble(self._directory):
            self.words = "and waits for its disk"
        elif self._idle * every_s >= IDLE_S:
            self.words = f"and has done nothing for {IDLE_S:g} s"
        elif self._looks * every_s >= LOADING_S:
            self.words = f"though it has been at work for {LOADING_S:g} s"
        elif is_stopped:
            self.words = "as it is stopped"
        return not self.words
