"""Arguments and options of the commands that control a running scheduler: jobs, tasks, signals, variables."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

import click

from taskman_cli.cli.options.completions import complete_selected, complete_tags

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    F = TypeVar("F", bound=Callable[..., object])

#: Up to this many names are listed; of more, only the number.
_FEW = 8


class JobTask(NamedTuple):
    """A job, or one task of it."""

    job: str
    task: str | None


class JobTaskType(click.ParamType[JobTask]):
    """JOB or JOB.TASK."""

    name = "job"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> JobTask:
        """Split the two names; the scheduler checks whether they exist."""
        if isinstance(value, JobTask):
            return value
        job, dot, task = str(value).partition(".")
        if not job or (dot and not task):
            self.fail(f"{_quoted(str(value))} is neither JOB nor JOB.TASK", param, ctx)
        return JobTask(job, task if dot else None)


class VariableType(click.ParamType[tuple[str, str]]):
    """NAME=VALUE, for the environment."""

    name = "variable"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split name and value."""
        if isinstance(value, tuple):
            return value[0], value[1]
        name, equals, text = str(value).partition("=")
        if not equals:
            self.fail(f"{_quoted(name)} has no value: write NAME=value", param, ctx)
        if not (name.isascii() and name.isidentifier()):
            self.fail(
                f"{_quoted(name)} is not a valid variable name: use letters, digits and _, no digit first",
                param,
                ctx,
            )
        return name, text


class SignalType(click.ParamType[int]):
    """A signal by name, with or without SIG, or by number."""

    name = "signal"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number, or fail and suggest the nearest name."""
        text = str(value)
        if text.isdecimal() and text.isascii() and len(text) < 4:
            if int(text) not in signal.valid_signals():
                self.fail(f"{text} is not a valid signal: use 1 to {signal.SIGRTMAX}", param, ctx)
            return int(text)
        known = {member.name.removeprefix("SIG"): member.value for member in signal.Signals}
        name = text.upper().removeprefix("SIG")
        if name not in known:
            from taskman_cli.core.nearest import did_you_mean

            self.fail(f"{_quoted(text)} is not a valid signal{did_you_mean(name, known)}", param, ctx)
        return known[name]


def with_env(command: F) -> F:
    """Add the option `--env`, which may be repeated, as `variables`."""
    return click.option(
        "--env",
        "variables",
        type=VariableType(),
        multiple=True,
        metavar="NAME=VALUE",
        help="Set a variable in its environment. May be repeated.",
    )(command)


def with_selection(command: F) -> F:
    """Let a command select jobs by name, by tag, or all: `jobs`, `tags`, `is_all`."""
    jobs = click.argument("jobs", metavar="[JOB]...", nargs=-1, shell_complete=complete_selected)
    is_all = click.option("--all", "is_all", is_flag=True, help="All jobs.")
    tags = click.option(
        "--tag",
        "tags",
        multiple=True,
        metavar="TAG",
        shell_complete=complete_tags,
        help="All jobs with this tag. May be repeated.",
    )
    return jobs(is_all(tags(command)))


def check_selection(jobs: tuple[str, ...], tags: tuple[str, ...], *, is_all: bool) -> None:
    """Raise a usage error unless jobs are selected in exactly one way."""
    if (len(jobs) > 0) + (len(tags) > 0) + is_all != 1:
        message = "give job names, --tag or --all" + (", only one of these" if jobs or tags else "")
        raise click.UsageError(message, click.get_current_context())


def listed(names: list[str], what: str = "jobs") -> str:
    """List some names, or only their number if they are many."""
    return ", ".join(names) if len(names) <= _FEW else f"{len(names):,} {what}"


def _quoted(text: str) -> str:
    from taskman_cli.core.escapes import quoted

    return quoted(text)
