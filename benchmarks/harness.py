"""Shared by all benchmarks: the command line, compiling the C floors, rounds in turn, medians, the report.

A benchmark compares a contestant with a floor in the same run on the same machine and prints the ratio.
Absolute figures are printed too, and mean nothing on other machines. `procfs` reads /proc, `taskman` starts
taskman.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from procfs import read_machine_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

#: The checkout that is measured.
ROOT = Path(__file__).resolve().parent.parent
C_SOURCES = ROOT / "benchmarks" / "c"
BUILD = ROOT / "benchmarks" / ".build"

#: Pause while polling; each look is one or two system calls, so the machine stays idle.
POLL_S = 0.02


#: The share of the CPU time that other processes may use before a benchmark warns.
OTHERS_SHARE = 0.1


class BenchmarkError(Exception):
    """Raised if nothing could be measured."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the result, in the form that programs read."""

    name: str
    value: float
    #: The aim, such as ">= 0.8"; "" for none.
    aim: str = ""

    def __str__(self) -> str:
        return f"ratio {self.name} {self.value:.3f} ({f'aim {self.aim}' if self.aim else 'no aim'})"


def main(measure: Callable[[bool], None], question: str | None, *, needs_quiet: bool = True) -> None:
    """Run `measure(quick)` as a command; exit 0 if it measured, 1 with a message if it could not.

    `needs_quiet`: other programs that run meanwhile spoil the result.
    """
    parser = argparse.ArgumentParser(
        description=question, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes")
    quick = parser.parse_args().quick
    before = read_machine_time()
    try:
        measure(quick)
    except BenchmarkError as error:
        sys.exit(f"{parser.prog}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    others_share = read_machine_time().others_share(before)
    if needs_quiet and others_share > OTHERS_SHARE:
        note = f"others used {others_share:.0%} of this machine meanwhile; do not rely on these ratios"
        print(f"{parser.prog}: {note}", file=sys.stderr)


def compile_c(name: str) -> Path:
    """Compile `c/NAME.c` if it changed, and return the program."""
    source, program = C_SOURCES / f"{name}.c", BUILD / name
    inputs = [source, *C_SOURCES.glob("*.h")]
    if program.exists() and program.stat().st_mtime > max(path.stat().st_mtime for path in inputs):
        return program
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchmarkError(
            "the floor is a C program and there is no C compiler: install cc (Debian: gcc), or set CC"
        )
    BUILD.mkdir(exist_ok=True)
    # Under a temporary name first: another benchmark may be running the old program.
    fresh = BUILD / f"{name}.{os.getpid()}"
    done = subprocess.run(
        [compiler, "-O2", "-Wall", "-o", fresh, source], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchmarkError(f"{compiler} cannot compile {source}:\n{done.stderr}")
    fresh.replace(program)
    return program


def child_environment(**changes: str) -> dict[str, str]:
    """Return an environment in which Python caches compiled modules, as for a user."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return environment | changes


def output_of(command: Sequence[str | Path], *, timeout_s: float = 600) -> str:
    """Run `command` and return what it printed."""
    done = subprocess.run(
        command, env=child_environment(), capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode != 0:
        raise BenchmarkError(
            f"{' '.join(map(str, command))} exited {done.returncode}:\n{done.stderr.strip()}"
        )
    return done.stdout


def json_of(command: Sequence[str | Path]) -> dict[str, float]:
    """Run `command` and return the object of numbers that it printed."""
    result: dict[str, float] = json.loads(output_of(command))
    return result


def in_turn(rounds: int, contestants: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure each contestant once a round, in order, so that a noisy moment hits all of them."""
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, measure in contestants.items():
            measured[name].append(measure())
    return measured


def paired_ratio(values: Sequence[float], floor: Sequence[float]) -> float:
    """Return the median over the rounds of value / floor of the same round."""
    return statistics.median(value / base for value, base in zip(values, floor, strict=True))


def wait_until(condition: Callable[[], bool], *, timeout_s: float, what: str, poll_s: float = POLL_S) -> None:
    """Wait for `condition`; `what` names it in the error."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(poll_s)


def slot_in(lead_s: float) -> int:
    """Return the first whole second that is at least `lead_s` away, in nanoseconds since 1970."""
    return (int(time.time() + lead_s) + 1) * 1_000_000_000


def read_stamps(path: Path) -> list[int]:
    """Return what the programs `stamp` wrote, in order of time; a file not yet there is empty."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return parse_stamps(content)


def parse_stamps(content: bytes) -> list[int]:
    """Return the times in `content`, 8 bytes each, in order of time."""
    if len(content) % 8:
        raise BenchmarkError(f"a file of stamps has {len(content)} bytes, which is not a multiple of 8")
    return sorted(time_ns for (time_ns,) in struct.iter_unpack("=q", content))


def print_report(title: str, table: Sequence[Sequence[str]], figures: Sequence[Figure]) -> None:
    """Print one block: the title, `table` with its first row as the head, then the figures for programs."""
    print(title)
    for line in align(table):
        print(f"  {line}")
    for figure in figures:
        print(figure)


def align(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows of `table` as lines: first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for first, *rest in table:
        cells = [
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)),
        ]
        yield "  ".join(cells).rstrip()
