"""Likely mistakes in valid job files: findings from jobs alone, without source text or I/O."""

from taskman_cli.insight.lint.arrays import lint_array
from taskman_cli.insight.lint.environment import (
    lint_durations,
    lint_missing,
    lint_program,
    lint_search_path,
    program_of,
)
from taskman_cli.insight.lint.finding import LINTS, UNSHOWN, Finding, Severity
from taskman_cli.insight.lint.jobs import lint_jobs
from taskman_cli.insight.lint.limits import lint_limits
from taskman_cli.insight.lint.shells import lint_shell

__all__ = [
    "LINTS",
    "UNSHOWN",
    "Finding",
    "Severity",
    "lint_array",
    "lint_durations",
    "lint_jobs",
    "lint_limits",
    "lint_missing",
    "lint_program",
    "lint_search_path",
    "lint_shell",
    "program_of",
]
