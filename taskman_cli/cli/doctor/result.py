"""The result of a check."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Level(StrEnum):
    """The severity of a result."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class CheckResult(NamedTuple):
    """What a check found, and how to fix it."""

    level: Level
    words: str
    fix: str = ""


def ok(words: str) -> CheckResult:
    """Return a good result."""
    return CheckResult(Level.OK, words)


def warn(words: str, fix: str = "") -> CheckResult:
    """Return a result that may become a problem."""
    return CheckResult(Level.WARN, words, fix)


def fail(words: str, fix: str = "") -> CheckResult:
    """Return a result that is a problem."""
    return CheckResult(Level.FAIL, words, fix)


def worst(verdicts: Iterable[CheckResult], *, else_: CheckResult) -> CheckResult:
    """Combine several results of one check; the worst comes first and sets the level."""
    found = sorted(verdicts, key=lambda verdict: list(Level).index(verdict.level), reverse=True)
    if not found:
        return else_
    return CheckResult(
        found[0].level,
        "; ".join(verdict.words for verdict in found),
        "; ".join(dict.fromkeys(verdict.fix for verdict in found if verdict.fix)),
    )
