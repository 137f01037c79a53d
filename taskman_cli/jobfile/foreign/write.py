"""Imported files as the text of one job file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.jobfile.foreign.imported import SHARED, Imported, Table, comment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from taskman_cli.jobfile.problems import Problem


def to_toml(files: Sequence[Imported]) -> str:
    """Write the job file: what is to be said about each file, what all jobs share, and the jobs."""
    import tomli_w  # imported late: only conversions need it

    tables = {name: job for one in files for name, job in one.jobs.items()}
    defaults, jobs = _factored(tables)
    ways = dict.fromkeys(one.ways for one in files if one.jobs)
    lines = [line for one in files for line in _head(one)]
    lines[1:1] = [line for way in ways for line in way] if len(files) == 1 else []
    lines += [line for way in ways for line in ("", *way)] if len(files) > 1 else []
    parts = ["".join(map(comment, lines))]
    if defaults:
        parts.append(tomli_w.dumps({"defaults": defaults}))
    for one in files:
        for at, name in enumerate(one.jobs):
            title = comment(f"--- {one.path}") if at == 0 and len(files) > 1 else ""
            remarks = "".join(comment(text) for text in one.remarks.get(name, ()))
            parts.append(title + remarks + tomli_w.dumps({"jobs": {name: jobs[name]}}))
    return "\n".join(part for part in parts if part)


def with_comments(text: str, comments: Mapping[int, Sequence[str]]) -> str:
    """Insert lines of comments above lines of a text, which are counted from 1."""
    lines = text.split("\n")
    for number in sorted(comments, reverse=True):
        lines[number - 1 : number - 1] = [comment(words).rstrip("\n") for words in comments[number]]
    return "\n".join(lines)


def rows(one: Imported) -> Iterator[dict[str, Any]]:
    """Yield what `import --json` prints of a file: lines or jobs, and what is said about them."""
    if one.rows:
        yield from one.rows
    else:
        yield from ({"line": one.lines[name], "job": name, **job} for name, job in one.jobs.items())
        yield from ({"line": bad.line, "error": bad.message} for bad in one.problems)
    for note in (*one.notes, *one.warnings):
        yield {"line": note.line, "warning": note.message} | ({"job": note.key} if note.key else {})


def _head(one: Imported) -> Iterator[str]:
    """Yield the lines of the comment at the top."""
    yield f"Made from {one.path} by taskman import."
    # What is said at a job is not repeated here.
    yield from (f"{_where(note)}{note.message}." for note in one.notes if not note.key)
    yield from (f"{_where(bad)}left out: {bad.message}." for bad in one.problems if not one.is_told)
    if one.comments:
        yield ""
        yield from one.comments


def _where(problem: Problem) -> str:
    return f"Line {problem.line}: " if problem.line else ""


def _factored(tables: Mapping[str, Table]) -> tuple[Table, dict[str, Table]]:
    """Return the defaults, and what is left of each job."""
    if not tables:
        return {}, {}
    all_tables = list(tables.values())
    first = all_tables[0]
    defaults: dict[str, Any] = {
        key: first[key]
        for key in SHARED
        if key in first and all(key in table and table[key] == first[key] for table in all_tables)
    }
    env = {
        name: value
        for name, value in first.get("env", {}).items()
        if all(table.get("env", {}).get(name) == value for table in all_tables)
    }
    jobs = {}
    for name, table in tables.items():
        jobs[name] = {key: value for key, value in table.items() if key not in defaults and key != "env"}
        own = {key: value for key, value in table.get("env", {}).items() if key not in env}
        if own:
            jobs[name]["env"] = own
    return defaults | ({"env": env} if env else {}), jobs
