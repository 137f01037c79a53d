"""The latest results on record: what a view begins with."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from integration.ledger_tables import Written, wall

from taskman_cli.core.engine import effects
from taskman_cli.core.engine.metrics import Metrics
from taskman_cli.core.engine.runs import encode_run_id
from taskman_cli.core.model import Exit, SkipReason, State, Trigger
from taskman_cli.ledger.recent import read_recent

if TYPE_CHECKING:
    from pathlib import Path


def records(count: int) -> list[effects.Record]:
    """Return the records of runs that end, and of skips between them."""
    made: list[effects.Record] = []
    for number in range(count):
        run = encode_run_id((wall(number) >> 13) + 1)
        end = effects.AttemptFinished(
            run, "job", "main", 1, State.FAILED, "exit 3", Exit(exit_code=3), wall(number), 5
        )
        made += [
            effects.RunQueued(run, "job", None, Trigger.START, wall(number)),
            effects.AttemptBegun(run, "job", "main", 1, None),
            end,
            effects.RunFinished(run, "job", State.FAILED, None),
            effects.SlotsSkipped("job", wall(number), wall(number), 1, SkipReason.OVERLAP, "run x goes on"),
            effects.SlotsSkipped("job", wall(number), wall(number + 1), 7, SkipReason.MISSED, "late"),
            effects.SlotsSkipped("job", wall(number), wall(number + 1), None, SkipReason.MISSED, "late"),
            effects.SlotsSkipped("job", wall(number), wall(number), 1, SkipReason.DISABLED, "enabled"),
            effects.SlotsSkipped(
                "job", wall(number), wall(number), 9, SkipReason.MISSED,
                "the job was removed while taskman was not running", is_owed=True,
            ),
        ]  # fmt: skip
    return made


def test_what_is_read_back_is_what_the_view_showed(tmp_path: Path) -> None:
    written, metrics = Written(tmp_path), Metrics()
    metrics.fold(records(80))
    written.write(*records(80), at=90)
    assert read_recent(written.connection) == list(metrics.recent())
    written.close()


def test_a_line_that_nobody_can_read_is_left_out(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.write(*records(1), at=2)
    whole = {dataclasses.astuple(row) for row in read_recent(written.connection)}
    assert len(whole) == 4
    written.connection.execute("UPDATE events SET data = '[1' WHERE kind = 'skipped' AND data IS NOT NULL")
    written.connection.execute("UPDATE events SET state = 'danced' WHERE kind = 'ended'")
    left = {dataclasses.astuple(row) for row in read_recent(written.connection)}
    assert len(left) == 1
    assert left < whole
    written.close()
