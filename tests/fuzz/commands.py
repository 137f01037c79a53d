"""Runs every command with every option filled with odd values, in odd circumstances.

    python tests/fuzz/commands.py [--seed N] [--seconds N] [--only CASE]

The commands and options are Click's own tree: a new one is fuzzed by itself. Each has to end within 5 s (one
that goes on by design is interrupted then, and has to end within 5 s of that), with an exit code that the man
page knows, with words if that is not 0, without a traceback, and with JSON where it was asked for.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.running import Running
from fuzz import fixtures, odd
from fuzz.campaign import Campaign, main
from fuzz.processes import Call, End, can_be, load_modules, run
from process_table import is_alive
from wait import wait_until

from taskman_cli.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What the man page says, and what shells say of commands that could not be run, were interrupted, or
#: whose reader has left.
CODES = {0, 1, 2, 3, 4, 124, 126, 127, 130, 141}
#: What ends as the command does that it runs.
RUNNERS = {"once", "test", "trigger", "wait"}
#: What may go on for ever, with what option; None: whatever the options are.
LASTING = {
    "run": None, "once": None, "test": None, "wait": None, "trigger": "--wait", "cancel": "--wait",
    "log": "-f", "events": "-f", "stop": "--drain",
}  # fmt: skip
NOBODY_UID = 54_321  # of no user in /etc/passwd

JOBS = [
    "backup",
    "probe",
    "probe.api",
    "tidy",
    "fails",
    "off",
    "once",
    "more",
    "once-1",
    "0",
    "zzzzzz",
    "odd",
]
ENVIRONS: dict[str, Sequence[str | None]] = {
    "HOME": [None, "", "/nonexistent", "relative", odd.NOT_UTF8],
    "TERM": [None, "", "dumb", "xterm-256color", "nonsense"],
    "COLUMNS": ["1", "40", "0", "-5", "x", "99999", ""],
    "LINES": ["1", "0", "x"],
    "TZ": [None, "", ":", "UTC", "Mars/Base", "CET-1CEST", "../../etc/passwd", ":/etc/localtime", "x" * 300],
    "PATH": [None, "", "relative", "/nonexistent"],
    "TASKMAN_INSTANCE": ["", "x", "a/b", "..", odd.NOT_UTF8, "x" * 65],
    "NO_COLOR": ["", "1"],
    "FORCE_COLOR": ["1"],
    "PWD": [None, "/nonexistent", odd.NOT_UTF8],
    "SHELL": [None, "", "/nonexistent"],
    "USER": [None, "", odd.NOT_UTF8],
    "EDITOR": ["/nonexistent"],
    "ODD": [odd.NOT_UTF8, "\n", "x" * 100_000],
    "_TASKMAN_COMPLETE": ["bash_complete", "fish_complete", "x", "zsh_source"],
    "COMP_WORDS": ["taskman tri", "", "taskman '", odd.NOT_UTF8],
    "COMP_CWORD": ["1", "-1", "x", "99"],
}
LOCALES = ["C", "POSIX", "C.UTF-8", "en_US.ISO-8859-1", "nonsense"]

#: Words of which the metavar, name or type of a parameter has one, the first that fits, and values for it.
POOLS: dict[str, Sequence[object]] = {
    "dur": odd.DURATIONS,
    "since": [*odd.TIMES, *odd.DURATIONS, 1, 99],
    "spec": odd.TIMES,
    "moment": odd.TIMES,
    "time ": odd.TIMES,
    "expr": odd.CRONS,
    "tz": odd.ZONES,
    "state-dir": ["missing", "dir", "jobs.toml", "", "fifo"],
    "dir": ["dir", "missing", "jobs.toml", ".", "/", odd.NOT_UTF8, "loop"],
    "file": fixtures.NAMES,
    "variable": ["A=b", "A", "=b", "A=", f"A={odd.NOT_UTF8}", "1=2"],
    "signal": ["TERM", "SIGKILL", "9", "0", "64", "65", "TRM", "-1", "STOP", "CONT"],
    "instance": ["x", "a/b", "", ".."],
    "number": odd.NUMBERS,
    "int": odd.NUMBERS,
    "words": ["true", "exit 3", "sleep 0.1", "echo x", "", odd.NOT_UTF8, "/", "nonexistent-program"],
    "tag": ["disk", "x"],
    "state": ["failed", "skipped", "lost", "x"],
    "job": JOBS,
    "name": JOBS,
    "target": JOBS,
    "run": JOBS,
}


class Maker:
    """Makes command lines."""

    def __init__(self) -> None:
        context = click.Context(app)
        self.commands = {name: app.get_command(context, name) for name in app.list_commands(context)}

    def call(self, chance: random.Random, cwd: Path, state: Path) -> Call:
        """Make a command line with what it is started with."""
        weights = [0.3 if name in ("run", "restart", "stop") else 1.0 for name in self.commands]
        (name,) = chance.choices(list(self.commands), weights)
        command = self.commands[name]
        assert command is not None
        argv = [name]
        if chance.random() < 0.03:
            argv = [odd.text(chance), *argv] if chance.random() < 0.5 else [odd.text(chance)]
        options = [item for item in command.params if isinstance(item, click.Option)]
        arguments = [item for item in command.params if isinstance(item, click.Argument)]
        for option in options:
            often = 0.7 if option.required else 0.35 if option.name == "json" else 0.2
            while chance.random() < often:
                argv += self._option(chance, name, option)
                if not option.multiple:
                    break
        for argument in arguments:
            argv += self._argument(chance, argument)
        if chance.random() < 0.05:
            chance.shuffle(argv)
        if chance.random() < 0.05:
            argv.insert(chance.randrange(len(argv) + 1), odd.text(chance))
        if chance.random() < 0.05:
            argv.insert(chance.randrange(len(argv) + 1), "--" + odd.text(chance))
        if chance.random() < 0.01:
            argv += ["x"] * 20_000
        return self._surround(chance, _harmless(argv), cwd, state)

    def _option(self, chance: random.Random, command: str, option: click.Option) -> list[str]:
        spelling = chance.choice([*option.opts, *option.secondary_opts])
        if option.is_flag or option.count:
            return [spelling]
        value = self._value(chance, option, option.metavar or option.name or "")
        if spelling.startswith("--") and chance.random() < 0.5:
            return [f"{spelling}={value}"]
        return [spelling, value]

    def _argument(self, chance: random.Random, argument: click.Argument) -> list[str]:
        if argument.nargs == -1:
            count = chance.choice([0, 1, 1, 1, 2, 3])
        else:
            count = 0 if chance.random() < 0.1 else 1
        words = [self._value(chance, argument, argument.metavar or argument.name or "") for _ in range(count)]
        return ["--", *words] if chance.random() < 0.15 else words

    def _value(self, chance: random.Random, param: click.Parameter, about: str) -> str:
        """Make a value: of the kind that is meant, mostly, and any text else."""
        if chance.random() < 0.2:
            return odd.text(chance)
        kind = f"{about} {param.name} {param.type.name}".lower()
        if isinstance(param.type, click.Choice):
            return str(chance.choice(list(param.type.choices)))
        for word, pool in POOLS.items():
            if word in kind:
                return str(chance.choice(pool))
        return odd.text(chance)

    def _surround(self, chance: random.Random, argv: list[str], cwd: Path, state: Path) -> Call:
        base = {
            "HOME": str(cwd),
            "PATH": os.environ["PATH"],
            "STATE_DIRECTORY": str(state),
            "LANG": "C.UTF-8",
        }
        call = Call(argv, cwd, base)
        if chance.random() < 0.5:
            for name in chance.sample(list(ENVIRONS), chance.randrange(1, 4)):
                value = chance.choice(ENVIRONS[name])
                call.environ.pop(name, None)
                if value is not None:
                    call.environ[name] = value
        if chance.random() < 0.1:
            call.is_real = True
            call.environ["LC_ALL"] = chance.choice(LOCALES)
        if chance.random() < 0.15:
            call.stdout = chance.choice(["closed", "full", "broken"])
        if chance.random() < 0.05:
            call.stderr = chance.choice(["closed", "full", "broken"])
        if chance.random() < 0.3:
            call.stdin = chance.choice(["closed", "jobs.toml", "crontab", "binary"])
        return call


def _harmless(argv: list[str]) -> list[str]:
    """Keep `run` from making a state directory of the machine's own root."""
    if "run" not in argv:
        return argv
    return [word[:-1] + "dir" if word == "/" or word.endswith("=/") else word for word in argv]


