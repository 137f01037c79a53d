"""Commands in arrays that are written as if a shell ran them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskman_cli.insight.lint.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.core.model import Job, Task

#: Whole words that only a shell understands.
_OPERATOR = re.compile(r"\|\|?|&&?|;|[0-9]?>>?|<|&>>?|>&|[0-9]>&[0-9]|[0-9&]?>>?\.{0,2}/.*")
#: Capitals only: `$1` and `$x` are more often meant for the program.
_VARIABLE = re.compile(r"\$[A-Z][A-Z0-9_]+\b|\$\{[A-Z][A-Z0-9_]*\}|\$\([^()]*\)|(?:^|=)`[^`]+`$")
_HOME = re.compile(r"~(?:/.*)?")
_PATTERN = re.compile(r"[\w./-]*\*[\w.*/-]*")

#: Programs that run another command, which follows their options and assignments.
_WRAPPER_NAMES = "chronic env flock ionice nice nohup setsid stdbuf sudo time timeout unbuffer"
_WRAPPERS = frozenset(_WRAPPER_NAMES.split())
#: Programs with a language of their own, a remote shell, or their own operators.
_LANGUAGES = re.compile(
    r"(?:ba|da|z|k|mk|fi|c|tc|a)?sh|busybox|[gmn]?awk|sed|perl|python[\d.]*|ruby|node|php[\d.]*|lua|jq|yq|expr"
    r"|test|\[|find|fd|xargs|parallel|envsubst|ssh|su|runuser|docker|podman|kubectl|nsenter|chroot|machinectl"
    r"|systemd-run|tmux|screen|watch|psql|mysql|mariadb|sqlite3|mongosh?|redis-cli|make|grep|egrep|rg|expect"
)
#: Programs that treat a pattern as a plain file name.
_PLAIN_NAMES = """
cat chgrp chmod chown cp du echo file gzip gunzip head install ln ls md5sum mv rm rmdir sha1sum sha256sum
sha512sum shred sort stat tail touch truncate wc xz zcat
"""
_PLAIN = frozenset(_PLAIN_NAMES.split())
_OPTION_OR_ASSIGNMENT = re.compile(r"-.*|[A-Za-z_]\w*=.*|[0-9.]+[smhd]?")


def lint_array(job: Job, task: Task) -> Finding | None:
    """Return the finding for a task's command, if that is an array with words for a shell."""
    if isinstance(task.command, str):
        return None
    word = _word_for_a_shell(task.command)
    if word is None:
        return None
    shown = word if len(word) <= 40 else word[:39] + "…"
    return Finding(
        "array-without-shell",
        job.id,
        job.source,
        job.command_path(task.id),
        f'an array runs without a shell, and the program gets "{shown}" literally',
        "write the command as one string to run it in a shell",
    )


def _word_for_a_shell(words: Sequence[str]) -> str | None:
    program, rest = words[0].rpartition("/")[2], list(words[1:])
    while program in _WRAPPERS and rest:
        while rest and _OPTION_OR_ASSIGNMENT.fullmatch(rest[0]):
            rest.pop(0)
        if not rest:
            return None
        if program == "flock":  # its lock file
            rest.pop(0)
            while rest and rest[0].startswith("-"):
                rest.pop(0)
        program, rest = (rest[0].rpartition("/")[2], rest[1:]) if rest else ("", [])
    if _LANGUAGES.fullmatch(program):
        return None
    for word in rest:
        if _OPERATOR.fullmatch(word) or _VARIABLE.search(word) or _HOME.fullmatch(word):
            return word
        if program in _PLAIN and _PATTERN.fullmatch(word):
            return word
    return None
