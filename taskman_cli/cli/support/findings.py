"""Findings with their places in the text, and the comments `# taskman: allow NAME` that suppress them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from taskman_cli.cli.options.crontabs import also
from taskman_cli.core.escapes import quoted
from taskman_cli.core.nearest import did_you_mean
from taskman_cli.insight.lint import LINTS, UNSHOWN, Finding, Severity
from taskman_cli.jobfile.crontab.source import CrontabSource
from taskman_cli.jobfile.places import problem_of_job
from taskman_cli.jobfile.positions import scan
from taskman_cli.jobfile.problems import Fault, Problem, TreePath
from taskman_cli.jobfile.source import LineIndex, Source

_ALLOW = re.compile(r"#[ \t]*taskman:[ \t]*allow[ \t]+(?P<names>[^\n#]*)")
#: Not reported for crontabs: the first cannot be changed there, the second is reported at SHELL.
_NOT_OF_CRONTABS = frozenset({"overlap-no-timeout", "no-such-shell"})
#: Findings about what a job lacks, and the key with which its file says that this is meant.
_MEANT_BY = {"overlap-no-timeout": "timeout"}
_NAME = re.compile(r"[^\s,]+")


class PlacedFinding(NamedTuple):
    """A finding with its place."""

    name: str
    severity: Severity
    problem: Problem
    fix: str
    #: Whether its line may be shown: it has no secret.
    is_shown: bool = True

    def render(self) -> str:
        """Return the finding in the format of errors."""
        message = f"{self.severity}: {self.problem.message}; {self.fix} [{self.name}]"
        shown = replace(self.problem, message=message).render()
        # Do not repeat a secret, least of all in the log of a CI.
        return shown if self.is_shown else shown.partition("\n")[0]


@dataclass(slots=True)
class _Allow:
    """One name in an `allow` comment."""

    name: str
    line: int
    start: int
    #: The comment is alone on its line, so it also applies to the next line.
    is_alone: bool
    is_used: bool = False


def place(findings: Iterable[Finding], sources: Sequence[Source]) -> list[PlacedFinding]:
    """Return findings with their places, without suppressed ones, and with unused `allow` comments."""
    by_source: dict[str, list[Finding]] = {}
    for finding in findings:
        by_source.setdefault(finding.source, []).append(finding)
    placed: list[PlacedFinding] = []
    for source in sources:
        allows = list(_allows(source))
        findings_here = by_source.get(str(source.path), ())
        secret = {_problem_of(one, source).line for one in findings_here if one.name == UNSHOWN}
        found = [
            one._replace(is_shown=one.problem.line not in secret)
            for finding in findings_here
            if not (finding.name in _NOT_OF_CRONTABS and isinstance(source, CrontabSource))
            and not _is_meant(finding, source)
            and (one := _placed(finding, source, allows)) is not None
        ]
        found = list({(one.name, one.problem): one for one in found}.values())
        found += _unused(source, allows)
        placed += sorted(found, key=lambda one: (one.problem.line, one.problem.column))
    return placed


def once(findings: Iterable[PlacedFinding]) -> list[PlacedFinding]:
    """Return the first of the findings in a file that say the same, with the lines of the others."""
    together: dict[tuple[str, str, str], list[PlacedFinding]] = {}
    for one in findings:
        together.setdefault((one.problem.file, one.name, one.problem.message), []).append(one)
    return [
        first._replace(
            problem=replace(
                first.problem,
                message=first.problem.message
                + also(first.problem.line, [other.problem.line for other in others]),
            )
        )
        for first, *others in together.values()
    ]


def _problem_of(finding: Finding, source: Source) -> Problem:
    """Return a finding with its place in the text."""
    fault = Fault(finding.path, finding.message, offset=finding.offset, length=finding.length)
    return problem_of_job(source, finding.job, fault)


def _is_meant(finding: Finding, source: Source) -> bool:
    """Tell whether the file itself says what a finding is about."""
    key = _MEANT_BY.get(finding.name)
    paths: list[TreePath] = [("jobs", finding.job, key), ("defaults", key)] if key else []
    return any(source.known(path) == (path, False) for path in paths)


def _placed(finding: Finding, source: Source, allows: Sequence[_Allow]) -> PlacedFinding | None:
    problem = _problem_of(finding, source)
    if allows:
        header = source.problem(Fault(("jobs", finding.job), "", at_key=True)).line
        matching = [
            allow for allow in allows if allow.name == finding.name and _reaches(allow, problem.line, header)
        ]
        for allow in matching:
            allow.is_used = True
        if matching:
            return None
    return PlacedFinding(finding.name, finding.severity, problem, finding.fix)


def _reaches(allow: _Allow, line: int, header: int) -> bool:
    """Tell whether a comment applies to a line, or to the job whose header is on a line."""
    return allow.line in (line, header) or (allow.is_alone and allow.line + 1 in (line, header))


def _allows(source: Source) -> Iterator[_Allow]:
    """Yield the names in `allow` comments; text in strings is not a comment."""
    text = source.text
    if "taskman:" not in text:
        return
    is_crontab = isinstance(source, CrontabSource)
    allowing = source.allowing if isinstance(source, CrontabSource) else frozenset()
    strings = [] if is_crontab else sorted(_strings(text))
    starts = [start for start, _ in strings]
    lines = [0, *(match.end() for match in re.finditer("\n", text))]
    for match in _ALLOW.finditer(text):
        at = match.start()
        line = bisect_right(lines, at)
        before = text[lines[line - 1] : at]
        nearest = bisect_right(starts, at) - 1
        is_in_string = nearest >= 0 and at < strings[nearest][1]
        if is_in_string or "#" in before or (is_crontab and before.strip()):
            continue
        names = {name[0]: name for name in _NAME.finditer(match["names"])}
        for name in names.values():
            is_used = (name[0], line) in allowing
            yield _Allow(name[0], line, match.start("names") + name.start(), not before.strip(), is_used)


def _strings(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of all values that are not tables or arrays."""
    stack = [scan(text)]
    while stack:
        node = stack.pop()
        if node.children:
            stack += node.children.values()
        elif node.value is not None and text[node.value[0]] not in "[{":
            yield node.value


def _unused(source: Source, allows: Sequence[_Allow]) -> Iterator[PlacedFinding]:
    unused = [allow for allow in allows if not allow.is_used]
    if not unused:
        return
    lines = LineIndex(str(source.path), source.text)
    for allow in unused:
        message = f"this comment suppresses no warning {quoted(allow.name)}"
        if allow.name not in LINTS:
            message = f"{quoted(allow.name)} is not the name of a warning{did_you_mean(allow.name, LINTS)}"
        problem = lines.problem(allow.start, allow.start + len(allow.name), message=message)
        yield PlacedFinding("unused-allow", LINTS["unused-allow"], problem, "remove it")
