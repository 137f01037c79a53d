"""What every type of sink has to stand: the conformance suite, for the tests of your own type too.

    from taskman_cli.sinks.testing import check, check_network

    def test_my_sink() -> None:
        check(SinkDefinition("mine", "my-type", settings={"room": "ops"}))

`check` delivers messages that are as odd as they come. `check_network` makes a definition for each of several
servers that hang, refuse, close, dribble, flood or talk nonsense. Both raise AssertionError, in words.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.sinks import ReportKind, SinkDefinition
from taskman_cli.sinks.base import DeliveryFailed, Message, Report
from taskman_cli.sinks.types import make

if TYPE_CHECKING:
    from taskman_cli.sinks.base import Sink
    from taskman_cli.sinks.surroundings import Surroundings

#: How long a delivery may take in these tests, and how much longer a busy machine makes it.
TIMEOUT_S = 30.0
SHORT_S = 0.5
SLACK_S = 15.0
#: 2026-11-30 02:30 UTC.
_AT_NS = 1_796_005_800 * SECOND_NS
_CODE = 3
#: Bytes that are no UTF-8, as Python has them in text.
_BYTES = b"caf\xe9 \xff".decode("utf-8", "surrogateescape")
_UNICODE = "naïve café ☕ 日本語 \U0001d54f \U0001f469\u200d\U0001f467 \u0627\u0628"
_INJECTED = "Bcc: you@example.org\r\n\r\nhello"
_CONTROL = "a\x1b[31mred\x1b[0m\r\n\x00\x07\x9b1;1H\u202e\u2028b"

REPORT = Report(
    seq=4711,
    kind=ReportKind.FAILED,
    at_ns=_AT_NS + 2 * SECOND_NS,
    host="web1.example.org",
    instance="default",
    ledger="0123456789abcdef",
    job="backup",
    task="main",
    run="67ch8jhsxb",
    attempt=1,
    slot_ns=_AT_NS,
    state="failed",
    detail="exit 3",
    exit_code=_CODE,
    started_ns=_AT_NS,
    ended_ns=_AT_NS + 2 * SECOND_NS,
    duration_ns=2 * SECOND_NS,
    cpu_s=0.25,
    peak_rss_bytes=12 << 20,
    output=("connecting", "cannot connect"),
    is_output_cut=True,
    command="taskman log 67ch8jhsxb",
)


def message(*reports: Report, is_test: bool = False) -> Message:
    """Return a message as the process of the sinks makes it."""
    given = reports or (REPORT,)
    last = given[-1]
    return Message(f"{last.instance}/{last.ledger}/{last.seq}", given, is_test=is_test)


#: Messages that break those who do not expect them, by what is odd about them.
ODD: Mapping[str, Message] = {
    "ordinary": message(),
    "unicode": message(replace(REPORT, output=(_UNICODE, "größer → kleiner"), detail=_UNICODE)),
    "not UTF-8": message(replace(REPORT, output=(_BYTES, "\udfff"), detail=_BYTES, host=_BYTES)),
    "control characters": message(replace(REPORT, output=(_CONTROL,), detail=_CONTROL, reason=_CONTROL)),
    "names that end a line": message(replace(REPORT, job=f"a\r\n{_INJECTED}", task="x\n.\n")),
    "markup": message(replace(REPORT, output=("<!channel> @everyone & <b>`x`</b>", "```", "{title}"))),
    "quotes": message(replace(REPORT, output=('"}],"a":"\\', "'; rm -rf /; echo '", "$(id) `id`"))),
    "a dot alone": message(replace(REPORT, output=(".", "..", "From me", "", ".\r"))),
    "one long line": message(replace(REPORT, output=("x" * 1_000_000,))),
    "many lines": message(replace(REPORT, output=tuple(f"line {number}" for number in range(5_000)))),
    "a long detail": message(replace(REPORT, detail="é" * 100_000)),
    "about the scheduler": message(
        Report(1, ReportKind.SCHEDULER_DIED, _AT_NS, "h", "default", "l", detail="killed by SIGKILL")
    ),
    "a wrong clock": message(replace(REPORT, at_ns=-(1 << 62), slot_ns=(1 << 63) - 1, started_ns=0)),
    "many reports": message(
        *(
            replace(REPORT, seq=seq, job=f"job-{seq % 7}", kind=kind)
            for seq, kind in enumerate([*ReportKind] * 5, 1)
        )
    ),
    "a count": message(replace(REPORT, count=12_345)),
    "a test": message(is_test=True),
}  # fmt: skip


def check(
    definition: SinkDefinition,
    *,
    surroundings: Surroundings | None = None,
    secrets: Sequence[str] = (),
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Deliver every odd message, twice each, to a receiver that takes all; then close the sink, twice.

    `secrets`: texts that nothing the sink says may have in it.
    """
    sink = make(definition, surroundings)
    _check_hidden(repr(definition) + repr(sink), secrets)
    for name, odd in ODD.items():
        for attempt in ("", " again"):
            try:
                answer = sink.deliver(odd, timeout_s)
            except DeliveryFailed as error:
                raise AssertionError(f"{name}{attempt}: it was not delivered: {error}") from error
            _check_words(name, answer, secrets)
    sink.close()
    sink.close()