class Fuzzer:
    """A directory for the commands, and the schedulers that they speak to."""

    def __init__(self, campaign: Campaign, directory: Path) -> None:
        self.campaign = campaign
        self.maker = Maker()
        self.directory = directory
        self.cwd = directory / "cwd" / "here"
        self.scratch = directory / "scratch"
        self.scratch.mkdir()
        self.scratch.chmod(0o777)
        self.running: Running | None = None
        self._number = 0
        self._has_nobody = can_be(NOBODY_UID)

    def fuzz(self) -> None:
        """Play all cases."""
        for number, chance in self.campaign.chances():
            self._number = number
            kind = chance.choices(["none", "running", "damaged", "nobody"], [4, 6, 2, 1])[0]
            uid = NOBODY_UID if kind == "nobody" and self._has_nobody else None
            fixtures.remake(self.cwd, uid=uid)
            self._play(chance, kind, uid)

    def _play(self, chance: random.Random, kind: str, uid: int | None) -> None:
        state = self.directory / "state-none"
        if kind == "running":
            state = self._live().directory / "state"
        elif kind == "damaged":
            state = self._damaged(chance)
        call = self.maker.call(chance, self.cwd, state)
        if uid is not None:
            call.uid = uid
            call.environ.pop("STATE_DIRECTORY")
            if chance.random() < 0.5:
                call.environ.pop("HOME", None)
            for path in self.scratch.iterdir():
                path.unlink()
        name = self._command(call)
        end = run(call, self.scratch, interrupt_s=1.0 if _may_last(name, call.argv) else None)
        self._judge(call, end)
        if kind == "running":
            self._check_running(call)
        if kind == "none":
            shutil.rmtree(state, ignore_errors=True)

    def _command(self, call: Call) -> str:
        return next((word for word in call.argv if word in self.maker.commands), "")

    def _judge(self, call: Call, end: End) -> None:
        name = self._command(call)
        said = end.out + end.err
        tail = f"{call} → {end.code} in {end.took_s:.1f} s: {end.err[-3000:].decode(errors='replace')}"
        for bad in (b"Traceback", b"Exception ignored", b"has no attribute", b"internal error", b"Error in "):
            if bad in said and not (bad == b"Traceback" and name == "log"):
                self.campaign.fault(self._number, bad.decode(), tail)
                return
        if end.late == "killed" or (end.late and not _may_last(name, call.argv)):
            self.campaign.fault(self._number, f"hangs ({end.late})", tail)
        elif end.code not in CODES and name not in RUNNERS:
            self.campaign.fault(self._number, f"exit code {end.code}", tail)
        elif end.code and call.stderr == "file" and not said and end.code not in (141, 130):
            if name not in RUNNERS and "_TASKMAN_COMPLETE" not in call.environ and call.stdout == "file":
                self.campaign.fault(self._number, "fails without a word", tail)
        elif end.code == 0 and "--json" in call.argv and call.stdout == "file":
            self._check_json(call, end)

    def _check_json(self, call: Call, end: End) -> None:
        if "--help" in call.argv or "-h" in call.argv or "_TASKMAN_COMPLETE" in call.environ:
            return
        if "--" in call.argv and call.argv.index("--") < call.argv.index("--json"):
            return
        try:
            json.loads(end.out)
        except ValueError:
            try:
                for line in end.out.splitlines():
                    json.loads(line)
            except ValueError as error:
                self.campaign.fault(self._number, f"no JSON ({error})", f"{call}: {end.out[:500]!r}")

    # --- schedulers ---

    def _live(self) -> Running:
        """Return a scheduler that runs."""
        if self.running is None:
            home = self.directory / "live"
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            (home / "jobs.d").mkdir()
            self.running = Running(home, fixtures.GOOD, "--no-live")
            socket = home / "state" / "taskman.sock"
            wait_until(socket.exists, timeout_s=30, what="the socket")
            self._pid = self.running.scheduler_pid()
        return self.running

    def _check_running(self, call: Call) -> None:
        """See whether the scheduler lives; `stop` and `restart` may have ended it, and nothing else."""
        running = self._live()
        if any(word in call.argv for word in ("stop", "restart")):
            with suppress(AssertionError):
                wait_until(lambda: running.process.poll() is not None, timeout_s=1.0)
            self.end()
        elif not is_alive(self._pid):
            self.campaign.fault(self._number, "the scheduler died", f"{call}\n{running.log[-3000:]}")
            self.end()

    def end(self) -> None:
        """End the scheduler that runs, and look what it said."""
        if self.running is None:
            return
        running, self.running = self.running, None
        with running:
            running.send(signal.SIGCONT)
            running.send(signal.SIGTERM)
            with suppress(Exception):
                running.end()
            log = running.log_path.read_text(errors="replace")
        for bad in ("Traceback", "internal error", "control: request"):
            if bad in log:
                at = log.index(bad)
                self.campaign.fault(self._number, f"{bad} in the log", log[max(0, at - 500) : at + 3000])
                return

    def _damaged(self, chance: random.Random) -> Path:
        """Return a state directory whose ledger has bytes that nobody wrote."""
        model = self.directory / "model"
        if not model.exists():
            self._make_model(model)
        state = self.directory / "state-damaged"
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(model, state)
        ledger = state / "ledger.db"
        data = bytearray(ledger.read_bytes())
        for _ in range(chance.choice([1, 20, 500])):
            at = chance.randrange(len(data))
            data[at : at + 1] = chance.randbytes(1)
        if chance.random() < 0.1:
            del data[chance.randrange(len(data)) :]
        ledger.write_bytes(data)
        return state

    def _make_model(self, model: Path) -> None:
        home = self.directory / "past"
        home.mkdir()
        (home / "jobs.d").mkdir()
        jobs = fixtures.GOOD.replace('"2s"', '"200ms"')
        with Running(home, jobs, "--no-live", "--for", "2s") as running:
            running.end()
        shutil.copytree(home / "state", model, ignore=shutil.ignore_patterns("*.sock"))


def _may_last(name: str, argv: list[str]) -> bool:
    if name not in LASTING:
        return False
    option = LASTING[name]
    return option is None or any(
        word.startswith(option) or (option == "-f" and word == "--follow") for word in argv
    )


def fuzz(campaign: Campaign) -> None:
    """Run it all in a directory of its own."""
    load_modules()
    with tempfile.TemporaryDirectory(prefix="taskman-fuzz-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        fuzzer = Fuzzer(campaign, Path(name))
        try:
            fuzzer.fuzz()
        finally:
            fuzzer.end()


if __name__ == "__main__":
    raise SystemExit(main(fuzz, __doc__))
