"""Load one job file in this process and print, as JSON, what that took; started by `load.py`.

load_once.py tomllib FILE      `tomllib.load` and nothing else
load_once.py taskman FILE      to jobs that the engine has armed
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from procfs import read_memory

if TYPE_CHECKING:
    from collections.abc import Callable


def load_toml(path: Path) -> object:
    """Do what the floor does."""
    with path.open("rb") as file:
        return tomllib.load(file)


def make_taskman_load() -> Callable[[Path], object]:
    """Import the loader and the engine outside the measurement, and return a function that uses them."""
    from taskman_cli.core.clock import Now
    from taskman_cli.core.collector import without_collections
    from taskman_cli.core.engine.engine import Engine
    from taskman_cli.core.engine.events import JobsLoaded
    from taskman_cli.jobfile import load

    def load_and_arm(path: Path) -> object:
        now = Now(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        file = load([path], timezone="Europe/Stockholm")
        engine = Engine(file.settings)
        with without_collections():  # as the scheduler does
            engine.handle(JobsLoaded(file.jobs), now)
        assert engine.next_wake().wall_ns is not None
        return engine

    return load_and_arm


def main() -> None:
    """Load, then measure the memory that is still held after garbage collection."""
    way, path = sys.argv[1], Path(sys.argv[2])
    load: Callable[[Path], object]
    load = load_toml if way == "tomllib" else make_taskman_load()
    give_back = ctypes.CDLL(None).malloc_trim
    pid = os.getpid()
    before_bytes = read_memory(pid).rss_bytes
    begun, begun_cpu = time.perf_counter(), time.process_time()
    loaded = load(path)
    elapsed_s, cpu_s = time.perf_counter() - begun, time.process_time() - begun_cpu
    gc.collect()
    give_back(0)
    held_bytes = read_memory(pid).rss_bytes - before_bytes
    jobs = path.read_text().count("[jobs.")
    del loaded
    print(json.dumps({"s": elapsed_s, "cpu_s": cpu_s, "bytes": held_bytes, "jobs": jobs}))


if __name__ == "__main__":
    main()
