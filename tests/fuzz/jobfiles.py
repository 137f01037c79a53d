"""Reads job files that were good once: examples and real crontabs, with bytes, keys and sizes changed.

    python tests/fuzz/jobfiles.py [--seed N] [--seconds N] [--only CASE]

Whatever comes of it, each command that reads a job file ends within 5 s without a traceback, and `check`
takes the file or says what is wrong, each fault with its place, in JSON as on the screen.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz import odd
from fuzz.campaign import Campaign, main
from fuzz.fixtures import CRONTAB, EXAMPLES, GOOD, SYSTEM
from fuzz.processes import Call, End, load_modules, run

from taskman_cli.jobfile.keys import DEFAULT_KEYS, JOB_KEYS, POOL_KEYS, TASKMAN_KEYS
from taskman_cli.jobfile.monitoring import METRICS_KEYS
from taskman_cli.jobfile.tasks import RETRY_KEYS, TASK_KEYS

if TYPE_CHECKING:
    import random

CRONTABS = Path(__file__).parents[1] / "data" / "crontabs"
KEYS = [
    *DEFAULT_KEYS,
    *JOB_KEYS,
    *POOL_KEYS,
    *METRICS_KEYS,
    *TASKMAN_KEYS,
    *RETRY_KEYS,
    *TASK_KEYS,
    "jobs",
    "tasks",
    "",
    "é",
]
TOKENS = [
    *[
        "=",
        "[",
        "]",
        "{",
        "}",
        '"',
        "'",
        '"""',
        "'''",
        "\n",
        "#",
        ".",
        ",",
        "\\",
        "[[jobs]]\n",
        "[jobs.x]\n",
        " ",
    ],
    *[
        "a = 1\n",
        "[defaults]\n",
        "true",
        "\t",
        "\r\n",
        "-",
        "@daily",
        "*/5",
        "* * * * * x\n",
        "CRON_TZ=UTC\n",
        "%",
    ],
    *[
        "MAILTO=\n",
        "SHELL=/x\n",
        "\\u0000",
        "\\ud800",
        "0x7",
        "1e999",
        "nan",
        "inf",
        "1979-05-27",
        "07:32:00",
    ],
]
BYTES = [
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\x1b[2J",
    b"\xc2",
    b"\r",
    b"\x0b",
    b"\xc2\xa0",
    b"\x85",
]
#: FILE:LINE:COLUMN, or the file alone where it could not be read.
PLACE = re.compile(rb"^[^\n]*:\d+:\d+: ", re.MULTILINE)


def origins() -> list[tuple[bytes, bool]]:
    """Return good texts, and whether each is a crontab."""
    found = [(path.read_bytes(), False) for path in EXAMPLES if path.suffix == ".toml"]
    found += [(path.read_bytes(), True) for path in EXAMPLES if path.is_file() and "cron" in path.name]
    found += [(path.read_bytes(), True) for path in sorted(CRONTABS.glob("*.user"))]
    return [*found, (GOOD.encode(), False), (CRONTAB.encode(), True), (SYSTEM.encode(), True)]


def mutate(chance: random.Random, data: bytes) -> bytes:
    """Change a text at some places."""
    for _ in range(chance.choice([1, 1, 2, 3, 8])):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(11)
        if kind == 0:
            data = data[:at] + chance.choice(BYTES) + data[at + chance.randrange(3) :]
        elif kind == 1:
            data = data[:at] + chance.choice(TOKENS).encode() + data[at + chance.randrange(6) :]
        elif kind == 2:
            data = data[:at] + odd.text(chance).encode("utf-8", "surrogateescape") + data[at:]
        elif kind == 3:  # a line twice, or gone
            lines = data.splitlines(keepends=True) or [b""]
            one = chance.randrange(len(lines))
            lines[one : one + 1] = chance.choice([[], [lines[one]] * 2, [lines[one]] * 400])
            data = b"".join(lines)
        elif kind == 4:
            data = data[:at]
        elif kind in (5, 6):
            data = _with_value(chance, data)
        elif kind == 7:
            data += f"\n{chance.choice(KEYS)} = {_literal(chance)}\n".encode("utf-8", "surrogateescape")
        elif kind == 8:
            data = data[:at] + _large(chance) + data[at:]
        elif kind == 9:  # another key in its place
            names = list(re.finditer(rb"[a-z_]{3,}", data))
            if names:
                match = chance.choice(names)
                data = data[: match.start()] + chance.choice(KEYS).encode() + data[match.end() :]
        else:  # two letters change places
            data = data[:at] + data[at + 1 : at + 2] + data[at : at + 1] + data[at + 2 :]
    return data


def _with_value(chance: random.Random, data: bytes) -> bytes:
    """Give a key another value."""
    places = list(re.finditer(rb"(?<== )[^\n]+", data))
    if not places:
        return data
    match = chance.choice(places)
    value = _literal(chance).encode("utf-8", "surrogateescape")
    return data[: match.start()] + value + data[match.end() :]


def _literal(chance: random.Random, depth: int = 0) -> str:
    """Write a value as TOML would, nearly."""
    kind = chance.randrange(9 if depth < 3 else 6)
    if kind < 3:
        pool = chance.choice(
            [odd.TEXTS, odd.DURATIONS, odd.TIMES, odd.CRONS, odd.ZONES, ["none", "skip", "user"]]
        )
        return json.dumps(chance.choice(pool), ensure_ascii=False)
    if kind == 3:
        return str(chance.choice(odd.NUMBERS))
    if kind == 4:
        return chance.choice(
            ["true", "false", "nan", "-inf", "0o17", "1_000", "2026-13-01", "2026-12-24", "01:02:03"]
        )
    if kind == 5:
        return chance.choice(
            ["", "[]", "{}", "[[]]", "[,]", "{a}", "2026-12-24T15:00:00+99:00", "0001-01-01T00:00:00"]
        )
    if kind < 8:
        return f"[{', '.join(_literal(chance, depth + 1) for _ in range(chance.randrange(4)))}]"
    pairs = [
        f"{chance.choice(KEYS) or 'x'} = {_literal(chance, depth + 1)}" for _ in range(chance.randrange(4))
    ]
    return f"{{ {', '.join(pairs)} }}"


def _large(chance: random.Random) -> bytes:
    count = chance.choice([1000, 20_000])
    shapes = [
        b"x" * count * 20,
        b"[" * count,
        b"\nk = " + b"[" * count + b"]" * count + b"\n",
        b"\n" * count,
        b"".join(b"* * * * * echo %d\n" % number for number in range(count // 20)),
        b"".join(b"A%d=b\n* * * * * x\n" % number for number in range(count // 20)),
        b"".join(b"[jobs.j%d]\ncron='* * * * *'\ncommand='x'\n" % number for number in range(count // 20)),
        b"* * * * * " + b"y " * count * 10 + b"\n",
        b"\n[a" + b".a" * (count // 20) + b"]\n",
        b"0," * count + b"1 * * * * x\n",
        b'\nx = "' + b"\\" * count + b'"\n',
    ]
    return chance.choice(shapes)


class Fuzzer:
    """Writes a file for each case, and lets the commands read it."""

    def __init__(self, campaign: Campaign, directory: Path) -> None:
        self.campaign = campaign
        self.directory = directory
        self.cwd = directory / "cwd"
        self.origins = origins()

    def fuzz(self) -> None:
        """Play all cases."""
        for number, chance in self.campaign.chances():
            data, is_crontab = chance.choice(self.origins)
            name = chance.choice(
                ["crontab", "tab", "x.cron"] if is_crontab else ["jobs.toml", "jobs.toml", "x"]
            )
            shutil.rmtree(self.cwd, ignore_errors=True)
            self.cwd.mkdir()
            (self.cwd / name).write_bytes(mutate(chance, data))
            self._play(number, chance, name, is_crontab=is_crontab)

    def _play(self, number: int, chance: random.Random, name: str, *, is_crontab: bool) -> None:
        options = ["--user-crontab"] if is_crontab and chance.random() < 0.7 else []
        skip = ["--skip-bad"] if chance.random() < 0.2 else []
        checked = self._run(number, ["check", *skip, *options, name])
        if checked.code not in (0, 1, 2):
            self.campaign.fault(number, f"check exits with {checked.code}", checked.err[-2000:])
        if checked.code == 2 and not PLACE.search(checked.err) and name.encode() not in checked.err:
            self.campaign.fault(number, "an error without a place", checked.err[-2000:])
        told = self._run(number, ["check", "--json", *skip, *options, name])
        try:
            document = json.loads(told.out)
        except ValueError as error:
            self.campaign.fault(number, f"check --json prints no JSON: {error}", told.out[-500:])
        else:
            self._check_document(number, document, checked.code)
        others = [
            ["next", name],
            ["explain", "a", name],
            ["export", "--crontab", name],
            ["import", "--user", name],
        ]
        code = self._run(number, chance.choice(others)).code
        if code not in (0, 1, 2, 4):
            self.campaign.fault(number, f"exit code {code}", others)

    def _check_document(self, number: int, document: object, code: int) -> None:
        if not isinstance(document, dict) or not isinstance(document.get("errors"), list):
            self.campaign.fault(number, "check --json prints something else", str(document)[:500])
        elif bool(document["errors"]) != (code == 2):
            self.campaign.fault(number, f"check exits with {code}, and --json says else", str(document)[:500])

    def _run(self, number: int, argv: list[str]) -> End:
        environ = {"HOME": "/nonexistent", "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TZ": "UTC"}
        call = Call(argv, self.cwd, environ | {"STATE_DIRECTORY": str(self.directory / "state")})
        end = run(call, self.directory)
        for bad in (b"Traceback", b"internal error"):
            if bad in end.err:
                self.campaign.fault(
                    number, bad.decode(), f"{call}: {end.err[-3000:].decode(errors='replace')}"
                )
        if end.late:
            self.campaign.fault(
                number, f"hangs ({end.late})", f"{call}: {end.err[-3000:].decode(errors='replace')}"
            )
        elif end.code and not end.err + end.out:
            self.campaign.fault(number, "fails without a word", call)
        return end


def fuzz(campaign: Campaign) -> None:
    """Run it all in a directory of its own."""
    load_modules()
    with tempfile.TemporaryDirectory(prefix="taskman-fuzz-", ignore_cleanup_errors=True) as name:
        Fuzzer(campaign, Path(name)).fuzz()


if __name__ == "__main__":
    raise SystemExit(main(fuzz, __doc__))
