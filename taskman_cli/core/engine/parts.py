"""The part of the engine that it can do without: the gate of `admission = "auto"`, with what it has learned.

What raises in it raises for no single job, and would in the next scheduler too. So that one does without it.
"""

from __future__ import annotations

#: Where the gate is, and the method of the pool that asks it.
_MODULES = frozenset(f"taskman_cli.core.engine.{name}" for name in ("admission", "books", "memory", "target"))
_ASKS = "_take_admitted"


def is_of_gate(error: BaseException) -> bool:
    """Tell whether an error was raised in the gate, or in what the gate has called.

    The traceback says it. So nothing has to be caught on the way, which would cost each start of a command.
    """
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_globals.get("__name__") in _MODULES or frame.f_code.co_name == _ASKS:
            return True
        traceback = traceback.tb_next
    return False
