"""Write one job as a job file. TOML is UTF-8, so bytes that are not UTF-8 cannot be written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import has_odd_bytes, printable
from taskman_cli.errors import TaskmanError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def job_file(name: str, job: Mapping[str, Any], *, resources: Mapping[str, Any] | None = None) -> str:
    """Write a job as a job file of its own, with the resources that it draws on.

    Raises TaskmanError for bytes that are not UTF-8.
    """
    import tomli_w

    for key, text in _texts("", job):
        if has_odd_bytes(text):
            raise TaskmanError(
                f"{key} of {name} has bytes that are not UTF-8, which a job file cannot contain: "
                f'"{printable(text)}"; put the command into a script, or run it from a crontab'
            )
    pool = {"pool": {"resources": resources}} if resources else {}
    return tomli_w.dumps({**pool, "jobs": {name: job}})


def _texts(key: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield each text with its key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(f"{key}.{name}" if key else name, item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(key, item)
