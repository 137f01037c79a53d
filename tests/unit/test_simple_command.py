"""What a shell command of one program consists of, and which variables it changes: the tables."""

from __future__ import annotations

import pytest

from taskman_cli.core.shellless import direct_changes
from taskman_cli.core.simplecommand import Redirection, SimpleCommand, read_simple_command

OUT = Redirection(1, ">", "f")
BOTH = Redirection(2, "&", "1")

READ = {
    "x >f": SimpleCommand(("x",), (OUT,)),
    "x > f": SimpleCommand(("x",), (OUT,)),
    "x>f": SimpleCommand(("x",), (OUT,)),
    ">f x": SimpleCommand(("x",), (OUT,)),
    " >\tf x": SimpleCommand(("x",), (OUT,)),
    "x 1>f": SimpleCommand(("x",), (OUT,)),
    "x 1 >f": SimpleCommand(("x", "1"), (OUT,)),
    "x a1>f": SimpleCommand(("x", "a1"), (OUT,)),
    "x '1'>f": SimpleCommand(("x", "1"), (OUT,)),
    "x >f y": SimpleCommand(("x", "y"), (OUT,)),
    "x >>f 2>&1": SimpleCommand(("x",), (Redirection(1, ">>", "f"), BOTH)),
    "x 2>&1 >f": SimpleCommand(("x",), (BOTH, OUT)),
    "x >f>f": SimpleCommand(("x",), (OUT, OUT)),
    "x <f": SimpleCommand(("x",), (Redirection(0, "<", "f"),)),
    "x 0<f 2>'a b'": SimpleCommand(("x",), (Redirection(0, "<", "f"), Redirection(2, ">", "a b"))),
    "x >& 2": SimpleCommand(("x",), (Redirection(1, "&", "2"),)),
    "x <&2": SimpleCommand(("x",), (Redirection(0, "&", "2"),)),
    "x >/dev/null": SimpleCommand(("x",), (Redirection(1, ">", "/dev/null"),)),
    "x >/var/dev/f": SimpleCommand(("x",), (Redirection(1, ">", "/var/dev/f"),)),
    "x >../f": SimpleCommand(("x",), (Redirection(1, ">", "../f"),)),
    "x >-": SimpleCommand(("x",), (Redirection(1, ">", "-"),)),
    "A=1 x": SimpleCommand(("x",), assignments=(("A", "1"),)),
    "A= B='x y'\"z\" x C=2": SimpleCommand(("x", "C=2"), assignments=(("A", ""), ("B", "x yz"))),
    "A=2>f x": SimpleCommand(("x",), (OUT,), (("A", "2"),)),
    ">f A=a=b x": SimpleCommand(("x",), (OUT,), (("A", "a=b"),)),
    "cd / && x": SimpleCommand(("x",), directory="/"),
    "cd /a/b/ && x": SimpleCommand(("x",), directory="/a/b"),
    " cd\t'a b'&&x": SimpleCommand(("x",), directory="a b"),
    "cd a && A=1 x y >f 2>&1": SimpleCommand(("x", "y"), (OUT, BOTH), (("A", "1"),), "a"),
    "cd a; x": SimpleCommand(("x",), directory="a"),
    "export A=1; x": SimpleCommand(("x",), assignments=(("A", "1"),)),
    "export A=1 B='x y'&&A=2 x": SimpleCommand(("x",), assignments=(("A", "1"), ("B", "x y"), ("A", "2"))),
    "export A=1 ; cd a;export\tB=2 && x >f": SimpleCommand(
        ("x",), (OUT,), (("A", "1"), ("B", "2")), "a", is_chained=True
    ),
    "export A=1 && cd a; x": SimpleCommand(("x",), assignments=(("A", "1"),), directory="a"),
}  # fmt: skip

