"""Which values the ledger's columns can have: no version of taskman has written any other.

A damaged page, or somebody who edits the file, can put any type into any column, whatever the schema says.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine.runs import decode_run_id
from taskman_cli.core.model import State, Trigger
from taskman_cli.core.pause import Park, Pause
from taskman_cli.ledger.failures import failures_from

if TYPE_CHECKING:
    from collections.abc import Container

#: The latest instant (in the year 2116): steps of the clock can still be added to it.
MOST_NS = 2**62
#: The highest number of a run that can be written as an id.
MOST_RUN = 2**50 - 1
#: The highest number of a row: later rows need room above it.
MOST_ROW = 2**60
#: No schedule's next slot is further away: 29 February comes every eight years at least.
_FARTHEST_SLOT_NS = 30 * 366 * 86_400 * 1_000_000_000
_MOST_COUNT = 2**53
_MOST_PID = 2**31 - 1
#: No machine has as much memory.
_MOST_BYTES = 2**53
#: In a definition, where a time may be in the year 9999.
_MOST_NUMBER = 2**80

#: Names of jobs and tasks.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")
_STATES, _TRIGGERS = frozenset(State), frozenset(Trigger)
_OPEN = frozenset({State.QUEUED, State.RUNNING})
_ENDINGS = frozenset({State.TIMED_OUT, State.CANCELLED})


#: How `repr` shows a byte that is not UTF-8.
_BYTE = re.compile(r"\\udc([89a-f][0-9a-f])")


class BadValue(ValueError):
    """Say which value cannot be read."""


def check(is_good: bool, column: str, value: object) -> None:
    """Raise BadValue unless a value is good."""
    if not is_good:
        raise BadValue(f"{column} is {shown(value)}")


def shown(value: object) -> str:
    """Return a value in a few characters that can be written anywhere."""
    text = repr(value)
    text = text[:40] + "..." if len(text) > 43 else text
    return _BYTE.sub(r"\\x\1", text.encode("ascii", "backslashreplace").decode())


def is_int(value: object, least: int, most: int) -> bool:
    """Tell whether a value is a whole number between two."""
    return type(value) is int and least <= value <= most


def is_instant(value: object) -> bool:
    """Tell whether a value is a time."""
    return is_int(value, -MOST_NS, MOST_NS)


def is_instant_or_none(value: object) -> bool:
    """Tell whether a value is a time, or there is none."""
    return value is None or is_instant(value)


def is_name(value: object) -> bool:
    """Tell whether a value is the name of a job or a task."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def is_state(value: object) -> bool:
    """Tell whether a value is a state of a run or an attempt."""
    return isinstance(value, str) and value in _STATES


def is_trigger(value: object) -> bool:
    """Tell whether a value says what made a run."""
    return isinstance(value, str) and value in _TRIGGERS


def parsed(text: object) -> Any:
    """Return the value of a JSON text. Raises ValueError for other text, and for too many brackets."""
    if not isinstance(text, str):
        raise ValueError("no text")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("too deep") from None


def is_texts(value: object) -> bool:
    """Tell whether a value is an object of texts only."""
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


# --- rows ---


def check_job(row: dict[str, Any], *, now_ns: int) -> None:
    """Raise BadValue for a row of `job_state` that the scheduler cannot use."""
    is_far = row["taken_ns"] is not None and not is_int(row["taken_ns"], 0, now_ns + _FARTHEST_SLOT_NS)
    check(not is_far, "taken_ns", row["taken_ns"])  # there would never be a slot
    check(_is_definition(row["definition"]), "definition", row["definition"])
    for column in ("since_ns", "anchor_ns"):
        check(is_instant(row[column]), column, row[column])
    for column in ("finish_ns", "removed_ns", "taken_ns"):
        check(is_instant_or_none(row[column]), column, row[column])
    check(is_int(row["run_count"], 0, _MOST_COUNT), "run_count", row["run_count"])
    seq = row["removed_seq"]
    check(seq is None or is_int(seq, 0, MOST_ROW), "removed_seq", seq)
    check(row["pause"] is None or _is_pause(row["pause"]), "pause", row["pause"])
    check(row["failures"] is None or _is_failures(row["failures"]), "failures", row["failures"])
    check(row["expected"] is None or _is_expected(row["expected"]), "expected", row["expected"])
    check(row["hidden"] is None or _is_hidden(row["hidden"]), "hidden", row["hidden"])


