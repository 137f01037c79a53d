"""Job files on their way to another process, which may be of another version."""

from __future__ import annotations

import marshal
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints
from zoneinfo import ZoneInfo

import pytest

from taskman_cli.core import model, schedule
from taskman_cli.core.model import Account, Execution, Group, Job, OnCrash, Output, Policy
from taskman_cli.jobfile import dump as dump_module
from taskman_cli.jobfile.dump import BadDump, compressed, dump, expanded, load_dump
from taskman_cli.jobfile.load import JobFile, loads
from taskman_cli.jobfile.problems import Problem

TEXT = """
[taskman]
timezone = "Europe/Stockholm"
restart_delay = "2s"
[pool]
max_workers = 3
[defaults]
timeout = "1h"
[jobs]
tidy = "@daily echo tidy"
again = "@daily echo again"
hashed = "H H * * * echo H"
boot = "@reboot echo up"
[jobs.every]
every = "90s"
every_from = "finish"
overlap = "replace"
on_crash = "rerun"
tags = ["a", "b"]
env = { A = "1", B = "ä" }
retry = { max = 3, exit_codes = [75, 76] }
[jobs.every.tasks]
one = ["printf", "%s", "x"]
two = { command = "echo 2", output = "discard", umask = "027", nice = 3, stdin = "in", inherit_env = ["A"] }
[jobs.once]
at = 2099-12-24T15:00:00+01:00
command = "true"
enabled = false
"""


def job_file() -> JobFile:
    """Return one that has something of everything."""
    read = loads(TEXT)
    account = Account("nobody", 65534, 65534, (65534, 100), "/nonexistent", "/")
    execution = Execution(user=account, group=Group("games", 60), cwd="/srv/caf\udce9")
    first = read.jobs[0]
    task = replace(first.tasks[0], command=b"caf\xe9".decode("utf-8", "surrogateescape"), execution=execution)
    note = Problem("jobs", 1, 2, "jobs.a", "odd", "a = 1")
    return replace(
        read,
        jobs=(*read.jobs, replace(first, id="odd", tasks=(task,))),
        files=(Path("/etc/jobs.toml"), Path("/etc/caf\udce9")),
        notes=(note,),
    )


def changed(data: bytes, change: Any) -> bytes:
    """Return what another version would have written: `change` gets the names of fields and the root."""
    number, names, root = marshal.loads(data)
    return marshal.dumps(change(number, names, root))


def without(name: str, field: str) -> Any:
    """Return a change that makes one class of another version lack a field."""

    def change(number: int, names: dict[str, tuple[str, ...]], root: Any) -> Any:
        index = names[name].index(field)

        def strip(value: Any) -> Any:
            if type(value) is dict:
                return {key: strip(item) for key, item in value.items()}
            if type(value) is not tuple:
                return value
            tag, *parts = value
            if tag == name:
                del parts[index]
            return (tag, *map(strip, parts))

        return number, names | {name: tuple(item for item in names[name] if item != field)}, strip(root)

    return change


def test_what_is_written_is_read_again() -> None:
    written = job_file()
    assert written == load_dump(dump(written))


def test_what_is_shared_is_shared_again() -> None:
    read = load_dump(dump(job_file()))
    tidy, again = read.jobs[:2]
    assert tidy.policy is again.policy
    assert tidy.schedule is again.schedule
    assert tidy.tasks[0].execution is again.tasks[0].execution


def test_only_types_that_every_version_knows_are_written() -> None:
    def kinds(value: Any) -> set[type]:
        found = {type(value)}
        for part in value.items() if type(value) is dict else value if type(value) is tuple else ():
            found |= kinds(part)
        return found

    assert kinds(marshal.loads(dump(job_file()))) == {tuple, dict, str, int, bool, float, type(None)}


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (kind, field.name)
        for kind in dump_module._CLASSES.values()
        for field in fields(kind)
        if field.default is not field.default_factory  # one of them is not MISSING
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_field_that_the_writer_did_not_have_gets_its_default(kind: Any, field: str) -> None:
    written = job_file()
    read = load_dump(changed(dump(written), without(kind.__name__, field)))
    assert len(written.jobs) == len(read.jobs)
    if (kind, field) == (Policy, "on_crash"):
        assert {job.policy.on_crash for job in read.jobs} == {OnCrash.REPORT}
    if (kind, field) == (Execution, "output"):
        assert {task.execution.output for job in read.jobs for task in job.tasks} == {Output.CAPTURE}
    if (kind, field) == (Job, "tags"):
        assert {job.tags for job in read.jobs} == {()}


