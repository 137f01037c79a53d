"""Running a command directly is the same as through the real shell: words, environment, exit code."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from taskman_cli.core.shellless import direct_argv, direct_environment

# Prints what it was given. Compiled, since a Python or shell program would take 20 ms and its own liberties.
PROBE = r"""
#include <stdio.h>
#include <string.h>
extern char **environ;
int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++) fwrite(argv[i], 1, strlen(argv[i]) + 1, stdout);
    putchar(0);
    for (char **e = environ; *e; e++) fwrite(*e, 1, strlen(*e) + 1, stdout);
    return argc % 7;
}
"""

#: What the generators call the probe; every test directory has it on its search path.
NAME = "probe"

SHELLS = [name for name in ("dash", "bash") if shutil.which(name)]

# Pieces rather than characters: most of the interesting strings are short and odd, not long and random.
PIECES = st.sampled_from(
    [
        *"abX019_@%+:,./=-~#!^*?[]{}()<>|&;$`\\'\" \t\n\r\x7f",
        *[
            "--",
            "=x",
            "a=b",
            "'a b'",
            '"c d"',
            "''",
            '""',
            "'\\'",
            '"\'"',
            "'\"'",
            "#x",
            "~root",
            "{a,b}",
            "$HOME",
        ],
        *[
            "é",
            "\u00a0",
            "'é'",
            " if",
            " done",
            " %1",
            " 2",
            " >",
            "$(a)",
            "${a",
            "@(a)",
            "a^b",
            "=~",
            ":=",
            " ~",
        ],
    ]
)
PLAIN = st.sampled_from(
    ["a", "X", "0", "9", "_@%+:,./=-", "--", "=x", "'a b'", '"c d"', "''", " ", "\t", " if "]
)
COMMANDS = st.lists(st.one_of(PLAIN, PLAIN, PLAIN, PIECES), max_size=8).map("".join)

TOUCHY = """
A B_1 _ a-b 1A HOME TERM LANG SHELL SHLVL PWD OLDPWD IFS OPTIND OPTARG PPID LINENO PS1 PS4 MAIL ENV UID
RANDOM HISTSIZE COLUMNS SECONDS HOSTNAME BASH_ENV BASH_FUNC_probe%% SHELLOPTS POSIXLY_CORRECT FUNCNEST
CDPATH TMPDIR REPLY DIRSTACK GROUPS TIMEFORMAT MAILCHECK HISTFILE LC_x EDITOR VISUAL FCEDIT TASKMAN_JOB
"""
NAMES = st.sampled_from(TOUCHY.split())
VALUES = st.sampled_from(
    ["", "1", "3", "0", "999", "x", "/", "/tmp", " a b ", "a=b", "$A", "é", "() { echo; }"]
)
ENVIRONMENTS = st.dictionaries(NAMES, VALUES, max_size=6)

# Most odd strings are for the shell, and are filtered out.
FEW = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the probe, and with each shell under the name sh, as /bin/sh is."""
    directory = tmp_path_factory.mktemp("shells").resolve()
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is not None:
        subprocess.run([compiler, "-x", "c", "-o", directory / NAME, "-"], input=PROBE, text=True, check=True)
    else:
        source = f"#!{sys.executable} -IS\nimport os, sys\n" + (
            "out = sys.stdout.buffer.write\n"
            f"for a in [b'{NAME}', *map(os.fsencode, sys.argv[1:])]: out(a + b'\\0')\n"
            "out(b'\\0')\n"
            "for n, v in os.environb.items(): out(n + b'=' + v + b'\\0')\n"
            "sys.exit(len(sys.argv) % 7)\n"
        )
        (directory / NAME).write_text(source)
        (directory / NAME).chmod(0o755)
    for shell in SHELLS:
        (directory / shell).mkdir()
        (directory / shell / "sh").symlink_to(str(shutil.which(shell)))
    return directory


def run(argv: list[str], directory: Path, env: dict[str, str]) -> tuple[int, list[bytes], list[bytes], bytes]:
    """Run and return the exit code, the words, the environment in order of names, and standard error."""
    done = subprocess.run(
        argv, env=env, cwd=directory, capture_output=True, stdin=subprocess.DEVNULL, executable=argv[0]
    )
    words, _, variables = done.stdout.partition(b"\0\0")
    return done.returncode, words.split(b"\0"), sorted(variables.split(b"\0")), done.stderr


def run_direct(words: tuple[str, ...], directory: Path, env: dict[str, str]) -> object:
    done = subprocess.run(
        list(words),
        executable=directory / NAME,
        env=env,
        cwd=directory,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    got, _, variables = done.stdout.partition(b"\0\0")
    return done.returncode, got.split(b"\0"), sorted(variables.split(b"\0")), done.stderr


@pytest.mark.parametrize("shell", SHELLS)
@FEW
@given(rest=COMMANDS)
def test_a_command_run_directly_gets_what_the_shell_would_give_it(
    directory: Path, shell: str, rest: str
) -> None:
    command = f"{NAME} {rest}"
    words = direct_argv(command)
    assume(words is not None)
    env = {"PATH": str(directory)}
    direct = direct_environment(env, shell=shell, cwd=str(directory), program=str(directory / NAME))
    assert words is not None
    assert direct is not None
    through_shell = run([str(directory / shell / "sh"), "-c", command], directory, env)
    assert run_direct(words, directory, direct) == through_shell


@pytest.mark.parametrize("shell", SHELLS)
@FEW
@given(name=COMMANDS)
def test_a_name_that_may_be_run_directly_is_a_name_to_the_shell(
    directory: Path, shell: str, name: str
) -> None:
    words = direct_argv(name)
    assume(words is not None)
    assert words is not None
    # No such program: the shell looks for it under exactly this name, and finds nothing.
    sh = str(directory / shell / "sh")
    code, _, _, stderr = run([sh, "-c", name], directory, {"PATH": "/nowhere", "LC_ALL": "C"})
    assert code in (126, 127)
    assert words[0].encode() in stderr


@pytest.mark.parametrize("shell", SHELLS)
@FEW
@given(extra=ENVIRONMENTS)
def test_the_environment_is_the_one_the_shell_makes(
    directory: Path, shell: str, extra: dict[str, str]
) -> None:
    env = {"PATH": f"{directory}:/usr/bin", **extra}
    direct = direct_environment(env, shell=shell, cwd=str(directory), program=str(directory / NAME))
    assume(direct is not None)
    assert direct is not None
    through_shell = run([str(directory / shell / "sh"), "-c", f"{NAME} x"], directory, env)
    assert run_direct((NAME, "x"), directory, direct) == through_shell


@pytest.mark.parametrize("shell", SHELLS)
def test_a_directory_reached_through_a_link_keeps_the_name_it_has_in_the_environment(
    directory: Path, shell: str, tmp_path: Path
) -> None:
    link = tmp_path.resolve() / "link"
    link.symlink_to(directory)
    env = {"PATH": str(directory), "PWD": str(link)}
    direct = direct_environment(env, shell=shell, cwd=str(link), program=str(directory / NAME))
    assert direct is not None
    assert run_direct((NAME,), link, direct) == run([str(directory / shell / "sh"), "-c", NAME], link, env)


def test_the_system_shell_is_one_whose_environment_is_known_or_is_used_always() -> None:
    shell = Path("/bin/sh").resolve().name
    known = direct_environment({"PATH": "/bin"}, shell=shell, cwd="/", program="/bin/x")
    assert (known is not None) == (shell in ("dash", "bash"))