def check_failure(
    definition: SinkDefinition,
    *,
    surroundings: Surroundings | None = None,
    secrets: Sequence[str] = (),
    timeout_s: float = SHORT_S,
) -> DeliveryFailed:
    """Deliver to a receiver that takes nothing: each time it fails in words and in time; return the first."""
    sink = make(definition, surroundings)
    failures = [_fail(sink, definition.name, secrets, timeout_s) for _ in range(2)]
    sink.close()
    sink.close()
    # It can be closed at any time; one that is used again says so, or works.
    failures.append(_fail(sink, definition.name, secrets, timeout_s))
    sink.close()
    return failures[0]


def check_network(
    define: Callable[[str, int], SinkDefinition],
    *,
    surroundings: Surroundings | None = None,
    secrets: Sequence[str] = (),
    timeout_s: float = SHORT_S,
    without: Sequence[str] = (),
) -> None:
    """Deliver to servers of each kind of TROUBLES; `define` gets a host and a port, `without` names some."""
    for trouble in TROUBLES:
        if trouble not in without:
            with troubled(trouble) as (host, port):
                check_failure(
                    define(host, port), surroundings=surroundings, secrets=secrets, timeout_s=timeout_s
                )


def _fail(sink: Sink, name: str, secrets: Sequence[str], timeout_s: float) -> DeliveryFailed:
    began = time.monotonic()
    try:
        answer = sink.deliver(message(), timeout_s)
    except DeliveryFailed as error:
        failure = error
    else:
        raise AssertionError(f"{name}: it says that it was delivered: {answer}")
    took_s = time.monotonic() - began
    if took_s > timeout_s + SLACK_S:
        raise AssertionError(f"{name}: a delivery of {timeout_s:g} s took {took_s:.1f} s")
    _check_words(name, str(failure), secrets)
    seen: BaseException | None = failure
    while seen is not None:
        _check_hidden(repr(seen), secrets)
        seen = seen.__cause__ or seen.__context__
    return failure


def _check_words(name: str, words: str, secrets: Sequence[str]) -> None:
    if not words or not words.isprintable():
        raise AssertionError(f"{name}: {words!r} is not one line of printable text")
    _check_hidden(words, secrets)


def _check_hidden(words: str, secrets: Sequence[str]) -> None:
    for secret in secrets:
        if secret in words:
            raise AssertionError(f"a secret is in what the sink says: {words!r}")


# --- servers in trouble ---


def _hang(connection: socket.socket, stop: threading.Event) -> None:
    stop.wait()


def _close(connection: socket.socket, stop: threading.Event) -> None:
    connection.close()


def _reset(connection: socket.socket, stop: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def _dribble(connection: socket.socket, stop: threading.Event) -> None:
    for byte in _endless(b"HTTP/1.1 200 OK\r\nX-A: ", b"a"):
        connection.sendall(byte)
        if stop.wait(0.05):
            return


def _flood(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not stop.is_set():
        connection.sendall(b"X-A: " + b"a" * 60_000 + b"\r\n")


def _babble(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b"\x00\xff\r\n\x80 not a protocol\r\n\r\n")
    connection.close()


def _endless(head: bytes, rest: bytes) -> Iterator[bytes]:
    yield from (head[place : place + 1] for place in range(len(head)))
    while True:
        yield rest


_SERVERS: Mapping[str, Callable[[socket.socket, threading.Event], None]] = {
    "hangs": _hang,
    "closes": _close,
    "resets": _reset,
    "dribbles": _dribble,
    "floods": _flood,
    "babbles": _babble,
}
#: What a server does to those who connect to it; of the last there is none.
TROUBLES = (*_SERVERS, "refuses")


@contextmanager
def troubled(trouble: str) -> Iterator[tuple[str, int]]:
    """Run a server that is in trouble, one of TROUBLES, at a port of this machine."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = int(listener.getsockname()[1])
    if trouble == "refuses":
        listener.close()
        yield "127.0.0.1", port
        return
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        try:
            with connection:
                _SERVERS[trouble](connection, stop)
        except OSError:
            return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield "127.0.0.1", port
    finally:
        stop.set()
        # Closing alone does not wake who accepts.
        listener.shutdown(socket.SHUT_RDWR)
        for thread in (acceptor, *threads):
            thread.join(SLACK_S)
        listener.close()
