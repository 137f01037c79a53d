"""Sends odd requests to a real scheduler, which has to live, answer, and lose nothing.

    python tests/fuzz/sockets.py [--seed N] [--seconds N] [--only CASE]

Requests of valid shape with odd values, values of the wrong type, unknown and doubled keys, huge and deep
ones, bytes that are no JSON; half lines and then silence, many lines at once, clients who leave before the
answer. Beside them somebody asks for the status, and a job runs every second.
"""

from __future__ import annotations

import json
import random
import selectors
import signal
import socket
import sqlite3
import sys
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.running import Running
from fuzz import odd
from fuzz.campaign import Campaign, main, patience_s
from process_table import is_alive
from wait import wait_until

from taskman_cli.core.protocol import MAX_LINE_BYTES, REQUESTS

#: Clients that said half a line, or did not wait for an answer, stay connected, so many of them.
MOST_SILENT = 24

JOBS = """
[taskman]
restart_delay = "10ms"
[jobs.tick]
every = "1s"
overlap = "allow"
command = "echo $TASKMAN_SLOT >> ticks"
[jobs.calm]
cron = "0 0 1 1 *"
tags = ["x"]
tasks = { a = "true", b = "exit 3" }
[jobs.slow]
cron = "0 0 1 1 *"
kill_timeout = "100ms"
overlap = "allow"
max_running = 5
command = "sleep 2"
[jobs.hidden]
cron = "0 0 1 1 *"
command = "true"
"""
NAMES = ["calm", "slow", "hidden", "x", "calm.a", "calm.b", "calm.c", "slow.main", "once-1", "nobody"]
COMMANDS: list[Any] = [
    *["true", "exit 3", "sleep 1", "", "\0", " ", "\n", "#", "'", "/", "x" * 200_000, odd.NOT_UTF8],
    *[["true"], [], [""], ["true", ""], ["/"], ["\0"], ["true", odd.NOT_UTF8], [odd.NOT_UTF8], ["x"] * 5000],
]
DIRECTORIES = ["/", "/tmp", "", ".", "x", "/nonexistent", "/dev/null", "/\0", "/" + "x" * 5000, odd.NOT_UTF8]
ENVIRONMENTS: list[Any] = [
    *[
        {},
        {"A": "b"},
        {"A=B": "c"},
        {"": "x"},
        {"A": "\0"},
        {odd.NOT_UTF8: odd.NOT_UTF8},
        {"A": "x" * 200_000},
    ],
    *[{"PATH": ""}, {"TASKMAN_RUN_ID": "x"}, {f"V{n}": "x" for n in range(3000)}, {"é": "é"}],
]


# --- what is sent ---


def request(chance: random.Random) -> dict[str, Any]:
    """Make a request that has the shape of one, mostly, with odd values."""
    do = chance.choice([*REQUESTS, "once", "trigger", "pause", "cancel", "wait"])
    kind = REQUESTS[do]
    hints = get_type_hints(kind)
    values: dict[str, Any] = {"do": do}
    for item in fields(kind):
        if chance.random() < 0.6:
            values[item.name] = value(chance, item.name, hints[item.name])
    if do in ("once", "trigger") and chance.random() < 0.7:
        fitting = {"job": chance.choice(NAMES)} if do == "trigger" else {"cwd": "/", "umask": 18, "env": {}}
        values |= fitting
        values.setdefault("command", "true") if do == "once" else None
    if chance.random() < 0.1:
        values["v"] = chance.choice([1, 1, 0, 2, "1", None, 1.0, True])
    if chance.random() < 0.05:
        values[chance.choice(odd.TEXTS)] = odd.anything(chance)
    if do == "stop":  # a good one would end it all
        values["then"] = True
    # The job that is counted stays as it is.
    if do in ("pause", "cancel", "remove") and values.get("all"):
        values["all"] = "yes"
    return values


