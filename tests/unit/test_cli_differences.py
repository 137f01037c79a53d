"""What `taskman test` says of a command's surroundings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taskman_cli.cli.support.start_context import StartContext, parse_environ, parse_umask
from taskman_cli.cli.trial.differences import differences, names_used

HERE = StartContext({"PATH": "/bin", "HOME": "/root", "LANG": "C", "TOKEN": "s3cret"}, "/srv", 0o022, "x")


def told(theirs: StartContext, *, command: str | None = None, has_tty: bool = False) -> list[tuple[str, str]]:
    return list(differences(theirs, HERE, theirs.environ, command=command, has_tty=has_tty))


def test_nothing_is_different_where_all_is_the_same() -> None:
    assert told(HERE, command="echo $TOKEN") == []


def test_variables_directory_umask_and_terminal() -> None:
    theirs = StartContext({"PATH": "/bin", "HOME": "/", "TZ": ""}, "/", 0o077, "x")
    assert told(theirs, has_tty=True) == [
        ("HOME", "/ (yours: /root)"),
        ("LANG", "not set (yours: C)"),
        ("TZ", '"" (yours: not set)'),
        ("directory", "/ (yours: /srv)"),
        ("umask", "0077 (yours: 0022)"),
        ("terminal", "none"),
    ]


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ("/opt/bin:/bin:/opt/bin:/usr/bin", "missing: /opt/bin"),
        ("/usr/bin:/bin", "yours has another order"),
    ],
)
def test_a_path_names_the_directories_that_it_lacks(own: str, words: str) -> None:
    theirs = replace(HERE, environ=dict(HERE.environ) | {"PATH": "/bin:/usr/bin"})
    mine = replace(HERE, environ=dict(HERE.environ) | {"PATH": own})
    rows = list(differences(theirs, mine, theirs.environ, command=None, has_tty=False))
    assert rows == [("PATH", "/bin:/usr/bin"), ("", words)]


def test_a_variable_that_the_command_names_and_that_is_missing_without_its_value() -> None:
    theirs = replace(HERE, environ={"PATH": "/bin", "HOME": "/root", "LANG": "C"})
    assert told(theirs, command="a $TOKEN $OTHER $HOME") == [
        ("$TOKEN", "not set (yours is)"),
        ("$OTHER", "not set, nor in your shell"),
    ]


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("echo $A ${B} ${#C} ${D%x} ${E:1}", ["A", "B", "C", "D", "E"]),
        ("echo ${A:-x} ${A-x} ${A:=x} ${A:?x} ${A+x}", []),
        ("A=1; echo $A", []),
        ("A=1 B=2 c $A; export D=3; e $D", []),
        ("for f in *; do echo $f; done", []),
        ("while IFS= read -r old new; do echo $old $new; done", []),
        ('echo \'$A\' "$B" "it\'s $C" \\$D', ["B", "C"]),
        ("echo $1 $@ $? $$ $PWD ${1}", []),
        ("x=$A; echo $x", ["A"]),
        ("awk '{ print $NF }' $FILE", ["FILE"]),
        ("", []),
        ("'", []),
        ('"$A', ["A"]),
    ],
)
def test_the_variables_that_a_command_uses_and_does_not_set(command: str, names: list[str]) -> None:
    assert names == names_used(command)


def test_the_environment_of_a_process_as_proc_has_it() -> None:
    assert parse_environ(b"A=1=2\0B=\0A=3\0junk\0C=\xff\0\0") == {"A": "1=2", "B": "", "C": "\udcff"}


@pytest.mark.parametrize(("status", "umask"), [("Name:\tx\nUmask:\t0077\n", 0o077), ("Name:\tx\n", 0o022)])
def test_the_umask_of_a_process_as_proc_has_it(status: str, umask: int) -> None:
    assert umask == parse_umask(status)
