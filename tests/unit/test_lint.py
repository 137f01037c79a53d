"""Lint: a file that has it, one that has not, and the comment that silences it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from taskman_cli.cli.support.findings import PlacedFinding, place
from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.model import Execution, Job, Task
from taskman_cli.core.schedule import Interval, Once, Reboot, load_zone, parse_cron
from taskman_cli.insight.lint import (
    LINTS,
    lint_durations,
    lint_jobs,
    lint_missing,
    lint_program,
    lint_search_path,
    program_of,
)
from taskman_cli.jobfile.load import loads
from taskman_cli.jobfile.source import parse_source

PATH = Path("jobs.toml")
NOW_NS = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()) * SECOND_NS
NEW_YORK = '[taskman]\ntimezone = "America/New_York"\n'
MINUTE_NS = 60 * SECOND_NS


def found(text: str) -> list[PlacedFinding]:
    jobs = loads(text, path=PATH, timezone="UTC").jobs
    return place(lint_jobs(jobs, now_ns=NOW_NS), [parse_source(text, PATH)])


def names(text: str) -> list[str]:
    return [one.name for one in found(text)]


def job(cron: str = "0 0 * * *", *, command: str = "true", more: str = "", name: str = "x") -> str:
    return f"[jobs.{name}]\ncron = '{cron}'\ncommand = '''{command}'''\n{more}\n"


def herd(size: int, cron: str = "0 0 * * *", more: str = "") -> str:
    return "".join(job(cron, name=f"x{number}", more=more) for number in range(size))


HAS = {
    "expected-too-soon": job("*/30 9-17 * * MON-FRI", more="expect_every = '24h'"),
    "uneven-step": job("*/7 * * * *"),
    "either-day": job("0 0 1 * MON"),
    "quartz-weekday": job("0 0 * * 6L"),
    "clock-change": NEW_YORK + job("30 2 * * *"),
    "herd": herd(5),
    "overlap-no-timeout": job(more='overlap = "allow"'),
    "secret-in-command": job(command="mysql --password=hunter22"),
    "dead-schedule": job(more="expires_at = 2001-01-01T00:00:00Z"),
    "look-alike": job(command="rm \u2013rf x"),
    "every-minute": job("* 16 * * *"),
    "unexpanded": job(more='env = { PATH = "$HOME/bin:/bin" }'),
    "idle-tz": job(more='env = { TZ = "Asia/Tokyo" }'),
}
HAS_NOT = {
    "expected-too-soon": job("*/30 9-17 * * MON-FRI", more="expect_every = '3d'")
    + job("0 0 * * *", name="y", more="expect_every = '26h'\nexpires_at = 2026-11-30T00:00:00"),
    "uneven-step": job("*/15 * * * *"),
    "either-day": job("0 0 */1 * MON") + job("0 0 ? * MON", name="y"),
    "quartz-weekday": job("0 0 * * SATL") + job("0 0 * * 6", name="y"),
    "clock-change": NEW_YORK + job("30 4 * * *") + job("*/30 * * * *", name="y"),
    "herd": herd(4),
    "overlap-no-timeout": job(more='overlap = "allow"\ntimeout = "1m"'),
    "secret-in-command": job(command="mysql --password=$PASSWORD"),
    "dead-schedule": job(more="expires_at = 2101-01-01T00:00:00Z"),
    "look-alike": job(command="echo '\u2013 \u201cx\u201d'"),
    "every-minute": job("0-59 16 * * *") + job("* 9-17 * * *", name="y") + job("@hourly", name="z"),
    "unexpanded": job(more='env = { PATH = "/home/x/bin:/bin", PRICE = "5 $", HERE = "~" }'),
    "idle-tz": job(more='env = { TZ = ":UTC" }')
    + '[jobs.y]\nevery = "1h"\ncommand = "x"\nenv.TZ = "Asia/Tokyo"\n',
}


@pytest.mark.parametrize("name", HAS)
def test_each_lint_finds_its_mistake(name: str) -> None:
    assert names(HAS[name]) == [name]


@pytest.mark.parametrize("name", HAS_NOT)
def test_each_lint_ignores_what_is_correct(name: str) -> None:
    assert names(HAS_NOT[name]) == []


@pytest.mark.parametrize("name", HAS)
def test_a_comment_on_the_header_silences_it_and_is_used(name: str) -> None:
    header, _, rest = HAS[name].rpartition("[jobs.x") if name != "herd" else ("", "", HAS[name][7:])
    first, _, rest = rest.partition("]")
    assert names(f"{header}[jobs.x{first}] # taskman: allow {name}\n{rest}") == []
    assert names(f"{header}# taskman: allow {name}\n[jobs.x{first}]\n{rest}") == []
    assert sorted(
        names(f"{header}[jobs.x{first}]\n{rest}\n# taskman: allow {name}\n"),
        key=lambda one: one == "unused-allow",
    ) == [name, "unused-allow"]


def test_a_comment_silences_what_is_on_its_line_or_on_the_next() -> None:
    cron = "cron = '*/7 * 1 * 1'"
    rest = "\ncommand = 'true'\n"
    assert names(f"[jobs.x]\n{cron} # taskman: allow uneven-step, either-day{rest}") == []
    assert names(f"[jobs.x]\n\n  # taskman:allow either-day uneven-step\n{cron}{rest}") == []
    assert names(f"[jobs.x]\n# taskman: allow uneven-step\n{cron}{rest}") == ["either-day"]
    # A comment behind something else is about that, not about the next line.
    assert names(f"[jobs.x]\ncommand = 'true' # taskman: allow uneven-step\n{cron}\n") == [
        "unused-allow",
        "uneven-step",
        "either-day",
    ]


def test_a_string_that_looks_like_a_comment_is_not_one() -> None:
    assert names(job("*/7 * * * *", command="true # taskman: allow uneven-step")) == ["uneven-step"]
    assert names("[jobs]\nx = '*/7 * * * * true # taskman: allow uneven-step'\n") == ["uneven-step"]
    assert names(job("*/7 * * * *") + "# no # taskman: allow uneven-step\n") == ["uneven-step"]


def test_an_allow_with_an_unknown_name_suggests_one() -> None:
    [one] = found("# taskman: allow unevenstep\n" + job())
    assert (
        'jobs.toml:1:18: warning: "unevenstep" is not the name of a warning (did you mean "uneven-step"?)'
        in one.render()
    )


def test_findings_are_shown_like_errors() -> None:
    [one] = found("[jobs]\nx = '*/45 * * * * true'\n")
    assert one.render() == (
        'jobs.toml:2:5: jobs.x: warning: minute "*/45" is uneven: from 45 to 0 of the next hour '
        "is 15 minutes, not 45; use a step that divides it, list the values, or use every [uneven-step]\n"
        "    2 | x = '*/45 * * * * true'\n"
        "      |     ^^^^^^^^^^^^^^^^^^^"
    )


def test_a_finding_about_a_key_of_defaults_stands_at_the_job() -> None:
    [one] = found("[defaults]\noverlap = 'allow'\n" + job())
    assert (one.problem.line, one.problem.column, one.problem.key) == (3, 7, "jobs.x")


def test_a_secret_is_not_shown() -> None:
    [one] = found(HAS["secret-in-command"])
    assert "hunter22" not in one.render()


@pytest.mark.parametrize(
    ("command", "is_secret"),
    [
        ("curl -H 'Authorization: Bearer abcdefgh12345' x", True),
        ("TOKEN=abc123 ./run", True),
        ("env API_KEY=abc123 ./run", True),
        ("AWS_SECRET_ACCESS_KEY=abc123 aws s3 ls", True),
        ("aws --key AKIAIOSFODNN7EXAMPLE", True),
        ("curl https://bob:hunter2@example.org/", True),
        ("x --password hunter2", True),
        ("PGPASSWORD=hunter2 psql", True),
        ("curl -fsS -u admin:hunter2 https://example.org", True),
        ("curl --user 'admin:hunter2' https://example.org", True),
        ("curl -u admin:$PASS https://example.org", False),
        ("curl -u admin https://example.org:8080", False),
        ("rsync -u a:b c; curl x", False),
        ("docker run -u 1000:1000 x", False),
        ("x --token=/run/token", False),
        ("curl -d password=@file x", False),
        ("curl -H \"Authorization: Bearer $TOKEN\" x", False),
        ("x --password=\"$PASSWORD\"", False),
        ("x --password $(cat /run/secret)", False),
        ("curl https://example.org:8080/a@b", False),
        ("curl https://$USER:$PASS@example.org/", False),
        ("rotate-tokens --all", False),
        ("keytool -list", False),
        ("true", False),
    ],
)  # fmt: skip
def test_secrets_are_recognised(command: str, is_secret: bool) -> None:
    assert (["secret-in-command"] if is_secret else []) == names(job(command=command))


def test_a_secret_in_an_array_or_a_task_has_its_place() -> None:
    text = "[jobs.x]\nevery = '1m'\n[jobs.x.tasks]\na = 'true'\nb = { command = ['x', '--token=abc'] }\n"
    [one] = found(text)
    assert one.problem.key == "jobs.x.tasks.b.command"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(herd(5, "H 0 * * *"), [], id="hashed"),
        pytest.param(herd(5, more='jitter = "5m"'), [], id="jitter"),
        pytest.param(herd(5, more="enabled = false"), [], id="disabled"),
        pytest.param(herd(5, "*/5 * * * *"), [], id="all the time"),
        pytest.param(herd(5, "7 * * * *"), ["herd"], id="every hour"),
        pytest.param(herd(3, "0 0,12 * * *") + herd(2, "0 0 * * 1").replace("x", "y"), ["herd"], id="mixed"),
    ],
)
def test_herds_are_found(text: str, expected: list[str]) -> None:
    assert names(text) == expected


def test_an_expired_job_does_not_count_for_a_herd() -> None:
    assert "herd" in names(herd(4) + job(name="fifth", more="expires_at = 2101-01-01T00:00:00Z"))
    assert "herd" not in names(herd(4) + job(name="fifth", more="expires_at = 2001-01-01T00:00:00Z"))


def test_among_many_jobs_a_herd_is_one_in_a_hundred() -> None:
    rest = "[jobs.y{0}]\nevery = '1m'\ncommand = 'true'\n"
    many = "".join(rest.format(number) for number in range(700))
    assert names(herd(5) + many) == []
    assert names(herd(8) + many) == ["herd"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at = 2001-01-01T00:00:00Z", ["dead-schedule"]),
        ("at = 2101-01-01T00:00:00Z", []),
        ("every = '1m'\nexpires_at = 2001-01-01T00:00:00Z", ["dead-schedule"]),
        ("every = '1m'\nevery_from = 'finish'\nexpires_at = 2101-01-01T00:00:00Z", []),
        ("cron = '@reboot'\nexpires_at = 2101-01-01T00:00:00Z", []),
        ("at = 2001-01-01T00:00:00Z\nenabled = false", []),
        ("cron = '0 0 1 1 * 2001'", ["dead-schedule"]),
        ("cron = '0 0 1 1 * 2101'", []),
        ("cron = '0 0 1 1 * 2101'\nexpires_at = 2001-01-01T00:00:00Z", ["dead-schedule"]),
        ("cron = '@every 5m'", []),
    ],
)
def test_dead_schedules_are_found(text: str, expected: list[str]) -> None:
    assert names(f"[jobs.x]\n{text}\ncommand = 'true'\n") == expected


@pytest.mark.parametrize(
    ("command", "program"),
    [
        (("a b", "c"), "a b"),
        ("restic backup", "restic"),
        ("  /bin/x", "/bin/x"),
        ("cd /x && make", None),
        ("X=1 make", None),
        ("$X make", None),
        ("'my prog'", None),
        ("make; true", None),
    ],
)
def test_the_program_of_a_command_is_recognised(command: str | tuple[str, ...], program: str | None) -> None:
    assert program == program_of(Task("main", command, Execution()))


@pytest.mark.parametrize(
    ("program", "message"),
    [("x", '"x" is not on the PATH of the job'), ("/x/y", '"/x/y" is not a program that can be run')],
)
def test_a_missing_program_is_a_finding(program: str, message: str) -> None:
    task = Task("main", program, Execution())
    finding = lint_program(Job("j", Reboot("UTC"), (task,)), task, program)
    assert (("command",), message, LINTS["no-such-program"]) == (
        finding.path,
        finding.message,
        finding.severity,
    )


@pytest.mark.parametrize(
    ("schedule", "taken_s", "expected"),
    [
        (Interval(MINUTE_NS), 61, [(("every",), "runs take 1m1s, but slots are 1m apart")]),
        (Interval(MINUTE_NS), 60, []),
        (Interval(MINUTE_NS, from_finish=True), 61, []),
        (
            parse_cron("0,10 * * * *", timezone="UTC"),
            601,
            [(("cron",), "runs take 10m1s, but slots are 10m apart")],
        ),
        (parse_cron("0 0 * * *", timezone="UTC"), 601, []),
        (Once(0, load_zone("UTC")), 601, []),
    ],
    ids=["longer", "just fits", "from finish", "cron", "daily", "at"],
)  # fmt: skip
def test_runs_longer_than_their_interval_are_found(
    schedule: Interval, taken_s: int, expected: list[tuple[tuple[str, ...], str]]
) -> None:
    jobs = [Job("j", schedule, ()), Job("unknown", schedule, ())]
    findings = lint_durations(jobs, {"j": taken_s * SECOND_NS}, now_ns=NOW_NS)
    assert [(finding.path, finding.message) for finding in findings] == expected


@pytest.mark.parametrize(
    ("command", "character", "fix"),
    [
        ("'rm \u2013rf x'", "en dash (U+2013)", "write -"),
        ("'echo\u00a0x'", "no-break space (U+00A0)", "write a space"),
        ("['rm', '\u2014rf', 'x']", "em dash (U+2014)", "write -"),
    ],
)
def test_a_look_alike_character_is_named(command: str, character: str, fix: str) -> None:
    (one,) = found(f"[jobs.x]\ncron = '0 0 * * *'\ncommand = {command}\n")
    message = f"a character in the command is not what it looks like: {character}"
    assert ("look-alike", message, fix) == (one.name, one.problem.message, one.fix)


@pytest.mark.parametrize(
    "command", ["['echo', '\u201cx\u201d', 'a\u00a0b', '\u2013', '\u2013 x']", "['caf\u00e9']"]
)
def test_without_a_shell_words_are_literal(command: str) -> None:
    assert found(f"[jobs.x]\ncron = '0 0 * * *'\ncommand = {command}\n") == []


def test_a_search_path_that_others_can_change_is_reported_at_the_command() -> None:
    task = Task("main", "x", Execution())
    finding = lint_search_path(Job("j", Reboot("UTC"), (task,)), task, "why")
    assert (finding.name, finding.path, finding.message) == ("path-of-others", ("command",), "why")


def test_a_program_that_one_user_may_not_run_is_reported_with_the_user() -> None:
    task = Task("main", ("x",), Execution())
    finding = lint_program(Job("j", Reboot("UTC"), (task,)), task, "x", user="ann")
    assert finding.message == '"x" is not a program that ann can run'


def test_an_unusable_path_is_reported_at_its_key() -> None:
    task = Task("x", "true", Execution())
    finding = lint_missing(Job("j", Reboot("UTC"), (task,)), task, "cwd", "why")
    assert (finding.name, finding.path, finding.message) == ("no-such-cwd", ("tasks", "x", "cwd"), "why")
