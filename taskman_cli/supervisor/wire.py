"""The messages between supervisor and scheduler: batches of tuples, each batch one length-prefixed frame.

Both ends are of the same installation and the socketpair is private, so `marshal` is safe enough, and it is
the fastest codec. It takes exact built-in types only: turn a `StrEnum` into a `str` first.
A supervisor outlives many schedulers, so the meaning of a message changes only with PROTOCOL_VERSION.

To the supervisor:

    ("configure", {"output_grace_ns", "restart_delay_ns", "restart_delay_max_ns", "hang_after_ns",
                   "log_format", "log_level", "group_prefix"})
                                   `group_prefix`: what the names of this instance's control groups begin with
    ("due", in_ns | None, number, behind_ns)
                                   in how long the scheduler will do something next; the question that it
                                   answers with that, or 0; how far behind it was when it heard that
    ("seats", count)               how many commands may run while early starts are held; it changes often
                                   with `admission = "auto"`
    ("environment", number, {name: value})
                                   for starts that name it by its number, until another one has that. Only
                                   for a supervisor with "has_environments"
    ("start", key, meta, spec)     `meta` is kept and given back in "hello"
    ("start", key, meta, spec, True)
                                   the same, early: not before fewer commands run than there are seats.
                                   Only for a supervisor with "has_early"
    ("recall",)                    return all starts that are held
    ("warm_up",)                   something starts in a moment: hearing of it is enough to be awake then
    ("survivors", key, token, uid, number, patience_ns)
                                   if this attempt ends after a "signal" with an `ending`: what has its token
                                   and user is ended too, with `number`, and KILL after `patience_ns`
    ("signal", key, number, ending)  to the whole process group; `ending`: "timed_out", "cancelled" or "",
                                   the first that is not "" is kept while the attempt runs
    ("forget", [key, …])           these ended attempts need not be kept any more
    ("adopt", key, meta, pid, wall_ns, elapsed_ns, path, max_output)
                                   take over a command that a supervisor which died left behind: the clocks
                                   as that one read them before the spawn (elapsed since this boot, no
                                   other), and its output file, or None if it was not captured
    ("executors", {name: {"argv", "definition", "facts"}})
                                   those that are in force, and how to start the process of each, which gets
                                   `definition` and `facts`
    ("attach", key, meta, spec, wall_ns, elapsed_ns)
                                   the same for an attempt of an executor: find it again
    ("settle", path, max_output)   put right the output file of a command that is gone
    ("keep", name, value)          a small value for the next scheduler; None deletes it, and so does one that
                                   is too large
    ("report", what, words)        for the service manager: its "status" in words, the "trouble" that ends
                                   this one, or that it is "reloading", has "reloaded", or is "stopping"
    ("exit", code)                 leave with this code once the scheduler is gone

    spec = {"argv": [word, …], "shell": [word, …] | None, "env": {name: value}, "cwd": path | None,
            "umask": int | None, "nice": int, "stdin": str | bytes | None,
            "user": (uid, gid, [gid, …]) to become, all its groups included | None,
            "output": "capture" | "inherit" | "discard", "path": output file, "max_output": bytes}
         perhaps with the number of an "environment" in place of "env", and "told": {name: value}, the
            variables that come to it for this attempt and are not in it
         perhaps with "env_files": [path, …] for the process to read itself, as its user, and "env_over":
            {name: value}, which win over what is in them
         perhaps with "limits": {"memory": bytes, "cpu": CPUs, "processes": number, "open_files": number,
            "core_size": bytes, "keeps_orphans": bool}, all of them optional: limiting.py
         perhaps with "direct": what is run in place of the shell in `argv`, unless a step of it fails:
            {"argv": [word, …], "env": {name: value} to change for it, "cd": path to enter first | None,
             "files": [(number, "<" | ">" | ">>", path) or (number, "&", number to copy), …] in their order}
         or {"executor": name, "order": {…}, "path", "max_output"} for an attempt of an executor, which has no
            process here: its pid is 0; with an "error" for a supervisor that knows no executors
         or {"error": words} for a start that could not be put together: it is kept as failed

`argv` is run directly; a `shell` that is not None is run instead where `argv` cannot be. `env` is complete.

To the scheduler:

    ("hello", {"version", "generation", "started_ns", "scheduler_ended_ns", "is_complete", "kept",
               "attempts", "has_manager", "has_limits", "has_executors", "has_early",
               "has_packed_orders", "has_environments"})
                         comes first; `started_ns` tells this supervisor's life from any other;
                         `is_complete` False: all was too much to tell, here is only what runs;
                         `has_manager`: somebody listens to "report";
                         `has_limits`: it knows the "limits" of a spec;
                         `has_executors`: and what executors carry out;
                         `has_early`: it knows early starts; those that are held are not in `attempts`;
                         `has_packed_orders`: the processes of its executors know those with "own";
                         `has_environments`: it keeps environments for several starts;
                         attempts = [(key, meta, pid, wall_ns, elapsed_ns, end | None, ending), …]
    ("started", key, pid, wall_ns, elapsed_ns)
                         its process became the command, or has not after a moment: its time runs
    ("failed", key, errno, message, is_transient, wall_ns, elapsed_ns, is_users)
                         transient: not kept, ask again; else an ended attempt without pid and status.
                         is_users: it happened in a process of another user, whose own limits count;
                         may come after "started"
    ("returned", key)    an early start that was not carried out, and is not going to be: after a moment, if
                         it is recalled or signalled, at a stop signal, or as nothing can be started now
    ("adopted", key, pid)  it is an attempt like any other now, or was one already
    ("progress", key, part, words)   how far an executor is with it, of 1, or None
    ("unheard", key, words)   its executor does not know how it stands; "": it does again
    ("unstoppable", key, words)   SIGSTOP does not stop it, and why
    ("executor", name, {"restarts", "condition"})
                              how an executor stands: after "executors", and when that changes. Its process
                              was replaced so often; `condition`: `core.conditions`, None: it does not say
    ("gone", key)        there is no such process any more; nothing is kept of it
    ("ended", key, end)
    ("survivors", key, meta, what, number, count, [(pid, name), …])
                         what an attempt left: "signalled" with `number`, or "left" if that did not help; some
                         of them by name. The first of these comes before its "ended"
    ("ping", number)     to be answered with "due" when all that is due has been done
    ("said", level, words, event, wall_ns)
                         to be logged: the user's own configuration of the log is known to the scheduler only
    ("suspend",)         Ctrl-Z: give the terminal's shell its prompt, and go on
    ("signal", number)   SIGINT, SIGTERM, SIGQUIT or SIGHUP, forwarded; SIGUSR1: leave with code 0 and without
                         "exit", the next scheduler is started at once

    end = {"status": as wait4 gave it, "cpu_s", "peak_rss_bytes", "output_bytes", "cut_bytes",
           "output_error": words | None, "group_left": bool, "wall_ns", "elapsed_ns"}
                         of a command that was killed perhaps "memory": whose counter of kills for want of
                         memory has risen, "cgroup" or "machine"
                         of one that went over its limit of memory "over_memory": that limit in bytes
                         from an executor perhaps "error": words for how it ended, or with the status None
                         "lost": why that is not known
                         after a failed start also "errno" and "message"; of an adopted command the status
                         is None, and use of CPU and memory 0, unless it turned out to be our own child
"""

