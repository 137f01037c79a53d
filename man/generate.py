"""Write the man pages from the pages in docs/, so that both say the same: `make man`.

Of Markdown this knows what docs/ uses: headings, paragraphs, lists, tables, fenced blocks, code, bold text
and links. A table becomes a tagged list, its first column the tags.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from taskman_cli import __version__
from taskman_cli.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
DATE = "November 29, 2026"

#: Which man page has what a page of docs/ says.
HOMES = {
    "commands.md": "taskman 1",
    "docs/commands.md": "taskman 1",
    "ledger-and-crashes.md": "taskman 1",
    "systemd.md": "taskman 1",
    "json.md": "taskman 1",
    "crontabs.md": "taskman 1",
    "metrics.md": "taskman 1",
    "jobfile.md": "taskman.toml 5",
    "times-and-schedules.md": "taskman-timespec 7",
}


class Part(NamedTuple):
    """A heading of a page and what stands below it: the level, the words, the text."""

    level: int
    title: str
    body: str


def parts(page: str) -> list[Part]:
    """Split a page of docs/ at its headings; what stands above the first `##` comes first."""
    found: list[Part] = []
    is_fenced = False
    for line in (ROOT / "docs" / page).read_text("utf-8").splitlines(keepends=True):
        # A `#` in a fenced block begins a comment.
        is_fenced ^= line.startswith("```")
        heading = re.match(r"(#+) (.*)\n", line)
        if heading and not is_fenced:
            found.append(Part(len(heading[1]), heading[2], ""))
        else:
            found[-1] = found[-1]._replace(body=found[-1].body + line)
    return found


class Writer:
    """Gathers the lines of one man page."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.lines: list[str] = []

    def part(self, part: Part, *, up: int = 0) -> None:
        """Write a heading and what stands below it, so many levels further up."""
        if part.level - up <= 2:
            self.lines.append(f".Sh {part.title.upper()}")
        else:
            self.lines.append(f".Ss {self._plain(part.title)}")
        self.body(part.body)

    def body(self, text: str) -> None:
        """Write paragraphs, lists, tables and fenced blocks."""
        is_first = True
        for block in re.findall(r"^```[^`]*^```$|(?:^(?!```).+\n?)+", text, re.M):
            if block.startswith("```"):
                self._literal(block)
            elif block.startswith("|"):
                self._table(block)
            elif block.startswith("- "):
                self._list(block)
            else:
                if not is_first:
                    self.lines.append(".Pp")
                self._text(block)
            is_first = False

    def _literal(self, block: str) -> None:
        self.lines.append(".Bd -literal -offset indent")
        self.lines += [_escaped(line) for line in block.splitlines()[1:-1]]
        self.lines.append(".Ed")

    def _list(self, block: str) -> None:
        self.lines.append(".Bl -bullet")
        for item in re.split(r"^- ", block, flags=re.M)[1:]:
            self.lines.append(".It")
            self._text(item)
        self.lines.append(".El")

    def _table(self, block: str) -> None:
        rows = [
            [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
            for row in block.splitlines()
        ]
        heads = rows[0]
        self.lines.append(".Bl -tag -width Ds")
        for tag, *cells in rows[2:]:
            self.lines.append(f".It {_tag(tag, heads[0])}")
            self._text(cells[-1] or "-")
            about = [
                f"{head.capitalize()}: {cell}."
                for head, cell in zip(heads[1:-1], cells[:-1], strict=True)
                if cell and cell != "warning"
            ]
            if about:
                self._text(" ".join(about))
        self.lines.append(".El")

    def _text(self, text: str) -> None:
        """Write running text, each sentence on a line of its own."""
        sentences = re.split(r"(?<=[^.][.!?]) (?=[A-Z`*\[])", " ".join(text.split()))
        self.lines += [self._plain(sentence) for sentence in sentences]

    def _plain(self, text: str) -> str:
        """Return a text with what Markdown marks in it marked for roff."""
        text = re.sub(r"\[([^\]]+)\]\(([^)]+)\)", self._link, text)
        pieces = re.split(r"(`[^`]+`|\*\*[^*]+\*\*)", text)
        return _escaped(
            "".join(
                f"\0{piece.strip(piece[0])}\1" if index % 2 else piece for index, piece in enumerate(pieces)
            )
        )

    def _link(self, match: re.Match[str]) -> str:
        words, target = match[1], match[2].partition("#")[0]
        if target == "../SECURITY.md":
            words, target = "What root runs", "commands.md"
        home = HOMES.get(target, self.home)
        if home == self.home:
            return words
        name, section = home.split()
        return f"{words} (see {name}({section}))"


def _escaped(text: str) -> str:
    text = text.replace("\\", r"\e").replace("…", "...")
    text = re.sub(r"[^\x00-\x7f]", lambda match: f"\\[u{ord(match[0]):04X}]", text)
    text = text.replace("\0", r"\fB").replace("\1", r"\fR")
    return rf"\&{text}" if text.startswith((".", "'")) else text


def _tag(tag: str, head: str) -> str:
    """Return the first cell of a row as the arguments of an item."""
    macro = {"key": "Va", "variable": "Ev", "file": "Pa"}.get(head, "Li")
    words = []
    for word in re.split(r"(`[^`]+`)", tag):
        if not word.startswith("`"):
            words += word.replace(",", " , ").split()
            continue
        code = word.strip("`")
        if code.startswith("-"):
            option, _, argument = code.partition(" ")
            words.append(f"Fl {option[1:]}" + (f" Ar {argument}" if argument else ""))
        else:
            words.append(f"{macro} {_argument(code)}")
    return " ".join(
        word if re.match(r"(?:Fl|Va|Ev|Pa|Li) |[,()]$", word) else f"No {_argument(word)}" for word in words
    )


def _argument(word: str) -> str:
    quoted = _escaped(word).replace('"', r"\(dq")
    if re.fullmatch(r"[.,:;?!()\[\]|]", quoted):  # else mdoc takes it for punctuation
        return rf"\&{quoted}"
    return f'"{quoted}"' if " " in quoted or len(quoted) <= 2 else quoted


def _head(name: str, section: int, about: str) -> list[str]:
    return [
        '.\\" Written by man/generate.py from docs/*.md: change those, then "make man".',
        f".Dd {DATE}", f".Dt {name.upper()} {section}", f".Os taskman {__version__}",
        ".Sh NAME", f".Nm {name}", f".Nd {about}",
    ]  # fmt: skip


def _foot(*others: str) -> list[str]:
    return [".Sh SEE ALSO", *(f".Xr {other} ," for other in others[:-1]), f".Xr {others[-1]}"]


def _summary(group: Part, commands: list[Part]) -> list[str]:
    lines = [".Pp", f"{group.title}:", ".Bl -tag -width completion -compact"]
    for command in commands:
        name = command.title.split()[1]
        lines += [f".It Cm {name}", _escaped(COMMANDS[name][2])]
    return [*lines, ".El"]


def taskman() -> str:
    """Return taskman(1)."""
    writer = Writer("taskman 1")
    writer.lines = _head("taskman", 1, "run commands on a schedule, and watch them")
    writer.lines += """\
.Sh SYNOPSIS
.Nm
.Op Fl h | Fl -help
.Op Fl -version
.Nm
.Ar command
.Op Ar option ...
.Op Ar argument ...
.Sh DESCRIPTION
.Nm
is
.Xr cron 8 ,
.Xr at 1
and a worker pool in one program.
A job file says what runs and when, see
.Xr taskman.toml 5 .
.Nm
.Cm run
runs it in the foreground, in a terminal, under
.Xr systemd 1
or in a container.
Each scheduled time of a job, its
.Em slot ,
becomes one run, or is skipped with a reason.
These are the commands:""".splitlines()
    found = parts("commands.md")
    groups = [
        at
        for at, part in enumerate(found)
        if part.level == 2 and found[at + 1 :][:1] and found[at + 1].level == 3
    ]
    ends = {
        start: next((at for at in range(start + 1, len(found)) if found[at].level == 2), len(found))
        for start in groups
    }
    for start in groups:
        writer.lines += _summary(found[start], found[start + 1 : ends[start]])
    rest = {part.title: part for part in found if part.level == 2}
    writer.part(rest["Common options"])
    for start in groups:
        writer.lines.append(f".Sh {found[start].title.upper()}")
        writer.body(found[start].body)
        for part in found[start + 1 : ends[start]]:
            writer.part(part)
    writer.part(rest["Warnings"])
    writer.lines.append(".Sh CRONTABS")
    crontabs = parts("crontabs.md")
    writer.body(crontabs[0].body)
    for part in crontabs[1:]:
        writer.part(part, up=-1)
    (walls,) = [part for part in parts("../SECURITY.md") if part.title == "What root runs"]
    writer.part(walls)
    ledger = {part.title: part for part in parts("ledger-and-crashes.md") if part.level == 2}
    files = ledger.pop("Where the state is kept")
    writer.lines.append(".Sh STOPPING AND CRASHES")
    for part in ledger.values():
        writer.part(part, up=-1)
    writer.lines.append(".Sh METRICS")
    metrics = parts("metrics.md")
    writer.body(metrics[0].body)
    for part in metrics[1:]:
        writer.part(part, up=-1)
    writer.lines.append(".Sh JSON OUTPUT")
    json = parts("json.md")
    writer.body(json[0].body)
    for part in json[1:]:
        writer.part(part, up=-1)
    systemd = parts("systemd.md")
    writer.lines.append(".Sh UNDER SYSTEMD")
    writer.body(systemd[0].body)
    for part in systemd[1:]:
        writer.part(part, up=-1)
    logs = parts("logs.md")
    writer.lines.append(".Sh LOGS")
    writer.body(logs[0].body)
    for part in logs[1:]:
        writer.part(part, up=-1)
    writer.lines.append(".Sh ENVIRONMENT")
    writer.body(rest["Environment variables"].body)
    writer.lines.append(".Sh FILES")
    writer.body(files.body)
    writer.lines.append(".Sh EXIT STATUS")
    writer.body(rest["Exit codes"].body)
    writer.lines += _examples()
    writer.lines += _foot(
        "at 1", "batch 1", "systemd 1", "crontab 5", "systemd.timer 5", "taskman.toml 5",
        "taskman-timespec 7", "cron 8",
    )  # fmt: skip
    return "\n".join(writer.lines) + "\n"


def _examples() -> list[str]:
    examples = {
        "When is a job due around a clock change?": "taskman next --cron '30 2 * * *' \\\n"
        "    --timezone America/New_York --from 2024-03-09 -n 3",
        "What failed since yesterday, and what did the last backup print?": "taskman history --state failed"
        " --state timed_out --since 1d\ntaskman log backup",
        "Run a command tomorrow, and no backups for half an hour:": "taskman once --at 'tomorrow 8am'"
        " './report.sh'\ntaskman pause --tag backup --for 30m --reason 'disk swap'",
        "Which errors are in a file, for an editor?": "taskman check --json jobs.toml",
    }
    lines = [".Sh EXAMPLES"]
    for words, text in examples.items():
        lines += [words, ".Bd -literal -offset indent", *map(_escaped, text.splitlines()), ".Ed", ".Pp"]
    return lines[:-1]


def taskman_toml() -> str:
    """Return taskman.toml(5)."""
    writer = Writer("taskman.toml 5")
    writer.lines = _head("taskman.toml", 5, "job file of taskman")
    first, *others = parts("jobfile.md")
    writer.lines.append(".Sh DESCRIPTION")
    writer.body(first.body)
    for part in others:
        writer.part(part)
    writer.lines += _foot("taskman 1", "crontab 5", "taskman-timespec 7")
    return "\n".join(writer.lines) + "\n"


def taskman_timespec() -> str:
    """Return taskman-timespec(7)."""
    writer = Writer("taskman-timespec 7")
    writer.lines = _head("taskman-timespec", 7, "schedules, times and durations of taskman")
    writer.lines += [
        ".Sh DESCRIPTION",
        "This page describes how",
        ".Xr taskman 1",
        "reads schedules, times and durations, in job files and on the command line.",
    ]
    for part in parts("times-and-schedules.md")[1:]:
        writer.part(part)
    writer.lines += _foot("at 1", "taskman 1", "crontab 5", "taskman.toml 5")
    return "\n".join(writer.lines) + "\n"


PAGES = {"taskman.1": taskman, "taskman.toml.5": taskman_toml, "taskman-timespec.7": taskman_timespec}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / "man" / name).write_text(page(), "utf-8")
