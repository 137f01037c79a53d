"""The two small grammars of a crontab's lines: assignments, and `%` in a command.

As Debian's cron has them: `load_env` in its env.c, `child_process` in its do_command.c.
"""

from __future__ import annotations

import re

#: isspace(3) in the C locale, less the line's own end.
_SPACE = " \t\v\f\r"
_NAME = re.compile(r"""(?:'([^'=]*)'|"([^"=]*)"|([^\s=]*))""", re.ASCII)
#: What a command must not have as it is.
_SPECIAL = re.compile(r"\\+(%|$)|\\{2,}|%")
#: One of what a command is read in: after a backslash, no character is looked at again.
_PIECE = re.compile(r"[^%\\]+|%|\\.?", re.DOTALL)
#: A value in quotes, with nothing but blanks after it.
_QUOTED = re.compile(r"""(?:'([^']*)'|"([^"]*)")[ \t\v\f\r]*""")


def read_assignment(line: str) -> tuple[str, str] | None:
    """Return name and value if this is `NAME = VALUE`, else None; there is no blank at its beginning.

    An empty value needs quotes. Of a value in quotes the blanks at its end are lost, and quotes in it that
    enclose all of it.
    """
    name, at = _name(line)
    rest = line[at:].lstrip(_SPACE)
    if not rest.startswith("="):
        return None
    value = rest[1:].lstrip(_SPACE)
    if not value:
        return None
    if value[0] in "'\"":
        match = _QUOTED.fullmatch(value)
        if match is None:
            return None
        value = match[1] if match[1] is not None else match[2]
    value = value.rstrip(_SPACE)
    if len(value) >= 2 and value[0] in "'\"" and value[-1] == value[0]:
        value = value[1:-1]
    return name, value


def _name(line: str) -> tuple[str, int]:
    """Return a name, perhaps out of quotes, and where it ends."""
    match = _NAME.match(line)
    assert match is not None  # it matches nothing, too
    if line[:1] in ("'", '"') and match[3] is not None:
        return "", len(line)  # a quote that is not closed, or with = in it
    return next(group for group in match.groups() if group is not None), match.end()


def assignment(name: str, value: str) -> str | None:
    """Write an assignment, or return None where no line says this one."""
    for line in (f"{name}={value}", f'{name}="{value}"', f"{name}='{value}'"):
        if "\n" not in line and read_assignment(line) == (name, value):
            return line
    return None


def split_percent(text: str) -> tuple[str, str | None]:
    r"""Split what stands after the schedule into command and standard input.

    The first `%` ends the command, the others end lines of the input. `\%` is `%`; in the command `\\` is one
    backslash, in the input it stays two. cron itself ends the last line of the input: see `fed`.
    """
    pieces: list[str] = []
    for match in _PIECE.finditer(text):
        piece = match[0]
        if piece == "%":
            return "".join(pieces), _input(text[match.end() :]) or None
        pieces.append(piece[1:] if piece in ("\\%", "\\\\") else piece)
    return "".join(pieces), None


def bare_percent(text: str) -> int | None:
    """Return where the `%` stands that ends the command; None: there is none."""
    return next((match.start() for match in _PIECE.finditer(text) if match[0] == "%"), None)


def _input(text: str) -> str:
    return re.sub(r"\\?%", lambda match: "%" if match[0] == "\\%" else "\n", text)


def fed(stdin: str) -> str:
    """Return the input as a command gets it: its last line has an end, unless it is all backslashes."""
    is_ended = stdin.rstrip("\\")[-1:] in ("", "\n")
    return stdin if is_ended else stdin + "\n"


def join_percent(command: str, stdin: str | None) -> str:
    """Write command and input as `split_percent` reads them; not everything can be said."""
    text = _SPECIAL.sub(lambda match: match[0].replace("\\", "\\\\").replace("%", "\\%"), command)
    if stdin is None:
        return text
    # cron ends the last line by itself.
    shorter = stdin.removesuffix("\n")
    lines = shorter if shorter and fed(shorter) == stdin else stdin
    return f"{text}%" + lines.replace("%", "\\%").replace("\n", "%")