from __future__ import annotations

import marshal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from typing import Any, TypeAlias

#: A kind and its values; the annotation is text because `typing` is not imported at run time.
Message: TypeAlias = "tuple[Any, ...]"

#: The environment variable in which the scheduler finds the number of its end of the socket.
FD_VARIABLE = "TASKMAN_SUPERVISOR_FD"
#: The environment variable with the descriptor of the lock on the state directory, if there is one. It only
#: has to stay open, so that the lock is free when both processes are gone.
LOCK_VARIABLE = "TASKMAN_LOCK_FD"
#: Sent in "hello"; a scheduler refuses a supervisor whose number it does not know.
PROTOCOL_VERSION = 3
#: A longer frame means a broken peer.
MAX_FRAME_BYTES = 64 << 20

#: What "hello" begins with: the version, and what an earlier supervisor of that version could not do.
GREETING = {
    "version": PROTOCOL_VERSION, "has_limits": True, "has_executors": True, "has_early": True,
    "has_packed_orders": True, "has_environments": True,
}  # fmt: skip

_MARSHAL_VERSION = 4
_PREFIX_BYTES = 4
_READ_BYTES = 1 << 16


class WireError(Exception):
    """Say that a batch of messages cannot be sent, or that what was received is not one."""

    def __init__(self, text: str, *, culprit: Message | None = None) -> None:
        super().__init__(text)
        #: The message that cannot be sent; None: it was received.
        self.culprit = culprit


