"""Runs jobs whose directories, files, programs and arguments have names of odd bytes, under odd locales.

    python tests/fuzz/names.py [--seed N] [--seconds N] [--only CASE]

Each case is a scheduler in a directory of such a name. Every command finds the very bytes; every view of it
prints something, in JSON where that was asked for; nothing dies, and nothing is lost.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.running import TASKMAN
from fuzz.campaign import Campaign, main, patience_s
from process_table import kill_tree
from wait import wait_until

if TYPE_CHECKING:
    import random

#: Parts of names; none has a `/` or a NUL, all else a file system takes.
PIECES = [
    *[
        b"a",
        b" ",
        b"caf\xe9",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\n",
        b"\t",
        b"\x1b[31m",
        b"'",
        b'"',
        b"\\",
        b"$X",
        b"%",
    ],
    *[
        b"*",
        b"?",
        b"[",
        b"{x}",
        b"#",
        b"-",
        b"--",
        b";",
        b"&",
        b"|",
        b"`x`",
        b"$(x)",
        b"\xe2\x80\xae",
        b"\xf0\x9f\x92\xa5",
    ],
    *[
        "日本".encode(),
        "é".encode(),
        "e\u0301".encode(),
        b"\x7f",
        b"\x01",
        b"=",
        b":",
        b"~",
        b"!",
        b"\r",
        b"...",
    ],
]
LOCALES = ["C", "POSIX", "C.UTF-8", "en_US.UTF-8", "en_US.ISO-8859-1"]

JOBS = """
[taskman]
include = ["jobs.d/*.toml"]
[jobs.here]
every = "1h"
run_on_start = true
command = "pwd > {ran}/here; printf 'caf\\\\351 \\\\377'"
[jobs.there]
every = "1h"
run_on_start = true
cwd = "there"
command = "pwd > {ran}/there"
[jobs.fails]
every = "1h"
run_on_start = true
command = "touch {ran}/fails; exec ./*program"
"""
INCLUDED = """
[jobs.more]
every = "1h"
run_on_start = true
env_file = "*"
command = "touch {ran}/more"
"""


def name(chance: random.Random) -> bytes:
    """Make the name of a file."""
    made = b"".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 5)))
    return made if made.strip(b".") else made + b"x"


class Round:
    """One scheduler among odd names."""

    def __init__(self, campaign: Campaign, number: int, chance: random.Random, top: bytes) -> None:
        self.campaign = campaign
        self.number = number
        self.chance = chance
        self.ran = Path(os.fsdecode(top)) / "ran"
        self.ran.mkdir()
        self.home = top + b"/" + name(chance)
        self.state = self.home + b"/" + name(chance)
        self.jobs = name(chance).lstrip(b"-") + b".toml"
        self.crontab = name(chance).lstrip(b"-") + b"x"
        self.odd = name(chance)
        self.environ = {
            b"PATH": os.environb[b"PATH"],
            b"HOME": self.home,
            b"STATE_DIRECTORY": self.state.replace(b":", b"_"),
            b"LC_ALL": chance.choice(LOCALES).encode(),
            b"ODD": self.odd,
        }

    def make(self) -> None:
        """Make the directory."""
        ran = str(self.ran)
        for directory in (
            self.home,
            self.home + b"/there",
            self.home + b"/jobs.d",
            self.home + b"/" + self.odd + b".d",
        ):
            Path(os.fsdecode(directory)).mkdir()
        self._write(self.jobs, JOBS.replace("{ran}", ran).encode())
        included = "\n".join(line for line in INCLUDED.splitlines() if "env_file" not in line)
        self._write(
            b"jobs.d/" + name(self.chance).lstrip(b".-*") + b"x.toml", included.replace("{ran}", ran).encode()
        )
        self._write(self.crontab, b"@reboot echo caf\xe9 > " + ran.encode() + b"/crontab\n")
        program = self.odd + b"program"
        self._write(program, b'#!/bin/sh\nprintf %s "$1" > ' + ran.encode() + b"/$2\nexit 3\n")
        Path(os.fsdecode(self.home + b"/" + program)).chmod(0o755)

    def _write(self, path: bytes, data: bytes) -> None:
        Path(os.fsdecode(self.home + b"/" + path)).write_bytes(data)

    def play(self) -> None:
        """Run it, look at it, ask for more, and stop it."""
        log = self.ran / "log"
        arguments = [os.fsencode(TASKMAN), b"run", b"--no-live", b"--", self.jobs]
        arguments[2:2] = [b"--user-crontab", self.crontab]
        with log.open("wb") as file:
            running = subprocess.Popen(
                arguments, cwd=self.home, env=self.environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        try:
            self._check(running)
            running.send_signal(signal.SIGTERM)
            code = running.wait(20)
            if code:
                self._fault(f"run left with {code}", log.read_bytes()[-3000:])
        except (AssertionError, subprocess.TimeoutExpired) as error:
            self._fault(str(error), log.read_bytes()[-3000:])
        finally:
            kill_tree(running.pid)
            running.wait()
        for bad in (b"Traceback", b"internal error", b"the scheduler died"):
            if bad in log.read_bytes():
                self._fault(f"{bad.decode()} in the log", log.read_bytes()[-3000:])
                break

    def _check(self, running: subprocess.Popen[bytes]) -> None:
        for what in ("here", "there", "fails", "more", "crontab"):
            wait_until(
                lambda what=what: self._has_come(what) or running.poll() is not None,
                timeout_s=60,
                what=what,
            )
        self._same("here", self.home + b"\n")
        self._same("there", self.home + b"/there\n")
        self._same("crontab", b"caf\xe9\n")
        self._look()
        for ask in self.chance.sample([self._ask_program, self._ask_directory, self._ask_environment], 2):
            ask()
        self._say(b"trigger", b"--wait", b"--env", b"E=" + self.odd, b"here")

    def _has_come(self, what: str) -> bool:
        """Tell whether a job has left its mark: the shell makes the file before anything is written to it."""
        path = self.ran / what
        return path.exists() and (what in ("fails", "more") or path.stat().st_size > 0)

    def _look(self) -> None:
        """Look at it all with some of the commands."""
        views = [[view] for view in (b"status", b"list", b"history", b"events", b"reload")]
        views += [
            [view, job]
            for view in (b"why", b"show", b"log")
            for job in (b"here", b"there", b"fails", b"more")
        ]
        views += [[b"check", b"--", self.jobs]]
        for words in self.chance.sample(views, 3):
            self._say(*words)
        documents = [
            [b"status"],
            [b"list"],
            [b"history"],
            [b"events"],
            [b"why", b"fails"],
            [b"show", b"here"],
        ]
        for words in self.chance.sample(documents, 2):
            data = self._say(*words, b"--json")
            try:
                for line in data.splitlines() if words[0] == b"events" else [data]:
                    json.loads(line)
            except ValueError as error:
                self._fault(f"{words[0].decode()} --json prints no JSON: {error}", data[:500])

    def _ask_program(self) -> None:
        self._say(b"once", b"--wait", b"--", b"./" + self.odd + b"program", self.odd, b"argument", code=3)
        self._same("argument", self.odd)

    def _ask_directory(self) -> None:
        directory = self.odd + b".d"
        self._say(b"once", b"--wait", b"--cwd=" + directory, b"pwd > " + os.fsencode(self.ran) + b"/cwd")
        self._same("cwd", self.home + b"/" + directory + b"\n")

    def _ask_environment(self) -> None:
        self._say(b"once", b"--wait", b'printf %s "$ODD" > ' + os.fsencode(self.ran) + b"/environ")
        self._same("environ", self.odd)

    def _same(self, what: str, expected: bytes) -> None:
        try:
            actual = (self.ran / what).read_bytes()
        except OSError as error:
            actual = str(error).encode()
        if actual != expected:
            self._fault(f"{what} is other bytes", f"{actual!r}, expected {expected!r}")

    def _say(self, *words: bytes, code: int = 0) -> bytes:
        try:
            done = subprocess.run(
                [os.fsencode(TASKMAN), *words], cwd=self.home, env=self.environ, stdin=subprocess.DEVNULL,
                capture_output=True, timeout=patience_s(), check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            self._fault("hangs", words)
            return b""
        if done.returncode != code or b"Traceback" in done.stderr:
            self._fault(
                f"{words!r} exits with {done.returncode}",
                done.stderr[-2000:].decode(errors="backslashreplace"),
            )
        return done.stdout

    def _fault(self, what: str, about: object) -> None:
        self.campaign.fault(
            self.number,
            what,
            f"{about}\n  in {self.home!r} with {self.jobs!r}, {self.odd!r}, {self.environ[b'LC_ALL']!r}",
        )


def fuzz(campaign: Campaign) -> None:
    """Play each case in a directory of its own."""
    for number, chance in campaign.chances():
        with tempfile.TemporaryDirectory(prefix="taskman-fuzz-", ignore_cleanup_errors=True) as top:
            one = Round(campaign, number, chance, os.fsencode(top))
            one.make()
            one.play()


if __name__ == "__main__":
    raise SystemExit(main(fuzz, __doc__))
