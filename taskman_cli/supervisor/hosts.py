"""The attempts that executors carry out, each in a process of its executor; and those processes.

None of these can hold a start of another up: all that is done here is to pass messages on. What a process of
an executor was doing when it died is found again by the next one.
"""

from __future__ import annotations

import time

from taskman_cli.supervisor import limits
from taskman_cli.supervisor.ahead import Ahead
from taskman_cli.supervisor.host import Host
from taskman_cli.supervisor.leaving import Leaving, wait_for_all
from taskman_cli.supervisor.program import StartError
from taskman_cli.supervisor.remote import NO_PID, Remote
from taskman_cli.supervisor.timers import elapsed_ns
from taskman_cli.supervisor.voice import say
from taskman_cli.supervisor.wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from taskman_cli.supervisor.child import Child
    from taskman_cli.supervisor.wire import Message


class Hosts:
    """All executors, and the attempts on them."""

    def __init__(
        self,
        epoll: select.epoll,
        after: Callable[[int, Callable[[], None]], None],
        tell: Callable[[Message], None],
        attempts: dict[str, Child],
        settle: Callable[[str, int], None],
    ) -> None:
        """`tell` passes a message on to the scheduler; `attempts` has all of this supervisor, by key.

        `settle` puts an output file right.
        """
        self._epoll = epoll
        self._after = after
        self._tell = tell
        self._attempts = attempts
        self._settle = settle
        self._known: dict[str, Host] = {}
        #: Also those that others have replaced.
        self._hosts: list[Host] = []
        self._leaving = Leaving(after)
        #: What processes were given before there is a seat for it.
        self.ahead = Ahead()

    @property
    def kinds(self) -> dict[str, Callable[..., None]]:
        """Return what carries out each message of the scheduler that is for executors alone."""
        return {"executors": self.take, "attach": self.attach}

    @property
    def pids(self) -> set[int]:
        """Return the processes of all executors."""
        return {host.pid for host in self._hosts if host.pid is not None} | self._leaving.pids

    def flush(self) -> None:
        """Send what the processes of executors are told: once a turn, and before a start takes its time."""
        for host in [*self._hosts]:
            for key, error in host.flush():
                if (remote := host.remotes.get(key)) is not None and remote.end is None:
                    self._fail(host, remote, f"the request to its executor cannot be sent: {error}")

    def running(self) -> Iterator[Remote]:
        """Yield the attempts that are not over."""
        for host in self._hosts:
            yield from host.running

    def running_count(self) -> int:
        """Return how many attempts are not over."""
        return sum([host.running_count for host in self._hosts])

    def take(self, executors: dict[str, dict[str, Any]]) -> None:
        """Take the executors that are in force; what runs on one that is changed or gone goes on there."""
        for name, host in [*self._known.items()]:
            if executors.get(name) != host.what:
                del self._known[name]
                host.is_retired = True
                self._tidy(host)
        for name, what in executors.items():
            if name not in self._known:
                self._known[name] = Host(name, what, self._epoll)
                self._hosts.append(self._known[name])
        for host in self._known.values():  # this may be another scheduler
            self._tell_of(host)

    # --- attempts ---

    def start(self, key: str, meta: Any, spec: Mapping[str, Any], wall_ns: int, elapsed_ns: int) -> None:
        """Have an attempt carried out. Raises StartError if its executor is not defined."""
        host = self._known.get(spec["executor"])
        if host is None:
            raise StartError(0, f"cannot be started: there is no executor {spec['executor']}")
        self._add(host, Remote(key, meta, spec, wall_ns=wall_ns, elapsed_ns=elapsed_ns))

    def start_ahead(self, came_ns: int, key: str, meta: Any, spec: Any) -> bool:
        """Have an attempt begin when another one of its executor ends; return False if that cannot be."""
        host = self._known.get(spec.get("executor", "")) if isinstance(spec, dict) else None
        remote = host and key not in self._attempts and self.ahead.begin(host, came_ns, key, meta, spec)
        if not host or not remote:
            return False
        self._take_in(host, remote)
        return True

    def attach(self, key: str, meta: Any, spec: Mapping[str, Any], wall_ns: int, elapsed_ns: int) -> None:
        """Have an attempt found again that was begun for a supervisor which died."""
        host = self._known.get(spec["executor"])
        if key in self._attempts:
            self._tell(("adopted", key, NO_PID))
        elif host is None:
            self._tell(("gone", key, f"executor {spec['executor']} is not defined any more"))
        else:
            remote = Remote(key, meta, spec, wall_ns=wall_ns, elapsed_ns=elapsed_ns)
            remote.is_adopted = True
            self._add(host, remote)

    def _add(self, host: Host, remote: Remote) -> None:
        self._take_in(host, remote)
        if host.fd is not None:
            self._give(host, remote)
        else:
            self._begin(host)

    def _take_in(self, host: Host, remote: Remote) -> None:
        self._attempts[remote.key] = host.remotes[remote.key] = remote
        remote.host = host
        host.running_count += 1

    def _started(self, remote: Remote) -> None:
        if not remote.is_told:
            remote.is_told = True
            self._tell(("started", remote.key, NO_PID, remote.wall_ns, remote.elapsed_ns))

    def _give(self, host: Host, remote: Remote) -> None:
        """Give an attempt to the process of its executor: to begin it, or to find it again."""
        kind = "adopt" if remote.is_sent or remote.is_adopted else "start"
        unheard_ns = 0 if remote.unheard_ns is None else elapsed_ns() - remote.unheard_ns
        remote.is_sent = True
        if not host.is_watched:
            host.is_watched = True
            pid = host.pid
            self._after(limits.PING_NS, lambda: self._look(host, pid))
        host.send((kind, remote.key, remote.order, remote.path, remote.max_output, unheard_ns))
        signals, remote.signals = remote.signals, []
        for number in signals:
            host.send(("signal", remote.key, number))

    def signal(self, remote: Remote, number: int) -> None:
        """Pass a signal on; an attempt that no process was given yet is never begun then."""
        host: Host | None = remote.host
        number = int(number)  # a member of an enum cannot travel
        if host is None or remote.end is not None:
            return
        self.ahead.pass_over(remote.key)
        if host.fd is not None:
            host.send(("signal", remote.key, number))
        elif remote.is_sent or remote.is_adopted or not remote.ending:
            remote.signals.append(number)
        else:
            self._fail(host, remote, f"never started: executor {host.name} did not answer")

    def signal_all(self, number: int) -> None:
        """Signal all attempts that are not over."""
        for remote in [*self.running()]:
            self.signal(remote, number)

    def forget(self, remote: Remote, *, is_abandoned: bool = False) -> None:
        """Let an attempt go: its end is on record, or nobody waits for it."""
        self._attempts.pop(remote.key, None)
        host, remote.host = remote.host, None
        if host is not None:
            del host.remotes[remote.key]
            if remote.end is None:
                self._leave(host, remote)
            is_told = is_abandoned or not host.forgets_itself
            if host.fd is not None and is_told:
                order = {} if host.keeps_nothing and not is_abandoned else remote.order
                host.send(("abandon" if is_abandoned else "forget", remote.key, order))
            elif remote.is_sent and is_told and not is_abandoned:
                host.to_forget.append(("forget", remote.key, remote.order))
                self._begin(host)
            self._tidy(host)

    def _fail(self, host: Host, remote: Remote, words: str, *, is_transient: bool = False) -> None:
        """Report that an attempt was not begun; unless that may soon be otherwise, this is kept."""
        remote.pid = None
        if is_transient:
            self._let_go(host, remote)
        self._leave(host, remote)
        remote.ended({}, wall_ns=time.time_ns(), elapsed_ns=elapsed_ns())
        assert remote.end is not None
        remote.end |= {"errno": 0, "message": words}
        self._tell(
            ("failed", remote.key, 0, words, is_transient, remote.wall_ns, remote.elapsed_ns, is_transient)
        )
        self._tidy(host)

    def _conclude(self, host: Host, remote: Remote, said: dict[str, Any]) -> None:
        told = remote.ended(said, wall_ns=time.time_ns(), elapsed_ns=elapsed_ns())  # raises if it is none
        self._leave(host, remote)
        self._tell(told)
        if "next" in said:
            self.ahead.seat(said["next"])

    def _let_go(self, host: Host, remote: Remote) -> None:
        """Keep nothing of an attempt that was not begun."""
        host.remotes.pop(remote.key, None)
        remote.host = None
        del self._attempts[remote.key]

    def _leave(self, host: Host, remote: Remote) -> None:
        """Count an attempt no more."""
        host.running_count -= 1
        self.ahead.drop(remote.key)

    def _return(self, host: Host, remote: Remote) -> None:
        """Give an attempt back that was to begin when another one ended, and was not begun."""
        if remote.key not in self.ahead:  # it was taken for begun, and told so
            words = f"executor {host.name} did not answer, and has not begun it"
            return self._fail(host, remote, words, is_transient=True)
        self._let_go(host, remote)
        self._leave(host, remote)
        self._tell(("returned", remote.key))
        self._tidy(host)

    def _lose(self, host: Host, remote: Remote, why: str) -> None:
        """End an attempt of which nothing was heard for too long; its output is put right."""
        self._conclude(host, remote, {"lost": why})
        if remote.path is not None:
            self._settle(remote.path, remote.max_output)

    # --- processes ---

    def _tell_of(self, host: Host) -> None:
        """Tell how an executor stands."""
        if self._known.get(host.name) is host:
            self._tell(("executor", host.name, {"restarts": host.restarts, "condition": host.condition}))

    def _begin(self, host: Host) -> None:
        """Start the process of an executor, and give it all that is not over."""
        if host.fd is not None or host.is_resting or not (host.running or host.to_forget):
            return
        now = elapsed_ns()
        for remote in host.running:
            if remote.unheard_ns is not None and now - remote.unheard_ns > host.lost_after_ns:
                self._lose(host, remote, f"executor {host.name} has not known of it for too long")
        if host.pid is not None:  # killed, and not reaped yet: that is noted
            return
        try:
            host.start()
        except OSError as error:
            for remote in host.running:
                if not remote.is_sent and not remote.is_adopted:
                    words = f"executor {host.name} cannot be started: {error.strerror}"
                    self._fail(host, remote, words, is_transient=True)
            self._rest(host)
            return
        for remote in host.running:
            self._give(host, remote)
        host.send(*host.to_forget)
        host.to_forget.clear()

    def _look(self, host: Host, pid: int | None) -> None:
        """Ask a process whether it is well, as long as it is at work; replace one that does not answer."""
        if host.pid != pid or host.fd is None:
            return
        running, now = host.running, elapsed_ns()
        patience_ns = limits.BEGIN_PATIENCE_NS * (limits.AWAY_TIMES if host.is_away else 1)
        for remote in running:
            is_late = now - remote.elapsed_ns > patience_ns
            if is_late and not remote.is_adopted and remote.key not in self.ahead:
                self._started(remote)
        if not running:
            host.answered()
            host.is_watched = False
        elif host.ask():
            self._after(limits.PING_NS, lambda: self._look(host, pid))
        else:
            say(f"the process of executor {host.name} ({pid}) does not answer: killing it")
            host.kill()

    def _rest(self, host: Host) -> None:
        """Start the process of an executor again after a pause."""
        for remote in host.running:
            if remote.unheard_ns is None and (remote.is_sent or remote.is_adopted):
                self._note_unheard(remote, f"the process of executor {host.name} has ended")
        if (host.running or host.to_forget) and not host.is_resting:
            host.is_resting = True
            self._after(host.next_pause_ns(), lambda: self._rested(host))

    def _rested(self, host: Host) -> None:
        host.is_resting = False
        self._begin(host)
        self._tidy(host)

    def _tidy(self, host: Host) -> None:
        """Let a process go whose executor is defined no more or otherwise, once it holds no attempt."""
        if host.is_retired and not host.remotes and not host.to_forget and host in self._hosts:
            self._hosts.remove(host)
            host.let_go()
            if host.pid is not None:
                self._leaving.add(host.pid)

    def reaped(self, pid: int) -> bool:
        """Note the end of a process; return False if it is not one of these."""
        if self._leaving.reaped(pid):
            return True
        host = next((host for host in self._hosts if host.pid == pid), None)
        if host is None:
            return False
        host.pid = None  # from here on, it may be another's
        if host.fd is not None:
            self._hear(host)  # its last words
        host.let_go()
        self.ahead.end(host)
        host.restarts += 1
        host.condition = None
        self._tell_of(host)
        if host.running:
            say(f"the process of executor {host.name} ({pid}) has ended: starting another one")
        self._rest(host)
        return True

    def hear_from(self, fd: int) -> bool:
        """Take what a process says; return False if it is not the descriptor of one."""
        if (host := next((host for host in self._hosts if host.fd == fd), None)) is not None:
            self._hear(host)
        return host is not None

    def _hear(self, host: Host) -> None:
        try:
            messages = host.receive()
        except WireError as error:
            say(f"killing the process of executor {host.name}, which sent an invalid message: {error}")
            host.kill()
            return
        if messages is None:  # it is reaped in a moment, or has closed its socket and hangs
            host.kill()
            return
        for message in messages:
            try:
                self._take(host, *message)
            except Exception as error:  # of a broken process: the others go on
                say(f"executor {host.name} says what is no message: {type(error).__name__}: {error}")

    def _take(self, host: Host, kind: str, *values: Any) -> None:
        if host.take(kind, *values):
            if kind == "condition":
                self._tell_of(host)
            return
        if (remote := host.remotes.get(values[0])) is None or remote.end is not None:
            return
        if kind == "started":
            self._note_started(remote)
        elif kind == "returned":
            self._return(host, remote)
        elif kind == "failed":
            self._fail(host, remote, str(values[1]), is_transient=bool(values[2]))
        elif kind == "ended":
            if values[1].get("has_started"):
                self._note_started(remote)
            self._conclude(host, remote, values[1])
        elif kind in ("progress", "unstoppable"):
            self._tell((kind, remote.key, *values[1:3]))
        elif kind == "unheard":
            self._note_unheard(remote, str(values[1]))

    def _note_started(self, remote: Remote) -> None:
        if remote.unheard_ns is not None:
            self._note_unheard(remote, "")
        if remote.is_adopted and not remote.is_told:
            remote.is_told = True
            self._tell(("adopted", remote.key, NO_PID))
        self._started(remote)

    def _note_unheard(self, remote: Remote, why: str) -> None:
        if not why:
            remote.unheard_ns = None
        elif remote.unheard_ns is None:
            remote.unheard_ns = elapsed_ns()
        self._tell(("unheard", remote.key, why))

    def close(self) -> None:
        """End all processes at the end of the program: each has a while to end what it holds."""
        pids = self.pids
        for host in self._hosts:
            host.let_go()
        wait_for_all(pids)