class Channel:
    """One end of the socket, non-blocking: what it does not take at once waits here."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._is_closed = False

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Tell if something waits for the socket to become writable."""
        return bool(self._outgoing)

    @property
    def waiting_bytes(self) -> int:
        """Return how much waits for the socket to become writable."""
        return len(self._outgoing)

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages, or keep what the socket does not take for `flush`.

        A peer that is gone is not an error here: `receive` reports it. Raises WireError with the culprit,
        and sends nothing, if a message is too long or cannot be marshalled.
        """
        self.put(messages)
        self.flush()

    def put(self, messages: Sequence[Message]) -> None:
        """Keep messages for the next `flush`, so that several need one system call. Raises as `send` does."""
        frames = _encode(list(messages))
        if not self._is_closed:
            self._outgoing += frames

    def flush(self) -> None:
        """Send as much as the socket takes."""
        while self._outgoing:
            try:
                sent = self._sock.send(self._outgoing)
            except BlockingIOError:
                return
            except OSError:
                self._outgoing.clear()
                self._is_closed = True
                return
            del self._outgoing[:sent]

    def receive(self) -> list[Message] | None:
        """Return the messages received, perhaps none; None once the peer is gone and all were returned.

        An incomplete last frame is dropped. Raises WireError on garbage.
        """
        is_at_end = self._fill()
        messages: list[Message] = []
        position = 0
        try:
            while len(self._incoming) - position >= _PREFIX_BYTES:
                begin = position + _PREFIX_BYTES
                length = int.from_bytes(self._incoming[position:begin], "big")
                if length > MAX_FRAME_BYTES:
                    raise WireError(f"a frame of {length} bytes is too long")
                if len(self._incoming) - begin < length:
                    break
                position = begin + length
                messages += _decode(memoryview(self._incoming)[begin:position])
        finally:
            del self._incoming[:position]
        return None if is_at_end and not messages else messages

    def close(self) -> None:
        """Close the socket; waiting messages are dropped."""
        self._is_closed = True
        self._outgoing.clear()
        self._sock.close()

    def _fill(self) -> bool:
        """Read what is available; tell if the peer is gone."""
        while True:
            try:
                data = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                return False
            except OSError:
                return True
            if not data:
                return True
            self._incoming += data
            # A short read has emptied the socket; an oversized frame must be refused, not collected.
            if len(data) < _READ_BYTES or len(self._incoming) > MAX_FRAME_BYTES:
                return False


def name_of(message: Any) -> str:
    """Return the kind and key of a message; it may be anything, so its `repr` may raise."""
    if not isinstance(message, tuple):
        return type(message).__name__
    return " ".join(part for part in message[:2] if isinstance(part, str))[:200]


def _encode(messages: list[Message]) -> bytes:
    """Return one frame with all messages, or several if they are too long for one."""
    try:
        frame = marshal.dumps(messages, _MARSHAL_VERSION)
    except ValueError as error:
        trouble = f"holds what marshal does not know ({error})"
    else:
        if len(frame) <= MAX_FRAME_BYTES:
            return len(frame).to_bytes(_PREFIX_BYTES, "big") + frame
        trouble = f"of {len(frame)} bytes is too long"
    if len(messages) == 1:
        raise WireError(f"a message {trouble}: {name_of(messages[0])}", culprit=messages[0])
    middle = len(messages) // 2
    return _encode(messages[:middle]) + _encode(messages[middle:])


def _decode(frame: memoryview) -> list[Message]:
    try:
        batch = marshal.loads(frame)  # noqa: S302 - see the module's docstring
    except (EOFError, ValueError, TypeError) as error:
        raise WireError(f"a frame cannot be read: {error}") from error
    finally:
        frame.release()
    if not isinstance(batch, list):
        raise WireError(f"a frame holds a {type(batch).__name__}, not a list")
    return batch
