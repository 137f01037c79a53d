"""`python -m taskman_cli.executors.process`: one executor of a job file, with all attempts on it.

A child of the supervisor, which it ends with, and which outlives the scheduler. Standard input is a socket
with the messages of `supervisor.wire`.

From the supervisor:

    ("configure", definition, facts)   comes first: the fields of `ExecutorDefinition`; {"instance", "ledger",
                                       "state_directory", "hidden"}
    ("start", key, order, path, max_output, 0)
                                       begin an attempt: `order` has fields of `Order`, and perhaps
                                       "env_files", which are read here, and "timeout_ns"; or by marshal
                                       "packed" has those that are the same in many, and "own" the others
                                       (`launch/spec.py`); `path` is its output file, or None
    ("ahead", key, order, path, max_output)
                                       the same without a seat: it begins when an attempt that has one ends
                                       here, and then has that. Only if it was told that this can be
    ("seat", key)                      one without a seat has one now
    ("recall", [key, ...])             these go back, as far as they have no seat yet; a signal does the same
    ("adopt", key, order, path, max_output, unheard_ns)
                                       find one again that an earlier process had begun; for how long nothing
                                       is known of it
    ("signal", key, number)
    ("abandon", key, order)            nobody waits for it any more
    ("forget", key, order)             its end is on record
    ("ping",)

To the supervisor:

    ("started", key)                   it runs, or most likely does
    ("failed", key, words, is_transient)   it was not begun
    ("ended", key, {"exit_code", "signal", "error", "cpu_s", "peak_rss_bytes", "output_bytes", "cut_bytes",
                    "output_error"})   or {"lost": words, "is_over"}; perhaps with "has_started": it had,
                                       which was not told before; only if the facts have "is_brief";
                                       with "next": the key of the one that has its seat
    ("returned", key)                  one without a seat was not begun, and will not be
    ("progress", key, part, words)
    ("unheard", key, words)            how it stands is not known; "": it is again
    ("unstoppable", key, words)        SIGSTOP has not stopped it, and why
    ("keeps_nothing", "", True)        nothing is kept of an attempt that has ended: "forget" is not needed
    ("takes_ahead", "")                attempts without a seat can be given
    ("condition", values)              how the executor itself stands, as `core.conditions` has it
    ("said", words)                    for the log
    ("pong",)
"""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.executors.host import ExecutorHost
from taskman_cli.executors.messages import Messages
from taskman_cli.executors.orders import short
from taskman_cli.launch.descriptors import make_room
from taskman_cli.launch.environment import PRIVATE
from taskman_cli.launch.locale import settle
from taskman_cli.supervisor.wire import Channel, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.supervisor.wire import Message

#: After the end of the supervisor, an executor has so long to end what it holds.
LEAVE_S = 4.0
#: Few attempts leave garbage in circles: Python would look for some after 700 objects.
COLLECT_AFTER = 10_000


async def _serve(sock: socket.socket) -> None:
    """Carry out what the supervisor says, until it is gone."""
    loop = asyncio.get_running_loop()
    channel = Channel(sock)
    gone = asyncio.Event()

    def send(messages: Sequence[Message]) -> None:
        channel.send(messages)
        watch_writable()

    def hear() -> None:
        channel.flush()
        messages = channel.receive()
        if messages is None:
            loop.remove_reader(channel.fileno())
            gone.set()
            return
        for message in messages:
            try:
                host.take(message)
            except Exception as error:  # of a scheduler of another version: the others go on
                _refuse(said, message, error)
        watch_writable()

    def watch_writable() -> None:
        if channel.wants_write:
            loop.add_writer(channel.fileno(), flush)

    def flush() -> None:
        channel.flush()
        if not channel.wants_write:
            loop.remove_writer(channel.fileno())

    said = Messages(send, loop)
    host = ExecutorHost(said, loop)
    loop.add_reader(channel.fileno(), hear)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)  # it ends with the supervisor, and not before
    await gone.wait()
    with suppress(TimeoutError):
        await asyncio.wait_for(host.close(), LEAVE_S)


def _refuse(said: Messages, message: Message, error: Exception) -> None:
    """Say that a message cannot be taken: an attempt that is in it has failed, or is lost."""
    words = f"cannot take the message {name_of(message)}: {type(error).__name__}: {short(error)}"
    match message:
        case ("start" | "ahead", str(key), *_):
            said.say("failed", key, words, False)
        case ("adopt", str(key), *_):
            said.ended(key, {"lost": words})
        case _:
            said.say("said", words)


def _end_with(fd: int) -> None:
    """End this process a while after the supervisor, even if an executor blocks the loop."""
    poll = select.poll()
    poll.register(fd, select.POLLRDHUP | select.POLLHUP)
    poll.poll()
    time.sleep(2 * LEAVE_S)
    os._exit(1)


def main() -> None:
    """Serve the socket that is standard input."""
    settle()
    for name in PRIVATE:
        os.environ.pop(name, None)
    sock = socket.socket(fileno=os.dup(0))
    os.set_inheritable(sock.fileno(), False)
    make_room(0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    threading.Thread(target=_end_with, args=(sock.fileno(),), daemon=True).start()
    try:
        asyncio.run(_serve(sock))
    finally:
        os._exit(0)  # without threads that hang


if __name__ == "__main__":
    main()