def value(chance: random.Random, name: str, hint: Any) -> Any:
    """Make a value for a parameter: one that fits and is odd, or one of any type."""
    if chance.random() < 0.15:
        return odd.anything(chance)
    special: dict[str, list[Any]] = {
        "job": NAMES,
        "target": [*NAMES, "1", "zzzz", "0" * 40],
        "jobs": [[name] for name in NAMES],
        "command": COMMANDS,
        "cwd": DIRECTORIES,
        "env": ENVIRONMENTS,
        "umask": [0, 18, 63, 511, 512, -1, 2**40],
        "signal": [0, 1, 9, 15, 19, 18, 63, 64, 65, -1, 2**40],
        "states": [["paused"], ["running"], ["x"], []],
        "tags": [["x"], ["y"], []],
        "for_ns": [0, 1, -1, 10**9, 2**61, 2**62 - 1],
        "name": ["n1", "calm", None, "a.b"],
        "task": ["a", "b", "main", None, "x"],
    }
    if name in special and chance.random() < 0.8:
        return chance.choice(special[name])
    arguments = get_args(hint)
    origin = get_origin(hint)
    if origin is list:
        return [odd.text(chance) for _ in range(chance.randrange(3))]
    if origin is dict:
        return {odd.text(chance): odd.text(chance) for _ in range(chance.randrange(3))}
    if arguments:
        return value(chance, "", chance.choice(arguments))
    if hint is int:
        return chance.choice(odd.NUMBERS)
    if hint is bool:
        return chance.random() < 0.5
    if hint is str:
        return odd.text(chance)
    return None


def line(chance: random.Random) -> bytes:
    """Make a line, with its end."""
    kind = chance.randrange(20)
    if kind == 0:
        return chance.randbytes(chance.choice([1, 10, 1000])).replace(b"\n", b"") + b"\n"
    if kind == 1:
        return json.dumps(odd.anything(chance)).encode() + b"\n"
    if kind == 2:
        return _nested(chance) + b"\n"
    if kind == 3:
        return b"x" * chance.choice([MAX_LINE_BYTES - 1, MAX_LINE_BYTES, MAX_LINE_BYTES + 2]) + b"\n"
    text = json.dumps(request(chance), ensure_ascii=chance.random() < 0.7)
    data = text.encode("utf-8", "surrogatepass")
    if kind == 4:  # the same key twice
        data = data[:-1] + b"," + data[1:]
    if kind == 5:
        at = chance.randrange(len(data))
        junk = chance.choice([b"\0", b"\xff", b'"', b"\\ud800", b"{", b"9" * 5000, b"\r", b"\xef\xbb\xbf"])
        data = data[:at] + junk + data[at + chance.randrange(3) :]
    if kind == 6:
        data = b" " * 1000 + data + b"\t\r"
    return data.replace(b"\n", b" ") + b"\n"


def _nested(chance: random.Random) -> bytes:
    depth = chance.choice([10, 1000, 100_000])
    shapes = [
        b"[" * depth + b"]" * depth,
        b'{"a":' * depth + b"1" + b"}" * depth,
        b'{"do":"show","job":' + b"[" * depth + b"]" * depth + b"}",
        b'{"do":"once","command":' + b'["x",' * depth + b'""' + b"]" * depth + b"}",
        b'{"do":"trigger","job":"calm","env":{"A":' + b"9" * depth + b"}}",
    ]
    return chance.choice(shapes)


# --- who sends it ---


