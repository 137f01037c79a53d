"""Lets the scheduler hang once; Python imports this at its start where it is on PYTHONPATH.

`TASKMAN_HANG` says how: "busy" and "asleep" at the first tick after the file `hang` is there; "timer": its
timers are never set again from then on; "lock": a tick waits for a lock that is never released. There is a
file `hung` then, and the next scheduler works; if `hang` has the pid of a supervisor, all of its schedulers
hang, and none of another one.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any


def _spoil() -> None:
    from taskman_cli.core.engine.engine import Engine
    from taskman_cli.scheduler.timers import Timer

    how, tick, set_timer = os.environ["TASKMAN_HANG"], Engine._tick, Timer.set
    mine: list[bool] = []
    lock = threading.Lock()

    def is_to_hang() -> bool:
        try:
            supervisor = Path("hang").read_text()
        except FileNotFoundError:
            return False
        return int(supervisor) == os.getppid() if supervisor else not Path("hung").exists()

    def is_hanging() -> bool:
        if not mine and is_to_hang():
            Path("hung").touch()
            mine.append(True)
        return bool(mine)

    def hang(self: Engine, event: Any, now: Any) -> None:
        while how == "lock" and is_hanging():
            with lock, lock:
                pass
        while how in ("busy", "asleep") and is_hanging():
            time.sleep(0 if how == "busy" else 1000)
        tick(self, event, now)

    def leave_out(self: Timer, at_ns: int | None) -> None:
        set_timer(self, None if how == "timer" and is_hanging() else at_ns)

    Engine._tick = hang  # type: ignore[method-assign]
    Timer.set = leave_out  # type: ignore[method-assign]


_is_scheduler = "taskman_cli.scheduler" in sys.orig_argv and "taskman_cli.supervisor" not in sys.orig_argv
if "TASKMAN_HANG" in os.environ and _is_scheduler:
    _spoil()