LEFT_TO_THE_SHELL = [
    *["", ">f", "A=1", "A=1 >f", "cd /a", "cd /a &&", "cd /a && >f"],
    *["x >", "x 2>", "x > >f", "x >\nf", "x >''", "x >$f", "x >f*", "x >~/f", "x >f;", "x >f&", "x >(y)"],
    *["x >|f", "x <>f", "x <<f", "x <<<f", "x &>f", "x >&f", "x >&-", "x 2>&3", "x 2>&'1'", "x 2>&12"],
    *["x 3>f", "x 12>f", "x 2>&1>f", "x >1>f", "12>f x", "x {fd}>f"],
    *["x >/dev/stdout", "x >/dev/tty", "x <//dev/tcp/h/1", "x >/./proc/self/fd/1", "x >/a/../dev/stdout"],
    *["cd && x", "cd - && x", "cd -P /a && x", "cd '' && x", "cd . && x", "cd ../a && x", "cd a/./b && x"],
    *["cd // && x", "cd //a && x", "cd a// && x", "cd ~ && x", "cd $A && x", "cd a b && x", "cd a >f && x"],
    *["cd a ;; x", "cd a;; x", "cd a &&& x", "cd a & x", "cd a &; x", "cd a; cd b; x", "cd a;", "cd a\nx"],
    *["export A; x", "export -p; x", "export; x", "export A=1", "export A=1 B; x", "export A=1 || x"],
    "exportA=1; x",
    *["export A=$B; x", "export A=~; x", "export A=1 & x", "export A=1>f; x", "export 1A=1; x"],
    "export A=1\nx",
    *["cd a || x", "cd a && cd b && x", "cd a && x && y", "cd a && x; y", "cd a &&\nx"],
    *["A+=1 x", "A=~ x", "A=$B x", "1A=1 x", "A=1 if", "A=1 exec x", ">f 'x'", ">f -x", "A=1 %1", "A=(1) x"],
]  # fmt: skip


@pytest.mark.parametrize("command", READ, ids=repr)
def test_a_simple_command_is_read(command: str) -> None:
    assert read_simple_command(command) == READ[command]


@pytest.mark.parametrize("command", LEFT_TO_THE_SHELL, ids=repr)
def test_all_else_is_left_to_the_shell(command: str) -> None:
    assert read_simple_command(command) is None


VARIABLES = {"HOME": "/home/ann", "A": "/a", "B": "x y", "C": "c", "E": "", "Q": '"', "D": "$A", "N": "x\ny"}
EXPANDED = {
    "$HOME/bin/x": ("/home/ann/bin/x",),
    "${A}bin/x $A/$A --to=$A": ("/abin/x", "/a//a", "--to=/a"),
    'x "$A" "${B}" "a $B"c "$E" "$C"': ("x", "/a", "x y", "a x yc", "", "c"),
    "x '$A' '\"$B'": ("x", "$A", '"$B'),
    'x "it\'s $C"': ("x", "it's c"),
    "~/bin/x ~ ~/'a b'": ("/home/ann/bin/x", "/home/ann", "/home/ann/a b"),
}


@pytest.mark.parametrize("command", EXPANDED, ids=repr)
def test_the_values_of_known_variables_are_written_in(command: str) -> None:
    assert read_simple_command(command, VARIABLES) == SimpleCommand(EXPANDED[command])


def test_the_values_of_variables_stand_in_redirections_directories_and_variables_too() -> None:
    command = "cd ~/'x y' && F=$A G=\"$B\" x >$A/f 2>>~/g"
    assert read_simple_command(command, VARIABLES) == SimpleCommand(
        ("x",),
        (Redirection(1, ">", "/a/f"), Redirection(2, ">>", "/home/ann/g")),
        (("F", "/a"), ("G", "x y")),
        "/home/ann/x y",
    )


@pytest.mark.parametrize(
    "command",
    [
        *[
            "$C",
            "x $C",
            "x $B",
            "x $E",
            "x $NONE",
            'x "$NONE"',
            'x "$Q"',
            'x "$D"',
            'x "$N"',
            "x $C>f",
            "$C=1 x",
        ],
        *[
            '"$A/x"',
            "x $",
            "x $1",
            "x $$",
            "x $?",
            'x "$@"',
            "x ${A:-b}",
            "x ${A",
            "x ${#A}",
            "x $(y)",
            "x `y`",
        ],
        *[
            "x \\$A",
            'x "\\$A"',
            "x $'a'",
            "A=1 x $A",
            "export A=/b; x $A",
            "HOME=/b ~/x",
            "A=~/b x",
            "x a:~/b",
        ],
        *["~ann/x", "x ~'/'a", "x >$C", "cd $A/../b && x", "x '$A", 'x "$A'],
    ],
)
def test_what_may_be_other_words_in_the_shell_is_left_to_it(command: str) -> None:
    assert read_simple_command(command, VARIABLES) is None


