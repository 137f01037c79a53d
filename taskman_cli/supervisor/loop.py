"""The supervisor's one loop: signals, pipes and the scheduler's messages, in a single thread.

It decides nothing about jobs. What it knows about attempts survives the scheduler, and no message of a broken
scheduler stops it.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque

from taskman_cli.supervisor import limits
from taskman_cli.supervisor.children import Children
from taskman_cli.supervisor.early import EarlyStarts
from taskman_cli.supervisor.kept import Kept
from taskman_cli.supervisor.notify import ServiceManager
from taskman_cli.supervisor.process import (
    FORWARDED,
    RESTART,
    leave_view,
    lock_path,
    read_signals,
    renewed_lock,
    restore_keys,
    shows_keys,
    watch_signals,
)
from taskman_cli.supervisor.scheduler_process import RestartPause, Scheduler
from taskman_cli.supervisor.stopping import StopAlone
from taskman_cli.supervisor.timers import Timers, elapsed_ns
from taskman_cli.supervisor.voice import NOTICE, VOICE, say
from taskman_cli.supervisor.waitstatus import in_words
from taskman_cli.supervisor.watchdog import Watchdog
from taskman_cli.supervisor.wire import GREETING, WireError, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from taskman_cli.supervisor.wire import Message


class Supervisor:
    """Parent of the scheduler and of every attempt."""

    def __init__(self, argv: list[str], *, lock_fd: int | None = None) -> None:
        self._argv = argv
        self._lock_fd, self._lock_path = lock_fd, lock_path(lock_fd)
        self._epoll = select.epoll()
        self._timers = Timers()
        self._children = Children(self._epoll, self._timers.after, lambda: self._scheduler)
        self._inbox: deque[Message] = deque()
        self._outbox: list[Message] = []
        self._early = EarlyStarts(self._children, self._timers.after, self._outbox)
        self._held_since_ns: int | None = None
        self._kept = Kept(limits.MAX_KEPT_BYTES)
        self._pause = RestartPause()
        ask = lambda number: self._outbox.append(("ping", number))  # noqa: E731
        self._watchdog = Watchdog(self._timers.after, ask=ask, replace=self._replace, say=say)
        self._manager = ServiceManager(self._timers.after, is_well=self._watchdog.is_well, environ=os.environ)
        self._scheduler: Scheduler | None = None
        self._scheduler_ended_ns: int | None = None
        #: Identifies this supervisor among all others of the same state directory.
        self._started_ns = time.time_ns()
        self._generation = self._batches_heard = self._interrupts = 0
        #: The stop signals received so far.
        self._stops: list[int] = []
        self._shows_keys = shows_keys()
        self._stop_alone = StopAlone(self._children, self._timers.after, self._leave)
        #: No other scheduler is started for the stop: one was, or the last one said nothing.
        self._had_last = False
        #: The exit code that the scheduler asked for.
        self._exit_code: int | None = None
        self._left_with: int | None = None
        self._kinds: dict[str, Callable[..., None]] = {
            "configure": self._configure,
            **self._early.kinds,
            **self._children.hosts.kinds,
            "adopt": lambda *adopt: self._outbox.append(self._children.adopt(*adopt)),
            "settle": self._children.captures.settle_file,
            "survivors": self._children.note_wish,
            "forget": self._children.forget,
            "abandon": self._children.abandon,
            "keep": self._kept.keep,
            "due": self._due,
            "report": self._manager.report,
            "exit": self._exit,
        }

    def run(self) -> int:
        """Supervise until the end; return the exit code."""
        signals_fd = watch_signals()
        self._epoll.register(signals_fd, select.EPOLLIN)
        VOICE.begin(self._epoll, lambda: self._scheduler is not None and not self._scheduler.is_hung)
        self._start_scheduler()
        while self._left_with is None:
            self._turn(signals_fd)
        self._children.close_all()
        self._manager.close()
        return self._left_with

    def _turn(self, signals_fd: int) -> None:
        for fd, _ in self._epoll.poll(self._timeout_s()):
            if self._children.captures.pump(fd):
                continue
            if fd == signals_fd:
                self._take_signals(read_signals(fd))
            elif self._scheduler is not None and fd == self._scheduler.fd:
                self._hear(self._scheduler)
            elif self._children.hear_from(fd) or VOICE.hear_from(fd) or not self._children.is_adopted(fd):
                continue  # perhaps a pipe that was closed in this turn
            else:
                self._notice(fd)
        now = elapsed_ns()
        self._timers.run_due(now)
        if self._inbox:  # the scheduler records these ends while this process starts more
            self._speak(now)
        self._work(limits.MESSAGES_A_TURN)
        self._early.fill()
        self._children.captures.settle()
        self._children.hosts.flush()
        self._outbox += self._children.take_news() + VOICE.untold()
        if self._scheduler is None and self._left_with is None and not self._children.survivors.is_hunting:
            if self._exit_code is not None:
                self._left_with = self._exit_code
            elif self._stop_alone.has_begun and not self._children.running_count():
                self._left_with = 1
        self._speak(now)

    def _timeout_s(self) -> float | None:
        if self._inbox or self._children.captures.is_settling:
            return 0
        held = [self._held_since_ns + limits.HOLD_NS] if self._held_since_ns is not None else []
        return self._timers.timeout_s(held, limits.MAX_WAIT_NS)

    # --- messages ---

    def _hear(self, scheduler: Scheduler) -> bool:
        """Receive its messages; return False if there are none for now, or none any more."""
        try:
            messages = scheduler.receive()
        except WireError as error:
            say(f"killing the scheduler, which sent an invalid message: {error}")
            scheduler.signal(signal.SIGKILL)
            scheduler.close()
            return False
        if messages is None:
            scheduler.close()
            self._timers.after(limits.HANG_PATIENCE_NS, lambda: self._kill_hung(scheduler))
            return False
        if messages:
            self._batches_heard += 1
            self._pause.has_answered = True
            self._watchdog.note_heard()
            self._inbox += VOICE.trace("from", messages)
        return bool(messages)

    def _work(self, limit: int = -1) -> None:
        """Carry out the scheduler's messages, at most `limit` of them; less than 0: all."""
        while self._inbox and limit != 0:
            message = self._inbox.popleft()
            try:
                kind = self._kinds.get(message[0])
                if kind is not None:
                    kind(*message[1:])
            except Exception as error:  # of a broken scheduler: attempts must not lose their parent
                say(f"cannot carry out {name_of(message)}: {type(error).__name__}: {error}")
            limit -= 1

    def _speak(self, now_ns: int) -> None:
        """Send the waiting messages to the scheduler, unless that can wait a little."""
        if self._outbox and self._scheduler is not None:
            may_wait = ("started", "ended") if self._early.is_busy else ("started",)
            if all(message[0] in may_wait for message in self._outbox):
                self._held_since_ns = self._held_since_ns or now_ns
                if now_ns < self._held_since_ns + limits.HOLD_NS:
                    return
            try:
                self._scheduler.send(VOICE.trace("to", self._outbox))
                self._watchdog.note_sent()
            except WireError as error:  # only if the scheduler left more than can be sent back
                say(f"cannot send to the scheduler: {error}")
        self._outbox.clear()  # without a scheduler: the next "hello" has it all
        self._held_since_ns = None

    def _configure(self, settings: Mapping[str, Any]) -> None:
        self._children.configure(settings)
        self._pause.configure(int(settings["restart_delay_ns"]), int(settings["restart_delay_max_ns"]))
        self._watchdog.configure(settings.get("hang_after_ns"))
        VOICE.configure(settings.get("log_format"), settings.get("log_level"))

    def _due(self, *due: Any) -> None:
        self._watchdog.note_due(*due)
        self._manager.scheduler_began()

    def _exit(self, code: int) -> None:
        self._exit_code = int(code)
        self._manager.stopping()
        self._timers.after(limits.HANG_PATIENCE_NS, self._leave_behind)

    # --- the scheduler process ---

    def _start_scheduler(self) -> None:
        # During the pause before this start, another one may have been asked for.
        if self._stop_alone.has_begun or self._scheduler is not None or self._exit_code is not None:
            return
        if not self._early.is_settled(self._start_scheduler):
            return
        self._outbox.clear()  # "hello" has it all
        if self._lock_fd is not None:
            self._lock_fd = renewed_lock(self._lock_fd, self._lock_path)
        now = elapsed_ns()
        try:
            self._scheduler = Scheduler(
                self._argv, self._epoll, lock_fd=self._lock_fd, started_elapsed_ns=now
            )
        except OSError as error:
            if self._stops:
                self._stop_without_scheduler()
            else:
                self._restart_later(f"cannot be started ({error.strerror}: {self._argv[0]})", lived_ns=0)
            return
        self._watchdog.begin(self._scheduler.pid)
        facts = GREETING | {
            "generation": self._generation,
            "started_ns": self._started_ns,
            "scheduler_ended_ns": self._scheduler_ended_ns,
            "has_manager": self._manager.is_there,
        }
        self._generation += 1
        everything = {"is_complete": True, "kept": self._kept.values, "attempts": self._children.as_tuples()}
        what_runs = {"is_complete": False, "kept": {}, "attempts": self._children.running_as_tuples()}
        if self._scheduler.greet(facts | everything) or self._scheduler.greet(facts | what_runs):
            self._children.note_told()
            # The stop came while there was no scheduler, or its predecessor was leaving for a restart.
            self._outbox += [("signal", number) for number in self._stops]
        else:
            self._scheduler.signal(signal.SIGKILL)

    def _scheduler_ended(self, scheduler: Scheduler, status: int) -> None:
        scheduler.is_reaped = True
        self._watchdog.begin(0)
        self._scheduler_ended_ns = time.time_ns()
        while scheduler.fd is not None and self._hear(scheduler):  # its last messages
            pass
        scheduler.close()
        restore_keys(was_shown=self._shows_keys)
        self._work()
        self._early.drop()
        self._scheduler = None
        if self._exit_code is not None:
            self._inbox.clear()
        elif scheduler.made_room(status):
            say("restarting the scheduler", NOTICE)
            self._timers.after(0, self._start_scheduler)
        elif self._stops:
            self._stop_without_scheduler()
        else:
            # One that hung lived until then: the pauses of those that hang at once grow, too.
            behind_ns = self._watchdog.patience_ns if scheduler.is_hung else 0
            lived_ns = elapsed_ns() - scheduler.started_elapsed_ns - behind_ns
            self._restart_later(f"died ({in_words(status)})", lived_ns=lived_ns)

    def _restart_later(self, what: str, *, lived_ns: int) -> None:
        leave_view()  # it had no time to do that itself; the message must not be drawn into the view
        self._watchdog.note_death()
        pause_ns = self._pause.after(lived_ns)
        if pause_ns is None:
            say(f"the scheduler {what}; no scheduler has ever come up: giving up")
            self._left_with = 1
            return
        words = f"the scheduler {what}; starting it again in {pause_ns / 1e9:g} s"
        say(words, event="scheduler_died")
        self._manager.scheduler_died(words)
        self._timers.after(pause_ns, self._start_scheduler)

    def _replace(self, words: str) -> None:
        """Kill a scheduler that hangs; the next one gets to know why."""
        scheduler = self._scheduler
        if scheduler is None or scheduler.is_asked_to_leave or self._stops or self._exit_code is not None:
            return  # these have their own patience
        leave_view()
        scheduler.is_hung = True
        say(f"the scheduler (process {scheduler.pid}) {words}: killing it")
        self._kept.keep("hung", words)
        scheduler.signal(signal.SIGKILL)

    def _kill_hung(self, scheduler: Scheduler) -> None:
        if scheduler is self._scheduler and self._exit_code is None:
            scheduler.signal(signal.SIGKILL)

    def _leave_behind(self) -> None:
        """Exit without a scheduler that is done but does not end: a file system holds one of its threads."""
        if self._scheduler is not None:
            say("the scheduler does not end: a disk or file system hangs; leaving it behind")
            self._scheduler.signal(signal.SIGKILL)
            self._left_with = self._exit_code

    def _restart(self) -> None:
        """Restart the scheduler; if there is none, start the next one now."""
        if self._stops or self._exit_code is not None:
            return
        if (scheduler := self._scheduler) is None:
            self._start_scheduler()
        elif not scheduler.is_asked_to_leave:
            scheduler.is_asked_to_leave = True
            self._outbox.append(("signal", int(RESTART)))
            self._timers.after(limits.RESTART_PATIENCE_NS, lambda: self._kill_late(scheduler))

    def _kill_late(self, scheduler: Scheduler) -> None:
        if scheduler is self._scheduler and not self._stops and self._exit_code is None:
            say("the scheduler does not exit; killing it")
            scheduler.is_late = True
            scheduler.signal(signal.SIGKILL)

    # --- signals ---

    def _take_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number in FORWARDED:
                self._pass_on(number)
            elif number == RESTART:
                self._restart()
            elif number == signal.SIGTSTP:
                self._outbox.append(("suspend",))
        if signal.SIGCHLD in numbers:
            self._reap()

    def _reap(self) -> None:
        """Reap all children that ended: attempts, the scheduler, and orphans that we inherited."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if self._scheduler is not None and pid == self._scheduler.pid:
                self._scheduler_ended(self._scheduler, status)
            else:
                self._children.reaped(pid, status, usage)
        self._outbox += self._children.take_news() + self._children.take_ends()
        self._early.fill()

    def _notice(self, pidfd: int) -> None:
        """Handle the end of an adopted process."""
        self._reap()  # if it has become our child, this knows how it ended
        self._children.lost(pidfd)
        self._outbox += self._children.take_ends()

    def _pass_on(self, number: int) -> None:
        is_first = number != signal.SIGHUP and not self._stops
        if number != signal.SIGHUP:
            self._early.close()
            self._stops.append(number)
            self._manager.stopping()
            self._interrupts += limits.URGENCY.get(number, 0)
            if self._interrupts >= 2:
                self._children.hurry()
        if self._scheduler is not None:
            self._outbox.append(("signal", number))
            heard = self._batches_heard
            if is_first:
                self._timers.after(limits.STUCK_PATIENCE_NS, lambda: self._kill_silent(heard, is_all=False))
            if self._interrupts >= 2:
                self._timers.after(limits.ANSWER_PATIENCE_NS, lambda: self._kill_silent(heard, is_all=True))
        elif self._stops and self._exit_code is None:
            if is_first or self._interrupts >= 2:
                self._stop_without_scheduler()
            if self._interrupts >= 2:
                self._stop_alone.kill()

    def _kill_silent(self, heard: int, *, is_all: bool) -> None:
        """Stop without a scheduler that is silent; `is_all`: kill the commands too."""
        if self._scheduler is not None and self._batches_heard == heard:
            say(f"the scheduler does not answer; killing it and {'' if is_all else 'stopping '}all commands")
            if is_all:
                self._children.signal_all(signal.SIGKILL)
            self._had_last = True
            self._scheduler.signal(signal.SIGKILL)

    def _stop_without_scheduler(self) -> None:
        """Start a scheduler that stops all and records it, but only one: it may die or be silent as well."""
        is_urgent = self._interrupts >= 2
        if self._had_last or is_urgent or not self._children.as_tuples():
            self._stop_alone.begin(is_urgent=is_urgent)
            return
        self._had_last = True
        say("starting a scheduler to carry out the stop", NOTICE)
        heard = self._batches_heard
        self._timers.after(0, self._start_scheduler)  # when all ends of this turn are known
        self._timers.after(limits.LAST_PATIENCE_NS, lambda: self._kill_silent(heard, is_all=False))

    def _leave(self) -> None:
        if self._left_with is None:
            self._left_with = 1
