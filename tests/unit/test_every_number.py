"""Every number of the engine and the pool is a key of the job file, or is named here, with the reason."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import taskman_cli
from taskman_cli.core.clock import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(taskman_cli.__file__).parent
FILES = (
    *sorted((PACKAGE / "core/engine").glob("*.py")),
    PACKAGE / "scheduler/signals.py",
    PACKAGE / "scheduler/memory_sampler.py",
)

_SHOWN = "how much of a list people are shown"
_BOUND = "bounds what one step may cost; nobody would choose it"
_SERIES = "bounds of a histogram: series that change their labels cannot be compared with older ones"
_KERNEL = "a fact of the kernel's files"

#: The numbers that are no keys, by file and name.
REASONS = {
    "early.MOST_EARLY": "more gain nothing, and fewer start early by themselves where commands take longer",
    "early._MOMENT_NS": "half of what the supervisor waits; longer commands gain nothing",
    "admission._QUICKLY": "a part of admission_patience, which is a key",
    "admission._SLOWLY": "a multiple of admission_patience, which is a key",
    "answers.MOST_NAMED": _SHOWN,
    "answers.MOST_WAITS": _SHOWN,
    "answers.NEXT": _SHOWN,
    "attempts.KILL_PATIENCE_NS": "what KILL does not end, the kernel holds: no other number ends it sooner",
    "figures.MOST_COLLECTIONS": _BOUND,
    "figures.PORTION": _BOUND,
    "listing.MOST_ORDERS": _BOUND,
    "listing.PORTION": _BOUND,
    "listing._PASSED": _BOUND,
    "memory._MOST_LATEST": _BOUND,
    "memory._WORTH_RECORDING": "keeps a line of the ledger from being written for each run",
    "metrics.RECENT": _SHOWN,
    "news.MOST_LINES": _SHOWN,
    "parks.MOST_RUNS": _SHOWN,
    "policy.MAX_RERUNS": "a promise: a command that takes the machine down does not do so for ever",
    "policy.MAX_STEP_BACK_NS": "Debian cron's rule for clock changes",
    "portions.PORTION": _BOUND,
    "queue._SLACK": _BOUND,
    "runs._ID_LENGTH": "the form of a run's id, which the ledger has",
    "runs._STEP_BITS": "the form of a run's id, which the ledger has",
    "tallies.DELAYS_S": _SERIES,
    "tallies.DURATIONS_S": _SERIES,
    "timetable.MAX_CATCH_UPS": _BOUND,
    "timetable.MAX_PASSED": _BOUND,
    "timetable.MAX_WALKED": _BOUND,
    "statusline._NAME_MOST": _SHOWN,
    "waits.MOST_HOLDERS": _SHOWN,
    "signals.LIMITS_NS": "limits of the machine do not change while a person waits",
    "signals._MOST_BYTES": _KERNEL,
    "signals._NO_LIMIT": _KERNEL,
    "signals._FILES_EACH": "what the supervisor opens for a command",
    "signals._OWN_FILES": "what the supervisor opens for itself",
    "signals._PROCESSES_EACH": "an estimate that only max_workers, if it is set, can better",
    "memory_sampler._GROUP": _KERNEL,
    "memory_sampler._SESSION": _KERNEL,
    "memory_sampler._RESIDENT": _KERNEL,
}


def numbers() -> Iterator[str]:
    """Yield the constants of modules that are numbers."""
    for file in FILES:
        for statement in ast.parse(file.read_text("utf-8")).body:
            match statement:
                case ast.Assign(targets=targets, value=value):
                    names = [name for target in targets for name in ast.walk(target)]
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    names = [target]
                case _:
                    continue
            if _is_number(value):
                yield from (f"{file.stem}.{name.id}" for name in names if isinstance(name, ast.Name))


def _is_number(value: ast.expr) -> bool:
    if isinstance(value, ast.Tuple):
        return any(map(_is_number, value.elts))
    try:
        found = eval(compile(ast.Expression(value), "-", "eval"), {"SECOND_NS": SECOND_NS})
    except Exception:
        return False
    return isinstance(found, int | float) and not isinstance(found, bool)


def test_every_number_is_a_key_or_has_a_reason_not_to_be() -> None:
    assert set(numbers()) == REASONS.keys()


def test_the_list_is_short() -> None:
    assert len(REASONS) <= 40
