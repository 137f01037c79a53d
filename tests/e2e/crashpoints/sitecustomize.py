"""Kills a process of taskman at a named point; Python imports this at its start where it is on PYTHONPATH.

`TASKMAN_CRASH_POINT=NAME:COUNT` names the point, and which time it is reached; each process counts anew.
The file `TASKMAN_CRASH_ONCE` is made at the crash, and where it is there, nothing crashes any more. With
`TASKMAN_PORTION=N` a scheduler decides on N jobs a turn.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def _crash(once: Path) -> None:
    once.touch()
    os.kill(os.getpid(), signal.SIGKILL)


def _patch(
    owner: Any, name: str, count: int, once: Path, *, after: bool = False, in_herd: bool = False
) -> None:
    """Let a method kill the process at its count-th call, before it or after.

    `in_herd`: only calls between two portions of a herd count.
    """
    method: Callable[..., Any] = getattr(owner, name)
    left = count

    def wrapper(*args: Any, **options: Any) -> Any:
        nonlocal left
        if in_herd and args[0].next_due is None:
            return method(*args, **options)
        left -= 1
        if left == 0 and not after:
            _crash(once)
        result = method(*args, **options)
        if left == 0 and after:
            _crash(once)
        return result

    setattr(owner, name, wrapper)


def _point(name: str) -> tuple[Any, str, bool]:
    """Return the owner and the name of a method, and whether it is after it."""
    kind, _, point = name.partition(".")
    if kind == "scheduler":
        from taskman_cli.core.engine.engine import Engine
        from taskman_cli.core.engine.portions import Portions
        from taskman_cli.ledger.ledger import Ledger
        from taskman_cli.ledger.rows import Rows
        from taskman_cli.ledger.writer import Writer
        from taskman_cli.scheduler.workers import Workers

        return {
            "opened": (Ledger, "__init__", True),
            "jobs-loaded": (Engine, "handle_all", True),
            "in-herd": (Portions, "tick", False),
            "before-commit": (Writer, "write", False),
            "in-transaction": (Rows, "store", True),
            "after-commit": (Writer, "write", True),
            "before-flush": (Workers, "flush", False),
            "after-flush": (Workers, "flush", True),
        }[point]
    from taskman_cli.supervisor.children import Children
    from taskman_cli.supervisor.early import EarlyStarts
    from taskman_cli.supervisor.loop import Supervisor

    return {
        "before-spawn": (Children, "start", False),
        "after-spawn": (Children, "start", True),
        "before-reap": (Supervisor, "_reap", False),
        "after-reap": (Children, "reaped", True),
        "before-told": (Supervisor, "_speak", False),
        "after-held": (EarlyStarts, "_hold", True),
    }[point]


#: It is reached only if several jobs are due at once.
HERD = "scheduler.in-herd"
#: It is reached only if starts are asked for early.
HELD = "supervisor.after-held"
POINTS = (
    *("scheduler.opened", "scheduler.jobs-loaded", "scheduler.before-commit", "scheduler.in-transaction"),
    *("scheduler.after-commit", "scheduler.before-flush", "scheduler.after-flush"),
    *("supervisor.before-spawn", "supervisor.after-spawn", "supervisor.before-reap", "supervisor.after-reap"),
    "supervisor.before-told",
    HELD,
    # Last, one of the scheduler: the stop that ends it all comes while that dies, and loses nothing.
    HERD,
)


def _ask_early() -> None:
    """Let the scheduler ask for starts early, however long commands take on a busy machine."""
    from taskman_cli.core.engine.early import Early

    Early.has_room = lambda self, _: self.is_possible and len(self.attempts) < 16  # type: ignore[method-assign]


def _set_portion() -> None:
    """Let the scheduler decide on few jobs a turn."""
    if portion := os.environ.get("TASKMAN_PORTION"):
        from taskman_cli.core.engine import portions

        portions.PORTION = int(portion)


def _arm() -> None:
    # The supervisor's own command line has the scheduler's in it, behind the two dashes.
    own = sys.orig_argv[: sys.orig_argv.index("--")] if "--" in sys.orig_argv else sys.orig_argv
    if "taskman_cli.scheduler" in own:
        _set_portion()
    wanted, once = os.environ.get("TASKMAN_CRASH_POINT"), os.environ.get("TASKMAN_CRASH_ONCE")
    if not wanted or not once or Path(once).exists():
        return
    name, _, count = wanted.partition(":")
    module = "taskman_cli.scheduler" if name.startswith("scheduler.") else "taskman_cli.supervisor"
    if name == HELD and "taskman_cli.scheduler" in own:
        _ask_early()
    if module in own:
        owner, method, after = _point(name)
        _patch(owner, method, int(count), Path(once), after=after, in_herd=name == HERD)


_arm()