def check_run(row: dict[str, Any], *, jobs: frozenset[object], attempts: int) -> None:
    """Raise BadValue for a row of `runs` that the scheduler cannot continue.

    `jobs`: the numbers of all jobs; `attempts`: how many attempts the run has.
    """
    check(is_state(row["state"]), "state", row["state"])
    check(is_trigger(row["trigger"]), "trigger", row["trigger"])
    check(row["job"] in jobs, "job", row["job"])
    check(is_instant_or_none(row["slot_ns"]), "slot_ns", row["slot_ns"])
    check(is_int(row["is_cancelled"], 0, 1), "is_cancelled", row["is_cancelled"])
    for column in ("due_ns", "queued_ns"):
        check(is_instant(row[column]), column, row[column])
    for column in ("begun_ns", "ended_ns", "moved_ns", "slow_ns", "told_ns"):
        check(is_instant_or_none(row[column]), column, row[column])
    check(row["task"] is None or is_name(row["task"]), "task", row["task"])
    check(row["params"] is None or _is_params(row["params"]), "params", row["params"])
    seq = row["ended_seq"]
    check(seq is None or is_int(seq, 0, MOST_ROW), "ended_seq", seq)
    is_over = row["state"] not in _OPEN
    check(is_over or (seq is None and row["ended_ns"] is None), "state", row["state"])
    # A run that has begun but has no attempt would count as waiting, and begin again.
    has_begun = row["state"] == State.RUNNING or row["begun_ns"] is not None
    check(is_over or attempts > 0 or not has_begun, "the number of attempts", attempts)


def check_attempt(row: dict[str, Any]) -> None:
    """Raise BadValue for a row of `attempts` that the scheduler cannot continue."""
    check(is_name(row["task"]), "task", row["task"])
    check(is_int(row["number"], 1, MOST_ROW), "number", row["number"])
    check(is_state(row["state"]), "state", row["state"])
    check(is_int(row["supervisor"], 0, MOST_NS), "supervisor", row["supervisor"])
    check(is_instant(row["begun_ns"]), "begun_ns", row["begun_ns"])
    check(row["pid"] is None or is_int(row["pid"], 1, _MOST_PID), "pid", row["pid"])
    # An attempt that has a process would count as never started.
    for column in ("started_ns", "started_elapsed_ns") if row["handle"] is None else ():
        check((row[column] is None) == (row["pid"] is None), column, row[column])
    check(row["handle"] is None or is_plain(row["handle"]), "handle", row["handle"])
    check(row["ending"] is None or row["ending"] in _ENDINGS, "ending", row["ending"])
    is_over = row["state"] not in _OPEN
    check(is_over == (row["ended_ns"] is not None), "ended_ns", row["ended_ns"])
    for column in (
        "started_ns", "started_elapsed_ns", "ended_ns", "next_ns", "told_ns", "told_elapsed_ns", "stop_ns",
        "stop_elapsed_ns", "stopped_for_ns",
    ):  # fmt: skip
        check(is_instant_or_none(row[column]), column, row[column])
    check(row["holds"] is None or _is_amounts(row["holds"]), "holds", row["holds"])


def check_standing(row: dict[str, Any]) -> None:
    """Raise BadValue for a row of `standing`."""
    for column in ("accounted_ns", "offset_ns"):
        check(is_instant_or_none(row[column]), column, row[column])
    check(row["boot"] is None or is_plain(row["boot"]), "boot", row["boot"])
    check(row["supervisor"] is None or is_int(row["supervisor"], 0, MOST_NS), "supervisor", row["supervisor"])
    check(is_int(row["last_run"], 0, MOST_RUN), "last_run", row["last_run"])
    check(row["timezone"] is None or is_plain(row["timezone"]), "timezone", row["timezone"])


