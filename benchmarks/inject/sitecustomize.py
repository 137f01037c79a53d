"""Changes the scheduler's ledger for `ledger.py`; Python imports this at its start where it is on PYTHONPATH.

`TASKMAN_BENCH_LEDGER=off` lets every write do nothing; `times:FILE` writes how long each took to a file, in
nanoseconds, 8 bytes each.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from array import array
from pathlib import Path
from typing import Any


def _change(what: str) -> None:
    from taskman_cli.ledger.ledger import Ledger

    if what == "off":
        Ledger.write = lambda *_: None  # type: ignore[method-assign]
        return
    write, times = Ledger.write, array("q")

    def timed(*args: Any) -> None:
        begun_ns = time.perf_counter_ns()
        write(*args)
        times.append(time.perf_counter_ns() - begun_ns)

    Ledger.write = timed  # type: ignore[method-assign]
    atexit.register(lambda: Path(what.removeprefix("times:")).write_bytes(times.tobytes()))


if "--" not in sys.orig_argv and "taskman_cli.scheduler" in sys.orig_argv:
    _change(os.environ["TASKMAN_BENCH_LEDGER"])
