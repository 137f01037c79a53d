"""`python -m taskman_cli.executors.keeper`: the parent of commands on a worker's machine.

A Dask worker starts one (`daskfar`), and it outlives the worker: Dask's own workers end when their scheduler
does. The next worker on the machine finds it by its socket, in a directory that is the user's alone, and
passes on what is asked of it. It ends the commands of an owner of whom it has heard nothing for so long that
it may be thought lost there, and itself when nobody is left to ask. The standard library only.

Standard input is a Unix socket that listens; the only argument is its path. The messages are those of
`supervisor.wire`. A command is named by its handle, and is never started a second time.

To the keeper, each with a number that the answer has too:

    ("ask", number, owner, orphan_after_s, [request, …])   answered by one reply for each request
        ("start", handle, try, spec)   `spec` is that of KeptCommand; answered by
                                       ("started",) or ("known",): it had been started;
                                       ("refused", words, is_transient), or
                                       ("void", try): starts up to this try were called off
        ("stand", handle, try) how does it stand? ("running",): it was started, and `poll` tells the
                                       rest; ("orphaned", words); ("absent",), after which no start up to this
                                       try is carried out any more; 0: none that was asked for by now
        ("follow", handle, offset)     its output from there on is wanted: ("running",) or ("absent",)
        ("signal", handle, number)     ("done",)
        ("forget", handle)             end it, if it runs, and let it go: ("done",)
    ("poll", number, owner, orphan_after_s, [(handle, offset), …], most_bytes, wait_s)
                                       output up to these offsets has arrived; answered when there is news,
                                       or time is over: [(handle, offset, output, end or None), …]

From it: ("answer", number, replies).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from taskman_cli.executors.keeperbooks import CalledOff, Owner
from taskman_cli.executors.keeperguard import Guard
from taskman_cli.executors.keeperloop import Loop, complain
from taskman_cli.executors.keptcommand import KeptCommand, NotStarted
from taskman_cli.supervisor.numbers import DEFAULT_SIGNALS, TRANSIENT
from taskman_cli.supervisor.wire import Channel, WireError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: After the end of a command, what still holds its output open may take so long.
_GRACE_S = 0.2
#: From TERM to KILL for commands of which nobody knows any more.
_KILL_AFTER_S = 5.0
#: Output alone is held back this long: mostly the end of a short command can then be sent with it.
_HOLD_S = 0.01
#: Without anybody to ask it, and without commands, it stays for so long.
_LINGER_S = 5.0
#: How an ended command stood is kept for so long, if nobody lets it go.
_KEEP_S = 86400.0
_LONGEST_S = 60.0
#: Where there is no descriptor for who comes, they wait for so long.
_REST_S = 0.1


class Keeper:
    """Runs the commands, and answers."""

    def __init__(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        #: Ends what runs if this process is killed.
        self.guard = Guard()
        self._listener = listener
        self._loop = Loop()
        self._doors: dict[int, tuple[Channel, socket.socket]] = {}
        #: Those of them that have not taken all that was said.
        self._writing: set[int] = set()
        self._owners: dict[str, Owner] = {}
        self._commands: dict[str, KeptCommand] = {}
        self._void = CalledOff()
        self._idle_since_s = time.monotonic()
        self._is_leaving = False
        self._loop.watch(listener.fileno(), self._accept)

    # --- the loop ---

    def run(self) -> None:
        """Serve until nobody is left to ask, and nothing runs."""
        while not self._is_over():
            self._turn()

    def leave(self) -> None:
        """End all commands, and then itself."""
        if not self._is_leaving:
            self._is_leaving = True
            for command in [*self._commands.values()]:
                self._end(command, "its worker's machine stopped the keeper of its commands")

    def listen_for_signals(self) -> None:
        """Leave at SIGTERM."""
        woken, wakes = socket.socketpair()
        for one in (woken, wakes):
            one.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno())
        signal.signal(signal.SIGTERM, lambda *_: None)
        self._sockets = woken, wakes

        def wake() -> None:
            with suppress(BlockingIOError):
                if signal.SIGTERM in woken.recv(4096):
                    self.leave()

        self._loop.watch(woken.fileno(), wake)

    def _turn(self) -> None:
        self._loop.turn(self._until_s())
        now_s = time.monotonic()
        for owner in [*self._owners.values()]:
            self._look_after(owner, now_s)
        for fd, (channel, _) in self._doors.items():
            if channel.wants_write != (fd in self._writing):
                self._writing ^= {fd}
                self._loop.watch_writing(fd, is_wanted=channel.wants_write)
        if self._doors or self._commands:
            self._idle_since_s = now_s

    def _until_s(self) -> float:
        """Return until when nothing is to be done by itself."""
        now_s = time.monotonic()
        due = [now_s + _LONGEST_S]
        for owner in self._owners.values():
            if owner.poll is not None:
                due.append(owner.hold_until_s if owner.has_news else owner.poll[3])
            if owner.has_running:
                due.append(owner.heard_s + owner.orphan_after_s)
            elif owner.commands:
                due.append(max(owner.heard_s + self._keep_s(owner), now_s + _GRACE_S))
        if not self._doors:
            due.append(self._idle_since_s + _LINGER_S)
        return min(due)

    def _is_over(self) -> bool:
        if self._is_leaving:
            return not any(one.is_running for one in self._commands.values())
        is_needed = bool(self._commands) or bool(self._doors)
        return not is_needed and time.monotonic() - self._idle_since_s >= _LINGER_S

    def _keep_s(self, owner: Owner) -> float:
        """Return how long an owner may be silent before the ends of his commands are let go."""
        return _KEEP_S if self._doors else owner.orphan_after_s + _KILL_AFTER_S

    def _look_after(self, owner: Owner, now_s: float) -> None:
        silent_s = now_s - owner.heard_s
        if silent_s >= owner.orphan_after_s:
            words = f"nothing was heard of its taskman for {owner.orphan_after_s:g} s: it was ended"
            for command in [*owner.commands.values()]:
                self._end(command, words)
        if silent_s >= self._keep_s(owner):
            for handle, command in [*owner.commands.items()]:
                if command.end is not None:
                    self._let_go(handle, command)
            if not owner.commands:
                self._owners = {name: one for name, one in self._owners.items() if one is not owner}
                return
        if owner.poll is not None and (
            (owner.has_news and now_s >= owner.hold_until_s) or now_s >= owner.poll[3]
        ):
            self._tell_news(owner)

    # --- doors: the workers that pass questions on ---

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError as error:
            if error.errno in TRANSIENT:  # it would be asked again at once, and again
                self._loop.unwatch(self._listener.fileno())
                self._loop.after(_REST_S, lambda: self._loop.watch(self._listener.fileno(), self._accept))
            return
        peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        if int.from_bytes(peer[4:8], sys.byteorder) not in (os.geteuid(), 0):
            sock.close()
            return
        channel = Channel(sock)
        self._doors[sock.fileno()] = channel, sock
        self._loop.watch(sock.fileno(), lambda: self._hear(channel, sock))

    def _hear(self, channel: Channel, sock: socket.socket) -> None:
        channel.flush()
        try:
            messages = channel.receive()
        except WireError:
            messages = None
        if messages is None:
            self._close_door(channel, sock)
            return
        for message in messages:
            try:
                self._take(channel, *message)
            except Exception as error:  # of a broken door: the others go on
                complain(f"a question that makes no sense: {type(error).__name__}: {error}")
                self._close_door(channel, sock)
                return

    def _close_door(self, channel: Channel, sock: socket.socket) -> None:
        for owner in self._owners.values():
            if owner.poll is not None and owner.poll[0] is channel:
                owner.poll = None
        if self._doors.pop(sock.fileno(), None) is not None:
            self._loop.unwatch(sock.fileno())
            self._writing.discard(sock.fileno())
            channel.close()

    def _take(
        self, channel: Channel, kind: str, number: int, name: str, orphan_after_s: float, *rest: Any
    ) -> None:
        owner = self._owners.setdefault(name, Owner(time.monotonic()))
        owner.heard_s, owner.orphan_after_s = time.monotonic(), float(orphan_after_s)
        if kind == "ask":
            replies = [self._reply(name, owner, request) for request in rest[0]]
            channel.send([("answer", number, replies)])
        elif kind == "poll":
            arrived, most_bytes, wait_s = rest
            self._tell_news(owner, is_superseded=True)
            for handle, offset in arrived:
                if (command := owner.commands.get(handle)) is not None:
                    command.arrived(offset)
                    self._read_on(command)
            owner.ask(channel, number, int(most_bytes), until_s=time.monotonic() + float(wait_s))

    def _reply(self, name: str, owner: Owner, request: Sequence[Any]) -> tuple[Any, ...]:
        match request:
            case ("start", str(handle), int(tries), dict(spec)):
                return self._start(name, owner, handle, tries, spec)
            case ("stand", str(handle), int(tries)):
                return self._standing(owner, handle, tries)
            case ("follow", str(handle), int(offset)):
                return self._follow(owner, handle, offset)
            case ("signal", str(handle), int(number)):
                if (command := owner.commands.get(handle)) is not None:
                    command.signal(number)
            case ("forget", str(handle)):
                if (command := owner.commands.get(handle)) is not None:
                    self._forget(handle, command)
            case _:
                return ("strange",)
        return ("done",)

    # --- commands ---

    def _start(
        self, name: str, owner: Owner, handle: str, tries: int, spec: dict[str, Any]
    ) -> tuple[Any, ...]:
        if handle in self._commands:
            return ("known",)
        if tries <= (void := self._void.up_to(handle)):
            return "void", void
        if self._is_leaving:
            return "refused", "its machine stops the keeper of its commands", True
        try:
            command = KeptCommand(name, spec)
        except NotStarted as error:
            return "refused", str(error), error.is_transient
        self.guard.add(command.pid)
        self._void.drop(handle)
        self._commands[handle] = owner.commands[handle] = command
        self._loop.watch(command.pidfd, lambda: self._reap(handle, command))
        assert command.pipe is not None
        self._loop.watch(command.pipe, lambda: self._read(command))
        return ("started",)

    def _standing(self, owner: Owner, handle: str, tries: int) -> tuple[Any, ...]:
        command = owner.commands.get(handle)
        if command is None:
            self._void.note(handle, tries, time.monotonic())
            return ("absent",)
        return ("orphaned", command.orphaned) if command.orphaned else ("running",)

    def _follow(self, owner: Owner, handle: str, offset: int) -> tuple[Any, ...]:
        command = owner.commands.get(handle)
        if command is None:
            return ("absent",)
        command.is_followed = True
        command.arrived(offset)
        self._read_on(command)
        return ("running",)

    def _read(self, command: KeptCommand) -> None:
        command.read()
        self._hold(command)
        self._settle_pipe(command)

    def _settle_pipe(self, command: KeptCommand) -> None:
        """Listen to a command's pipe no more if nothing comes, or there is no room."""
        if command.is_at_end:
            self._close_pipe(command)
            if not command.is_running:
                self._conclude(command)
        elif command.is_full and command.pipe is not None:
            self._loop.unwatch(command.pipe)

    def _close_pipe(self, command: KeptCommand) -> None:
        if command.pipe is not None:
            self._loop.unwatch(command.pipe)
            command.close_pipe()

    def _read_on(self, command: KeptCommand) -> None:
        """Listen to its pipe again, if there is room."""
        if command.pipe is not None and not command.is_full and not self._loop.is_watched(command.pipe):
            self._loop.watch(command.pipe, lambda: self._read(command))

    def _hold(self, command: KeptCommand) -> None:
        """Tell of output in a moment."""
        self._owners[command.owner].hold(time.monotonic() + _HOLD_S)

    def _reap(self, handle: str, command: KeptCommand) -> None:
        self._loop.unwatch(command.pidfd)
        self.guard.remove(command.pid)  # once it is reaped, its number may be another's
        command.reap()
        command.read_rest()
        self._settle_pipe(command)
        if command.is_forgotten:
            self._let_go(handle, command)
        elif command.end is None:
            self._loop.after(_GRACE_S, lambda: self._cut(command))

    def _cut(self, command: KeptCommand) -> None:
        """Wait no longer for the end of a command's output."""
        if command.end is None:
            command.read_rest()
            self._close_pipe(command)
            self._conclude(command)

    def _conclude(self, command: KeptCommand) -> None:
        if command.end is None:
            command.conclude()
            self._owners[command.owner].hold_no_longer()

    def _end(self, command: KeptCommand, words: str) -> None:
        """End a command that nobody knows of any more: TERM, then KILL."""
        if command.is_running and not command.orphaned:
            command.orphaned = words
            command.signal(signal.SIGTERM)
            command.signal(signal.SIGCONT)
            self._loop.after(_KILL_AFTER_S, lambda: command.signal(signal.SIGKILL))

    def _forget(self, handle: str, command: KeptCommand) -> None:
        """End a command, and let it go once its first process is reaped."""
        command.is_followed, command.is_forgotten = False, True
        command.signal(signal.SIGKILL)
        if not command.is_running:
            self._let_go(handle, command)

    def _let_go(self, handle: str, command: KeptCommand) -> None:
        self._close_pipe(command)
        del self._commands[handle]
        owner = self._owners[command.owner]
        del owner.commands[handle]

    # --- news ---

    def _tell_news(self, owner: Owner, *, is_superseded: bool = False) -> None:
        """Answer an owner's question for news; one that came before another question gets none."""
        if owner.poll is None:
            return
        channel, number, most_bytes, _ = owner.poll
        owner.poll = None
        news = [] if is_superseded else owner.news(most_bytes)
        channel.send([("answer", number, news)])


def main() -> None:
    """Serve the socket that is standard input, at the path that is the only argument."""
    listener = socket.socket(fileno=os.dup(0))
    os.set_inheritable(listener.fileno(), False)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in DEFAULT_SIGNALS:
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    # Those of a terminal, and of what is written where nobody reads any more; commands have the default.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, lambda *_: None)
    keeper = Keeper(listener)
    try:
        keeper.guard.begin()
    except OSError as error:
        complain(f"the commands of a keeper that is killed will go on: {error}")
    keeper.listen_for_signals()
    try:
        keeper.run()
    finally:
        with suppress(OSError):
            os.unlink(sys.argv[1])  # noqa: PTH108


if __name__ == "__main__":
    main()