def problem_of_rate(row: dict[str, Any]) -> str:
    """Say what is wrong with a row of `rates`; "": nothing."""
    try:
        check(row["resource"] != "" and is_plain(row["resource"]), "resource", row["resource"])
        for column in ("full_ns", "full_elapsed_ns"):
            check(is_int(row[column], -MOST_NS, 2 * MOST_NS), column, row[column])
    except BadValue as error:
        return str(error)
    return ""


def problem_of_need(row: dict[str, Any], *, jobs: Container[object]) -> str:
    """Say what is wrong with a row of `needs`; "": nothing."""
    try:
        check(is_int(row["job"], 1, MOST_ROW) and row["job"] in jobs, "job", row["job"])
        check(is_name(row["task"]), "task", row["task"])
        check(is_int(row["need_bytes"], 1, _MOST_BYTES), "need_bytes", row["need_bytes"])
    except BadValue as error:
        return str(error)
    return ""


def _is_amounts(text: object) -> bool:
    """Tell whether a text is what an attempt holds of the resources."""
    try:
        amounts = parsed(text)
    except ValueError:
        return False
    return isinstance(amounts, dict) and all(
        is_plain(name) and is_int(amount, 1, MOST_NS) for name, amount in amounts.items()
    )


def is_plain(value: object) -> bool:
    """Tell whether a value is a short, printable text."""
    return isinstance(value, str) and len(value) < 200 and value.isascii() and value.isprintable()


def _is_definition(text: object) -> bool:
    """Tell whether a text is a definition; another version may write what this one does not know."""
    if text == "{}":  # of a job that was never armed
        return True
    try:
        values = parsed(text)
    except ValueError:
        return False
    if not isinstance(values, dict) or not values.keys() & {"cron", "every_ns", "at_ns", "reboot"}:
        return False
    numbers = [value for key, value in values.items() if key.endswith("_ns") or key == "max_runs"]
    return (
        all(is_int(number, -_MOST_NUMBER, _MOST_NUMBER) for number in numbers)
        and values.get("every_ns", 1) > 0
        and all(isinstance(values.get(key, ""), str) for key in ("cron", "timezone"))
    )


def is_run(text: str) -> bool:
    """Tell whether a text is a possible id of a run."""
    try:
        return 0 < decode_run_id(text) <= MOST_RUN
    except ValueError:
        return False


def _is_pause(text: object) -> bool:
    try:
        pause = Pause(**parsed(text))
    except (TypeError, ValueError):
        return False
    return (
        is_instant(pause.since_ns)
        and is_instant_or_none(pause.until_ns)
        and is_instant_or_none(pause.left_ns)
        and isinstance(pause.reason, str)
        and isinstance(pause.by, str)
        and isinstance(pause.is_until, bool)
        and (pause.stops_to is None or is_int(pause.stops_to, 0, MOST_RUN))
    )


def _is_failures(text: object) -> bool:
    try:
        values = parsed(text)
        failures = failures_from(json.dumps(values))
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    if failures is None:
        return False
    park = failures.park
    return (
        is_int(failures.count, 0, _MOST_COUNT)
        and all(isinstance(run, str) and is_run(run) for run in failures.runs)
        and isinstance(failures.definition, str)
        and (park is None or _is_park(park))
    )


def _is_park(park: Park) -> bool:
    return (
        is_instant(park.since_ns)
        and is_instant_or_none(park.until_ns)
        and isinstance(park.reason, str)
        and isinstance(park.trial, str)
        and (park.trial == "" or is_run(park.trial))
    )


def _is_expected(text: object) -> bool:
    try:
        found = parsed(text)
    except ValueError:
        return False
    if not isinstance(found, list) or len(found) != 2:
        return False
    since_ns, told_ns = found
    return is_instant(since_ns) and is_instant_or_none(told_ns)


def _is_hidden(text: object) -> bool:
    try:
        hidden = parsed(text)
    except ValueError:
        return False
    return hidden is True or (isinstance(hidden, list) and all(isinstance(task, str) for task in hidden))


def _is_params(text: object) -> bool:
    try:
        return is_texts(parsed(text))
    except ValueError:
        return False
