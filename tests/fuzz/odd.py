"""Odd values: what nobody types on purpose and what comes all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import random

T = TypeVar("T")

#: A byte that is no UTF-8, as Python hands it on; and text of which no byte could be made at all.
NOT_UTF8 = "caf\udce9"
LONE_SURROGATE = "\ud800"

#: No word here does harm to who runs it as a command.
TEXTS = [
    "",
    " ",
    "-",
    "--",
    "---",
    "-1",
    ".",
    "..",
    "/",
    "~",
    "*",
    "?",
    "%",
    "#",
    "\\",
    "'",
    '"',
    "$X",
    "a b",
    "a.b",
    "a.b.c",
    ".a",
    "a.",
    "a\nb",
    "\t",
    "\r\n",
    "\x1b[31mred",
    "\x7f",
    "é",
    "日本",
    "e\u0301",
    "\u202eabc",
    "\u00a0",
    "\u200b",
    "\ufeff",
    "“x”",
    "\u2018x\u2019",
    "\u20135",
    "💥",
    NOT_UTF8,
    "\udcff\udcfe",
    "x" * 300,
    "é" * 5000,
    "9" * 30,
    "9" * 5000,
    "true",
    "null",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "1e999",
    "1e3",
    "0x10",
    "1_000",
    "٣",
    "²",
    "None",
    "[]",
    "{}",
]

NUMBERS: list[int | float] = [
    *[0, -1, 1, 2, 255, 256, 65535, 65536, -(2**31), 2**31, 2**32, 2**53, 2**62 - 1, 2**62, 2**63, -(2**63)],
    *[2**64, 10**18, 10**30, -(10**30), 0.5, -0.0, 1e308, float("nan"), float("inf"), float("-inf")],
]

DURATIONS = [
    *["0s", "1s", "1ms", "1ns", "-1s", "1h30", "1h30m", "90", "1d", "1w", "1y", "100y", "9999999d", "1.5h"],
    *["1e3s", "5 hours", "1m1h", "4:13:02", "1 minute", "12min", "infinity", "none", "9" * 40 + "s"],
]

TIMES = [
    *["now", "noon", "tomorrow", "17:00", "25:00", "24:00", "1:45", "now + 2 hours", "now + 9999999 years"],
    *["2026-12-24T15:00", "2026-12-24T15:00:00+01:00", "2026-12-24T15:00Z", "0001-01-01", "9999-12-31T23:59"],
    *["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2262-04-12", "2262-04-11", "1969-12-31"],
    *[
        "1970-01-01T00:00Z",
        "9/11",
        "30/06/17",
        "2026-02-30",
        "next monday",
        "@1700000000",
        "-1d",
        "in 2 hours",
    ],
    *["2 days ago", "99999999999999 days ago", "12am", "teatime", "2024-W05-1", "20261224"],
]

CRONS = [
    *["* * * * *", "*/5 * * * *", "0 0 31 2 *", "@daily", "@reboot", "@every 5m", "@hourly x", "H H * * *"],
    *["0 0 L * *", "0 0 * * L5", "0 0 * * FRI#2", "0 0 15W * *", "61 * * * *", "* * * *", "* * * * * * *"],
    *[
        "0 9 * * FRI-MON",
        "0\u00a09 * * *",
        "0 9 * * mon\u2013fri",
        "5-1 * * * *",
        "*/0 * * * *",
        "1,,2 * * * *",
    ],
    *["R * * * *", "? * * * *", "0 0 29 2 *", "* * * * MON#9", "*/99999999999 * * * *", "@", "@@daily"],
    *["," * 1000, "0-59/1," * 500 + "1 * * * *", "0 0 * jan,feb *", "0 0 1 1 0 2030", "\uff0a * * * *"],
]

ZONES = [
    "UTC",
    "Europe/Stockholm",
    "CEST",
    "Mars/Base",
    "../etc/passwd",
    "/etc/passwd",
    "Europe",
    "+02:00",
    "",
]


def text(chance: random.Random) -> str:
    """Make a text that is odd, or two of them together."""
    first = chance.choice(TEXTS)
    return first + chance.choice(TEXTS) if chance.random() < 0.1 else first


def anything(chance: random.Random, depth: int = 0) -> object:
    """Make any value that JSON has."""
    kind = chance.randrange(8 if depth < 3 else 6)
    if kind < 2:
        return chance.choice([*TEXTS, LONE_SURROGATE, "a\0b", "\udc80"])
    if kind < 4:
        return chance.choice(NUMBERS)
    if kind == 4:
        return chance.choice([True, False, None])
    if kind == 5:
        return []
    if kind == 6:
        return [anything(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {
        chance.choice(TEXTS): anything(chance, depth + 1)  # the same key twice is one
        for _ in range(chance.randrange(4))
    }


def maybe(chance: random.Random, value: T, probability: float) -> T | None:
    """Return the value, or None instead."""
    return value if chance.random() < probability else None
