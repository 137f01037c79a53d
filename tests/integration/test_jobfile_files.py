"""Job files on disk: directories, includes, several at once, and files that cannot be read."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NoReturn
from zoneinfo import ZoneInfoNotFoundError

import pytest

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.model import Resource
from taskman_cli.core.schedule import CronSchedule
from taskman_cli.errors import ScheduleError
from taskman_cli.jobfile import JobFile, JobFileError, Problem, load, settings
from taskman_cli.trust import Trust

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths in the tests are as a user would type them, and the zone is the machine's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TZ", raising=False)


def write(name: str, text: str | bytes) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems(*paths: Path) -> tuple[Problem, ...]:
    with pytest.raises(JobFileError) as caught:
        load(paths, timezone="UTC")
    return caught.value.problems


def ids(loaded: JobFile) -> list[str]:
    return [job.id for job in loaded.jobs]


def names(loaded: JobFile) -> list[str]:
    return [str(path) for path in loaded.files]


def test_includes_are_read_in_order_of_name_and_each_file_once() -> None:
    main = write(
        "jobs.toml", "[taskman]\ninclude = ['jobs.d/*.toml', 'jobs.d/b.toml', 'extra.toml', 'no*']\n"
    )
    write("jobs.d/b.toml", "[taskman]\ninclude = ['../jobs.toml', 'deep/c.toml']\n[jobs]\nb = '@daily b'")
    write("jobs.d/a.toml", "[jobs]\na = '@daily a'")
    write("jobs.d/.hidden.toml", "broken")
    write("jobs.d/deep/c.toml", "[jobs.c]\ncommand = 'c'\nevery = '1m'\ncwd = 'x'")
    write("extra.toml", "[jobs]\ne = '@daily e'")
    loaded = load([main, Path("jobs.d/../extra.toml"), Path("./jobs.d/a.toml")], timezone="UTC")
    assert ids(loaded) == ["a", "b", "c", "e"]
    assert names(loaded) == [
        "jobs.toml",
        "jobs.d/a.toml",
        "jobs.d/b.toml",
        "jobs.d/deep/c.toml",
        "extra.toml",
    ]
    assert loaded.jobs[2].tasks[0].execution.cwd == str(Path("jobs.d/deep/x").absolute())
    assert loaded.jobs[2].source == "jobs.d/deep/c.toml"


def test_a_directory_stands_for_its_job_files() -> None:
    write("jobs.d/b.toml", "[jobs]\nb = '@daily b'")
    write("jobs.d/a.toml", "[jobs]\na = '@daily a'")
    write("jobs.d/notes.txt", "broken")
    write("jobs.d/.a.toml", "broken")
    main = write("jobs.toml", "[taskman]\ninclude = ['jobs.d']\n")
    assert names(load([Path("jobs.d")], timezone="UTC")) == ["jobs.d/a.toml", "jobs.d/b.toml"]
    assert ids(load([main], timezone="UTC")) == ["a", "b"]
    assert load([write("none.d/x", "").parent], timezone="UTC").jobs == ()


def test_an_include_may_start_in_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path("home").absolute()))
    write("home/mine.toml", "[jobs.a]\nevery = '1m'\ncommand = 'x'\ncwd = '~/y'")
    loaded = load([write("jobs.toml", "[taskman]\ninclude = ['~/mine.toml']")], timezone="UTC")
    assert loaded.jobs[0].tasks[0].execution.cwd == str(Path("home/y").absolute())


def test_a_directory_whose_name_looks_like_a_pattern_is_not_one() -> None:
    main = write("odd[x]*/jobs.toml", "[taskman]\ninclude = ['jobs.d/*.toml', 'b.toml']")
    write("odd[x]*/jobs.d/a.toml", "[jobs]\na = '@daily a'")
    write("odd[x]*/b.toml", "[jobs]\nb = '@daily b'")
    assert ids(load([main], timezone="UTC")) == ["a", "b"]


def test_a_long_chain_of_includes_is_no_problem() -> None:
    for number in range(1500):
        write(f"{number}.toml", f"[taskman]\ninclude = ['{number + 1}.toml']\n[jobs]\nj{number} = '@daily x'")
    write("1500.toml", "")
    assert len(load([Path("0.toml")], timezone="UTC").jobs) == 1500


def test_defaults_hold_for_included_files_too_key_by_key() -> None:
    main = write(
        "jobs.toml",
        "[taskman]\ninclude = ['in/a.toml']\n"
        "[defaults]\ntimezone = 'Asia/Tokyo'\ntimeout = '1m'\ncwd = 'here'\nenv = { A = '1', B = '1' }",
    )
    write("in/a.toml", "[defaults]\ntimeout = '2m'\nenv = { B = '2' }\n[jobs]\na = '@daily a'")
    other = write("other.toml", "[jobs]\nb = '@daily b'")
    a, b = load([main, other], timezone="UTC").jobs
    assert isinstance(a.schedule, CronSchedule)
    assert isinstance(b.schedule, CronSchedule)
    assert (a.schedule.timezone, b.schedule.timezone) == ("Asia/Tokyo", "UTC")
    execution = a.tasks[0].execution
    assert execution.timeout_ns == 120 * SECOND_NS
    assert execution.cwd == str(Path("here").absolute())
    assert execution.env == {"A": "1", "B": "2"}
    assert b.tasks[0].execution.timeout_ns is None


def test_the_zone_of_one_file_holds_for_all() -> None:
    first = write("a.toml", "[jobs]\na = '@daily a'")
    second = write("b.toml", "[taskman]\ntimezone = 'Europe/Paris'\n[pool]\nmax_workers = 3")
    third = write("c.toml", "[taskman]\ntimezone = 'Europe/Paris'\n[pool]\nmax_workers = 3")
    loaded = load([first, second, third])
    schedule = loaded.jobs[0].schedule
    assert isinstance(schedule, CronSchedule)
    assert (schedule.timezone, loaded.timezone, loaded.settings.max_workers) == (("Europe/Paris",) * 2 + (3,))


@pytest.mark.parametrize(
    ("tz", "zone"),
    [
        ("Europe/Paris", "Europe/Paris"),
        (":Europe/Paris", "Europe/Paris"),
        ("/usr/share/zoneinfo/Europe/Paris", "Europe/Paris"),
        (":/usr/share/zoneinfo/America/Argentina/Salta", "America/Argentina/Salta"),
        # A name that tzlocal does not know by itself.
        ("EST5EDT", "EST5EDT"),
    ],
)
def test_without_a_zone_it_is_the_machines(tz: str, zone: str) -> None:
    write("jobs.toml", "")
    # A process of its own: a machine has one zone, which is looked up once.
    code = "import pathlib, taskman_cli.jobfile as j; print(j.load([pathlib.Path('jobs.toml')]).timezone)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"TZ": tz},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == (f"{zone}\n", "", 0)


@pytest.mark.parametrize("tz", ["", ":", "/etc/localtime", ":/etc/localtime"])
def test_an_empty_tz_leaves_the_zone_to_the_machine(tz: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tzlocal.get_localzone_name", lambda: "Asia/Tokyo")
    monkeypatch.setattr(settings, "_target_of", lambda _: "")
    monkeypatch.setenv("TZ", tz)
    loaded = load([write("jobs.toml", "")])
    assert (loaded.timezone, loaded.is_machine_zone) == ("Asia/Tokyo", True)


def test_the_link_says_the_zone_under_the_name_that_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    # Amsterdam may be a link to Brussels, and /etc/timezone may say something else.
    Path("localtime").symlink_to("/usr/share/zoneinfo/Europe/Amsterdam")
    Path("link").symlink_to("localtime")
    monkeypatch.setattr(settings, "LOCALTIME", "localtime")
    assert load([write("jobs.toml", "")]).timezone == "Europe/Amsterdam"
    monkeypatch.setattr(settings, "LOCALTIME", "link")
    assert load([write("jobs.toml", "")]).timezone in ("Europe/Amsterdam", "Europe/Brussels")


def test_a_link_to_something_else_is_no_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("localtime").symlink_to("/usr/share/zoneinfo/No/Where")
    monkeypatch.setattr(settings, "LOCALTIME", "localtime")
    assert load([write("jobs.toml", "")]).timezone == "UTC"
    with pytest.raises(ScheduleError, match="localtime names no time zone"):
        settings.local_zone(is_strict=True)


@pytest.mark.parametrize(
    "tz", ["UTC+3", "EST5EDT,M3.2.0,M11.1.0", "Foo/Bar", "/etc/passwd", "/gone/x", "a\nb"]
)
def test_a_tz_that_is_not_a_zone_is_an_error_where_the_zone_is_needed(
    tz: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tzlocal.get_localzone_name", lambda: "UTC")
    monkeypatch.setenv("TZ", tz)
    path = write("jobs.toml", "[jobs]\na = '@daily a'")
    with pytest.raises(JobFileError) as caught:
        load([path])
    assert [str(problem).splitlines()[0] for problem in caught.value.problems] == [
        f"jobs.toml:1:1: taskman.timezone: TZ={tz} is not a time zone name: "
        "set [taskman] timezone, or TZ to one such as Europe/Stockholm".replace("\n", "\\n")
    ]
    assert load([path], timezone="UTC").timezone == "UTC"
    named = write("named.toml", "[taskman]\ntimezone = 'Europe/Paris'")
    assert load([path, named]).timezone == "Europe/Paris"


def test_a_tz_that_is_not_a_zone_is_not_reported_besides_a_wrong_zone_in_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "UTC+3")
    with pytest.raises(JobFileError) as caught:
        load([write("jobs.toml", "[taskman]\ntimezone = 'Europe/Pari'")])
    assert [problem.line for problem in caught.value.problems] == [2]


@pytest.mark.parametrize("told", ["local", "", None], ids=repr)
def test_a_machine_that_names_no_zone_is_taken_to_be_in_utc(
    told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tzlocal.get_localzone_name", lambda: told)
    monkeypatch.setattr(settings, "_target_of", lambda _: "")
    assert load([write("jobs.toml", "")]).timezone == "UTC"


def test_a_machine_whose_zone_cannot_be_found_is_taken_to_be_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        warnings.warn("TZ and /etc/localtime differ", stacklevel=1)
        raise ZoneInfoNotFoundError("no zone")

    monkeypatch.setattr("tzlocal.get_localzone_name", fail)
    monkeypatch.setattr(settings, "_target_of", lambda _: "")
    assert load([write("jobs.toml", "")]).timezone == "UTC"


def test_contradicting_files_are_both_named() -> None:
    first = write(
        "a.toml", "[taskman]\nrefresh = '60s'\n[pool]\nmax_workers = 3\n[jobs.x]\nevery = '1s'\ncommand = 'x'"
    )
    second = write("b.toml", "[taskman]\nrefresh = '1m'\n[pool]\nmax_workers = 4\n[jobs]\nx = '@daily x'")
    assert list(map(str, problems(first, second))) == [
        "b.toml:4:15: pool.max_workers: differs from a.toml:4: all files share one scheduler, so "
        "set it once\n"
        "    4 | max_workers = 4\n"
        "      |               ^",
        "b.toml:6:1: jobs.x: already defined in a.toml:5\n    6 | x = '@daily x'\n      | ^",
    ]


def test_resources_of_several_files_are_put_together_and_known_to_all() -> None:
    job = "[jobs.{}]\nevery = '1s'\ncommand = 'x'\nresources = {{ db = 1, api = 1 }}"
    first = write("a.toml", "[pool.resources]\ndb = 2\n" + job.format("a"))
    second = write("b.toml", "[pool.resources]\napi = 1\ndb = 2\n" + job.format("b"))
    loaded = load([first, second])
    assert loaded.settings.resources == (("api", Resource(1)), ("db", Resource(2)))
    third = write("c.toml", "[pool.resources]\ndb = 3")
    assert [str(problem).splitlines()[0] for problem in problems(first, second, third)] == [
        "c.toml:2:6: pool.resources.db: differs from a.toml:2: all files share one scheduler, so set it once"
    ]


def test_errors_of_all_files_are_reported_together() -> None:
    broken = write("a.toml", "[taskman]\ninclude = ['b.toml', 'gone.toml']\nx = 1\n[jobs]\ngood = '@daily x'")
    write("b.toml", "a = ")
    missing = Path("missing.toml")
    assert [(one.file, one.line, one.key) for one in problems(broken, missing)] == [
        ("b.toml", 1, ""),
        ("missing.toml", 1, ""),
        ("a.toml", 2, "taskman.include[1]"),
        ("a.toml", 3, "taskman.x"),
    ]
    assert problems(broken)[1].message == '"gone.toml" cannot be read: no such file or directory'


def test_a_file_that_is_not_there_has_no_place_to_show() -> None:
    assert list(map(str, problems(Path("gone.toml")))) == [
        "gone.toml: cannot be read: no such file or directory"
    ]
    assert problems(Path("a\0b"))[0].message.startswith("cannot be read: ")
    assert problems(Path("x" * 300))[0].message == "cannot be read: file name too long"


def test_a_file_in_a_file_and_a_loop_of_links_cannot_be_read() -> None:
    write("file", "")
    Path("loop").symlink_to("loop")
    messages = [problem.message for problem in problems(Path("file/x.toml"), Path("loop"))]
    assert messages == [
        "cannot be read: not a directory",
        "cannot be read: too many levels of symbolic links",
    ]


def test_a_file_without_permission_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("jobs.toml", "")

    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    # Root may read all files, so the refusal has to be made.
    monkeypatch.setattr(Trust, "open", refuse)
    assert problems(path)[0].message == "cannot be read: permission denied"


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full", "/dev/null"])
def test_a_device_is_not_a_job_file(device: str) -> None:
    assert str(problems(Path(device))[0]) == f"{device}: cannot be read: a device"


def test_a_pipe_is_read_to_its_end() -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, b"[jobs]\na = '@daily a'\n")
        os.close(writer)
        assert ids(load([Path(f"/dev/fd/{reader}")], timezone="UTC")) == ["a"]
    finally:
        os.close(reader)


def test_a_file_too_large_to_have_been_written_by_a_person_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taskman_cli.jobfile.source.MAX_BYTES", 2 << 20)
    path = write("jobs.toml", b"#" * (2 << 20))
    assert load([path], timezone="UTC").jobs == ()
    with path.open("ab") as file:
        file.write(b"#")
    assert str(problems(path)[0]) == "jobs.toml: cannot be read: larger than 2 MiB"


def test_a_byte_that_is_not_utf8_is_shown_where_it_is() -> None:
    path = write("jobs.toml", "# één\n[jobs]\na = '@daily caf".encode() + b"\xe9 x'\n")
    assert [str(problem) for problem in problems(path)] == [
        "jobs.toml:3:16: byte 0xe9 is not UTF-8: save the file as UTF-8\n"
        "    3 | a = '@daily caf\\xe9 x'\n"
        "      |                ^^^^"
    ]


def test_utf16_is_refused_politely() -> None:
    assert problems(write("jobs.toml", "[jobs]".encode("utf-16")))[0].message == (
        "byte 0xff is not UTF-8: save the file as UTF-8"
    )


def test_a_file_name_that_is_not_utf8_can_be_shown() -> None:
    path = Path(os.fsdecode(b"\xff.toml"))
    path.write_text("a = ")
    assert str(problems(path)[0]).startswith("\\xff.toml:1:4: ")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_the_examples_load(path: Path) -> None:
    assert load([path]).jobs
