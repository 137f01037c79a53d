"""Opens the ledger: a scheduler that others have gone before waits where it cannot be written.

Commands run meanwhile, and nobody wants to start the program anew: as in the loop, writing is tried each
second. To end, and be started again after growing pauses, would take longer once there is room on the disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine import effects
from taskman_cli.core.timespec import format_rough
from taskman_cli.ledger.store import LedgerUnwritable
from taskman_cli.scheduler.logs.loggers import ledger_log
from taskman_cli.scheduler.recorder import RETRY_NS, UNWRITABLE, WRITABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.clock import Now
    from taskman_cli.ledger.ledger import Ledger
    from taskman_cli.scheduler.workers import Workers


def open_when_writable(
    make: Callable[[], Ledger], workers: Workers, read_clocks: Callable[[], Now]
) -> tuple[Ledger, tuple[effects.SchedulerNoted, ...]]:
    """Return the ledger, and what is to be noted of the time in which it could not be written.

    Raises LedgerUnwritable if this process is told to end meanwhile: the supervisor does without.
    """
    since, why = None, ""
    while True:
        try:
            ledger = make()
        except LedgerUnwritable as error:
            if since is None:
                since, why = read_clocks(), str(error)
                ledger_log.critical(UNWRITABLE, why, extra={"event": "ledger_unwritable"})
                workers.report("status", UNWRITABLE % why)
            until_ns = read_clocks().elapsed_ns + RETRY_NS
            while (left_ns := until_ns - read_clocks().elapsed_ns) > 0:
                workers.rest(left_ns / SECOND_NS)
                if workers.is_signalled:
                    raise
            continue
        if since is None:
            return ledger, ()
        length = format_rough(read_clocks().elapsed_ns - since.elapsed_ns)
        ledger_log.warning("%s", WRITABLE % length, extra={"event": "ledger_writable"})
        begin = effects.SchedulerNoted("ledger_unwritable", why, since.wall_ns)
        return ledger, (begin, effects.SchedulerNoted("ledger_writable"))
