"""Which commands may be run without the shell, and with which environment: the tables."""

from __future__ import annotations

import pytest

from taskman_cli.core.shellless import direct_argv, direct_environment, settled
from taskman_cli.core.simplecommand import SHELL_WORDS

DIRECT = {
    "restic backup /home": ("restic", "backup", "/home"),
    "\t /usr/bin/env  -i\tls ": ("/usr/bin/env", "-i", "ls"),
    "curl -fsS https://example.org/health": ("curl", "-fsS", "https://example.org/health"),
    "dd if=/dev/zero of=x": ("dd", "if=/dev/zero", "of=x"),
    "find /tmp -mtime +7 -delete": ("find", "/tmp", "-mtime", "+7", "-delete"),
    "date +%Y-%m-%d": ("date", "+%Y-%m-%d"),
    "./report.sh 'two words' \"and more\"": ("./report.sh", "two words", "and more"),
    "grep a'b c'\"d e\"f": ("grep", "ab cd ef"),
    "printf-like '' \"\"": ("printf-like", "", ""),
    "sqlite3 db 'select * from t where a > 1 and $b; -- !'": (
        "sqlite3",
        "db",
        "select * from t where a > 1 and $b; -- !",
    ),
    'logger "it\'s; (done) | <here> & *?[x] {a,b} ~ #"': (
        "logger",
        "it's; (done) | <here> & *?[x] {a,b} ~ #",
    ),
    "x if then done": ("x", "if", "then", "done"),
    "x 'a\tb'": ("x", "a\tb"),
}

FOR_THE_SHELL = [
    *["", " ", "\t", "'' x", '"" x', "-x", "+x", "%1", "~/bin/x", "a=b", "a=b x", "A=1", "PATH=/bin ls"],
    *["'ls'", '"ls"', "l's'", 'ls""', "'if' x", "a[0]=1", "a+=b"],
    *["ls\n", "ls\nls", "ls 'a\nb'", "ls \r", "ls\vx", "ls\fx", "ls\0x", "ls\u00a0x", "ls\u2003x"],
    *[
        "ls $x",
        "ls ${x}",
        "ls `x`",
        'ls "$x"',
        'ls "`x`"',
        'ls "a\\b"',
        "ls \\x",
        'ls "!x"',
        "ls !x",
        "ls a^b",
    ],
    *["ls *", "ls ?", "ls [a]", "ls {a,b}", "ls ~", "ls a~", "ls ~root", "ls #x", "ls a#b"],
    *[
        "ls;ls",
        "ls &",
        "ls|cat",
        "ls >x",
        "ls <x",
        "ls 2>&1",
        "(ls)",
        "{ ls; }",
        "! ls",
        "ls (a)",
        "ls &&",
        "x()",
    ],
    *["ls '", 'ls "', "ls 'a", 'ls "a', "ls a'b", "ls 'a'b'", "ls \"'\" '"],
    *["ls å", "ls 'å'", 'ls "å"', "å", "ls '\x7f'", "ls '\x1b'", "ls \udcff"],
    *sorted(SHELL_WORDS),
    *[
        f"{word} x"
        for word in ("echo", "test", "cd", "exec", "if", "time", "[", ".", "printf", "kill", "true")
    ],
]


@pytest.mark.parametrize("command", DIRECT, ids=repr)
def test_a_plain_command_is_split_into_its_words(command: str) -> None:
    assert direct_argv(command) == DIRECT[command]


@pytest.mark.parametrize("command", FOR_THE_SHELL, ids=repr)
def test_whatever_a_shell_might_interpret_is_left_to_it(command: str) -> None:
    assert direct_argv(command) is None


@pytest.mark.no_cover
def test_a_very_long_command_is_read_in_linear_time() -> None:
    assert direct_argv("x " + "a" * 200_000 + "'") is None
    assert direct_argv("x " + "a " * 50_000) == ("x", *["a"] * 50_000)


ENV = {"PATH": "/usr/bin:/bin", "HOME": "/root"}


def test_dash_adds_the_directory() -> None:
    assert direct_environment(ENV, shell="dash", cwd="/srv") == {**ENV, "PWD": "/srv"}


def test_dash_believes_a_directory_that_is_right() -> None:
    env = {**ENV, "PWD": "/srv/link"}
    assert direct_environment(env, shell="dash", cwd="/srv/link") == env


