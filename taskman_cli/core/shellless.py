"""Which shell commands can be run without a shell, and with which environment.

make(1) does the same. Starting a shell costs as much as a small command, so omitting it halves the work, but
it must make no difference: whatever is doubtful goes to the shell. Measured against dash 0.5.12 and bash 5.2
called as sh. If the start fails (no such program, no permission), the caller runs the shell after all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskman_cli.core.simplecommand import is_tidy, read_simple_command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.simplecommand import SimpleCommand

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
#: Variables whose assignment before a command may do more than pass them on.
_NOT_ASSIGNED = _TOUCHED_BY_BASH | {"PATH", "PWD", "SHLVL", "_"}
#: Bash reads messages in another language from then on, or warns that it cannot.
_LOCALE = re.compile(r"LANG|LANGUAGE|LC_.*|TEXTDOMAIN.*")
#: Of these it never warns that they are not installed.
_USUAL_LOCALE = re.compile(r"(C|POSIX|C\.(UTF-8|utf8))?")
# Far below 1000, where bash starts to warn.
_USUAL_DEPTH = re.compile(r"[1-9][0-9]?")


def direct_argv(command: str) -> tuple[str, ...] | None:
    """Return the words of a shell command that only runs a program with literal arguments, or None.

    >>> direct_argv("restic backup '/home/my files'")
    ('restic', 'backup', '/home/my files')
    >>> direct_argv("make && make install") is None
    True
    """
    simple = read_simple_command(command)
    return simple.words if simple is not None and simple.is_plain else None


def settled(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that have the same values in a shell that is started with `env`.

    Those that tell a command which attempt it is are set at the start.
    """
    return {
        name: value
        for name, value in env.items()
        if name not in _NOT_ASSIGNED and not name.startswith(("BASH", "TASKMAN_"))
    }


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


def direct_changes(
    command: SimpleCommand, env: Mapping[str, str], *, shell: str, cwd: str
) -> dict[str, str] | None:
    """Return the variables that a command itself changes for its program; None if the shell is needed.

    `env`, `shell` and `cwd` are as in `direct_environment`, whose result they change.
    """
    changes: dict[str, str] = {}
    if (command.redirections or command.is_chained) and shell == "bash":
        # It replaces itself by the command, and counts itself out, only where there are none, and not in
        # `a; b && c`.
        depth = _depth(env)
        if depth is None:
            return None
        changes["SHLVL"] = str(depth + 1)
    if command.directory is not None:
        # A directory that CDPATH finds is printed. An untidy path is tidied by `cd`.
        if "CDPATH" in env or "CDPATH" in dict(command.assignments) or not _is_clean(cwd):
            return None
        changes.update(PWD=f"{cwd.rstrip('/')}/{command.directory}", OLDPWD=cwd)
        if command.directory.startswith("/"):
            changes["PWD"] = command.directory
        if f"{changes['PWD']}/".startswith("/proc/"):
            return None  # /proc/self is another directory for the process that enters it here
    for name, value in command.assignments:
        if name in _NOT_ASSIGNED or name.startswith("BASH") or (shell != "dash" and _LOCALE.fullmatch(name)):
            return None
        changes[name] = value
    return changes


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
    if not _USUAL_LOCALE.fullmatch(env.get("LC_ALL", "")):
        return None
    depth = _depth(env)
    if depth is None:
        return None
    if not _is_clean(cwd) or not _is_clean(program) or not all(map(_is_clean, env["PATH"].split(":"))):
        return None
    return {**env, "PWD": cwd, "SHLVL": str(depth), "_": program}


def _depth(env: Mapping[str, str]) -> int | None:
    """Return how many shells bash counts outside of itself; None if it is unusual."""
    if "SHLVL" not in env:
        return 0
    return int(env["SHLVL"]) if _USUAL_DEPTH.fullmatch(env["SHLVL"]) else None


def _is_clean(path: str) -> bool:
    """Tell whether a path is absolute and normalised."""
    return path.startswith("/") and (path == "/" or is_tidy(path[1:]))
