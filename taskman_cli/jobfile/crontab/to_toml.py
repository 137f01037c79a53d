"""A crontab as the text of an equivalent job file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.escapes import printable
from taskman_cli.jobfile.crontab.tables import command_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskman_cli.jobfile.crontab.parse import BadLine, Crontab
    from taskman_cli.jobfile.crontab.tables import Converted

#: How cron's behaviour, which the jobs keep, differs from taskman's defaults.
_CRON_WAYS = (
    "As under cron: a minimal environment, commands start in the home directory, runs of a job may overlap,",
    "and missed runs are not caught up. Remove what you do not need.",
)


def to_toml(crontab: Crontab, converted: Converted, *, name: str, left_out: Sequence[BadLine] = ()) -> str:
    """Write the job file; `left_out` are lines that become comments only."""
    import tomli_w  # imported late: only conversions need it

    body = tomli_w.dumps(converted.tables)
    comments = "".join(
        f"# {printable(line)}".rstrip() + "\n" for line in _head(crontab, converted, name, left_out)
    )
    return comments + (f"\n{body}" if body else "")


def _head(crontab: Crontab, converted: Converted, name: str, left_out: Sequence[BadLine]) -> Iterator[str]:
    """Yield the lines of the comment at the top."""
    yield f"Made from {name} by taskman import."
    if converted.tables:
        yield from _CRON_WAYS
    for note in converted.notes:
        yield f"Line {note.line}: {note.message}."
    for entry in crontab.entries:
        if entry.parsed.expression is None or not command_of(entry).strip():
            yield f"Line {entry.line} runs nothing and is left out: {entry.text.strip()}"
    for bad in left_out:
        yield f"Line {bad.line} is left out ({bad.error}): {bad.text.strip()}"
        for entry in bad.below:
            yield f"Line {entry.line} is left out with it: {entry.text.strip()}"
    if crontab.comments:
        yield ""
        yield from crontab.comments
