"""`taskman doctor`: check the machine and the instance for problems.

All checks (`cli/doctor/`) run independently at the same time. A check that hangs, because of a dead disk or
a stopped scheduler, or that fails with an exception, becomes a line like any other.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import click

from taskman_cli import __version__
from taskman_cli.cli.doctor.result import CheckResult, Level, warn
from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.render import show, show_wrapped
from taskman_cli.errors import TaskmanError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Check = Callable[[], CheckResult]

#: The time limit of all checks together.
_PATIENCE_S = 6.0
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(
    "doctor",
    cls=Command,
    examples={
        "taskman doctor": "",
        "taskman doctor --json": "",
    },
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@with_running_directory
def doctor(*, directory: Path, as_json: bool) -> int:
    """Check the machine and this instance for problems.

    It prints one line per check: ok, warn or fail, and how to fix it. It changes nothing, and exits with 1 if
    a check fails.
    """
    verdicts = examine(checks_of(directory), patience_s=_PATIENCE_S)
    if as_json:
        rows = [{"check": name, **verdict._asdict()} for name, verdict in verdicts.items()]
        show(rows, (), as_json=True)
    else:
        show_wrapped(_rows(verdicts), colours=_COLOURS)
    return 1 if any(verdict.level is Level.FAIL for verdict in verdicts.values()) else 0


def _rows(verdicts: Mapping[str, CheckResult]) -> Iterator[tuple[str, ...]]:
    for name, verdict in verdicts.items():
        yield verdict.level.value, name, verdict.words + (f"; fix: {verdict.fix}" if verdict.fix else "")


def examine(checks: Mapping[str, Check], *, patience_s: float) -> dict[str, CheckResult]:
    """Run all checks at the same time, and return the result of each after at most `patience_s`."""
    found: dict[str, CheckResult] = {}
    threads = {
        name: threading.Thread(target=_make, args=(name, check, found), daemon=True)
        for name, check in checks.items()
    }
    for thread in threads.values():
        thread.start()
    until = time.monotonic() + patience_s
    for thread in threads.values():
        thread.join(max(0.0, until - time.monotonic()))
    silent = warn(f"no answer within {patience_s:g} s")
    # A copy, since late checks still write to it.
    done = dict(found)
    return {name: done.get(name, silent) for name in checks}


def _make(name: str, check: Check, found: dict[str, CheckResult]) -> None:
    try:
        found[name] = check()
    except TaskmanError as error:
        # The first line only: the check of the scheduler shows the place in a job file.
        found[name] = warn(f"could not be checked: {str(error).partition(chr(10))[0]}")
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        found[name] = warn(f"could not be checked: {error.strerror or error}{where}")
    except Exception as error:  # the boundary of one check: the others are reported anyway
        found[name] = warn(f"could not be checked: {type(error).__name__}: {error}")


def checks_of(directory: Path) -> dict[str, Check]:
    """Return the checks of the machine and of the instance with this state directory, in their order."""
    from pathlib import Path

    from taskman_cli.cli.doctor import (
        clock,
        duplicates,
        executors,
        groups,
        machine,
        scheduler,
        sharing,
        sinks,
        storage,
        systemd,
    )
    from taskman_cli.instance.directory import state_directory

    user, home, uid = *_account(), os.geteuid()
    base = state_directory(os.environ, is_root=uid == 0)
    return {
        "state": lambda: storage.judge_directory(storage.look_at_directory(directory), uid=uid),
        "ledger": lambda: storage.judge_ledger(storage.look_at_ledger(directory)),
        "scheduler": lambda: scheduler.judge_scheduler(
            scheduler.look_at_scheduler(directory), version=__version__
        ),
        "sinks": lambda: sinks.judge_sinks(sinks.look_at_sinks(directory), now_ns=time.time_ns()),
        "executors": lambda: executors.judge_executors(executors.look_at_executors(_pid(directory))),
        "clock": lambda: clock.judge_clock(clock.look_at_clock()),
        "zone": lambda: clock.judge_zones(clock.look_at_zones()),
        "limits": lambda: machine.judge_limits(machine.look_at_limits(_pid(directory))),
        "groups": lambda: groups.judge_groups(groups.look_at_groups(_pid(directory))),
        "sharing": lambda: sharing.judge_sharing(is_behind=sharing.has_autogroups(_pid(directory))),
        "mailer": lambda: machine.judge_mailer(machine.look_at_mailer()),
        "systemd": lambda: systemd.judge_services(
            systemd.look_at_services(user, home=Path(home), is_root=uid == 0), user=user
        ),
        "others": lambda: duplicates.judge_others(
            duplicates.look_at_others(user, pid=_pid(directory), base=base, directory=directory)
        ),
    }


def _pid(directory: Path) -> int | None:
    from taskman_cli.instance.lock import holder

    try:
        return holder(directory)
    except TaskmanError:
        return None  # another check reports it


def _account() -> tuple[str, str]:
    """Return the user's name and home directory."""
    import pwd

    try:
        entry = pwd.getpwuid(os.geteuid())
    except KeyError:  # a container's arbitrary uid
        return f"uid {os.geteuid()}", os.environ.get("HOME", "/")
    return entry.pw_name, entry.pw_dir
