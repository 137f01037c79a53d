"""When a command for the shell can be run without it, and with which environment.

make(1) does the same. The shell costs as much as a small command, so leaving it out halves the work; but
only where nobody could tell the difference. Everything doubtful is the shell's. Measured against dash 0.5.12
and bash 5.2 called as sh; what a later start shows (no such program, no right to run it) is the caller's:
it then runs the shell after all.
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
#: Builtins and reserved words of dash, bash, ksh and busybox ash. Left out are the programs that some of the
#: latter two carry along (cat, sleep, …): for these shells there is no `direct_environment`.
SHELL_WORDS = frozenset(_SHELL_WORDS.split())

#: Characters that mean themselves to every shell, anywhere in a word.
_PLAIN = r"[A-Za-z0-9_@%+:,./=-]"
# ASCII only in quotes: shells differ about other bytes. `!` in double quotes is history for some.
_SINGLE = r"'[\t\x20-\x26\x28-\x7e]*'"
_DOUBLE = r'"[\t\x20\x23\x25-\x5b\x5d-\x5f\x61-\x7e]*"'
_WORD = re.compile(f"(?:{_PLAIN}+|{_SINGLE}|{_DOUBLE})+")
_PIECE = re.compile(f"{_PLAIN}+|{_SINGLE}|{_DOUBLE}")
_BLANKS = re.compile(r"[ \t]*")
# A command's name may not be quoted: that is how people get at what hides behind a reserved word. Nor may it
# begin with + or -, which `sh -c` takes for options of its own, or %, which is a job.
_NAME = re.compile(r"[A-Za-z0-9_@,./][A-Za-z0-9_@%+:,./-]*")

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_BASH_NAMES = """
CHILD_MAX COLUMNS COMP_CWORD COMP_KEY COMP_LINE COMP_POINT COMP_TYPE COMP_WORDBREAKS COMP_WORDS COPROC
DIRSTACK ENV EPOCHREALTIME EPOCHSECONDS EUID EXECIGNORE FUNCNAME FUNCNEST GLOBIGNORE GROUPS HISTCMD
HOSTNAME HOSTTYPE IGNOREEOF LINES MACHTYPE MAPFILE OLDPWD OPTARG OPTERR OSTYPE PIPESTATUS
POSIXLY_CORRECT POSIX_PEDANTIC PS0 PS1 PS2 PS3 PS4 RANDOM READLINE_LINE READLINE_MARK READLINE_POINT
REPLY SECONDS SHELLOPTS SRANDOM TIMEFORMAT TMOUT UID
"""
# Names of the environment that the shell sets, resets or reads for itself, in ways that depend on more than
# the environment.
_TOUCHED_BY_DASH = frozenset({"IFS", "LINENO", "OPTIND", "PPID"})
_TOUCHED_BY_BASH = _TOUCHED_BY_DASH | frozenset(_BASH_NAMES.split())
# Far below 1000, where bash begins to complain.
_USUAL_DEPTH = re.compile(r"[1-9][0-9]?")


def direct_argv(command: str) -> tuple[str, ...] | None:
    """Return the words of a shell command that means nothing but "run this with these arguments", or None.

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
    """Return the environment that a command started by this shell with `env` would find, or None if in doubt.

    `shell` is the name of what /bin/sh really is: "dash" and "bash" are known. `cwd` is the directory that
    the command starts in, its physical path unless `env` has it as PWD already: the shell believes a PWD that
    is right, and this function believes none that is another. `program` is the path that the command's name
    leads to; bash tells it in `_` and is left out only if it is known.
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
    # BASH_ENV, exported functions (BASH_FUNC_ls%%), BASHOPTS: none of it is worth to be understood.
    if any(name.startswith("BASH") or not _IDENTIFIER.fullmatch(name) for name in env):
        return None
    depth = env.get("SHLVL", "0")
    if "SHLVL" in env and not _USUAL_DEPTH.fullmatch(depth):
        return None
    if not _is_clean(cwd) or not _is_clean(program) or not all(map(_is_clean, env["PATH"].split(":"))):
        return None
    return {**env, "PWD": cwd, "SHLVL": depth, "_": program}


def _is_clean(path: str) -> bool:
    """Tell if a path is absolute and has nothing in it that could be written shorter."""
    return path.startswith("/") and (path == "/" or not {"", ".", ".."} & set(path[1:].split("/")))


def _skip_blanks(command: str, position: int) -> int:
    blanks = _BLANKS.match(command, position)
    assert blanks is not None
    return blanks.end()


def _unquote(piece: str) -> str:
    return piece[1:-1] if piece[0] in "'\"" else piece
