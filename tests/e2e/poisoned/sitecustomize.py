"""Lets handlers of the scheduler raise; Python imports this at its start where it is on PYTHONPATH.

`TASKMAN_POISON` is a pattern of points, as `engine.Tick`. Each raises once: there is a file of its name in
the directory `TASKMAN_POISON_MARKS` then. With `TASKMAN_POISON_ALWAYS` it raises each time.
`TASKMAN_POISON_KILL`: it kills the process instead.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: Tables that an object has from its beginning, by the class: attribute and name.
OWNED = {
    "taskman_cli.core.engine.engine:Engine": ("_handlers", "engine"),
    "taskman_cli.core.engine.requests:Requests": ("_handlers", "request"),
    "taskman_cli.scheduler.requests.handlers:RequestHandlers": ("_handlers", "handler"),
    "taskman_cli.scheduler.loop:Loop": ("_driver.actions", "action"),
}
#: Tables of a module.
GLOBAL = {
    "taskman_cli.ledger.rows:_ADD": "record",
    "taskman_cli.ledger.markrows:_STATEMENTS": "record",
    "taskman_cli.scheduler.workers:_READERS": "message",
}


def _name(kind: str, key: Any) -> str:
    return f"{kind}.{getattr(key, '__name__', key)}"


def _poison(kind: str, table: dict[Any, Callable[..., Any]]) -> None:
    wanted, marks = os.environ["TASKMAN_POISON"], Path(os.environ["TASKMAN_POISON_MARKS"])
    for key, handler in list(table.items()):
        name = _name(kind, key)
        (marks / f"{name}.there").touch()
        if re.fullmatch(wanted, name):
            table[key] = _raising(handler, marks / name)


def _raising(handler: Callable[..., Any], mark: Path) -> Callable[..., Any]:
    is_lasting, is_deadly = "TASKMAN_POISON_ALWAYS" in os.environ, "TASKMAN_POISON_KILL" in os.environ

    def call(*args: Any, **options: Any) -> Any:
        if is_lasting or not mark.exists():
            with mark.open("a") as file:
                print(os.getpid(), file=file)
            if is_deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError(f"a fault in {mark.name} \udce9")
        return handler(*args, **options)

    return call


def _arm() -> None:
    if "TASKMAN_POISON" not in os.environ or "taskman_cli.scheduler" not in sys.orig_argv:
        return
    if "--" in sys.orig_argv:  # the supervisor: it has the scheduler's command line in its own
        return
    import importlib

    for path, (attribute, kind) in OWNED.items():
        module, _, name = path.partition(":")
        _poison_made(getattr(importlib.import_module(module), name), attribute, kind)
    from taskman_cli.scheduler.followup import FollowUp

    _poison_told(FollowUp)
    for path, kind in GLOBAL.items():
        module, _, name = path.partition(":")
        _poison(kind, getattr(importlib.import_module(module), name))


def _poison_made(owner: Any, attribute: str, kind: str) -> None:
    make = owner.__init__

    def init(self: Any, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        _poison(kind, attrgetter(attribute)(self))

    owner.__init__ = init


def _poison_told(owner: Any) -> None:
    """Poison what this one does with records; the driver has taken its functions into lists of all."""
    make = owner.__init__

    def init(self: Any, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        poisoned = dict(self.told)
        _poison("told", poisoned)
        for key, handler in self.told.items():
            functions = self._driver._followers[key]
            functions[functions.index(handler)] = poisoned[key]

    owner.__init__ = init


_arm()
