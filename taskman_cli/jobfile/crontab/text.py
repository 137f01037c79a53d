"""The two small grammars of crontab lines: assignments, and `%`, which begins standard input.

As in Debian's cron: `load_env` in its env.c, `child_process` in its do_command.c.
"""

from __future__ import annotations

import re

from taskman_cli.jobfile.crontab.dialect import Dialect

#: isspace(3) in the C locale, without the newline.
_SPACE = " \t\v\f\r"
_NAME = re.compile(r"""(?:'([^'=]*)'|"([^"=]*)"|([^\s=]*))""", re.ASCII)
#: What must be escaped in a command.
_SPECIAL = re.compile(r"\\+(%|$)|\\{2,}|%")
#: The pieces of a command: the character after a backslash is not special.
_PIECE = re.compile(r"[^%\\]+|%|\\.?", re.DOTALL)
#: The assignments of busybox's crond: the first word of the line, as it stands.
_BUSYBOX = re.compile(r"(MAILTO|SHELL)=([^ \t]*)")
_SUPERCRONIC = re.compile(r"([^\s=]+)\s*=\s*(.*)")
#: A quoted value, with only spaces after it.
_QUOTED = re.compile(r"""(?:'([^']*)'|"([^"]*)")[ \t\v\f\r]*""")


def read_assignment(line: str, dialect: Dialect = Dialect.DEBIAN) -> tuple[str, str] | None:
    """Return name and value of `NAME = VALUE`, else None; the line has no leading spaces.

    With Debian's cron, an empty value needs quotes, and a quoted value loses its trailing spaces, and inner
    quotes that enclose all of it.
    """
    if dialect is Dialect.BUSYBOX:
        match = _BUSYBOX.match(line)
        return (match[1], match[2]) if match else None
    if dialect is Dialect.SUPERCRONIC:
        match = _SUPERCRONIC.fullmatch(line)
        return (match[1], _unquoted(match[2])) if match else None
    name, at = _name(line)
    rest = line[at:].lstrip(_SPACE)
    if not rest.startswith("="):
        return None
    value = rest[1:].lstrip(_SPACE)
    if not value:
        return (name, "") if dialect is Dialect.CRONIE else None
    match = None
    if value[0] in "'\"":
        match = _QUOTED.fullmatch(value)
        if match is None:
            return None
        value = match[1] if match[1] is not None else match[2]
    if dialect is Dialect.CRONIE:
        return name, value if match is not None else value.rstrip(_SPACE)
    return name, _unquoted(value.rstrip(_SPACE))


def _unquoted(value: str) -> str:
    """Return a value without quotes that enclose all of it."""
    return value[1:-1] if len(value) >= 2 and value[0] in "'\"" and value[-1] == value[0] else value


def _name(line: str) -> tuple[str, int]:
    """Return a name, unquoted if needed, and where it ends."""
    match = _NAME.match(line)
    assert match is not None  # it also matches ""
    if line[:1] in ("'", '"') and match[3] is not None:
        return "", len(line)  # an unclosed quote, or one with = in it
    return next(group for group in match.groups() if group is not None), match.end()


def assignment(name: str, value: str) -> str | None:
    """Write an assignment, or return None if no line can express it."""
    for line in (f"{name}={value}", f'{name}="{value}"', f"{name}='{value}'"):
        if "\n" not in line and read_assignment(line) == (name, value):
            return line
    return None


def split_percent(text: str) -> tuple[str, str | None]:
    r"""Split the text after the schedule into command and standard input.

    The first `%` ends the command, the others end lines of the input. `\%` is `%`; `\\` is one backslash in
    the command, but stays two in the input. cron itself ends the last line of the input: see `fed`.
    """
    pieces: list[str] = []
    for match in _PIECE.finditer(text):
        piece = match[0]
        if piece == "%":
            return "".join(pieces), _input(text[match.end() :]) or None
        pieces.append(piece[1:] if piece in ("\\%", "\\\\") else piece)
    return "".join(pieces), None


def bare_percent(text: str) -> int | None:
    """Return the offset of the `%` that ends the command; None if there is none."""
    return next((match.start() for match in _PIECE.finditer(text) if match[0] == "%"), None)


def _input(text: str) -> str:
    return re.sub(r"\\?%", lambda match: "%" if match[0] == "\\%" else "\n", text)


def fed(stdin: str) -> str:
    """Return the input as a command gets it: with a final newline, unless its end is all backslashes."""
    is_ended = stdin.rstrip("\\")[-1:] in ("", "\n")
    return stdin if is_ended else stdin + "\n"


def join_percent(command: str, stdin: str | None) -> str:
    """Write command and input for `split_percent`; not everything can be expressed."""
    text = _SPECIAL.sub(lambda match: match[0].replace("\\", "\\\\").replace("%", "\\%"), command)
    if stdin is None:
        return text
    # cron ends the last line by itself.
    shorter = stdin.removesuffix("\n")
    lines = shorter if shorter and fed(shorter) == stdin else stdin
    return f"{text}%" + lines.replace("%", "\\%").replace("\n", "%")
