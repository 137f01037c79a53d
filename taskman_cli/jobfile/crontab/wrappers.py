"""Which words of a simple command name what it is about: past wrappers, interpreters and remote shells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskman_cli.jobfile.crontab.shellwords import SimpleCommand, simple_commands

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Programs that run another command, with their options that take a value.
_WRAPPERS = {
    "sudo": "-u -g -h -p -C -D -R -T --user --group", "doas": "-u -C", "nice": "-n --adjustment",
    "ionice": "-c -n -p -t --class --classdata", "nohup": "", "time": "-f -o",
    "env": "-u -C -S --unset --chdir", "exec": "-a", "timeout": "-k -s --signal --kill-after",
    "flock": "-w -E --timeout --wait", "chronic": "", "setsid": "", "chrt": "-p -T -P -D",
    "stdbuf": "-i -o -e", "unbuffer": "", "cronic": "", "croncape": "", "nocache": "", "eatmydata": "",
    "run-one": "", "caffeinate": "-t -w", "taskset": "", "cpulimit": "-l -p -e",
    "systemd-run": "-p -u --unit --slice --property --uid --gid",
    "systemd-cat": "-t -p --identifier --priority", "chpst": "-u -U -e -b", "setuidgid": "",
    "softlimit": "-m -t", "xvfb-run": "-s -n -e", "proxychains": "-f", "torsocks": "", "chroot": "",
    "fakeroot": "", "command": "", "builtin": "", "eval": "", "lckdo": "-W", "with-lock": "",
    "dotenv": "-f", "busybox": "", "runitor": "-uuid -slug", "gosu": "", "su-exec": "",
    "dbus-run-session": "", "faketime": "", "envdir": "", "strace": "-o -e", "numactl": "",
}  # fmt: skip
#: Wrappers with that many words of their own before the command: a lock, a time, a root, a user.
_OWN_WORDS = {
    "timeout": 1, "flock": 1, "chroot": 1, "setuidgid": 1, "lckdo": 1, "gosu": 1, "su-exec": 1, "envdir": 1,
    "faketime": 1, "chrt": 1, "taskset": 1,
}  # fmt: skip
#: Shells, and others that take a command as the text after an option.
_SHELLS = _words("sh bash dash zsh ksh ash fish")
_AS_USER = _words("su runuser")
#: Programs that run a command in a container or on another machine: their words before the place.
_REMOTE = {
    "docker": ("exec", "run"), "podman": ("exec", "run"), "nerdctl": ("exec", "run"), "lxc-attach": (),
    "docker-compose": ("exec", "run"), "kubectl": ("exec",), "ssh": (),
}  # fmt: skip
_REMOTE_VALUES = _words(
    "-u -e -w -v -p -n -l -i -o -F -f -c -U -N --user --env --workdir --name --network --volume --namespace"
    " --container --env-file --file --entrypoint --mount"
)
#: Programs that run a script, which gives the name; a version may follow.
_INTERPRETER = re.compile(
    r"(?:python|pypy|perl|php|ruby|node|nodejs|deno|bun|tsx|ts-node|java|lua|Rscript|osascript|gawk|pwsh|go)"
    r"[\d.]*"
)
#: Their options that take a value.
_INTERPRETER_VALUES = _words(
    "-d -I -r -W -X --require --import --loader -c -cp -classpath --max-old-space-size -S"
)
#: Options of theirs with a program as text.
_INLINE = re.compile(r"-[a-zA-Z]*[er]|-c|--eval|--print|-p")
_NUMBER = re.compile(r"[0-9.]+[smhd]?|0x[0-9a-f]+")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
#: How deep texts for shells may be within one another.
_DEEP = 4


def inner_commands(command: str, depth: int = 0) -> Iterator[SimpleCommand]:
    """Yield the simple commands of a command, each from the words that say what it does."""
    for found in simple_commands(command):
        yield from _inner(found.words, found.files, depth)


def program(word: str) -> str:
    """Return the last part of a path."""
    return word.rstrip("/").rpartition("/")[2]


def _inner(words: list[str], files: list[str], depth: int) -> Iterator[SimpleCommand]:
    place: list[str] = []
    while words:
        name = program(words[0])
        text = _text_in(name, words)
        if text is not None and depth < _DEEP:
            for found in inner_commands(text, depth + 1):
                yield SimpleCommand(found.words, place + (found.files or files))
            return
        if name in _REMOTE:
            inner = _remote(name, words)
            if inner is None or len(inner) < 2:
                break
            place, words = inner[:1], inner[1:]
            if len(words) == 1 and " " in words[0]:
                words = ["sh", "-c", *words]
        elif (rest := _within(name, words)) is not None:
            words = rest
        else:
            break
    if words:
        yield SimpleCommand(words, place + files)


def _text_in(name: str, words: Sequence[str]) -> str | None:
    """Return the text that a shell, or a program that starts one, is given."""
    return _after_c(words) if name in _SHELLS or name in _AS_USER or name == "flock" else None


def _within(name: str, words: Sequence[str]) -> list[str] | None:
    """Return the command within a wrapper or the script of a shell; None: it is neither."""
    if name in _SHELLS and len(words) > 1:
        return without_options(words[1:], _INTERPRETER_VALUES)
    if name in _AS_USER:
        return _as_user(words)
    return _wrapped(name, words) if name in _WRAPPERS else None


def script_of(words: Sequence[str]) -> list[str] | None:
    """Return the script of an interpreter with its arguments; None: the words name no interpreter.

    An empty list: the program is a text among the words, or nothing.
    """
    if not _INTERPRETER.fullmatch(program(words[0])):
        return None
    rest = list(words[1:])
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in ("-m", "-jar") and rest:
            return rest
        if option.startswith("-M") and program(words[0]).startswith("perl"):
            continue
        if _INLINE.fullmatch(option) and option != "-r":
            return []
        if option in _INTERPRETER_VALUES and rest:
            if option == "-r" and program(words[0]).startswith("php"):
                return []
            rest.pop(0)
    while rest and rest[0] in ("run", "exec", "-f", "--"):
        rest.pop(0)
    return rest


def without_options(words: Sequence[str], with_value: frozenset[str]) -> list[str]:
    """Return the words from the first one that is no option."""
    rest = list(words)
    while rest and rest[0][:1] in ("-", "+") and rest[0] != "--":
        option = rest.pop(0)
        if option in with_value and rest:
            rest.pop(0)
    return rest[1:] if rest[:1] == ["--"] else rest


def _after_c(words: Sequence[str]) -> str | None:
    """Return the text after an option such as `-c` or `-lc`."""
    for at, word in enumerate(words[1:-1], 1):
        if re.fullmatch(r"-[a-z]*c|--command|--session-command", word):
            return words[at + 1]
        if word.startswith("--command="):
            return word.partition("=")[2]
    return None


def _as_user(words: Sequence[str]) -> list[str]:
    rest = without_options(words[1:], _words("-u -g -G -s --user --group --shell"))
    is_user_given = any(word in ("-u", "--user") for word in words)
    return rest if is_user_given else rest[1:]


def _wrapped(name: str, words: Sequence[str]) -> list[str]:
    """Remove a wrapper with what is its own."""
    rest = without_options(words[1:], _words(_WRAPPERS[name]))
    for _ in range(_OWN_WORDS.get(name, 0)):
        rest = rest[1:]
    if name == "flock":  # also after the lock
        rest = without_options(rest, frozenset())
    while rest and (_ASSIGNMENT.fullmatch(rest[0]) or _NUMBER.fullmatch(rest[0])):
        rest = rest[1:]
    return rest


def _remote(name: str, words: Sequence[str]) -> list[str] | None:
    """Return the container or machine and the command there; None: it runs none."""
    rest = without_options(words[1:], _REMOTE_VALUES)
    if verbs := _REMOTE[name]:
        if rest[:1] == ["compose"]:
            rest = without_options(rest[1:], _REMOTE_VALUES)
        if rest[:1] == ["container"]:
            rest = rest[1:]
        if not rest or rest[0] not in verbs:
            return None
        rest = without_options(rest[1:], _REMOTE_VALUES)
    place, command = rest[:1], rest[1:]
    return [*place, *(command[1:] if command[:1] == ["--"] else command)]