def test_dash_drops_names_that_are_not_identifiers() -> None:
    env = {**ENV, "a-b": "1", "1A": "2", "å": "3", "BASH_FUNC_ls%%": "() { :; }", "_ok1": "4"}
    assert direct_environment(env, shell="dash", cwd="/") == {**ENV, "_ok1": "4", "PWD": "/"}


def test_bash_adds_the_directory_its_depth_and_the_program() -> None:
    got = direct_environment(ENV, shell="bash", cwd="/srv", program="/usr/bin/env")
    assert got == {**ENV, "PWD": "/srv", "SHLVL": "0", "_": "/usr/bin/env"}


def test_bash_leaves_the_depth_it_was_given() -> None:
    env = {**ENV, "SHLVL": "3", "_": "/old"}
    got = direct_environment(env, shell="bash", cwd="/srv", program="/usr/bin/env")
    assert got == {**env, "PWD": "/srv", "_": "/usr/bin/env"}


@pytest.mark.parametrize("locale", ["", "C", "POSIX", "C.UTF-8", "C.utf8"])
def test_of_a_locale_that_is_everywhere_bash_does_not_warn(locale: str) -> None:
    env = {**ENV, "LC_ALL": locale}
    got = direct_environment(env, shell="bash", cwd="/srv", program="/usr/bin/env")
    assert got == {**env, "PWD": "/srv", "SHLVL": "0", "_": "/usr/bin/env"}


IN_DOUBT = {
    "no search path": {"HOME": "/"},
    "an empty search path": {"PATH": ""},
    "an empty entry": {"PATH": "/bin::/usr/bin"},
    "an empty last entry": {"PATH": "/bin:"},
    "a special entry of dash": {"PATH": "/bin:%builtin"},
    "another directory": {**ENV, "PWD": "/elsewhere"},
    **{name: {**ENV, name: "1"} for name in ("IFS", "OPTIND", "PPID", "LINENO")},
}

IN_DOUBT_FOR_BASH = {
    "a function": {**ENV, "BASH_FUNC_ls%%": "() { :; }"},
    "no identifier": {**ENV, "a-b": "1"},
    "a relative search path": {"PATH": "/bin:bin"},
    "a search path with a trailing slash": {"PATH": "/bin/"},
    "a search path with a home": {"PATH": "~/bin:/bin"},
    **{
        f"{name}={value}": {**ENV, name: value}
        for name, value in {
            "SHLVL": "x",
            "BASH_ENV": "x",
            "BASHOPTS": "x",
            "SHELLOPTS": "xtrace",
            "OLDPWD": "/",
            "PS4": "+",
            "LC_ALL": "xx_YY.UTF-8",
        }.items()
    },
}


@pytest.mark.parametrize("env", IN_DOUBT.values(), ids=IN_DOUBT)
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_in_doubt_there_is_no_environment(shell: str, env: dict[str, str]) -> None:
    assert direct_environment(env, shell=shell, cwd="/", program="/usr/bin/env") is None


@pytest.mark.parametrize("env", IN_DOUBT_FOR_BASH.values(), ids=IN_DOUBT_FOR_BASH)
def test_in_doubt_about_bash_there_is_no_environment(env: dict[str, str]) -> None:
    assert direct_environment(env, shell="bash", cwd="/", program="/usr/bin/env") is None


@pytest.mark.parametrize("path", ["relative", "/a//b", "/a/../b", "/a/.", "/a/"])
def test_bash_may_write_an_untidy_path_in_its_own_way(path: str) -> None:
    assert direct_environment(ENV, shell="bash", cwd=path, program="/usr/bin/env") is None
    assert direct_environment(ENV, shell="bash", cwd="/", program=path) is None


@pytest.mark.parametrize("shell", ["bash", "busybox", "ksh", "mksh", "zsh", "yash", ""])
def test_other_shells_and_unknown_programs_are_not_supported(shell: str) -> None:
    assert direct_environment(ENV, shell=shell, cwd="/") is None


def test_a_relative_directory_is_refused() -> None:
    assert direct_environment(ENV, shell="dash", cwd="srv") is None


def test_what_a_shell_or_the_attempt_sets_is_not_settled() -> None:
    env = {"HOME": "/root", "IFS": ":", "PWD": "/", "BASH_ENV": "x", "TASKMAN_RUN_ID": "1", "TZ": "UTC"}
    assert settled(env) == {"HOME": "/root", "TZ": "UTC"}
