"""Which shell commands can be run without a shell, and with which environment.

make(1) does the same. Starting a shell costs as much as a small command, so omitting it halves the work, but
it must make no difference: whatever is doubtful goes to the shell. Measured against dash 0.5.12 and bash 5.2
called as sh. If the start fails (no such program, no permission), the caller runs the shell after all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHELL_WORDS = """
! . : [ [[ ]] alias autoload bg bind break builtin caller case cd chdir command compgen complete compopt
compound continue coproc declare dirs disown do done echo elif else enable enum esac eval exec exit
export false fc fg fi float for function functions getopts global hash help hist history if in integer
jobs kill let local login logout mapfile nameref namespace newgrp popd print printf pushd pwd r read
readarray readonly redirect rehash return select set shift shopt source stop suspend test then time
times trap true type typeset ulimit umask unalias unset until wait whence while { }
"""
#: Builtins and reserved words of dash, bash, ksh and busybox ash, without programs that are builtins of the
#: latter two only (cat, sleep, …): for these shells `direct_environment` returns None.
SHELL_WORDS = frozenset(_SHELL_WORDS.split())

#: Characters that are literal in every shell, anywhere in a word.
_PLAIN = r"[A-Za-z0-9_@%+:,./=-]"
# Only ASCII in quotes: shells differ on other bytes. `!` in double quotes is history expansion for some.
_SINGLE = r"'[\t\x20-\x26\x28-\x7e]*'"
_DOUBLE = r'"[\t\x20\x23\x25-\x5b\x5d-\x5f\x61-\x7e]*"'
_WORD = re.compile(f"(?:{_PLAIN}+|{_SINGLE}|{_DOUBLE})+")
_PIECE = re.compile(f"{_PLAIN}+|{_SINGLE}|{_DOUBLE}")
_BLANKS = re.compile(r"[ \t]*")
# A command's name must not be quoted, since quotes bypass reserved words and aliases. Nor may it start with
# + or -, which `sh -c` reads as its own options, or %, which is a job.
_NAME = re.compile(r"[A-Za-z0-9_@,./][A-Za-z0-9_@%+:,./-]*")

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_BASH_NAMES = """
CHILD_MAX COLUMNS COMP_CWORD COMP_KEY COMP_LINE COMP_POINT COMP_TYPE COMP_WORDBREAKS COMP_WORDS COPROC
DIRSTACK ENV EPOCHREALTIME EPOCHSECONDS EUID EXECIGNORE FUNCNAME FUNCNEST GLOBIGNORE GROUPS HISTCMD
HOSTNAME HOSTTYPE IGNOREEOF LINES MACHTYPE MAPFILE OLDPWD OPTARG OPTERR OSTYPE PIPESTATUS
POSIXLY_CORRECT POSIX_PEDANTIC PS0 PS1 PS2 PS3 PS4 RANDOM READLINE_LINE READLINE_MARK READLINE_POINT
REPLY SECONDS SHELLOPTS SRANDOM TIMEFORMAT TMOUT UID
"""
# Environment variables that the shell itself sets, resets or reads, depending on more than the environment.
_TOUCHED_BY_DASH = frozenset({"IFS", "LINENO", "OPTIND", "PPID"})
_TOUCHED_BY_BASH = _TOUCHED_BY_DASH | frozenset(_BASH_NAMES.split())
# Far below 1000, where bash starts to warn.
_USUAL_DEPTH = re.compile(r"[1-9][0-9]?")


def direct_argv(command: str) -> tuple[str, ...] | None:
    """Return the words of a shell command that only runs a program with literal arguments, or None.

    >>> direct_argv("restic backup '/home/my files'")
    ('restic', 'backup', '/home/my files')
    >>> direct_argv("make && make install") is None
    True
    """
    words = []
    end = len(command)
    position = _skip_blanks(command, 0)
    name = _NAME.match(command, position)
    if name is None or name[0] in SHELL_WORDS:
        return None
    if name.end() < end and command[name.end()] not in " \t":
        return None
    while position < end:
        word = _WORD.match(command, position)
        if word is None:
            return None
        words.append("".join(_unquote(piece) for piece in _PIECE.findall(word[0])))
        position = _skip_blanks(command, word.end())
        if position == word.end() < end:
            return None
    return tuple(words)


def direct_environment(
    env: Mapping[str, str], *, shell: str, cwd: str, program: str | None = None
) -> dict[str, str] | None:
    """Return the environment that this shell, started with `env`, would pass to a command; None if in doubt.

    `shell` is the name of the real /bin/sh: "dash" and "bash" are supported. `cwd` is the directory in which
    the command starts: its physical path, unless `env` has it as PWD. The shell keeps a correct PWD; this
    function returns None for any other. `program` is the path of the command's program, which bash passes in
    `_`; without it, bash is not omitted.
    """
    path = env.get("PATH")
    if path is None or "%" in path or not all(path.split(":")):
        return None
    if not cwd.startswith("/") or env.get("PWD", cwd) != cwd:
        return None
    if shell == "dash":
        return _through_dash(env, cwd)
    if shell == "bash" and program is not None:
        return _through_bash(env, cwd, program)
    return None


def _through_dash(env: Mapping[str, str], cwd: str) -> dict[str, str] | None:
    if not _TOUCHED_BY_DASH.isdisjoint(env):
        return None
    kept = {name: value for name, value in env.items() if _IDENTIFIER.fullmatch(name)}
    kept["PWD"] = cwd
    return kept


def _through_bash(env: Mapping[str, str], cwd: str, program: str) -> dict[str, str] | None:
    if not _TOUCHED_BY_BASH.isdisjoint(env):
        return None
    # BASH_ENV, exported functions (BASH_FUNC_ls%%), BASHOPTS: too complex to emulate.
    if any(name.startswith("BASH") or not _IDENTIFIER.fullmatch(name) for name in env):
        return None
    depth = env.get("SHLVL", "0")
    if "SHLVL" in env and not _USUAL_DEPTH.fullmatch(depth):
        return None
    if not _is_clean(cwd) or not _is_clean(program) or not all(map(_is_clean, env["PATH"].split(":"))):
        return None
    return {**env, "PWD": cwd, "SHLVL": depth, "_": program}


def _is_clean(path: str) -> bool:
    """Tell whether a path is absolute and normalised."""
    return path.startswith("/") and (path == "/" or not {"", ".", ".."} & set(path[1:].split("/")))


def _skip_blanks(command: str, position: int) -> int:
    blanks = _BLANKS.match(command, position)
    assert blanks is not None
    return blanks.end()


def _unquote(piece: str) -> str:
    return piece[1:-1] if piece[0] in "'\"" else piece