def gained(number: int, names: dict[str, tuple[str, ...]], root: Any) -> Any:
    """Be a version whose settings have one more number."""
    tag, jobs, (settings, *values), *rest = root
    return (
        number,
        names | {"Settings": (*names["Settings"], "gained")},
        (tag, jobs, (settings, *values, 7), *rest),
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (gained, "gained"),
        (lambda number, names, root: (number + 1, names, root), "format 2, and this version reads 1"),
        (lambda number, names, root: (number, names, ("Calendar", 1)), "Calendar"),
        (lambda number, names, root: (number, names, ("enum", "Mode", "waltz")), "waltz"),
        (lambda number, names, root: (number, names, ("zone", "Moon/Tycho")), "Moon/Tycho"),
        (lambda number, names, root: (number, names, ("()",)), "tuple, not job files"),
        (lambda number, names, root: (number, names, 3), "int, not job files"),
        (lambda number, names, root: (number, names, ()), "unpack"),
        (lambda number, names, root: (number, {}, root), "KeyError"),
        (lambda number, names, root: "x", "unpack"),
        (without("Job", "schedule"), "schedule"),
    ],
    ids=[
        "field",
        "format",
        "class",
        "value",
        "zone",
        "tuple",
        "number",
        "empty",
        "names",
        "text",
        "required",
    ],
)
def test_what_cannot_be_taken_as_it_is_meant_is_refused(change: Any, words: str) -> None:
    with pytest.raises(BadDump, match=words):
        load_dump(changed(dump(job_file()), change))


@pytest.mark.parametrize("data", [b"", b"\x80\x04K\x01.", b"(", None, 3, "text", b"i\0\0\0\0"])
def test_what_is_nothing_of_the_kind_is_refused(data: object) -> None:
    with pytest.raises(BadDump):
        load_dump(data)


def test_one_that_was_cut_off_is_refused() -> None:
    data = dump(job_file())
    for length in range(0, len(data), 7):
        with pytest.raises(BadDump):
            load_dump(data[:length])


def test_all_that_a_job_is_made_of_can_be_written() -> None:
    """Fails for a field of a new type: teach `carried` that type."""
    known = {*dump_module._CLASSES.values(), *dump_module._ENUMS.values(), *dump_module._PLAIN}
    known |= {Path, ZoneInfo, schedule.Schedule, tuple, Any, ...}
    names = {"Schedule": schedule.Schedule, "Mapping": dict, "ZoneInfo": ZoneInfo} | vars(model)
    for kind in dump_module._CLASSES.values():
        for hint in get_type_hints(kind, localns=names).values():
            parts = {hint, *get_args(hint)}
            parts |= {inner for part in parts for inner in get_args(part)}
            strange = (
                {part for part in parts if isinstance(part, type) and not get_args(part)} - known - {dict}
            )
            assert set() == {part for part in strange if is_dataclass(part) or issubclass(part, Enum)}


def test_a_dump_is_kept_in_little_room_and_as_version_0_2_kept_it() -> None:
    dumped = dump(loads("".join(f"[jobs.j{n}]\nevery = '1h'\ncommand = 'echo {n}'\n" for n in range(2000))))
    kept = compressed(dumped)
    assert len(kept) < len(dumped) / 10
    assert (expanded(kept), expanded(dumped)) == (dumped, dumped)


@pytest.mark.parametrize("kept", [compressed(b"x" * 99)[:-3], b"x", None, 3, "x"], ids=repr)
def test_what_is_kept_and_cannot_be_expanded_is_a_bad_dump(kept: object) -> None:
    with pytest.raises(BadDump):
        expanded(kept)
