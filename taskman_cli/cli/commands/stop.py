"""`taskman stop`: stop taskman, after its commands or at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.duration import Duration
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.render import say
from taskman_cli.cli.support.polling import OutputPoll
from taskman_cli.cli.support.scheduler_client import ask, note_if_interrupted
from taskman_cli.control.client import SILENCE_S
from taskman_cli.core.protocol import Stop
from taskman_cli.errors import SchedulerUnresponsive

if TYPE_CHECKING:
    from pathlib import Path

_POLL_S = 0.05
#: The value of `--drain` without a duration in a request.
_FOREVER_NS = -1


class DrainDuration(Duration):
    """A duration, or no value for no limit."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the duration."""
        return _FOREVER_NS if value == _FOREVER_NS else super().convert(value, param, ctx)


@click.command(
    "stop",
    cls=Command,
    examples={
        "taskman stop": "",
        "taskman stop --drain 10m": "give running commands 10 minutes to finish",
        "taskman stop --now": "kill them at once",
    },
)
@click.option(
    "--drain",
    "drain_ns",
    type=DrainDuration(),
    is_flag=False,
    flag_value=_FOREVER_NS,
    metavar="[DUR]",
    help="First let running commands finish, for at most this long (default: without a limit).",
)
@click.option("--now", is_flag=True, help="Kill running commands at once.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it has exited.")
@with_running_directory
def stop(*, directory: Path, drain_ns: int | None, now: bool, no_wait: bool) -> None:
    """Stop taskman and wait until it has exited.

    No new command starts. Running commands get their `kill_signal`, then SIGKILL after `kill_timeout`. Queued
    runs are kept for the next start.
    """
    from taskman_cli.instance.lock import holder
    from taskman_cli.instance.silence import STOPPED, in_words, state_of

    if now and drain_ns is not None:
        raise click.UsageError("give --drain or --now, not both", click.get_current_context())
    pid = holder(directory)
    running = ask(directory, Stop(drain_ns=drain_ns, now=now))["running"]
    what = "1 command" if running == 1 else f"{running:,} commands"
    are = "is" if running == 1 else "are"
    fate = f"{are} being ended" if drain_ns is None else "may finish"
    poll = OutputPoll(_POLL_S)
    with note_if_interrupted("taskman is still stopping"):
        say(f"stopping: {what} {fate}" if running else "stopping")
        if no_wait:
            return
        # Another pid: something, such as systemd, has already started it again.
        stopped = 0
        while pid is not None and holder(directory) == pid:
            stopped = stopped + 1 if state_of(pid) in STOPPED else 0
            if stopped * _POLL_S > SILENCE_S:
                raise SchedulerUnresponsive(in_words(pid, what="supervisor"))
            poll.wait()