class Client:
    """A client that speaks bytes."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(patience_s())
        self.sock.connect(str(path))
        self._data = b""

    def send(self, data: bytes) -> None:
        """Send all, as far as the other end takes it."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def answer(self) -> dict[str, Any] | None:
        """Return the next line as what it must be, an object; None: hung up. Raises TimeoutError."""
        while b"\n" not in self._data:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._data += data
        one, _, self._data = self._data.partition(b"\n")
        answer = json.loads(one)
        assert isinstance(answer, dict), answer
        return answer

    def close(self, *, hard: bool = False) -> None:
        """Leave, perhaps with what was not read."""
        if hard:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class Fuzzer:
    """One scheduler, and all that is done to it."""

    def __init__(self, campaign: Campaign, running: Running) -> None:
        self.campaign = campaign
        self.running = running
        self.path = running.directory / "state" / "taskman.sock"
        self.good = wait_until(self._connected, timeout_s=30, what="the socket")
        self.pid = running.scheduler_pid()
        self.silent: list[Client] = []

    def _connected(self) -> Client | None:
        with suppress(OSError):
            return Client(self.path)
        return None

    def fuzz(self) -> None:
        """Play all cases, then see whether all is well."""
        for number, chance in self.campaign.chances():
            self._play(number, chance)
            self._is_well(number)
        for client in self.silent:
            client.close()

    def _play(self, number: int, chance: random.Random) -> None:
        client = Client(self.path)
        kind = chance.randrange(10)
        if kind < 5:
            for _ in range(chance.choice([1, 1, 3])):
                data = line(chance)
                client.send(data)
                self._check_answer(number, client, data)
                if len(data) > MAX_LINE_BYTES:
                    break  # who sends that is let go
            client.close()
        elif kind < 7:  # many lines, then the answers in order
            lines = [line(chance) for _ in range(chance.randrange(2, 40))]
            self._send_while_reading(number, client, b"".join(lines))
            client.close()
        elif kind == 7:  # gone before the answer
            client.send(b"".join(line(chance) for _ in range(chance.randrange(1, 5))))
            client.close(hard=chance.random() < 0.5)
        else:  # half a line, and silence
            data = line(chance)
            half = data[: chance.randrange(len(data))]
            for begin in range(0, len(half), max(1, len(half) // 3)):
                client.send(half[begin : begin + max(1, len(half) // 3)])
            if chance.random() < 0.3:
                with suppress(OSError):
                    client.sock.shutdown(socket.SHUT_WR)
            self.silent.append(client)
            if len(self.silent) > MOST_SILENT:
                self.silent.pop(chance.randrange(len(self.silent))).close()

    def _check_answer(self, number: int, client: Client, data: bytes) -> None:
        begin = time.monotonic()
        try:
            answer = client.answer()
            while answer and answer.get("final"):
                answer = client.answer()
        except TimeoutError:
            self.campaign.fault(number, f"no answer in {patience_s():g} s", data[:300])
            return
        except (ValueError, AssertionError) as error:
            self.campaign.fault(number, "no answer of ours", f"{error} to {data[:300]!r}")
            return
        self._judge(number, answer, data)
        if time.monotonic() - begin > patience_s():
            self.campaign.fault(number, "a late answer", data[:300])

    def _judge(self, number: int, answer: dict[str, Any] | None, data: bytes) -> None:
        if answer is None:
            # Only one whose line was too long has been told so, and is let go.
            if len(data) <= MAX_LINE_BYTES:
                log = self.running.log_path.read_text(errors="replace")[-1500:]
                self.campaign.fault(number, "hung up without an answer", f"{data[:300]!r}; {log}")
            return
        words = answer.get("error")
        if answer.get("ok") is not True and not (isinstance(words, str) and words):
            self.campaign.fault(number, "refused without a word", f"{answer} to {data[:300]!r}")
        if answer.get("ok") is not True and answer.get("code") not in (1, 2, 3, 4):
            self.campaign.fault(number, "a code that is none", f"{answer} to {data[:300]!r}")
        if "internal error" in str(words):
            self.campaign.fault(number, "an internal error", f"{answer} to {data[:300]!r}")

    def _send_while_reading(self, number: int, client: Client, data: bytes) -> None:
        """Send many lines, read what comes meanwhile, and go when something has come."""
        client.sock.setblocking(False)
        received = b""
        deadline = time.monotonic() + patience_s()
        with selectors.DefaultSelector() as selector:
            selector.register(client.sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while time.monotonic() < deadline and (data or received.count(b"\n") < 1):
                for _, mask in selector.select(0.1):
                    try:
                        if mask & selectors.EVENT_READ:
                            came = client.sock.recv(1 << 16)
                            received += came
                            if not came:
                                return
                        if mask & selectors.EVENT_WRITE and data:
                            data = data[client.sock.send(data[: 1 << 16]) :]
                            deadline = time.monotonic() + patience_s()
                        elif not data:
                            selector.modify(client.sock, selectors.EVENT_READ)
                    except (BrokenPipeError, ConnectionResetError):
                        return
        if b"\n" not in received:
            self.campaign.fault(number, "not one answer to many lines")
        for one in received.split(b"\n")[:-1]:
            try:
                self._judge(number, json.loads(one), b"one of many")
            except ValueError:
                self.campaign.fault(number, "no answer of ours", one[:300])

    def _is_well(self, number: int) -> None:
        """Ask for the status, as somebody who is not part of all this."""
        self.good.send(b'{"do": "status"}\n')
        try:
            answer = self.good.answer()
        except TimeoutError:
            answer = None
        if answer is None or answer.get("ok") is not True:
            self.campaign.fault(number, "no status", answer)
            self.good.close()
            self.good = Client(self.path)
        if not is_alive(self.pid):
            self.campaign.fault(number, "another scheduler", self.running.log[-3000:])
            self.pid = self.running.scheduler_pid()


def fuzz(campaign: Campaign) -> None:
    """Run it all in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="taskman-fuzz-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        with Running(directory, JOBS, "--no-live", "--log-level", "debug") as running:
            try:
                Fuzzer(campaign, running).fuzz()
            except OSError as error:
                time.sleep(1)  # what it says at last
                campaign.fault(
                    campaign.cases, f"no connection: {error}", running.log_path.read_text()[-5000:]
                )
                return
            last = campaign.cases - 1
            ticks = len(running.lines("ticks"))
            wait_until(lambda: len(running.lines("ticks")) > ticks, what="another tick")
            running.send(signal.SIGTERM)
            code = running.end()
            if code:
                campaign.fault(last, f"left with {code}")
            log = running.log_path.read_text(errors="replace")
        for bad in ("Traceback", "internal error", "control: request", "answered twice"):
            if bad in log:
                at = log.index(bad)
                campaign.fault(last, f"{bad!r} in the log", log[max(0, at - 500) : at + 3000])
        _check_ledger(campaign, directory, last)


def _check_ledger(campaign: Campaign, directory: Path, last: int) -> None:
    """Each slot of the job of every second is one run, which has run, or one skip; all is over or waits."""
    with closing(sqlite3.connect(directory / "state/ledger.db")) as ledger:
        (check,) = ledger.execute("PRAGMA integrity_check").fetchone()
        (anchor_ns,) = ledger.execute("SELECT anchor_ns FROM job_state WHERE name = 'tick'").fetchone()
        (accounted_ns,) = ledger.execute("SELECT accounted_ns FROM standing").fetchone()
        tick = "(SELECT id FROM job_state WHERE name = 'tick')"
        runs = [slot for (slot,) in ledger.execute(f"SELECT slot_ns FROM runs WHERE job = {tick}") if slot]
        skips = ledger.execute(f"SELECT slot_ns, slot_to_ns FROM skips WHERE job = {tick}").fetchall()
        (running,) = ledger.execute("SELECT count(*) FROM runs WHERE state = 'running'").fetchone()
    if check != "ok":
        campaign.fault(last, "the ledger is broken", check)
    if running:
        campaign.fault(last, f"{running} runs have no end")
    if len(runs) != len(set(runs)):
        campaign.fault(last, "a slot has run twice")
    second = 1_000_000_000
    missing = [
        slot
        for slot in range(anchor_ns + second, accounted_ns + 1, second)
        if slot not in runs and not any(first <= slot <= to for first, to in skips)
    ]
    if missing:
        campaign.fault(last, "slots without a run or a skip", missing)


if __name__ == "__main__":
    raise SystemExit(main(fuzz, __doc__))
