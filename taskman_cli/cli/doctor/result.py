"""What a check comes to."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class CheckResult(NamedTuple):
    """How a check went, and how to fix it."""

    level: Level
    words: str
    fix: str = ""


def ok(words: str) -> CheckResult:
    """Say that all is well."""
    return CheckResult(Level.OK, words)


def warn(words: str, fix: str = "") -> CheckResult:
    """Say what may become a problem."""
    return CheckResult(Level.WARN, words, fix)


def fail(words: str, fix: str = "") -> CheckResult:
    """Say what is a problem."""
    return CheckResult(Level.FAIL, words, fix)


def worst(verdicts: Iterable[CheckResult], *, else_: CheckResult) -> CheckResult:
    """Put several findings of one check together: as bad as the worst, which is told first."""
    found = sorted(verdicts, key=lambda verdict: list(Level).index(verdict.level), reverse=True)
    if not found:
        return else_
    return CheckResult(
        found[0].level,
        "; ".join(verdict.words for verdict in found),
        "; ".join(verdict.fix for verdict in found if verdict.fix),
    )