def test_only_words_are_plain() -> None:
    assert [
        simple.is_plain
        for simple in map(read_simple_command, ("x y", "x >f", "A=1 x", "cd / && x"))
        if simple is not None
    ] == [True, False, False, False]


@pytest.mark.no_cover
def test_a_long_command_is_read_in_linear_time() -> None:
    for line in (
        "cd {}; x;",
        "cd {}",
        "A={}; x",
        "export A={}; x;",
        "export A=1 {}; x",
        "x >{};",
        "{};",
        "x {};",
        "cd {}' && x",
        "x 2>{}&",
    ):
        assert read_simple_command(line.format("a/" * 50_000 + "a")) is None
        assert read_simple_command(line.format("'a'" * 50_000)) is None
    simple = read_simple_command("x" + " >f" * 50_000)
    assert simple is not None
    assert len(simple.redirections) == 50_000
    assert read_simple_command("x" + " >f" * 50_000 + ";") is None


def changes(command: str, *, shell: str = "dash", cwd: str = "/srv", **env: str) -> dict[str, str] | None:
    simple = read_simple_command(command)
    assert simple is not None
    return direct_changes(simple, {"PATH": "/bin", "PWD": cwd} | env, shell=shell, cwd=cwd)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_command_changes_its_directory_and_its_variables(shell: str) -> None:
    assert changes("x", shell=shell) == {}
    assert changes("cd /a && x", shell=shell) == {"PWD": "/a", "OLDPWD": "/srv"}
    assert changes("cd a/b && x", shell=shell) == {"PWD": "/srv/a/b", "OLDPWD": "/srv"}
    assert changes("cd a && x", shell=shell, cwd="/") == {"PWD": "/a", "OLDPWD": "/"}
    assert changes("A=1 A=2 B= x", shell=shell) == {"A": "2", "B": ""}


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("name", ["PATH", "PWD", "OLDPWD", "IFS", "PPID", "BASH_ENV", "SHLVL", "_", "UID"])
def test_a_variable_that_a_shell_uses_itself_is_assigned_by_it(shell: str, name: str) -> None:
    assert changes(f"{name}=1 x", shell=shell) is None


def test_bash_reads_a_locale_itself() -> None:
    assert changes("LC_ALL=C LANG=C x") == {"LC_ALL": "C", "LANG": "C"}
    assert changes("LC_ALL=C x", shell="bash") is None
    assert changes("LANG=C x", shell="bash") is None


def test_bash_counts_itself_where_it_stays_beside_a_command() -> None:
    assert changes("x >f", SHLVL="3") == {}
    assert changes("x >f", shell="bash") == {"SHLVL": "1"}
    assert changes("x >f", shell="bash", SHLVL="3") == {"SHLVL": "4"}
    assert changes("x >f", shell="bash", SHLVL="many") is None
    assert changes("x", shell="bash", SHLVL="3") == {}


@pytest.mark.parametrize(("command", "cwd"), [("cd /proc/self && x", "/srv"), ("cd proc/self/fd && x", "/")])
def test_a_directory_that_each_process_has_for_itself_is_entered_by_the_shell(command: str, cwd: str) -> None:
    assert changes(command, cwd=cwd) is None
    assert changes("cd sys && x", cwd="/proc") is None
    assert changes("cd proc && x") == {"PWD": "/srv/proc", "OLDPWD": "/srv"}


def test_a_directory_that_cdpath_may_find_or_an_untidy_one_is_entered_by_the_shell() -> None:
    assert changes("cd a && x", CDPATH="/b") is None
    assert changes("export CDPATH=/b; cd a && x") is None
    assert changes("cd /a && x", CDPATH="") is None
    assert changes("cd a && x", cwd="/srv/../srv") is None
    assert changes("A=1 x", cwd="/srv/../srv", CDPATH="/b") == {"A": "1"}
