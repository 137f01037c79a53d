"""How long does `taskman --help` take against `python -c 'import click'`?

Both from a wheel installed into a fresh virtual environment, where pip has compiled the modules: an
editable install under PYTHONDONTWRITEBYTECODE compiles them at every start, and no user has that.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING

from harness import (
    ROOT,
    BenchmarkError,
    Figure,
    child_environment,
    in_turn,
    main,
    output_of,
    paired_ratio,
    print_report,
)
from taskman import work_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AIM = "<= 1.3"


def install(directory: Path) -> Path:
    """Install the checkout into a fresh environment and return its directory of programs."""
    environment = directory / "venv"
    output_of([sys.executable, "-m", "venv", environment])
    programs = environment / "bin"
    output_of([programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROOT])
    return programs


def timed(command: list[str]) -> Callable[[], float]:
    """Return a function that runs `command` once, its output dropped, and returns the ms it took."""
    environment = child_environment()
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, descriptor) for descriptor in (0, 1, 2)]

    def run() -> float:
        begun = time.perf_counter()
        pid = os.posix_spawn(command[0], command, environment, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        elapsed_s = time.perf_counter() - begun
        if status != 0:
            raise BenchmarkError(f"{' '.join(command)} exited {os.waitstatus_to_exitcode(status)}")
        return elapsed_s * 1000

    return run


def measure(quick: bool) -> None:
    """Measure both, and bare Python for comparison, in turn."""
    # Away from the checkout: `python -c` would find the sources there before the wheel.
    with work_directory() as directory, contextlib.chdir(directory):
        programs = install(directory)
        python = str(programs / "python")
        contestants = {
            "python -c pass": timed([python, "-c", "pass"]),
            "python -c 'import click'": timed([python, "-c", "import click"]),
            "taskman --help": timed([str(programs / "taskman"), "--help"]),
        }
        in_turn(2, contestants)
        measured = in_turn(15 if quick else 60, contestants)
    floor = measured["python -c 'import click'"]
    table = [("command", "median ms", "fastest ms", "ratio")]
    for name, times_ms in measured.items():
        ratio = paired_ratio(times_ms, floor)
        table.append((name, f"{statistics.median(times_ms):.1f}", f"{min(times_ms):.1f}", f"{ratio:.2f}"))
    figures = [Figure("startup.help", paired_ratio(measured["taskman --help"], floor), AIM)]
    print_report(f"start-up from an installed wheel; aim: ratio {AIM}", table, figures)


if __name__ == "__main__":
    main(measure, __doc__)
