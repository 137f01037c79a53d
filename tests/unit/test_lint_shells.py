"""What a command asks of bash, where the shell that runs it is not bash."""

from __future__ import annotations

import pytest

from taskman_cli.core.model import Execution, Job, Task
from taskman_cli.core.schedule import Interval, parse_cron
from taskman_cli.core.schedule.expression import parse_expression
from taskman_cli.core.variables import Assignments, Variables
from taskman_cli.insight.lint import lint_shell
from taskman_cli.insight.lint.jobs import every_one
from taskman_cli.insight.lint.shells import bashisms
from taskman_cli.insight.lint.variables import odd_variables

INTERVAL = Interval(60_000_000_000)


def found(command: str, shell: str = "dash") -> list[str]:
    return [command[one.offset : one.offset + one.length] for one in bashisms(command, shell=shell)]


@pytest.mark.parametrize(
    ("command", "it"),
    [
        ("source x", "source"),
        ("cd /x && source x", "source"),
        ("if [[ -f x ]]; then date; fi", "[["),
        ("((n > 1)) && date", "(("),
        ("date &> x", "&>"),
        ("date &>>x", "&>>"),
        ("date |& cat", "|&"),
        ("diff <(ls) y", "<("),
        ("date > >(cat)", ">("),
        ("cat <<< x", "<<<"),
        ("cp {a,b} c", "{a,b}"),
        ("cp x{,.bak}", "{,.bak}"),
        ("touch {1..9}", "{1..9}"),
        ("a=(1 2)", "a=("),
        ("echo ${a[1]}", "${a["),
        ("function f { date; }", "function"),
        ("pushd /x", "pushd"),
        ("declare -A x", "declare"),
        ("shopt -s nullglob; ls", "shopt"),
        ("let x=1", "let"),
        ("set -eo pipefail; date", "set -eo pipefail"),
        ("echo ${a/b/c}", "${a/"),
        ("echo ${a:1:2}", "${a:1"),
        ("echo ${a^^}", "${a^"),
        ("echo $'a\\tb'", "$'"),
        ('echo "${a[@]}"', "${a["),
        ('echo "a ${b//c/d}"', "${b/"),
        ('[ "$a" == b ] && date', "=="),
        ("if test a == b; then date; fi", "=="),
        ("sleep $RANDOM", "$RANDOM"),
        ('sleep "${RANDOM}"', "${RANDOM"),
        ("sleep $((RANDOM % 60))", "RANDOM"),
        ("echo -e 'a\\tb'", "echo -e"),
        ("date >& x", ">&"),
        ("trap 'date' ERR", "ERR"),
    ],
)
def test_bash_features_are_found_at_their_place(command: str, it: str) -> None:
    if command.startswith("cp x{"):
        assert found(command) == []  # what stands before the brace may be a name
        return
    assert found(command) == [it]


@pytest.mark.parametrize(
    "command",
    [
        "bash -c 'source x; [[ a ]] &> y'",
        'bash -c "a=(1 2); echo {a,b}"',
        "echo source",
        "./source x",
        ". x && [ -f y ] >z 2>&1",
        "find . -exec ls {} \\; -print",
        "awk '{print $1,$2}'",
        "echo ${x:-a} ${x:-0} ${x#a} ${x%b} $((1 + 2)) $(date)",
        'curl -d \'{"a":1,"b":2}\' http://x/?a&b',
        "date & date >x",
        "cat <<EOF",
        "date # [[ source &> x",
        "f() { date; }; f",
        "echo \\{a,b}",
        'echo "\\${a[0]} ${b} ${c:-d}"',
        "date >&2; date 2>&1 >&-; date >&$fd",
        '[ a = "==" ] || echo a == b',
        "echo RANDOM 'a' $RANDOM_SEED",
        "bash -c 'sleep $RANDOM'",
        "echo -n a; trap 'date' EXIT",
        "read -p x y",
    ],
)
def test_features_of_every_shell_are_not_reported(command: str) -> None:
    assert found(command) == []


def test_shells_with_these_features_have_no_findings() -> None:
    assert found("source x; a=(1)", "bash") == []
    assert found("source x; a=(1)", "busybox") == ["a=("]


def test_a_finding_says_what_happens_and_what_to_do() -> None:
    task = Task("main", "cd /x; source y", Execution())
    [finding] = lint_shell(Job("a", INTERVAL, (task,)), task, "dash")
    assert (finding.name, finding.path, finding.offset, finding.length) == ("not-in-sh", ("command",), 7, 6)
    assert finding.message == "source needs bash, but dash runs this: there is no such command"
    assert [*lint_shell(Job("a", INTERVAL, (task,)), Task("main", ("source",), Execution()), "dash")] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("* 16 * * *", "it runs every minute of hour 16: 60 starts"),
        ("* * 1 * *", "it runs every minute of the day: 1440 starts"),
        ("* * * * SUN", "it runs every minute of the day: 1440 starts"),
        ("* 5 16 * * *", "it runs every second of minute 5: 60 starts"),
        ("* * * * *", ""),
        ("* 9-17 * * *", ""),
        ("* * * * 1-5", ""),
        ("0-59 16 * * *", ""),
        ("* H * * *", ""),
        ("* * * * * *", ""),
        ("@hourly", ""),
        ("0 16 * * *", ""),
    ],
)
def test_every_minute_of_one_hour_is_reported(text: str, words: str) -> None:
    message = every_one(parse_expression(text, name="a"))
    assert message.startswith(words)
    assert bool(message) == bool(words)


def test_shared_variables_are_checked_once_and_those_of_a_crontab_elsewhere() -> None:
    shared = Variables({"A": "$B", "TZ": "Asia/Tokyo"})
    execution = Execution(env=Variables(Assignments([("C", "$D")]).so_far(), shared))
    looked_at: set[int] = set()
    job = Job("a", parse_cron("@daily", timezone="UTC"), ())
    assert [name for name, *_ in odd_variables(job, execution, looked_at)] == ["unexpanded", "idle-tz"]
    assert [*odd_variables(job, execution, looked_at)] == []
    assert [name for name, *_ in odd_variables(Job("b", INTERVAL, ()), execution, set())] == ["unexpanded"]
    assert [*odd_variables(job, Execution(env={"A": "$B"}), set())] == []
