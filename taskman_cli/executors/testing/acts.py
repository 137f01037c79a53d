"""What the conformance suite has an executor carry out: small programs, each for a shell and in Python."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Act:
    """A small program. Its Python is a body of statements, with `os`, `signal`, `sys` and `time` imported."""

    shell: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An act as the job of an executor says it: its command, or the keys of its type."""

    command: str | tuple[str, ...] | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)


Say = Callable[[Act], Said]


def in_shell(act: Act) -> Said:
    """Say an act as a command for a shell."""
    return Said(command=act.shell)


def in_python(act: Act) -> Said:
    """Say an act as a call, for type "python"."""
    return Said(keys={"call": f"{__name__}:perform", "args": (act.python,), "kwargs": {}})


def perform(source: str) -> None:
    """Carry out the Python of an act."""
    import os
    import signal
    import sys
    import time

    exec(source, {"os": os, "signal": signal, "sys": sys, "time": time})  # noqa: S102 - of this file


def exit_with(code: int) -> Act:
    """End with an exit code."""
    return Act(f"exit {code}", f"raise SystemExit({code})")


def die_of(number: int) -> Act:
    """End by a signal to itself."""
    return Act(f"kill -{number} $$; sleep 600", f"os.kill(os.getpid(), {number}); time.sleep(600)")


def write(data: bytes) -> Act:
    """Write bytes to standard output."""
    octal = "".join(f"\\{byte:03o}" for byte in data)
    return Act(f"printf '{octal}'", f"sys.stdout.flush(); os.write(1, {data!r})")


def write_both() -> Act:
    """Write to standard output and error, in turns."""
    return Act(
        "echo 1; echo 2 >&2; echo 3; echo 4 >&2",
        "for number in (1, 2, 3, 4): print(number, file=(sys.stderr, sys.stdout)[number % 2], flush=True)",
    )


def write_much(count: int) -> Act:
    """Write so many bytes, all of them a letter."""
    return Act(
        f"head -c {count} /dev/zero | tr '\\000' x",
        f"left = {count}\nwhile left: left -= os.write(1, b'x' * min(left, 65536))",
    )


def write_always() -> Act:
    """Write until it is ended."""
    return Act("while :; do echo ready; done", "while True: print('ready', flush=True)")


def wait() -> Act:
    """Say that it runs, and wait to be ended."""
    return Act("echo ready; exec sleep 600", "print('ready', flush=True); time.sleep(600)")


def ignore_term() -> Act:
    """Ignore TERM, say so, and wait to be ended."""
    return Act(
        "trap '' TERM; echo ready; while :; do sleep 1; done",
        "try: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "except ValueError: pass\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    try: time.sleep(1)\n"
        "    except BaseException: pass",
    )


def have_child(mark: int) -> Act:
    """Start a process that can be told by its argument, and wait to be ended."""
    return Act(
        f"sleep {mark} & echo ready; wait",
        f"import subprocess; child = subprocess.Popen(['sleep', '{mark}']); print('ready', flush=True); "
        "child.wait()",
    )


def tell_variable(name: str) -> Act:
    """Write the value of an environment variable."""
    return Act(f'printf %s "${name}"', f"sys.stdout.flush(); os.write(1, os.environb[{name.encode()!r}])")


def tell_text(text: str) -> Act:
    """Write a text that is in the command itself."""
    return Act(f"printf %s {shlex.quote(text)}", f"sys.stdout.flush(); os.write(1, os.fsencode({text!r}))")


def copy_input() -> Act:
    """Write what comes from standard input."""
    return Act("cat", "sys.stdout.flush(); os.write(1, sys.stdin.buffer.read())")


def be_missing() -> Act:
    """Run a program that there is not."""
    return Act("no-such-program-4711", "import no_such_module_4711")
