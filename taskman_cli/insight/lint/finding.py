"""A finding, and the names of all lints."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters."""

    #: Probably a mistake; `--strict` fails for it.
    WARNING = "warning"
    #: Worth knowing.
    INFO = "info"


#: The lint whose source line must not be shown.
UNSHOWN = "secret-in-command"

#: Every lint by name. Names are stable: `allow` comments use them.
LINTS: dict[str, Severity] = {
    "array-without-shell": Severity.WARNING,
    "bare-percent": Severity.WARNING,
    "clock-change": Severity.INFO,
    "dead-schedule": Severity.WARNING,
    "either-day": Severity.WARNING,
    "every-minute": Severity.WARNING,
    "expected-too-soon": Severity.WARNING,
    "herd": Severity.INFO,
    "idle-tz": Severity.WARNING,
    "limit-without-effect": Severity.WARNING,
    "look-alike": Severity.WARNING,
    "no-such-cwd": Severity.WARNING,
    "no-such-env-file": Severity.WARNING,
    "no-such-program": Severity.WARNING,
    "no-such-shell": Severity.WARNING,
    "not-in-sh": Severity.WARNING,
    "overlap-no-timeout": Severity.WARNING,
    "path-of-others": Severity.WARNING,
    "quartz-weekday": Severity.WARNING,
    UNSHOWN: Severity.WARNING,
    "slow-runs": Severity.WARNING,
    "uneven-step": Severity.WARNING,
    "unexpanded": Severity.WARNING,
    "unused-allow": Severity.WARNING,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One likely mistake in a job."""

    name: str
    job: str
    #: The job's file.
    source: str
    #: Path of the key, relative to the job.
    path: tuple[str, ...]
    message: str
    fix: str
    #: Where in the value, from 0, and for how many characters; None: all of it.
    offset: int | None = None
    length: int = 1

    @property
    def severity(self) -> Severity:
        """Return how much it matters."""
        return LINTS[self.name]
